#include "http/conn.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    HTTP_ACCEPT_BATCH = 64,
    HTTP_SWEEP_MIN_MS = 10,
    HTTP_SWEEP_MAX_MS = 250,
    HTTP_LOG_PAUSE_S = 10,
    HTTP_STALLED_MS = 1000,    /* how long without a step before a connection may have to make room… */
    HTTP_STALLED_NEW_MS = 250, /* …and one that has not had an answer yet */
};

/* --- what connections share -------------------------------------------------------------------------------
 */

struct http_inbox *http_server_take_inbox(struct http_server *server) {
    struct http_inbox *inbox = SLIST_FIRST(&server->spare_inboxes);
    if (inbox) {
        SLIST_REMOVE_HEAD(&server->spare_inboxes, spare);
        server->spare_inbox_count--;
        return inbox;
    }
    inbox = calloc(1, sizeof *inbox);
    if (!inbox)
        return NULL;
    inbox->cap = HTTP_INBOX_BYTES;
    inbox->data = malloc(inbox->cap);
    if (!inbox->data) {
        free(inbox);
        return NULL;
    }
    http_parser_init(&inbox->parser, &server->limits);
    return inbox;
}

static void server_free_inbox(struct http_inbox *inbox) {
    http_parser_fini(&inbox->parser);
    free(inbox->data);
    free(inbox);
}

void http_server_give_inbox(struct http_server *server, struct http_inbox *inbox) {
    http_server_account(server, inbox->cap - HTTP_INBOX_BYTES, 0);
    if (inbox->cap > HTTP_INBOX_BYTES || server->spare_inbox_count >= HTTP_INBOX_SPARES) {
        server_free_inbox(inbox);
        return;
    }
    inbox->start = inbox->taken = inbox->len = 0;
    SLIST_INSERT_HEAD(&server->spare_inboxes, inbox, spare);
    server->spare_inbox_count++;
}

void http_server_account(struct http_server *server, size_t before, size_t after) {
    server->stats.buffered_bytes += after - before;
}

bool http_server_has_room(const struct http_server *server, size_t more) {
    return server->stats.buffered_bytes <= server->config.buffered_max &&
           more <= server->config.buffered_max - server->stats.buffered_bytes;
}

bool http_server_has_room_for(const struct http_server *server, size_t more, size_t size) {
    size_t kept = size > HTTP_BODY_STEP_BYTES ? server->config.buffered_max / 4 : 0;
    return http_server_has_room(server, more + kept);
}

void http_server_queue(struct http_server *server, struct http_conn *conn) {
    if (conn->queued)
        return;
    conn->queued = true;
    TAILQ_INSERT_TAIL(&server->ready, conn, ready);
    /* A timer, not a deferred call: what on_request gathers is written by the hooks at the end of a turn. */
    if (!server->pump.armed)
        loop_arm(server->config.loop, &server->pump, 0);
}

static void server_on_pump(struct loop_timer *timer) {
    struct http_server *server = timer->context;
    struct http_conn *conn, *last = TAILQ_LAST(&server->ready, http_conn_queue);
    /* One round: a connection that comes back into the queue waits for the next. */
    while ((conn = TAILQ_FIRST(&server->ready))) {
        bool done = conn == last;
        http_conn_pump(conn);
        if (done)
            break;
    }
    if (!TAILQ_EMPTY(&server->ready) && !timer->armed)
        loop_arm(server->config.loop, timer, 0);
}

/* --- accepting --------------------------------------------------------------------------------------------
 */

static void server_arm_sweep(struct http_server *server) {
    if (!server->sweep.armed)
        loop_arm(server->config.loop, &server->sweep, server->sweep_ns);
}

/* Waiting clients stay in the kernel's queue meanwhile. */
static void server_set_accepting(struct http_server *server, bool accepting) {
    struct err err;
    if (server->draining || server->on_hand_over || server->accepting == accepting)
        return;
    if (loop_rewatch(server->config.loop, &server->listener, accepting ? EPOLLIN : 0, &err) == 0)
        server->accepting = accepting;
    server_arm_sweep(server);
}

static struct http_conn *server_take_conn(struct http_server *server) {
    struct http_conn *conn = LIST_FIRST(&server->spare_conns);
    if (!conn)
        return aligned_alloc(_Alignof(struct http_conn), sizeof *conn);
    LIST_REMOVE(conn, all);
    server->spare_conn_count--;
    return conn;
}

static void server_give_conn(struct http_server *server, struct http_conn *conn) {
    if (server->spare_conn_count >= HTTP_CONN_SPARES) {
        free(conn);
        return;
    }
    LIST_INSERT_HEAD(&server->spare_conns, conn, all);
    server->spare_conn_count++;
}

void http_server_forget(struct http_server *server, struct http_conn *conn) {
    LIST_REMOVE(conn, all);
    server->stats.connections--;
    server_give_conn(server, conn);
    server_set_accepting(server, true);
}

struct http_conn *http_server_take(struct http_server *server, int fd, const struct sockaddr_storage *peer) {
    struct http_conn *conn = server_take_conn(server);
    struct err err;
    if (!conn) {
        close(fd);
        return NULL;
    }
    memset(conn, 0, sizeof *conn);
    conn->server = server;
    conn->peer = *peer;
    conn->watch = (struct loop_watch){.fd = fd, .on_event = http_conn_on_event, .context = conn};
    conn->stamp_ns = loop_now_ns(server->config.loop);
    if (loop_watch(server->config.loop, &conn->watch, EPOLLIN, &err) != 0) {
        close(fd);
        server_give_conn(server, conn);
        return NULL;
    }
    LIST_INSERT_HEAD(&server->conns, conn, all);
    server->stats.connections++;
    server->stats.accepted++;
    server_arm_sweep(server);
    return conn;
}

/* Neither spins on a listener that stays readable nor dies: tries again with the next sweep, or when a
 * connection ends. */
static void server_on_shortage(struct http_server *server, int sys_errno) {
    uint64_t now_ns = loop_now_ns(server->config.loop);
    if (now_ns >= server->log_after_ns) {
        log_event("http: accepting pauses: %s", strerror(sys_errno));
        server->log_after_ns = now_ns + HTTP_LOG_PAUSE_S * CLOCK_NS_PER_S;
    }
    server_set_accepting(server, false);
}

static void server_on_listener(struct loop_watch *watch, uint32_t events) {
    struct http_server *server = watch->context;
    (void)events;
    for (int i = 0; i < HTTP_ACCEPT_BATCH && server->accepting; i++) {
        if (server->stats.connections >= server->config.connections_max) {
            server_set_accepting(server, false);
            return;
        }
        struct sockaddr_storage peer = {0};
        socklen_t len = sizeof peer;
        int fd = accept4(watch->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            http_server_take(server, fd, &peer);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            server_on_shortage(server, errno);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } /* anything else is about that one connection */
    }
}

/* --- relief -----------------------------------------------------------------------------------------------
 */

/* Which connections of a kind may be closed to make room: those that have stalled, the longest first. */
struct server_relief {
    uint32_t phases; /* bits */
    uint64_t now_ns, oldest_ns;
    uint32_t left; /* to be closed at most */
};

static uint64_t server_stalled_ns(const struct server_relief *relief, const struct http_conn *conn) {
    if (!(relief->phases & 1u << conn->phase) || relief->now_ns < conn->stamp_ns)
        return 0;
    uint64_t stalled_ns = relief->now_ns - conn->stamp_ns;
    uint64_t patience_ms = conn->sent ? HTTP_STALLED_MS : HTTP_STALLED_NEW_MS;
    return stalled_ns >= patience_ms * CLOCK_NS_PER_MS ? stalled_ns : 0;
}

/* The older half of them, by their time: no order of all is kept for the sake of this. */
static void server_relieve(struct http_server *server, struct server_relief *relief) {
    struct http_conn *conn;
    LIST_FOREACH(conn, &server->conns, all) {
        uint64_t stalled_ns = server_stalled_ns(relief, conn);
        if (stalled_ns > relief->oldest_ns)
            relief->oldest_ns = stalled_ns;
    }
    if (relief->oldest_ns == 0)
        return;
    uint64_t evicted = server->stats.evicted;
    conn = LIST_FIRST(&server->conns);
    while (conn && relief->left > 0) {
        struct http_conn *next = LIST_NEXT(conn, all);
        if (server_stalled_ns(relief, conn) > relief->oldest_ns / 2) {
            http_conn_close(conn);
            server->stats.evicted++;
            relief->left--;
        }
        conn = next;
    }
    if (relief->now_ns >= server->relief_log_after_ns) {
        log_event("http: %llu stalled connections closed to make room for others",
                  (unsigned long long)(server->stats.evicted - evicted));
        server->relief_log_after_ns = relief->now_ns + HTTP_LOG_PAUSE_S * CLOCK_NS_PER_S;
    }
}

/* At the most of connections, and near the most of memory. */
static void server_make_room(struct http_server *server, uint64_t now_ns) {
    const struct http_config *config = &server->config;
    if (server->stats.connections >= config->connections_max) {
        struct server_relief relief = {.phases = 1u << HTTP_PHASE_IDLE | 1u << HTTP_PHASE_HEAD |
                                                 1u << HTTP_PHASE_LINGERING,
                                       .now_ns = now_ns,
                                       .left = config->connections_max / 4 + 1};
        server_relieve(server, &relief);
    }
    if (server->stats.buffered_bytes > config->buffered_max / 2) {
        struct server_relief relief = {.phases = 1u << HTTP_PHASE_HEAD | 1u << HTTP_PHASE_BODY |
                                                 1u << HTTP_PHASE_WRITING,
                                       .now_ns = now_ns,
                                       .left = UINT32_MAX};
        server_relieve(server, &relief);
    }
}

static void server_on_sweep(struct loop_timer *timer) {
    struct http_server *server = timer->context;
    uint64_t now_ns = loop_now_ns(server->config.loop);
    struct http_conn *conn = LIST_FIRST(&server->conns);
    while (conn) {
        struct http_conn *next = LIST_NEXT(conn, all);
        uint64_t timeout_ns = server->timeout_ns[conn->phase];
        if (timeout_ns && now_ns > conn->stamp_ns && now_ns - conn->stamp_ns >= timeout_ns)
            http_conn_on_timeout(conn);
        conn = next;
    }
    server_make_room(server, now_ns);
    if (server->stats.connections < server->config.connections_max)
        server_set_accepting(server, true);
    if (!LIST_EMPTY(&server->conns))
        server_arm_sweep(server);
}

/* --- life -------------------------------------------------------------------------------------------------
 */

static void server_set_timeouts(struct http_server *server) {
    const struct http_config *config = &server->config;
    uint32_t timeout_ms[HTTP_PHASE_COUNT] = {
        [HTTP_PHASE_IDLE] = config->idle_timeout_ms,       [HTTP_PHASE_HEAD] = config->request_timeout_ms,
        [HTTP_PHASE_BODY] = config->body_timeout_ms,       [HTTP_PHASE_WRITING] = config->write_timeout_ms,
        [HTTP_PHASE_LINGERING] = (uint32_t)HTTP_LINGER_MS,
    };
    uint32_t sweep_ms = HTTP_SWEEP_MAX_MS;
    for (int i = 0; i < HTTP_PHASE_COUNT; i++) {
        server->timeout_ns[i] = timeout_ms[i] * CLOCK_NS_PER_MS;
        if (timeout_ms[i] && timeout_ms[i] / 8 < sweep_ms)
            sweep_ms = timeout_ms[i] / 8;
    }
    server->sweep_ns = (sweep_ms < HTTP_SWEEP_MIN_MS ? HTTP_SWEEP_MIN_MS : sweep_ms) * CLOCK_NS_PER_MS;
}

int http_server_new(const struct http_config *config, struct http_server **ret_server, struct err *err) {
    struct http_server *server = mem_zalloc(sizeof *server);
    server->config = *config;
    server->limits = (struct http_limits){config->line_max, config->headers_max, config->body_max};
    server_set_timeouts(server);
    LIST_INIT(&server->conns);
    LIST_INIT(&server->spare_conns);
    TAILQ_INIT(&server->ready);
    SLIST_INIT(&server->spare_inboxes);
    server->sweep = (struct loop_timer){.on_timer = server_on_sweep, .context = server};
    server->pump = (struct loop_timer){.on_timer = server_on_pump, .context = server};
    server->listener =
        (struct loop_watch){.fd = config->listen_fd, .on_event = server_on_listener, .context = server};
    /* Connections inherit it; a listener that is not TCP has no use for it. */
    int on = 1;
    setsockopt(config->listen_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    int rc = loop_watch(config->loop, &server->listener, EPOLLIN, err);
    if (rc < 0) {
        free(server);
        return err_wrap(err, "listening socket");
    }
    server->accepting = true;
    *ret_server = server;
    return 0;
}

void http_server_drain(struct http_server *server) {
    struct err err;
    if (server->draining)
        return;
    loop_unwatch(server->config.loop, &server->listener);
    server->draining = true;
    err_set(&err, ERR_DRAINING, "the platform is shutting down");
    struct http_conn *conn = LIST_FIRST(&server->conns);
    while (conn) {
        struct http_conn *next = LIST_NEXT(conn, all);
        if (conn->phase == HTTP_PHASE_HEAD || conn->phase == HTTP_PHASE_BODY)
            http_conn_refuse(conn, &err);
        else if (conn->phase == HTTP_PHASE_IDLE && !conn->pumping)
            http_conn_close(conn);
        conn = next;
    }
}

bool http_server_is_idle(const struct http_server *server) {
    return server->busy == 0;
}

void http_server_free(struct http_server *server) {
    if (!server)
        return;
    server->draining = true;
    loop_unwatch(server->config.loop, &server->listener);
    while (!LIST_EMPTY(&server->conns))
        http_conn_close(LIST_FIRST(&server->conns));
    loop_disarm(server->config.loop, &server->sweep);
    loop_disarm(server->config.loop, &server->pump);
    struct http_conn *conn;
    while ((conn = LIST_FIRST(&server->spare_conns))) {
        LIST_REMOVE(conn, all);
        free(conn);
    }
    struct http_inbox *inbox;
    while ((inbox = SLIST_FIRST(&server->spare_inboxes))) {
        SLIST_REMOVE_HEAD(&server->spare_inboxes, spare);
        server_free_inbox(inbox);
    }
    buf_fini(&server->scratch);
    free(server);
}

const struct http_stats *http_server_stats(const struct http_server *server) {
    return &server->stats;
}
