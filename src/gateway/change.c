#include "gateway/change.h"

#include "base/clock.h"

static struct change *change_of_job(struct job *job) {
    return (struct change *)((char *)job - offsetof(struct change, job));
}

static void change_free(void *context) {
    struct change *change = context;
    change->kind->free(change);
}

/* Not at once: we may be inside its timer. */
static void change_end(struct change *change) {
    struct gateway *gateway = change->gateway;
    loop_defer(gateway->loop, change_free, change);
    gateway->writes--;
    takeover_on_write_end(gateway);
}

static void change_on_settled(struct loop_timer *timer) {
    struct change *change = timer->context;
    change->kind->respond(change);
    change_end(change);
}

static void change_run(struct job *job) {
    struct change *change = change_of_job(job);
    change->rc = change->kind->run(change, &change->err);
}

static void change_on_run(struct job *job) {
    struct change *change = change_of_job(job);
    if (change->rc != 0) {
        respond_err(change->gateway, change->conn, &change->err);
        change_end(change);
        return;
    }
    change->kind->apply(change);
    change->timer = (struct loop_timer){.on_timer = change_on_settled, .context = change};
    loop_arm(change->gateway->loop, &change->timer, DISPATCH_RENEW_MS * CLOCK_NS_PER_MS);
}

bool change_must_wait(struct gateway *gateway, struct http_conn *conn) {
    *(struct request *)http_conn_context(conn) = (struct request){.gateway = gateway, .conn = conn};
    if (!takeover_is_under_way(gateway))
        return false;
    http_hold(conn);
    return true;
}

void change_start(struct change *change) {
    change->gateway->writes++;
    change->job = (struct job){.run = change_run, .done = change_on_run};
    jobs_add(change->gateway->jobs, &change->job);
}
