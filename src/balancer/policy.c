#include "balancer/policy.h"

static bool policy_is_free(const struct policy_worker *worker, uint64_t room_ns) {
    return worker->usable && worker->in_flight < worker->window && worker->backlog_ns <= room_ns;
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

static int policy_pick_rr(struct policy *policy, const struct policy_worker *workers, uint32_t count,
                          uint64_t room_ns) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = (uint32_t)(((uint64_t)policy->next + i) % count);
        if (policy_is_free(&workers[at], room_ns)) {
            policy->next = at + 1;
            return (int)at;
        }
    }
    return -1;
}

static int policy_pick_fifo(const struct policy_worker *workers, uint32_t count, uint64_t room_ns) {
    int best = -1;
    for (uint32_t i = 0; i < count; i++)
        if (policy_is_free(&workers[i], room_ns) &&
            (best < 0 || workers[i].in_flight < workers[best].in_flight))
            best = (int)i;
    return best;
}

/* Start-time fair queueing among those with the least load: a worker that was away or slow is behind in pass;
 * it counts as level with the last pick, so that it does not get a burst of all it has missed. */
static uint64_t policy_start(const struct policy *policy, const struct policy_worker *worker) {
    return worker->pass > policy->pass ? worker->pass : policy->pass;
}

/* Whole units of the least weight: finer, and a heavy worker would get no more calls than a light one as soon
 * as both are busy, because they work at the same speed. */
static uint64_t policy_level(const struct policy_worker *worker, uint64_t least_weight) {
    return worker->in_flight * least_weight / policy_weight(worker);
}

static uint64_t policy_least_weight(const struct policy_worker *workers, uint32_t count) {
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < count; i++)
        if (workers[i].usable && policy_weight(&workers[i]) < least)
            least = policy_weight(&workers[i]);
    return least;
}

static int policy_pick_weighted(struct policy *policy, struct policy_worker *workers, uint32_t count,
                                uint64_t room_ns) {
    uint64_t least_weight = policy_least_weight(workers, count), best_level = 0, best_start = 0;
    int best = -1;
    for (uint32_t i = 0; i < count; i++) {
        if (!policy_is_free(&workers[i], room_ns))
            continue;
        uint64_t level = policy_level(&workers[i], least_weight), start = policy_start(policy, &workers[i]);
        if (best >= 0 && (level > best_level || (level == best_level && start >= best_start)))
            continue;
        best = (int)i;
        best_level = level;
        best_start = start;
    }
    if (best >= 0) {
        policy->pass = best_start;
        workers[best].pass = best_start + POLICY_PASS / policy_weight(&workers[best]);
    }
    return best;
}

int policy_pick(struct policy *policy, struct policy_worker *workers, uint32_t count, uint64_t room_ns) {
    switch (policy->strategy) {
    case POLICY_FIFO:
        return policy_pick_fifo(workers, count, room_ns);
    case POLICY_WEIGHTED:
        return policy_pick_weighted(policy, workers, count, room_ns);
    case POLICY_RR:
    case POLICY_COUNT:
        break;
    }
    return policy_pick_rr(policy, workers, count, room_ns);
}
