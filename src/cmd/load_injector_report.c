#include "cmd/load_injector.h"

#include <inttypes.h>

struct report_figure {
    const char *name;
    double value_ms;
};
enum { REPORT_FIGURES = 7 };

static uint64_t report_answered_ok(const struct injector_result *result) {
    return result->statuses[200];
}

static uint64_t report_total(const struct injector_result *result) {
    uint64_t total = 0;
    for (int i = 0; i < HTTP_OUTCOME_COUNT; i++)
        total += result->outcomes[i];
    return total;
}

uint64_t injector_report_failed(const struct injector_result *result) {
    return report_total(result) - report_answered_ok(result);
}

static void report_figures(const struct histogram *latency_ns, struct report_figure *ret_figures) {
    double mean_ns = latency_ns->count ? (double)latency_ns->sum / (double)latency_ns->count : 0;
    const struct report_figure figures[REPORT_FIGURES] = {
        {"min", (double)latency_ns->min / 1e6},
        {"mean", mean_ns / 1e6},
        {"p50", (double)histogram_percentile(latency_ns, 50) / 1e6},
        {"p90", (double)histogram_percentile(latency_ns, 90) / 1e6},
        {"p99", (double)histogram_percentile(latency_ns, 99) / 1e6},
        {"p99.9", (double)histogram_percentile(latency_ns, 99.9) / 1e6},
        {"max", (double)latency_ns->max / 1e6},
    };
    for (int i = 0; i < REPORT_FIGURES; i++)
        ret_figures[i] = figures[i];
}

/* Calls line(file, cause, count, first) for everything that went wrong. */
static void report_causes(const struct injector_result *result, FILE *file,
                          void (*line)(FILE *, const char *, uint64_t, bool)) {
    bool first = true;
    for (int status = 0; status < INJECTOR_STATUSES; status++) {
        char cause[64];
        if (status == 200 || result->statuses[status] == 0)
            continue;
        snprintf(cause, sizeof cause, "%d %s", status, http_status_text(status));
        line(file, cause, result->statuses[status], first);
        first = false;
    }
    for (int i = 0; i < HTTP_OUTCOME_COUNT; i++) {
        if (i == HTTP_OUTCOME_ANSWERED || result->outcomes[i] == 0)
            continue;
        line(file, http_outcome_text((enum http_outcome)i), result->outcomes[i], first);
        first = false;
    }
}

static void report_cause_text(FILE *file, const char *cause, uint64_t count, bool first) {
    (void)first;
    fprintf(file, "  %-22s %12" PRIu64 "\n", cause, count);
}

static void report_cause_json(FILE *file, const char *cause, uint64_t count, bool first) {
    fprintf(file, "%s\"%s\":%" PRIu64, first ? "" : ",", cause, count);
}

static void report_print_json(const struct injector_result *result, FILE *file, double seconds,
                              double per_second) {
    struct report_figure figures[REPORT_FIGURES];
    report_figures(&result->latency_ns, figures);
    fprintf(file,
            "{\"requests\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"seconds\":%.6f,\"requests_per_second\":%.1f",
            report_total(result), injector_report_failed(result), seconds, per_second);
    fprintf(file, ",\"latency_ms\":{");
    for (int i = 0; i < REPORT_FIGURES; i++)
        fprintf(file, "%s\"%s\":%.6f", i ? "," : "", figures[i].name, figures[i].value_ms);
    fprintf(file, "},\"causes\":{");
    report_causes(result, file, report_cause_json);
    fprintf(file, "}}\n");
}

static void report_print_text(const struct injector_result *result, FILE *file, double seconds,
                              double per_second) {
    struct report_figure figures[REPORT_FIGURES];
    report_figures(&result->latency_ns, figures);
    fprintf(file, "requests                 %12" PRIu64 "\n", report_total(result));
    fprintf(file, "errors                   %12" PRIu64 "\n", injector_report_failed(result));
    report_causes(result, file, report_cause_text);
    fprintf(file, "seconds                  %12.3f\n", seconds);
    fprintf(file, "req/s                    %12.1f\n", per_second);
    fprintf(file, "latency in ms\n");
    for (int i = 0; i < REPORT_FIGURES; i++)
        fprintf(file, "  %-22s %12.3f\n", figures[i].name, figures[i].value_ms);
}

void injector_report_print(const struct injector_plan *plan, const struct injector_result *result,
                           FILE *file) {
    double seconds = (double)result->elapsed_ns / 1e9;
    double per_second = seconds > 0 ? (double)report_answered_ok(result) / seconds : 0;
    if (plan->json)
        report_print_json(result, file, seconds, per_second);
    else
        report_print_text(result, file, seconds, per_second);
}
