/* load_injector FUNCTION THREADS REQUESTS_PER_THREAD [--payload FILE] [--rate N] [--timeout-ms N] [--json] */
#include "cmd/load_injector.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const char injector_usage[] =
    "usage: load_injector FUNCTION THREADS REQUESTS_PER_THREAD [option]...\n"
    "\n"
    "Calls FUNCTION (a name or an id) over THREADS connections (1 to 10000), each of which sends\n"
    "REQUESTS_PER_THREAD requests (1 to 100000000) one after the other, and prints a table. The system is "
    "that of\n"
    "FAAS_URL (http://host:port[/path]), else of FAAS_LISTEN (host:port), else 127.0.0.1:8080. "
    "MINIFAAS_TOKEN,\n"
    "when set, is sent as the API key.\n"
    "\n"
    "  --payload FILE   body of each request (default: none)\n"
    "  --rate N         N requests a second over all connections, due at fixed times: the latency counts "
    "from then,\n"
    "                   so a stall of the system shows in every request that it delays\n"
    "  --timeout-ms N   a request without an answer by then has failed (60000)\n"
    "  --json           the figures as one JSON object\n"
    "\n"
    "req/s counts the calls answered with 200, and so do the latencies. Exit status: 0; 1 when a call failed "
    "or\n"
    "nobody listens; 2 for wrong arguments; 130 when interrupted (the table is of the calls that were "
    "made).\n";

static atomic_bool injector_stop;

static void injector_on_signal(int signal_number) {
    (void)signal_number;
    atomic_store(&injector_stop, true);
}

static void injector_on_progress_line(const struct injector_plan *plan, uint64_t done, uint64_t failed,
                                      uint64_t ns) {
    double seconds = (double)ns / 1e9;
    fprintf(stderr, "\r\033[K%" PRIu64 " of %" PRIu64 " requests, %" PRIu64 " failed, %.0f/s", done,
            plan->connections * plan->requests, failed, seconds > 0 ? (double)done / seconds : 0);
}

static int injector_fail(int status, const char *message) {
    fprintf(stderr, "load_injector: %s\n", message);
    return status;
}

/* A whole number within 1 and max, or 0. */
static uint64_t injector_number(const char *text, uint64_t max) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    return errno || *end || *text < '0' || *text > '9' || value > max ? 0 : value;
}

/* 0: goes on; else an exit status + 1. */
static int injector_parse(int argc, char **argv, struct injector_plan *plan) {
    static const struct option options[] = {{"payload", required_argument, NULL, 'p'},
                                            {"rate", required_argument, NULL, 'r'},
                                            {"timeout-ms", required_argument, NULL, 't'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'p') {
            plan->payload_file = optarg;
        } else if (option == 'r') {
            plan->rate = (uint32_t)injector_number(optarg, INJECTOR_RATE_MAX);
            if (plan->rate == 0)
                return 1 + injector_fail(2, "--rate takes a number from 1 to 10000000");
        } else if (option == 't') {
            plan->timeout_ms = (uint32_t)injector_number(optarg, INJECTOR_TIMEOUT_MAX_MS);
            if (plan->timeout_ms == 0)
                return 1 + injector_fail(2, "--timeout-ms takes a number from 1 to 86400000");
        } else if (option == 'j') {
            plan->json = true;
        } else if (option == 'h') {
            fputs(injector_usage, stdout);
            return 1;
        } else {
            return 1 + injector_fail(2, "see load_injector --help");
        }
    }
    if (argc - optind != 3) {
        fputs(injector_usage, stderr);
        return 1 + 2;
    }
    plan->function = argv[optind];
    plan->connections = (uint32_t)injector_number(argv[optind + 1], INJECTOR_CONNECTIONS_MAX);
    plan->requests = injector_number(argv[optind + 2], INJECTOR_REQUESTS_MAX);
    if (plan->function[0] == '\0' || strlen(plan->function) > 256)
        return 1 + injector_fail(2, "FUNCTION is a name or an id of at most 256 bytes");
    if (plan->connections == 0)
        return 1 + injector_fail(2, "THREADS is a number from 1 to 10000");
    if (plan->requests == 0)
        return 1 + injector_fail(2, "REQUESTS_PER_THREAD is a number from 1 to 100000000");
    return 0;
}

static int injector_raise_descriptors(const struct injector_plan *plan) {
    struct rlimit limit;
    rlim_t need = plan->connections + 64;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need)
        return 0;
    if (limit.rlim_max < need) {
        fprintf(stderr,
                "load_injector: %u connections need more open files than the limit of %llu (ulimit -n)\n",
                plan->connections, (unsigned long long)limit.rlim_max);
        return 2;
    }
    limit.rlim_cur = need;
    setrlimit(RLIMIT_NOFILE, &limit);
    return 0;
}

int main(int argc, char **argv) {
    struct injector_plan plan = {.timeout_ms = 60000};
    static struct injector_result result;
    struct err err;
    int stop = injector_parse(argc, argv, &plan);
    if (stop)
        return stop - 1;
    plan.token = getenv("MINIFAAS_TOKEN");
    if (plan.token && !*plan.token)
        plan.token = NULL;
    if (plan.token && strpbrk(plan.token, " \t\r\n"))
        return injector_fail(2, "MINIFAAS_TOKEN holds white space");
    if (injector_plan_prepare(&plan, getenv("FAAS_URL"), getenv("FAAS_LISTEN"), &err) < 0)
        return injector_fail(2, err.msg);
    if (injector_raise_descriptors(&plan) != 0)
        return 2;
    if (injector_plan_probe(&plan, &err) < 0)
        return injector_fail(1, err.msg);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, injector_on_signal);
    signal(SIGTERM, injector_on_signal);
    bool terminal = isatty(STDERR_FILENO) == 1;
    int rc = injector_run(&plan, &injector_stop, terminal ? injector_on_progress_line : NULL, &result, &err);
    if (terminal)
        fputs("\r\033[K", stderr);
    buf_fini(&plan.request);
    if (rc < 0)
        return injector_fail(1, err.msg);
    injector_report_print(&plan, &result, stdout);
    if (atomic_load(&injector_stop))
        return 130;
    return injector_report_failed(&result) > 0;
}
