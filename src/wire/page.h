/* The page that gateway and worker share, one per worker: which call has started.
 *
 * The server makes it (a sealed memfd of PAGE_BYTES) and hands it to both. Frames carry the data, the page
 * only states; neither side trusts an index or a state that it reads from it. A slot is one 64-bit word, call
 * id << 2 | state, moved by compare-and-swap:
 *
 *     FREE ──gateway──► SENT ──worker──► RUNNING ──gateway, when answered──► FREE
 *                        └────gateway──► WITHDRAWN ──gateway, when the worker has skipped it or is gone──►
 * FREE
 *
 * A WASM worker claims every CALL (SENT to RUNNING) before it starts it and skips the frame, answering
 * nothing, when the claim fails. A Node.js or Python process cannot compare-and-swap: it writes the id of the
 * call that it starts to `started` before it starts it, and gets one call at a time. */
#ifndef FAAS_WIRE_PAGE_H
#define FAAS_WIRE_PAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { PAGE_BYTES = 4096, PAGE_SLOTS = 64 };

enum page_state { PAGE_FREE, PAGE_SENT, PAGE_RUNNING, PAGE_WITHDRAWN };

struct page {
    _Atomic uint64_t started;     /* offset 0. Node.js, Python: id of the call that was started last */
    _Atomic uint64_t exit_status; /* offset 8. written by the init of a runtime's sandbox before it ends: 1 <<
                                     32 | wait status */
    uint64_t spare[6];
    _Atomic uint64_t slots[PAGE_SLOTS]; /* offset 64 */
};

static inline uint64_t page_word(uint64_t call_id, enum page_state state) {
    return call_id << 2 | (uint64_t)state;
}

static inline bool page_move(struct page *page, unsigned slot, uint64_t call_id, enum page_state from,
                             enum page_state to) {
    uint64_t expected = page_word(call_id, from);
    return slot < PAGE_SLOTS &&
           atomic_compare_exchange_strong(&page->slots[slot], &expected, page_word(call_id, to));
}

#endif
