/* Messages on the UNIX sockets of the run directory (faas_lb.sock, faas_server.sock, faas_gateway.sock and
 * faas_supervisor.sock; SOCK_SEQPACKET, so that one message is one packet with its descriptors) and on a
 * worker's control socket. One table: number,
 * name, fields, descriptors.
 *
 * A message on the wire is struct message, whole. Small and fixed: these are beside the path of a call. */
#ifndef FAAS_WIRE_MESSAGE_H
#define FAAS_WIRE_MESSAGE_H

#include <stdint.h>

#include "base/err.h"
#include "wire/limits.h"

enum { MESSAGE_FORMAT = 1, MESSAGE_FDS_MAX = 8, MESSAGE_TEXT_BYTES = 256 };

/* X(NAME, number, from, to, descriptors, what it says) */
#define MESSAGE_TABLE(X)                                                                                     \
    /* to the load balancer */                                                                               \
    X(LB_HELLO, 1, "server or gateway", "load_balancer", 0,                                                  \
      "who: role; the server also how many workers it keeps: target, least, most. Answer: LB_TABLE")         \
    X(LB_TABLE, 2, "load_balancer", "both", 1, "the worker table (memfd)")                                   \
    X(LB_REGISTER, 3, "server", "load_balancer", 0,                                                          \
      "worker, pid, generation, weight. Answer: LB_REGISTERED")                                              \
    X(LB_REGISTERED, 4, "load_balancer", "server", 0, "worker, pid")                                         \
    X(LB_GONE, 5, "server", "load_balancer", 0, "worker, pid: it died (code ERR_CRASH) or was retired (0)")  \
    X(LB_STRATEGY, 6, "gateway", "load_balancer", 0, "text: RR, FIFO, WEIGHTED. Answer: LB_STRATEGY_SET")    \
    X(LB_STRATEGY_SET, 7, "load_balancer", "gateway", 0, "text, code")                                       \
    X(LB_SCALE, 8, "load_balancer", "server", 0, "target: how many workers to keep")                         \
    /* between gateway and server */                                                                         \
    X(SERVER_HELLO, 20, "gateway", "server", 0,                                                              \
      "the gateway is here; request: bits (1 << runtime) of those that no function needs yet. Answer: "      \
      "SERVER_WORKER for each")                                                                              \
    X(SERVER_WORKER, 21, "server", "gateway", 4,                                                             \
      "a WASM worker is ready: worker, pid, generation, weight; "                                            \
      "descriptors: calls (write), answers (read), page, pidfd")                                             \
    X(SERVER_START, 22, "gateway", "server", 0, "request, runtime, limits: one process of that runtime")     \
    X(SERVER_PROCESS, 23, "server", "gateway", 7,                                                            \
      "request, worker, pid; descriptors: calls, answers, page, "                                            \
      "pidfd, stdin (write), stdout (read), stderr (read)")                                                  \
    X(SERVER_START_FAILED, 24, "server", "gateway", 0, "request, code, text")                                \
    X(SERVER_GONE, 25, "server", "gateway", 0,                                                               \
      "worker, pid, status (wait status), code: ERR_OOM when the "                                           \
      "memory limit killed it, ERR_PROCESSES, else ERR_CRASH")                                               \
    X(SERVER_DRAINING, 26, "server", "gateway", 0, "no new workers: the server is stopping")                 \
    X(SERVER_RUNTIMES, 27, "server", "gateway", 0,                                                           \
      "text: for each runtime that is missing its name (node, python), space separated; also later than "    \
      "HELLO")                                                                                               \
    X(SERVER_RETIRE, 28, "server", "gateway", 0,                                                             \
      "worker, pid: one fewer is needed; no more calls for it, it ends when it has answered")                \
    X(SERVER_WANTED, 29, "gateway", "server", 0,                                                             \
      "runtime: there is, or soon will be, a function of it: its spares are to be booted")                   \
    X(SERVER_START_NET, 30, "gateway", "server", 1,                                                          \
      "as SERVER_START, of a process that may connect to what the descriptor says (memfd: the gateway's "    \
      "port, a newline, the allow-list, a newline)")                                                         \
    X(SERVER_MEASURE, 33, "gateway", "server", 0, "worker, request: what has this process used?")            \
    X(SERVER_USAGE, 34, "server", "gateway", 0,                                                              \
      "worker, request, target: CPU time in ms of the process and of all below it, since its start")         \
    X(SERVER_REPLACED, 36, "server", "gateway", 0,                                                           \
      "the next server listens in our place; what runs here goes on until it is done")                       \
    X(SERVER_ADOPT, 37, "gateway", "server", 0,                                                              \
      "worker, pid: a process that the gateway before us had is ours now")                                   \
    /* a worker's control socket (descriptor 3 of the worker) */                                             \
    X(WORKER_READY, 40, "worker", "server", 0, "the engine is up")                                           \
    X(WORKER_ATTACH, 41, "server", "worker", 3,                                                              \
      "new pipes: calls (read), answers (write), page; request: their number")                               \
    X(WORKER_ATTACHED, 42, "worker", "server", 0, "request: it reads from the pipes of that number")         \
    /* from one gateway to the next, on faas_gateway.sock */                                                 \
    X(GATEWAY_TAKEOVER, 50, "new gateway", "old gateway", 0, "I take your place: finish what you write")     \
    X(GATEWAY_RELEASED, 51, "old gateway", "new gateway", 0,                                                 \
      "the data directory is free; calls are still served here")                                             \
    X(GATEWAY_READY, 52, "new gateway", "old gateway", 0, "hand over workers and connections")               \
    X(GATEWAY_CONNECTION, 53, "old gateway", "new gateway", 1, "a connection on which no byte waits")        \
    X(GATEWAY_REQUEST, 54, "old gateway", "new gateway", 2,                                                  \
      "a connection, and a memfd of what was read from it and not answered")                                 \
    X(GATEWAY_PROCESS, 55, "old gateway", "new gateway", 7,                                                  \
      "a process of Node.js or Python without a call; runtime, worker, pid, text: the version's id, calls "  \
      "that it was sent, bytes that it has sent; descriptors: as of SERVER_PROCESS")                         \
    /* on faas_supervisor.sock */                                                                            \
    X(RELOAD, 60, "minifaas reload", "minifaas up", 0,                                                       \
      "text: load_balancer, server, api_gateway, or empty: all. Answer: RELOADED")                           \
    X(RELOADED, 61, "minifaas up", "minifaas reload", 0, "code; text: what was done, or what failed")

enum message_type {
#define MESSAGE_ENUM(name, number, from, to, fds, doc) MESSAGE_##name = number,
    MESSAGE_TABLE(MESSAGE_ENUM)
#undef MESSAGE_ENUM
};

enum message_role { MESSAGE_ROLE_SERVER = 1, MESSAGE_ROLE_GATEWAY = 2 };

/* X(NAME, number, process name, lang) */
#define RUNTIME_TABLE(X)                                                                                     \
    X(WASM, 0, "worker", "wasm")                                                                             \
    X(NODE, 1, "worker-node", "js")                                                                          \
    X(PYTHON, 2, "worker-python", "python")

enum runtime {
#define RUNTIME_ENUM(name, number, process, lang) RUNTIME_##name = number,
    RUNTIME_TABLE(RUNTIME_ENUM)
#undef RUNTIME_ENUM
        RUNTIME_COUNT
};

struct message {
    uint8_t type;        /* enum message_type */
    uint8_t format;      /* MESSAGE_FORMAT */
    uint8_t role;        /* enum message_role */
    uint8_t runtime;     /* enum runtime */
    uint32_t worker;     /* WASM worker: 0..; process: a number that is never used again, from 1000 */
    uint32_t generation; /* how often this worker number was started before */
    int32_t pid;
    uint32_t weight;
    uint32_t request;             /* the asker's number, given back in the answer */
    int32_t status;               /* wait status */
    int32_t code;                 /* enum err_code */
    uint32_t target, least, most; /* WASM workers to keep, and the bounds of that */
    struct limits limits;
    char text[MESSAGE_TEXT_BYTES]; /* terminated */
};

/* Listens on path (mode 0600). A stale socket file is replaced; one on which a live process listens is
 * ERR_CONFLICT with a clear message. *ret_fd is non-blocking and close-on-exec. */
int message_listen(const char *path, int *ret_fd, struct err *err);
/* Takes the place of whoever listens on path: from the moment it returns every connection comes here. */
int message_listen_instead(const char *path, int *ret_fd, struct err *err);
/* Removes the socket's file, unless another process listens on it by now. */
void message_unlisten(const char *path);
/* Connects to path (non-blocking after) and checks that the listener runs under our user id or root's. */
int message_connect(const char *path, int *ret_fd, struct err *err);
/* Accepts and checks the peer's user id (ours or root's). 1: *ret_fd; 0: nobody waits. */
int message_accept(int listen_fd, int *ret_fd, struct err *err);

/* One message with its descriptors (borrowed). ERR_UNAVAILABLE when the socket is full, ERR_IO when the peer
 * is gone. */
int message_send(int fd, const struct message *message, const int *fds, int fd_count, struct err *err);
/* 1: *ret_message and *ret_fd_count descriptors (close-on-exec, the caller owns them). 0: nothing there.
 * Negative: the peer is gone (ERR_IO), or sent what is no message of ours (ERR_BAD_REQUEST; its descriptors
 * are closed). */
int message_receive(int fd, struct message *ret_message, int ret_fds[MESSAGE_FDS_MAX], int *ret_fd_count,
                    struct err *err);

#endif
