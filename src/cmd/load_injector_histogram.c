#include "cmd/load_injector.h"

/* Bucket of a value: its 8 highest bits, and how far they are shifted. */
static size_t histogram_index(uint64_t value) {
    int bits = 64 - __builtin_clzll(value | 1);
    int shift = bits > HISTOGRAM_SUB_BITS + 1 ? bits - HISTOGRAM_SUB_BITS - 1 : 0;
    return ((size_t)shift << HISTOGRAM_SUB_BITS) + (size_t)(value >> shift);
}

/* The largest value of a bucket. */
static uint64_t histogram_value(size_t index) {
    size_t half = (size_t)1 << HISTOGRAM_SUB_BITS;
    if (index < 2 * half)
        return index;
    size_t shift = (index >> HISTOGRAM_SUB_BITS) - 1;
    uint64_t high = index - (shift << HISTOGRAM_SUB_BITS);
    return (high << shift) + (((uint64_t)1 << shift) - 1);
}

void histogram_add(struct histogram *histogram, uint64_t value) {
    if (histogram->count == 0 || value < histogram->min)
        histogram->min = value;
    if (value > histogram->max)
        histogram->max = value;
    histogram->count++;
    histogram->sum += value;
    histogram->buckets[histogram_index(value)]++;
}

void histogram_merge(struct histogram *into, const struct histogram *from) {
    if (from->count == 0)
        return;
    if (into->count == 0 || from->min < into->min)
        into->min = from->min;
    if (from->max > into->max)
        into->max = from->max;
    into->count += from->count;
    into->sum += from->sum;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
}

uint64_t histogram_percentile(const struct histogram *histogram, double percent) {
    double exact = percent / 100 * (double)histogram->count;
    uint64_t rank = (uint64_t)exact, seen = 0;
    rank += (double)rank < exact || rank == 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= rank && seen > 0) {
            uint64_t value = histogram_value(i);
            return value > histogram->max ? histogram->max : value < histogram->min ? histogram->min : value;
        }
    }
    return 0;
}
