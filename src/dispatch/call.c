#include "dispatch/call.h"

#include <stdio.h>
#include <stdlib.h>

#define CALL_BIT(state) (1u << (state))

static const struct {
    const char *name;
    unsigned allowed; /* the states that may follow */
} call_moves[CALL_STATES] = {
    [CALL_NEW] = {"new", CALL_BIT(CALL_QUEUED) | CALL_BIT(CALL_SENT) | CALL_BIT(CALL_ANSWERED)},
    [CALL_QUEUED] = {"queued", CALL_BIT(CALL_SENT) | CALL_BIT(CALL_ANSWERED) | CALL_BIT(CALL_RETURNED)},
    [CALL_SENT] = {"sent", CALL_BIT(CALL_QUEUED) | CALL_BIT(CALL_RUNNING) | CALL_BIT(CALL_ANSWERED)},
    [CALL_RUNNING] = {"running", CALL_BIT(CALL_QUEUED) | CALL_BIT(CALL_ANSWERED)},
    [CALL_ANSWERED] = {"answered", 0},
    [CALL_RETURNED] = {"returned", 0},
};

const char *call_state_name(enum call_state state) {
    return state < CALL_STATES ? call_moves[state].name : "?";
}

void call_move(struct call *call, enum call_state to) {
    if (!(call_moves[call->state].allowed & CALL_BIT(to))) {
        fprintf(stderr, "call %llu: %s to %s is no move\n", (unsigned long long)call->id,
                call_state_name(call->state), call_state_name(to));
        abort();
    }
    call->state = to;
}
