#include "gateway/histograms.h"

#include <stddef.h>
#include <stdio.h>

#include "dispatch/dispatch.h"

/* Of a version; storage_version.series holds one of them. */
enum { HISTOGRAMS_UNDECIDED, HISTOGRAMS_SHOWN, HISTOGRAMS_OTHER, HISTOGRAMS_GONE };

static const struct histograms_kind {
    const char *name, *help;
    size_t offset; /* in struct stats */
} histograms_kinds[HISTOGRAMS_KINDS] = {
    {"faas_queue_seconds", "From a call's arrival until it was sent to a worker.",
     offsetof(struct stats, queue)},
    {"faas_start_seconds", "From there to the function's first instruction.", offsetof(struct stats, start)},
    {"faas_run_seconds", "The function's own time.", offsetof(struct stats, run)},
    {"faas_total_seconds", "From a call's arrival to its answer.", offsetof(struct stats, total)},
};

static const struct stats_histogram *histograms_of(const struct stats *stats, int kind) {
    return (const struct stats_histogram *)(const void *)((const char *)stats +
                                                          histograms_kinds[kind].offset);
}

static void histograms_add(struct stats_histogram *sum, const struct stats_histogram *histogram) {
    for (int i = 0; i < STATS_BUCKETS; i++)
        sum->buckets[i] += histogram->buckets[i];
    sum->sum_ns += histogram->sum_ns;
}

static void histograms_add_all(struct stats_histogram *sums, const struct storage_version *version) {
    const struct stats *stats = dispatch_stats(version);
    for (int kind = 0; stats && kind < HISTOGRAMS_KINDS; kind++)
        histograms_add(&sums[kind], histograms_of(stats, kind));
}

/* A place for a version that is called, or NULL. */
static struct storage_version **histograms_place(struct histograms *histograms,
                                                 const struct storage_version *version) {
    if (histograms->shown_count < HISTOGRAMS_SHOWN_MAX)
        return &histograms->shown[histograms->shown_count++];
    for (uint32_t i = 0; version->current && i < histograms->shown_count; i++) {
        struct storage_version *old = histograms->shown[i];
        if (old->current)
            continue;
        old->series = HISTOGRAMS_OTHER;
        histograms->any_other = true;
        return &histograms->shown[i];
    }
    return NULL;
}

void histograms_begin(struct histograms *histograms) {
    for (int kind = 0; kind < HISTOGRAMS_KINDS; kind++)
        histograms->others[kind] = histograms->gone[kind];
}

void histograms_take(struct histograms *histograms, struct storage_version *version) {
    if (version->series == HISTOGRAMS_UNDECIDED) {
        struct storage_version **place = histograms_place(histograms, version);
        version->series = place ? HISTOGRAMS_SHOWN : HISTOGRAMS_OTHER;
        if (place)
            *place = version;
        else
            histograms->any_other = true;
    }
    if (version->series == HISTOGRAMS_OTHER)
        histograms_add_all(histograms->others, version);
}

bool histograms_shows(const struct storage_version *version) {
    return version->series == HISTOGRAMS_SHOWN;
}

void histograms_forget(struct histograms *histograms, struct storage_version *version) {
    if (version->series == HISTOGRAMS_OTHER)
        histograms_add_all(histograms->gone, version);
    for (uint32_t i = 0; version->series == HISTOGRAMS_SHOWN && i < histograms->shown_count; i++)
        if (histograms->shown[i] == version)
            histograms->shown[i] = histograms->shown[--histograms->shown_count];
    version->series = HISTOGRAMS_GONE;
}

/* ---- text ---- */

static void histograms_append_one(struct buf *out, const char *name, const char *labels,
                                  const struct stats_histogram *histogram) {
    uint64_t sum = 0;
    for (int i = 0; i < STATS_BUCKETS; i++) {
        sum += histogram->buckets[i];
        buf_append_str(out, name);
        buf_append_str(out, "_bucket{");
        buf_append_str(out, labels);
        buf_append_str(out, ",le=\"");
        buf_append_str(out, stats_bucket_labels[i]);
        buf_append_str(out, "\"} ");
        buf_append_u64(out, sum);
        buf_append_str(out, "\n");
    }
    buf_append_format(out, "%s_sum{%s} %llu.%09llu\n", name, labels,
                      (unsigned long long)(histogram->sum_ns / 1000000000),
                      (unsigned long long)(histogram->sum_ns % 1000000000));
    buf_append_format(out, "%s_count{%s} %llu\n", name, labels, (unsigned long long)sum);
}

void histograms_append(const struct histograms *histograms, struct buf *out) {
    char labels[STORAGE_NAME_MAX + 64];
    for (int kind = 0; kind < HISTOGRAMS_KINDS; kind++) {
        const struct histograms_kind *row = &histograms_kinds[kind];
        buf_append_format(out, "# HELP %s %s\n# TYPE %s histogram\n", row->name, row->help, row->name);
        for (uint32_t i = 0; i < histograms->shown_count; i++) {
            const struct storage_version *version = histograms->shown[i];
            const struct stats *stats = dispatch_stats(version);
            snprintf(labels, sizeof labels, "function=\"%s\",version=\"%u\"", version->meta.name,
                     version->meta.version);
            if (stats)
                histograms_append_one(out, row->name, labels, histograms_of(stats, kind));
        }
        /* No function's name begins like this. */
        if (histograms->any_other)
            histograms_append_one(out, row->name, "function=\"_others\",version=\"\"",
                                  &histograms->others[kind]);
    }
}
