#include "balancer/policy.h"

static bool policy_is_free(const struct policy_worker *worker) {
    return worker->usable && worker->in_flight < worker->window;
}

static uint64_t policy_weight(const struct policy_worker *worker) {
    return worker->weight ? worker->weight : 1;
}

void policy_join(struct policy_worker *workers, uint32_t count, uint32_t joined) {
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < count; i++)
        if (i != joined && workers[i].usable && workers[i].pass < least)
            least = workers[i].pass;
    workers[joined].pass = least == UINT64_MAX ? 0 : least;
}

static int policy_pick_rr(struct policy *policy, const struct policy_worker *workers, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = (uint32_t)(((uint64_t)policy->next + i) % count);
        if (policy_is_free(&workers[at])) {
            policy->next = at + 1;
            return (int)at;
        }
    }
    return -1;
}

static int policy_pick_fifo(const struct policy_worker *workers, uint32_t count) {
    int best = -1;
    for (uint32_t i = 0; i < count; i++)
        if (policy_is_free(&workers[i]) && (best < 0 || workers[i].in_flight < workers[best].in_flight))
            best = (int)i;
    return best;
}

/* Start-time fair queueing among those with the least load: a worker that was away or slow is behind in pass;
 * it counts as level with the last pick, so that it does not get a burst of all it has missed. */
static uint64_t policy_start(const struct policy *policy, const struct policy_worker *worker) {
    return worker->pass > policy->pass ? worker->pass : policy->pass;
}

static bool policy_is_lighter(const struct policy *policy, const struct policy_worker *a,
                              const struct policy_worker *b) {
    uint64_t load_a = a->in_flight * policy_weight(b), load_b = b->in_flight * policy_weight(a);
    return load_a != load_b ? load_a < load_b : policy_start(policy, a) < policy_start(policy, b);
}

static int policy_pick_weighted(struct policy *policy, struct policy_worker *workers, uint32_t count) {
    int best = -1;
    for (uint32_t i = 0; i < count; i++)
        if (policy_is_free(&workers[i]) &&
            (best < 0 || policy_is_lighter(policy, &workers[i], &workers[best])))
            best = (int)i;
    if (best >= 0) {
        policy->pass = policy_start(policy, &workers[best]);
        workers[best].pass = policy->pass + POLICY_PASS / policy_weight(&workers[best]);
    }
    return best;
}

int policy_pick(struct policy *policy, struct policy_worker *workers, uint32_t count) {
    switch (policy->strategy) {
    case POLICY_FIFO:
        return policy_pick_fifo(workers, count);
    case POLICY_WEIGHTED:
        return policy_pick_weighted(policy, workers, count);
    case POLICY_RR:
    case POLICY_COUNT:
        break;
    }
    return policy_pick_rr(policy, workers, count);
}
