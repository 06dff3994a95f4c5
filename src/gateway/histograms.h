/* Which function versions have histograms of their own in /metrics. With ten thousand functions all of them
 * would be 50 MB a scrape; so the first HISTOGRAMS_SHOWN_MAX that are called have, and the others are one.
 * Whoever is among the others stays there: a series never falls. A current version takes the place of one
 * that is not current any more. */
#ifndef FAAS_GATEWAY_HISTOGRAMS_H
#define FAAS_GATEWAY_HISTOGRAMS_H

#include "dispatch/stats.h"
#include "storage/storage.h"

enum { HISTOGRAMS_SHOWN_MAX = 500, HISTOGRAMS_KINDS = 4 };

/* Embedded in the gateway; zeroed at first. */
struct histograms {
    struct storage_version *shown[HISTOGRAMS_SHOWN_MAX]; /* borrowed: they are forgotten before they go */
    uint32_t shown_count;
    bool any_other;                                /* a version is or was among the others */
    struct stats_histogram gone[HISTOGRAMS_KINDS]; /* of others whose version is gone */
    struct stats_histogram others[HISTOGRAMS_KINDS];
};

/* A scrape: begin, every version that was called, then append. */
void histograms_begin(struct histograms *histograms);
void histograms_take(struct histograms *histograms, struct storage_version *version);
void histograms_append(const struct histograms *histograms, struct buf *out);
/* The version has histograms of its own. */
bool histograms_shows(const struct storage_version *version);
/* When a version is deleted, or at the latest before it goes. */
void histograms_forget(struct histograms *histograms, struct storage_version *version);

#endif
