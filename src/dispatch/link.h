/* A worker as the dispatcher sees it: its pipes, its page, the calls that are in flight on it.
 *
 * The link owns its descriptors and the mapping. It knows nothing of queues or functions' limits: it writes
 * frames (gathered, one write a turn), reads frames and hands them up. */
#ifndef FAAS_DISPATCH_LINK_H
#define FAAS_DISPATCH_LINK_H

#include "base/buf.h"
#include "base/loop.h"
#include "dispatch/call.h"
#include "wire/frame.h"
#include "wire/message.h"
#include "wire/page.h"

enum { LINK_WINDOW = 16, LINK_TAIL_BYTES = 4096 };

typedef void link_on_frame(struct link *link, const struct frame *frame);
/* The pipe is at its end or broke, or what came is no frame of ours (err says so). Fires once. */
typedef void link_on_end(struct link *link, const struct err *err);
/* The worker's process ended (its pidfd says so). Fires once. */
typedef void link_on_exit(struct link *link);
/* A process wrote to stdout (1) or stderr (2). */
typedef void link_on_text(struct link *link, int stream, struct call_bytes text);

struct link_handlers {
    link_on_frame *on_frame;
    link_on_end *on_end;
    link_on_exit *on_exit;
    link_on_text *on_text;
};

/* What is known of the CPU time of the call that runs; see cpu.c. */
struct link_cpu {
    uint64_t call_id;
    uint32_t limit_ms, before_ms; /* before_ms: of the process when the call was first seen running */
    uint32_t request;             /* that was asked last */
    bool asked, known;
    uint64_t due_ns; /* when to ask again */
};

struct link {
    const struct link_handlers *handlers; /* borrowed: static */
    struct loop *loop;                    /* borrowed */
    void *owner;                          /* the dispatcher */
    enum runtime runtime;
    uint32_t worker, generation;
    int32_t pid;
    int calls_fd, answers_fd, pidfd, stdin_fd, stdout_fd, stderr_fd; /* owned; -1 = none */
    int page_fd;                                                     /* process: owned, to hand it on */
    struct page *page;                                               /* owned mapping */
    struct loop_watch calls_watch, answers_watch, pidfd_watch, stdin_watch, stdout_watch, stderr_watch;
    struct buf out, in; /* frames to write, bytes read */
    size_t out_sent;    /* bytes of out that are written */
    bool out_secret;    /* out holds or held secrets: it is wiped when all of it is written */
    uint32_t frame_max; /* largest payload that is taken from the worker */
    uint64_t received;  /* process: bytes of its stream of frames that were taken, from pipe and outbox */
    size_t ahead;       /* process: as many of them are still to come through the pipe */
    struct call *slots[LINK_WINDOW];
    uint32_t in_flight;
    uint64_t backlog_ns;     /* what those in flight are expected to take in all */
    uint64_t calls, mean_ns; /* answered; moving average of their run */
    uint64_t busy_ns;        /* start and run of all of them */

    /* The dispatcher's. */
    bool busy;     /* one call has been running for a while, send no more */
    bool retiring; /* no further calls; closed when the last is answered */
    bool orphan;   /* its server is gone, or was replaced */
    bool ended;    /* on_end fired */
    bool exited;   /* on_exit fired */
    bool leaving;  /* process: another gateway gets it when it has answered what it has */
    bool handed;   /* … and has it */
    bool loaded;   /* process: the function is there */
    bool script;
    bool single;    /* process: for one call */
    bool fresh;     /* process: has had no call yet */
    bool stuck;     /* process: killed since it did not start what it had */
    uint32_t noted; /* WASM: LOADs that it was sent, and bytes of their heads */
    size_t noted_bytes;
    bool dirty;    /* has frames to write this turn */
    int kill_code; /* enum err_code that its running call is answered with, since we killed it; 0 = we did not
                    */
    int gone_code; /* what the server said of its end; 0 = nothing yet */
    uint64_t since_ns; /* when it was loaded or answered last, or had nothing before; exited: when it ended */
    uint64_t sent;     /* process: calls that were sent to it */
    uint64_t withdrawn, withdrawn_ns; /* process: what was written to its page, and when; 0 = taken back */
    uint32_t server;                  /* process: number of the connection that brought it */
    uint32_t skips;                   /* process: SKIPPED frames that it owes for calls that went elsewhere */
    struct link_cpu cpu;              /* process */
    struct dispatch_function *function; /* process: borrowed, its version is referenced */
    struct link *next, *prev;           /* the function's processes, or the retiring workers */
    struct link *all_next, *all_prev;   /* all processes */
    struct link *dirty_next;
    struct buf output;              /* script: what came from stdout */
    size_t stdin_sent;              /* script: bytes of the payload that are written */
    char tail[LINK_TAIL_BYTES + 1]; /* process: the end of what it wrote to stderr, terminated */
    size_t tail_len;
};

/* Takes over the descriptors of a SERVER_WORKER (4) or SERVER_PROCESS (7) message; they are closed on failure
 * too. */
int link_open(struct loop *loop, const struct link_handlers *handlers, const struct message *message,
              int *fds, struct link **ret_link, struct err *err);
/* Stops watching and frees at the end of this turn. Calls in flight are the caller's business before. */
void link_close(struct link *link);

/* Process: takes finished answers that stand in its page and hands them up. */
void link_take_outbox(struct link *link);

/* Appends a frame. A large body is written at once, past the buffer, when nothing is waiting. */
void link_send(struct link *link, const struct frame_header *header, struct call_bytes head,
               struct call_bytes body);
/* Writes what is gathered; what the pipe does not take is written when it does. */
void link_flush(struct link *link);
/* End of file for the worker: it ends when it has answered what it has. */
void link_shut(struct link *link);
/* SIGKILL. */
void link_kill(struct link *link);

/* Script: starts writing the payload to stdin and closes it at its end. The bytes stay in place until the
 * link is closed. */
void link_feed_stdin(struct link *link, struct call_bytes payload);
/* Reads what is still in stdout and stderr (the process has ended). */
void link_drain_text(struct link *link);

/* Puts a call into a free slot and marks it SENT in the page. The caller has checked that there is one. */
void link_claim_slot(struct link *link, struct call *call);
void link_free_slot(struct link *link, struct call *call);

#endif
