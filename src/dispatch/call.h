/* One call's life: its record and its state machine.
 *
 *     NEW ──► QUEUED ──► SENT ──► RUNNING ──► ANSWERED
 *      │        │ ▲       │ │                    ▲
 *      │        │ └───────┘ └────────────────────┤   SENT to QUEUED: withdrawn, or its worker died before it
 * started └────────┴────────────────────────────────┘   refused, timed out in the queue, abandoned
 *
 * RUNNING to QUEUED: its worker had claimed it and could not use the native code (ERR_ARTEFACT), so that
 * nothing of it ran. RUNNING is what the gateway has seen in a WASM worker's page; a quick call, and every
 * call of a Node.js or Python process, goes from SENT to ANSWERED. QUEUED to RETURNED: another gateway has
 * taken our place and makes this call. Every accepted call is answered exactly once, or returned: call_move
 * is the one place that changes the state, and it stops the process on a move that the table does not allow.
 */
#ifndef FAAS_DISPATCH_CALL_H
#define FAAS_DISPATCH_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/storage.h"

enum call_state { CALL_NEW, CALL_QUEUED, CALL_SENT, CALL_RUNNING, CALL_ANSWERED, CALL_RETURNED, CALL_STATES };

struct call;
struct link;

struct call_bytes {
    const uint8_t *data;
    size_t len;
};

/* The outcome of a call. All pointers are borrowed and valid only inside on_answer. */
struct call_answer {
    int code; /* enum err_code; ERR_OK = success */
    int exit_code;
    const char *error;      /* for people, when code is not ERR_OK; else NULL */
    struct call_bytes head; /* of the ANSWER frame: entries `name=value` NUL */
    struct call_bytes output;
    bool cold;
    uint64_t queue_ns, start_ns, run_ns;
};

typedef void call_on_answer(struct call *call, const struct call_answer *answer);

/* Owned by whoever submits it and kept in place until on_answer. */
struct call {
    enum call_state state;
    uint16_t slot;
    uint8_t attempts;                /* how often it was sent to a worker */
    bool cold;                       /* a process was started for it */
    bool http;                       /* status and headers of the answer are used */
    uint32_t timeout_ms;             /* SENT, RUNNING: as it was when it was sent */
    uint32_t cpu_ms;                 /* the same; 0 = no limit */
    uint64_t id;                     /* unique while the gateway lives; never 0; below 2^62 */
    struct storage_version *version; /* one reference held from submit to answer */
    struct call_bytes head;          /* of the CALL frame */
    struct call_bytes body;
    struct link *link; /* SENT, RUNNING: where */
    uint64_t number;   /* on a process: place in the order of what was sent to it, from 1 */
    struct call *next, *prev;
    uint64_t admitted_ns, sent_ns;
    uint64_t expected_ns; /* SENT, RUNNING: what its link was charged for it */
    uint64_t running_ns;  /* when it was first seen running; 0 = not seen */
    call_on_answer *on_answer;
    void *context;
};

void call_move(struct call *call, enum call_state to);
const char *call_state_name(enum call_state state);

#endif
