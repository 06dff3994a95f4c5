/* The page that gateway and worker share, one per worker: which call has started.
 *
 * The server makes it (a sealed memfd of PAGE_BYTES) and hands it to both. Frames carry the data, the page
 * only states; neither side trusts an index or a state that it reads from it.
 *
 * A WASM worker: a slot is one 64-bit word, call id << 2 | state, moved by compare-and-swap:
 *
 *     FREE ──gateway──► SENT ──worker──► RUNNING ──gateway, when answered──► FREE
 *                        └────gateway──► WITHDRAWN ──gateway, when the worker has skipped it or is gone──►
 * FREE
 *
 * It claims every CALL (SENT to RUNNING) before it starts it and skips the frame, answering nothing, when the
 * claim fails.
 *
 * A Node.js or Python process has no compare-and-swap. It serves the calls of its pipe one after the other;
 * the n-th CALL frame has the number n. Two words, each with a single writer:
 *
 *     process, for the call n:   1. started := n    2. read withdrawn: n <= withdrawn? SKIPPED, else run it
 *     gateway, to take back:     1. withdrawn := the last number sent
 *                                2. PAGE_WITHDRAW_MS later, read started: what is beyond it goes elsewhere
 *
 * No call runs twice: were n taken back and run, the process would have read `withdrawn` before it was
 * written (1 of the gateway), so it would have written `started` before that; the gateway, reading much later
 * than any store takes to be seen, would have found started >= n and left n alone. No call is lost: one that
 * the gateway leaves alone, since started >= n, is either run and answered, or the process has seen that it
 * is withdrawn, and then says SKIPPED. A process for which reading is a system call may do without it when
 * its last read is not older than PAGE_UNREAD_MS: with the two times apart the argument holds as before.
 *
 * Answers that are finished but not yet written to the pipe stand in the outbox, so that a long call does not
 * hold them up and the end of the process does not lose them: the gateway may take them from there and then
 * leaves out as many bytes of the pipe. `outbox_at` is the place of its first byte in the stream of
 * all that the process writes. To empty it: outbox_len := 0, then outbox_at := its new place. To add to it:
 * the bytes, the seal (outbox_at + outbox_len, 8 bytes, behind the last byte), then outbox_len. */
#ifndef FAAS_WIRE_PAGE_H
#define FAAS_WIRE_PAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    PAGE_BYTES = 4096,
    PAGE_SLOTS = 64,
    PAGE_OUTBOX_BYTES = 3040,
    PAGE_UNREAD_MS = 2,
    PAGE_WITHDRAW_MS = 5,
};

enum page_state { PAGE_FREE, PAGE_SENT, PAGE_RUNNING, PAGE_WITHDRAWN };

struct page {
    _Atomic uint64_t withdrawn;   /* offset 0. calls up to this number that have not started are taken back */
    _Atomic uint64_t exit_status; /* offset 8. written by the init of a runtime's sandbox before it ends: 1 <<
                                     32 | wait status */
    uint64_t spare[6];
    _Atomic uint64_t slots[PAGE_SLOTS]; /* offset 64 */
    uint64_t spare2[56];
    _Atomic uint64_t started;              /* offset 1024. number of the call that was started last */
    _Atomic uint64_t outbox_at;            /* offset 1032 */
    _Atomic uint64_t outbox_len;           /* offset 1040 */
    uint8_t outbox[PAGE_OUTBOX_BYTES + 8]; /* offset 1048. with its seal; to the end of the page */
};
_Static_assert(sizeof(struct page) == PAGE_BYTES, "the runtimes know the offsets");

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
