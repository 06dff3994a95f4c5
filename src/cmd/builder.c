/* builder --lang L --name N --stage DIR     builds the source on stdin into DIR
 * builder --rebuild --stage DIR             native code from the WASM module on stdin
 * builder --probe                           which languages this machine has
 * Prints one line of JSON; exits with 0 when it could. See docs/protocol.md. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "builder/builder.h"
#include "sandbox/sandbox.h"
#include "storage/storage.h"

enum { MAIN_STOPPED = 3 };

static const char usage[] = "usage: builder --lang LANG --name NAME --stage DIR  <source\n"
                            "       builder --rebuild --stage DIR              <code.wasm\n"
                            "       builder --probe\n";

struct arguments {
    const char *lang, *name, *stage;
    bool rebuild, probe;
};

static bool parse(int argc, char **argv, struct arguments *ret_arguments) {
    static const struct option options[] = {{"lang", required_argument, NULL, 'l'},
                                            {"name", required_argument, NULL, 'n'},
                                            {"stage", required_argument, NULL, 's'},
                                            {"rebuild", no_argument, NULL, 'r'},
                                            {"probe", no_argument, NULL, 'p'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct arguments found = {0};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'l':
            found.lang = optarg;
            break;
        case 'n':
            found.name = optarg;
            break;
        case 's':
            found.stage = optarg;
            break;
        case 'r':
            found.rebuild = true;
            break;
        case 'p':
            found.probe = true;
            break;
        default:
            return false;
        }
    }
    *ret_arguments = found;
    return optind == argc && (found.probe || (found.stage && (found.rebuild || (found.lang && found.name))));
}

static int print(const struct buf *text) {
    for (size_t done = 0; done < text->len;) {
        ssize_t len = write(STDOUT_FILENO, text->data + done, text->len - done);
        if (len < 0 && errno != EINTR)
            return 1;
        done += len > 0 ? (size_t)len : 0;
    }
    return text->failed;
}

/* SIGTERM and SIGINT become readable, so that a build can end its children first. */
static int take_signals(void) {
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &stop, SFD_CLOEXEC | SFD_NONBLOCK);
}

int main(int argc, char **argv) {
    struct arguments arguments;
    struct err err = {.code = ERR_OK};
    struct buf answer = {0};
    if (!parse(argc, argv, &arguments)) {
        fputs(usage, stderr);
        return 2;
    }
    prctl(PR_SET_NAME, "builder");
    if (arguments.probe) {
        builder_probe(&answer);
        sandbox_fini();
        int probed = print(&answer);
        buf_fini(&answer);
        return probed;
    }
    struct builder builder = {
        .lang = arguments.lang,
        .name = arguments.name,
        .stage = arguments.stage,
        .deadline_ns = clock_now_ns() + BUILDER_SECONDS * CLOCK_NS_PER_S,
        .signal_fd = take_signals(),
        .answer_fd = STDOUT_FILENO,
    };
    int failed = arguments.rebuild ? 0 : storage_name_check(arguments.name, &err);
    if (!failed)
        failed = arguments.rebuild ? builder_rebuild(&builder, STDIN_FILENO, &err)
                                   : builder_build(&builder, STDIN_FILENO, &err);
    sandbox_fini();
    bool stopped = failed == -ERR_DRAINING;
    if (!stopped)
        builder_answer(&builder, failed, &err, &answer);
    builder_fini(&builder);
    int printed = stopped ? MAIN_STOPPED : print(&answer);
    buf_fini(&answer);
    return printed;
}
