#include "egress/resolver.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "egress/dns.h"

enum { RESOLVER_STACK_BYTES = 256 << 10 };

struct resolver_task {
    struct resolver *resolver;
    uint8_t packet[DNS_PACKET_BYTES];
    struct dns_query query;
    struct sockaddr_in from;
};

_Static_assert((int)NAMES_ADDRESSES_MAX <= (int)DNS_ADDRESSES_MAX, "all that a name has fit an answer");

static void resolver_answer(const struct resolver_task *task, const struct dns_result *result) {
    uint8_t answer[DNS_PACKET_BYTES];
    size_t len = dns_answer(task->packet, &task->query, result, answer);
    sendto(task->resolver->fd, answer, len, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&task->from,
           sizeof task->from);
}

static void resolver_fail(const struct resolver_task *task, int code) {
    resolver_answer(task, &(struct dns_result){.code = code});
}

static void *resolver_run(void *context) {
    struct resolver_task *task = context;
    struct resolver *resolver = task->resolver;
    struct dns_result result = {.code = DNS_OK};
    struct names_entry entry;
    struct err err;
    int rc = names_look_up(resolver->names, task->query.name, &entry, &err);
    if (rc == 0) {
        for (int i = 0; i < entry.count; i++)
            result.addresses[result.count++] = names_inside(&entry, i);
        resolver_answer(task, &result);
    } else {
        if (task->query.type == DNS_TYPE_A)
            notice_write(resolver->notice, "%s was not found: %s", task->query.name, err.msg);
        resolver_fail(task, rc == -ERR_NOT_FOUND ? DNS_NO_SUCH_NAME : DNS_SERVER_FAILED);
    }
    free(task);
    atomic_fetch_sub(&resolver->running, 1);
    return NULL;
}

/* Takes over the task. */
static void resolver_start(struct resolver_task *task) {
    struct resolver *resolver = task->resolver;
    pthread_attr_t attributes;
    pthread_t thread;
    if (atomic_fetch_add(&resolver->running, 1) < RESOLVER_THREADS && bucket_take(resolver->lookups)) {
        pthread_attr_init(&attributes);
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&attributes, RESOLVER_STACK_BYTES);
        bool started = pthread_create(&thread, &attributes, resolver_run, task) == 0;
        pthread_attr_destroy(&attributes);
        if (started)
            return;
    }
    atomic_fetch_sub(&resolver->running, 1);
    resolver_fail(task, DNS_SERVER_FAILED);
    free(task);
}

/* True: the task was taken over. */
static bool resolver_take(struct resolver_task *task) {
    struct resolver *resolver = task->resolver;
    const struct dns_query *query = &task->query;
    if (!query->name[0] || !allow_has_name(&resolver->rule->allow, query->name, 0)) {
        /* Asked for both kinds of address, it is one attempt. */
        if (query->type != DNS_TYPE_AAAA)
            notice_write(resolver->notice, "lookup of %s refused: not in allow=",
                         query->name[0] ? query->name : "a name that is none");
        resolver_fail(task, DNS_NO_SUCH_NAME);
        return false;
    }
    if (query->type != DNS_TYPE_A && query->type != DNS_TYPE_AAAA) {
        resolver_fail(task, DNS_OK); /* there is such a name, and nothing of that kind */
        return false;
    }
    resolver_start(task);
    return true;
}

void resolver_serve(struct resolver *resolver) {
    MEM_FREE struct resolver_task *task = malloc(sizeof *task);
    if (!task)
        return;
    socklen_t from_len = sizeof task->from;
    task->resolver = resolver;
    ssize_t got = recvfrom(resolver->fd, task->packet, sizeof task->packet, MSG_DONTWAIT | MSG_TRUNC,
                           (struct sockaddr *)&task->from, &from_len);
    if (got > 0 && from_len == sizeof task->from && dns_parse(task->packet, (size_t)got, &task->query) &&
        resolver_take(task))
        task = NULL;
}
