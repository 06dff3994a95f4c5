/* What the dispatcher's files share; nobody else includes this. */
#ifndef FAAS_DISPATCH_DISPATCH_INTERNAL_H
#define FAAS_DISPATCH_DISPATCH_INTERNAL_H

#include "dispatch/cost.h"
#include "dispatch/dispatch.h"
#include "dispatch/link.h"

enum {
    DISPATCH_SWEEP_MS = 5, /* deadlines, queue times, calls stuck behind a long one; off while idle */
    DISPATCH_RECONNECT_MS = 50,
    DISPATCH_SETTLE_MS =
        1000, /* after which workers of a server that is gone are given up, when others are there */
    DISPATCH_BROKEN_MS = 100, /* a process that closed its pipe and goes on living is killed after this */
    DISPATCH_GROW_MS = 4,     /* a function whose calls wait longer gets one process more */
    DISPATCH_ATTEMPTS =
        3, /* a call whose worker died before it started it is sent again, this often at most */
    DISPATCH_GRACE_MS = 500, /* a WASM worker stops its calls itself; killed this long after the deadline */
    DISPATCH_LOAD_GRACE_MS = 2000,
    DISPATCH_STALL_MS = 50,  /* a WASM worker that starts nothing for so long keeps one call, to show … */
    DISPATCH_DEAD_MS = 2000, /* … whether it lives: after this it is killed, and no call is lost */
    DISPATCH_STRATEGY_MS = 2000,    /* how long a change of the strategy waits for the load balancer */
    DISPATCH_VERDICT_MS = 300,      /* how long an ended process waits for the server to say why */
    DISPATCH_RESERVE_S = 2,         /* how long after a quick call a worker is kept free of long ones */
    DISPATCH_WARM_MAX = 32,         /* functions that a new WASM worker makes ready ahead of need */
    DISPATCH_WARM_MS = 10,          /* how long a deploy waits for workers that make it ready */
    DISPATCH_IDLE_S = 60,           /* an idle process is given back */
    DISPATCH_SPIN_CALLS = 2,        /* spins while so many calls or fewer are in flight */
    DISPATCH_SHORT_MS = 5,          /* a longer call closes the window of its function … */
    DISPATCH_CALM_FIRST = 16,       /* … which opens after so many shorter ones of a new function */
    DISPATCH_CALM = 256,            /* … and after so many behind a long one */
    DISPATCH_WINDOW_US = 1000,      /* what a process may have before it, as long as the window is open */
    DISPATCH_PACK_US = 200,         /* up to so much work goes to one process before the next gets some */
    DISPATCH_PIPE_BYTES = 64 << 10, /* … and no call when so much is waiting to be written to it */
    DISPATCH_SHARE_MS = 50, /* a function that waits longer for its first process takes one from another */
    DISPATCH_NOTED_MAX = 32768, /* LOADs that a worker is sent before it is to forget them all … */
    DISPATCH_NOTED_BYTES_MAX = 128 << 20, /* … and bytes of them: half of what worker/functions.h takes */
    DISPATCH_HEAD_BYTES = 2048,           /* of a LOAD, but for the function's variables */
    DISPATCH_STARTS_MAX = 64,             /* processes asked for and not there yet */
};

/* A function version that is called: hangs on storage_version.runtime_data. */
struct dispatch_function {
    struct storage_version *version; /* borrowed: owns this */
    struct call *queue_head, *queue_tail;
    uint32_t queued, in_flight;
    uint64_t loaded_mask; /* WASM: bit = worker number that has its LOAD */
    bool listed;          /* in the ready list: WASM, has queued calls and may run one */
    bool blocked;         /* native code is being made again */
    bool retired;         /* a newer version took its name */
    uint32_t rebuilds;    /* of its native code since a call of it came through */
    struct dispatch_function *ready_next, *ready_prev;
    struct dispatch_function *waiting_next, *waiting_prev; /* the list of those with queued calls */
    struct dispatch_function *all_next, *all_prev;
    struct link *processes; /* list */
    uint32_t process_count, starting;
    struct cost cost;
    uint32_t calm; /* processes: how many short calls are to come before the window opens; 0 = open */
    struct stats stats;
};

/* For the balancer's scaling; see table.h. */
struct load {
    uint64_t at_ns; /* of the last look; 0 = there was no call since */
    uint64_t waiting_ns, reserved_ns, long_ns;
};

struct dispatch_start {              /* a process that the server was asked for */
    uint32_t request;                /* 0 = free */
    uint32_t server;                 /* connection over which */
    struct storage_version *version; /* referenced */
    struct limits limits;            /* that it was asked for with */
};

struct dispatch {
    struct dispatch_config config;
    struct loop *loop;
    uint64_t next_id;
    bool draining;
    dispatch_on_return *on_return; /* another gateway has our place; NULL: no */
    dispatch_on_process *on_process;
    struct dispatch_function *all;
    /* Functions with WASM calls that wait, served in turn. */
    struct dispatch_function *ready_head, *ready_tail;
    struct dispatch_function *waiting;
    struct link *process_links; /* all functions' processes */
    uint32_t queued, in_flight;
    /* WASM workers by number. */
    struct link *wasm[TABLE_WORKERS];
    struct policy_worker workers[TABLE_WORKERS];
    uint32_t worker_count; /* highest number + 1 */
    uint64_t quick_ns;     /* when a WASM call that was not long was last answered */
    struct policy policy;
    struct link *retiring; /* list */
    struct link *dirty;    /* list: frames to write this turn */
    struct dispatch_start starts[DISPATCH_STARTS_MAX];
    uint32_t next_request, usage_request;
    uint32_t process_total, starting, cores;
    uint32_t unwanted; /* bits of runtimes that the server was told no function needs */
    bool crowded;      /* processes: all are in use, see starts.c */
    struct loop_timer sweep, reconnect, settle;
    struct dispatch_warmth *warming; /* deploys that wait */
    /* The server. */
    int server_fd;
    struct loop_watch server_watch;
    uint32_t server; /* number of that connection */
    struct peers_former
        *formers; /* list, owned: servers that were replaced and still have processes of ours */
    bool server_lost_logged;
    /* The load balancer. */
    int balancer_fd;
    struct loop_watch balancer_watch;
    bool balancer_lost_logged;
    struct table *table; /* owned mapping, or NULL */
    struct load load;
    bool strategy_chosen; /* set by PUT: told to a balancer that comes back */
    enum policy_strategy strategy;
    dispatch_on_strategy *on_strategy; /* the one change under way */
    void *strategy_context;
    uint32_t strategy_request;
    struct loop_timer strategy_timer;
    uint32_t seen_generation[TABLE_WORKERS]; /* to count restarts */
    struct dispatch_totals totals;
};

/* dispatch.c */
/* NULL: no memory. */
struct dispatch_function *dispatch_function_of(struct dispatch *dispatch, struct storage_version *version);
bool dispatch_may_run(const struct dispatch_function *function);
/* The one end of a call. */
void dispatch_answer(struct dispatch *dispatch, struct call *call, const struct call_answer *answer);
void dispatch_fail(struct dispatch *dispatch, struct call *call, int code, const char *error);
/* Takes a call off its link: it is not there any more. */
void dispatch_unlink(struct dispatch *dispatch, struct call *call);
void dispatch_requeue(struct dispatch *dispatch,
                      struct call *call); /* not started, off its link: to the front of its queue */
struct call *dispatch_pop(struct dispatch *dispatch, struct dispatch_function *function);
void dispatch_fail_link(struct dispatch *dispatch, struct link *link, int code, const char *error);
void dispatch_fail_queue(struct dispatch *dispatch, struct dispatch_function *function, int code,
                         const char *error);
void dispatch_mark_sent(struct dispatch *dispatch, struct link *link, struct call *call);
void dispatch_mark_dirty(struct dispatch *dispatch, struct link *link);
void dispatch_unmark_dirty(struct dispatch *dispatch, struct link *link);
void dispatch_send_call(struct link *link, const struct call *call, struct call_bytes body);
/* warm: a WASM worker makes it ready when it has time, not at its first call. False, and the link is killed:
 * memory is out, or a secret cannot be opened. */
bool dispatch_send_load(struct link *link, struct storage_version *version, struct call_bytes source,
                        bool warm);
void dispatch_take_answer(struct link *link, const struct frame *frame);

/* wasm.c */
void wasm_attach(struct dispatch *dispatch, const struct message *message, int *fds);
bool wasm_try_send(struct dispatch *dispatch, struct call *call);
void wasm_pump(struct dispatch *dispatch);
/* Where quick calls come and go, long ones leave one worker to them: none may be sent now. */
bool wasm_is_reserved(const struct dispatch *dispatch);
void wasm_list(struct dispatch *dispatch,
               struct dispatch_function *function); /* into the ready list when due */
void wasm_unlist(struct dispatch *dispatch, struct dispatch_function *function);
void wasm_after_answer(struct dispatch *dispatch, struct link *link);
void wasm_sweep(struct dispatch *dispatch, uint64_t now_ns);
void wasm_retire(struct dispatch *dispatch, struct link *link);
/* Every worker forgets the function; its next call brings the LOAD again. */
void wasm_unload(struct dispatch *dispatch, struct dispatch_function *function);
/* Sends the LOAD, where the worker has not had it. warm: it is to make the function ready when it has time.
 */
void wasm_load(struct dispatch *dispatch, struct link *link, struct dispatch_function *function, bool warm);
/* As wasm_unload, and no call starts any more that was sent before. */
void wasm_renew(struct dispatch *dispatch, struct dispatch_function *function);
void wasm_retire_orphans(struct dispatch *dispatch);
void wasm_close_all(struct dispatch *dispatch); /* the end: calls in flight are answered with ERR_DRAINING */
void wasm_publish(struct dispatch *dispatch, struct link *link);
void wasm_refresh_weights(struct dispatch *dispatch);

/* processes.c */
void processes_pump(struct dispatch *dispatch, struct dispatch_function *function);
/* server: number of the connection that brought it. */
void processes_attach(struct dispatch *dispatch, const struct message *message, int *fds, uint32_t server);
void processes_gone(struct dispatch *dispatch, const struct message *message, uint32_t server);
void processes_server_lost(struct dispatch *dispatch, uint32_t server);
extern const struct link_handlers processes_handlers;
/* A process whose function is known. Takes the reference of its version. */
void processes_enlist(struct dispatch *dispatch, struct link *link, struct dispatch_function *function);
/* It is killed, unless it was handed over. */
void processes_close(struct dispatch *dispatch, struct link *link);
/* No further calls. Processes without one go to the other gateway; the sweep takes back what is behind a long
 * call. */
void processes_hand_over(struct dispatch *dispatch);
/* The server was replaced: functions get a process of the new one, and then give back those of the old. */
void processes_replace(struct dispatch *dispatch);
/* Those that are still there from a server that was replaced are given back. */
void processes_retire_former(struct dispatch *dispatch);
void processes_after_answer(struct dispatch *dispatch, struct link *link);
void processes_sweep(struct dispatch *dispatch, uint64_t now_ns);
void processes_retire(struct dispatch_function *function);
void processes_retire_all(struct dispatch *dispatch);
/* The function's processes end, and calls that they have not started go to new ones. */
void processes_renew(struct dispatch_function *function);
void processes_close_all(struct dispatch *dispatch); /* as wasm_close_all */
void processes_give_back(struct link *link);         /* one without a call: it ends by itself */
void processes_kill(struct dispatch *dispatch, struct link *link, int code); /* why: see link.h, kill_code */

/* cpu.c */
/* The call has started, and has not been answered. */
void cpu_watch(struct dispatch *dispatch, struct link *link, const struct call *call, uint64_t now_ns);
void cpu_on_usage(struct dispatch *dispatch, const struct message *message, uint32_t server);

/* windows.c */
struct call *windows_running(const struct link *link); /* the call that the process is running, or NULL */
struct call *windows_first(const struct link *link);   /* that it was sent, of those that it has, or NULL */
uint32_t windows_size(const struct dispatch_function *function); /* calls that a process may have at a time */
struct link *windows_find(const struct dispatch_function *function); /* who takes a call, or NULL */
void windows_send(struct dispatch *dispatch, struct link *link, struct call *call);
/* Calls beyond `started` up to the number `last` go elsewhere, in their order to the front of their queue.
 * counts: as an attempt. */
void windows_take_back(struct dispatch *dispatch, struct link *link, uint64_t last, bool counts);
void windows_take_answer(struct link *link, const struct frame *frame);
/* False: it is no SKIPPED frame that the process owes. */
bool windows_take_skip(struct link *link, const struct frame *frame);
/* A call has been running for a while: it is to hold up no other. */
void windows_unblock(struct link *link);
/* Calls that the process has not started are not to start; windows_end_withdrawal takes them back. */
void windows_withdraw(struct link *link);
void windows_end_withdrawal(struct dispatch *dispatch, struct link *link);
/* handover.c: at the end of each turn */
void handover_on_turn(struct dispatch *dispatch);
/* True: a process without a call is with the other gateway, and closed here. */
bool handover_process(struct dispatch *dispatch, struct link *link);

/* starts.c */
bool starts_serve_one_call(const struct storage_version *version);               /* each of its processes */
void starts_grow(struct dispatch *dispatch, struct dispatch_function *function); /* it has calls that wait */
/* The version whose start this request was, with its reference, or NULL. */
/* *ret_stale: its limits have changed since it was asked for. */
struct storage_version *starts_take(struct dispatch *dispatch, uint32_t request, bool *ret_stale);
/* Asked for over that connection; 0 = any. */
void starts_forget(struct dispatch *dispatch, uint32_t server);
/* One process more, whatever the load. */
void starts_replace(struct dispatch *dispatch, struct dispatch_function *function);
void starts_failed(struct dispatch *dispatch, const struct message *message);
void starts_sweep(struct dispatch *dispatch, uint64_t now_ns);
/* script.c */
void script_run(struct dispatch *dispatch, struct link *link, struct call *call);
void script_on_text(struct link *link, int stream, struct call_bytes text);
void script_finish(struct dispatch *dispatch, struct link *link);

/* verdict.c */
/* What a process's end means for the call it was running. */
int verdict_of(const struct link *link, const char **ret_error, int *ret_exit_code);

/* sweep.c */
void sweep_arm(struct dispatch *dispatch);
void sweep_on_timer(struct loop_timer *timer);
/* WASM: true when the call had started; marks it RUNNING then. */
bool sweep_has_started(struct call *call, uint64_t now_ns);

/* warm.c */
void warm_worker(struct dispatch *dispatch, struct link *link); /* a new one */
/* A worker has made the version of that key ready, or found that it cannot. */
void warm_take(struct dispatch *dispatch, const struct link *link, uint32_t key);

/* load.c */
/* Part of the sweep: publishes what the WASM workers have to do. */
void load_publish(struct dispatch *dispatch, uint64_t now_ns);

/* peers.c */
void peers_start(struct dispatch *dispatch);
void peers_stop(struct dispatch *dispatch);
bool peers_ask_process(struct dispatch *dispatch, struct storage_version *version, uint32_t request);
bool peers_ask_usage(struct dispatch *dispatch, const struct link *link, uint32_t request);
/* The server is told that a process is ours; false: it is away. */
bool peers_claim_process(struct dispatch *dispatch, const struct message *process);

#endif
