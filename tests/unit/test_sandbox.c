/* The sandbox: what a program inside can see and do, and that nothing of it is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "sandbox/cgroup_find.h"
#include "sandbox/programs.h"
#include "sandbox/sandbox.h"
#include "wire/page.h"

enum { TEST_DEADLINE_MS = 30000 };

static char *const test_environment[] = {"PATH=/usr/bin:/bin", "GIVEN=yes", NULL};

/* A sandbox that runs a shell command; what it prints can be read from output_fd. */
struct test_run {
    struct sandbox_spec spec;
    struct sandbox_child child;
    char *argv[4];
    int output_fd;
    struct buf output;
    int status; /* wait status of the init */
    bool oom, processes;
};

static void test_prepare(struct test_run *run, const char *command) {
    *run = (struct test_run){.output_fd = -1, .argv = {"sh", "-c", (char *)(uintptr_t)command}};
    run->spec = (struct sandbox_spec){
        .comm = "spare-test",
        .program = "/bin/sh",
        .argv = run->argv,
        .envp = test_environment,
        .tmp_mb = 4,
        .page_fd = -1,
    };
    programs_bind_system(&run->spec);
}

static void test_start(struct test_run *run) {
    int ends[2];
    struct err err = {0};
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    int fds[] = {-1, ends[1], ends[1]};
    memcpy(run->spec.fds, fds, sizeof fds);
    run->spec.fd_count = 3;
    int failed = sandbox_start(&run->spec, &run->child, &err);
    close(ends[1]);
    if (failed)
        print_error("%s\n", err.msg);
    assert_int_equal(failed, 0);
    run->output_fd = ends[0];
}

/* Until the program and everything that it started is gone, or the test fails. */
static void test_finish(struct test_run *run) {
    uint64_t end_ns = clock_now_ns() + TEST_DEADLINE_MS * CLOCK_NS_PER_MS;
    for (;;) {
        struct pollfd waiting = {.fd = run->output_fd, .events = POLLIN};
        assert_true(clock_now_ns() < end_ns);
        if (poll(&waiting, 1, 1000) <= 0)
            continue;
        assert_true(buf_reserve(&run->output, 4096));
        ssize_t len = read(run->output_fd, run->output.data + run->output.len, 4096);
        if (len <= 0)
            break;
        run->output.len += (size_t)len;
    }
    close(run->output_fd);
    assert_int_equal(waitpid(run->child.pid, &run->status, 0), run->child.pid);
    close(run->child.pidfd);
    sandbox_finish(&run->child, &run->oom, &run->processes);
    buf_append(&run->output, "", 1);
}

static const char *test_shell(struct test_run *run, const char *command) {
    test_prepare(run, command);
    test_start(run);
    test_finish(run);
    return (const char *)run->output.data;
}

static void the_program_runs_with_its_own_environment_and_nothing_else(void **state) {
    (void)state;
    struct test_run run;
    assert_string_equal(test_shell(&run, "/usr/bin/env | sort | grep -v -e ^PWD -e ^_= -e ^SHLVL"),
                        "GIVEN=yes\nPATH=/usr/bin:/bin\n");
    assert_int_equal(run.status, 0);
    buf_fini(&run.output);
}

static void nothing_of_the_host_is_there(void **state) {
    (void)state;
    struct test_run run;
    assert_string_equal(test_shell(&run,
                                   "ls -d /root /home /var /srv /work /etc/passwd /etc/shadow /sys /opt "
                                   "2>/dev/null; echo *; grep -c : /proc/net/dev; hostname"),
                        "*\n1\nfaas\n");
    buf_fini(&run.output);
}

static void the_root_is_read_only_and_tmp_is_bounded(void **state) {
    (void)state;
    struct test_run run;
    assert_string_equal(
        test_shell(&run, "for d in / /usr /dev /etc /usr/lib; do (: >$d/x) 2>/dev/null && echo $d; done; "
                         "head -c 10000000 /dev/zero >/tmp/big 2>/dev/null || stat -c %s /tmp/big"),
        "4194304\n");
    buf_fini(&run.output);
}

static void there_are_no_rights_and_no_way_to_get_any(void **state) {
    (void)state;
    struct test_run run;
    const char *text =
        test_shell(&run, "grep -E '^(Cap|NoNewPrivs)' /proc/self/status | cut -f2 | sort -u; "
                         "[ $(id -u) = 0 ] || echo user; unshare -U true 2>/dev/null || echo no; "
                         "mount -t tmpfs x /tmp 2>/dev/null || echo no; "
                         "chroot / true 2>/dev/null || echo no; "
                         "kill -9 1 2>/dev/null; echo alive");
    assert_string_equal(text, "0000000000000000\n1\nuser\nno\nno\nno\nalive\n");
    buf_fini(&run.output);
}

/* The init is a copy of the process that started it, arguments and environment included. */
static void the_init_shows_nothing_of_its_parent(void **state) {
    (void)state;
    struct test_run run;
    setenv("TEST_SECRET", "hunter2", 1);
    const char *text =
        test_shell(&run, "tr -d '\\0' </proc/1/cmdline; echo; cat /proc/1/comm; "
                         "cat /proc/1/environ /proc/1/maps 2>/dev/null; ls /proc/1/fd 2>/dev/null; "
                         "grep -c '^[0-9]*$' <<X\n$(ls /proc | grep '^[0-9]')\nX\n");
    assert_memory_equal(text, "spare-test\nspare-test\n", 22);
    assert_null(strstr(text, "hunter2"));
    assert_null(strstr(text, "test_sandbox"));
    buf_fini(&run.output);
}

static void descriptors_are_the_given_ones_only(void **state) {
    (void)state;
    struct test_run run;
    int extra = open("/dev/null", O_RDONLY); /* not close-on-exec, and not given */
    /* 3 is the directory that the shell reads. */
    assert_string_equal(test_shell(&run, "cd /proc/self/fd; echo *; read x || echo end"), "0 1 2 3\nend\n");
    close(extra);
    buf_fini(&run.output);
}

static void the_pid_inside_is_the_wanted_one(void **state) {
    (void)state;
    struct test_run run;
    test_prepare(&run, "echo $$");
    run.spec.inner_pid = 23456;
    test_start(&run);
    test_finish(&run);
    assert_string_equal((char *)run.output.data, "23456\n");
    buf_fini(&run.output);
}

static void the_page_gets_the_wait_status(void **state) {
    (void)state;
    static const struct {
        const char *command;
        unsigned status;
    } cases[] = {{"exit 0", 0}, {"exit 7", 7 << 8}, {"kill -SEGV $$", SIGSEGV}, {"kill -KILL $$", SIGKILL}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct test_run run;
        int fd = memfd_create("page", MFD_CLOEXEC);
        assert_int_equal(ftruncate(fd, PAGE_BYTES), 0);
        struct page *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        assert_ptr_not_equal(page, MAP_FAILED);
        test_prepare(&run, cases[i].command);
        run.spec.page_fd = fd;
        test_start(&run);
        test_finish(&run);
        assert_int_equal(atomic_load(&page->exit_status), 1ull << 32 | cases[i].status);
        munmap(page, PAGE_BYTES);
        close(fd);
        buf_fini(&run.output);
    }
}

/* A descriptor's end is seen although a child of the program keeps it: the kernel ends the child. */
static void all_that_the_program_started_ends_with_it(void **state) {
    (void)state;
    struct test_run run;
    test_shell(&run, "setsid sleep 1000 & sleep 1000 & echo started");
    assert_string_equal((char *)run.output.data, "started\n");
    assert_int_equal(run.status, 0);
    buf_fini(&run.output);
}

static void killing_the_init_ends_all(void **state) {
    (void)state;
    struct test_run run;
    test_prepare(&run, "setsid sleep 1000 & sleep 1000");
    test_start(&run);
    assert_int_equal(kill(run.child.pid, SIGKILL), 0);
    test_finish(&run);
    assert_true(WIFSIGNALED(run.status));
    buf_fini(&run.output);
}

static void the_init_ends_all_when_its_time_is_over(void **state) {
    (void)state;
    struct test_run run;
    test_prepare(&run, "sleep 1000");
    run.spec.wall_s = 1;
    test_start(&run);
    test_finish(&run);
    assert_int_equal(run.status, (128 + SIGKILL) << 8);
    buf_fini(&run.output);
}

/* The signals that a server takes through a signalfd are blocked in it, and ignored ones stay so over an
 * exec. */
static void the_program_starts_with_default_signals(void **state) {
    (void)state;
    struct test_run run;
    sigset_t set, before;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, &before);
    signal(SIGPIPE, SIG_IGN);
    assert_string_equal(test_shell(&run, "grep -E '^Sig(Blk|Ign)' /proc/self/status | cut -f2"),
                        "0000000000000000\n0000000000000000\n");
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &before, NULL);
    buf_fini(&run.output);
}

static void limits_are_set(void **state) {
    (void)state;
    struct test_run run;
    test_prepare(&run, "ulimit -n; ulimit -c; ulimit -d; ulimit -t; ulimit -f");
    run.spec.data_mb = 64;
    run.spec.cpu_s = 9;
    run.spec.file_bytes = 1 << 20;
    test_start(&run);
    test_finish(&run);
    assert_string_equal((char *)run.output.data, "1024\n0\n65536\n9\n2048\n");
    buf_fini(&run.output);
}

static void a_fork_bomb_stays_inside(void **state) {
    (void)state;
    struct test_run run;
    test_prepare(&run, "n=0; while [ $n -lt 40 ]; do sleep 1000 & n=$((n+1)); done; echo all");
    run.spec.processes = 8;
    test_start(&run);
    test_finish(&run);
    assert_null(strstr((char *)run.output.data, "all"));
    /* Only a control group remembers that the limit was hit. */
    if (run.child.cgroup[0] || geteuid() == 0)
        assert_true(run.processes || access("/sys/fs/cgroup/pids", W_OK) != 0);
    buf_fini(&run.output);
}

static void a_memory_bomb_is_told_from_a_crash(void **state) {
    (void)state;
    struct test_run run;
    if (access("/sys/fs/cgroup/memory", W_OK) != 0)
        skip(); /* no version 1 memory controller that we may use */
    test_prepare(&run, "head -c 300000000 /dev/zero | tail -c 300000000 | wc -c; echo survived");
    run.spec.memory_mb = 32;
    test_start(&run);
    test_finish(&run);
    assert_true(run.oom);
    buf_fini(&run.output);
    test_shell(&run, "kill -KILL $$");
    assert_false(run.oom);
    buf_fini(&run.output);
}

static void a_program_that_is_missing_is_an_error_and_leaves_nothing(void **state) {
    (void)state;
    struct test_run run;
    struct err err = {0};
    test_prepare(&run, "");
    run.spec.program = "/usr/bin/there-is-no-such-program";
    assert_int_equal(sandbox_start(&run.spec, &run.child, &err), -ERR_NOT_INSTALLED);
    assert_non_null(strstr(err.msg, "there-is-no-such-program"));
    test_prepare(&run, "");
    run.spec.binds[run.spec.bind_count++] = (struct sandbox_bind){.source = "/there/is/nothing"};
    assert_true(sandbox_start(&run.spec, &run.child, &err) < 0);
    assert_non_null(strstr(err.msg, "/there/is/nothing"));
    run.spec.binds[run.spec.bind_count - 1].optional = true;
    test_start(&run);
    test_finish(&run);
    buf_fini(&run.output);
    sandbox_fini(); /* what was made ahead */
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void a_bind_is_where_it_was_put(void **state) {
    (void)state;
    struct test_run run;
    char dir[] = "/tmp/test_sandbox.XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/file", dir);
    FILE *file = fopen(path, "w");
    fputs("content\n", file);
    fclose(file);
    test_prepare(&run, "cat /opt/here/file; (: >/opt/here/new) 2>/dev/null || echo read-only; : "
                       ">/opt/there/new && echo new");
    run.spec.binds[run.spec.bind_count++] = (struct sandbox_bind){.source = dir, .target = "/opt/here"};
    run.spec.binds[run.spec.bind_count++] =
        (struct sandbox_bind){.source = dir, .target = "/opt/there", .writable = true};
    test_start(&run);
    test_finish(&run);
    assert_string_equal((char *)run.output.data, "content\nread-only\nnew\n");
    buf_fini(&run.output);
    unlink(path);
    snprintf(path, sizeof path, "%s/new", dir);
    assert_int_equal(unlink(path), 0);
    rmdir(dir);
}

static void without_proc_there_is_only_the_link(void **state) {
    (void)state;
    struct test_run run;
    test_prepare(&run, "cd /proc; echo *; echo self/*; readlink self/exe");
    run.spec.proc_exe = "/usr/bin/compiler";
    test_start(&run);
    test_finish(&run);
    assert_string_equal((char *)run.output.data, "self\nself/exe\n/usr/bin/compiler\n");
    buf_fini(&run.output);
}

static void our_control_group_is_found(void **state) {
    (void)state;
    char path[256], dir[256];
    assert_true(cgroup_find_path("4:memory:/a/b\n", "memory", 1, path, sizeof path));
    assert_string_equal(path, "/a/b");
    assert_true(cgroup_find_path("2:cpu,memory:/a\n", "memory", 1, path, sizeof path));
    assert_false(cgroup_find_path("4:memoryx:/a/b\n", "memory", 1, path, sizeof path));
    assert_false(cgroup_find_path("nonsense", "memory", 1, path, sizeof path));
    assert_true(cgroup_find_path("0::/user.slice/x\n", "memory", 2, path, sizeof path));
    assert_string_equal(path, "/user.slice/x");
    static const char v1[] =
        "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n";
    static const char v2[] = "41 31 0:38 /sub /sys/fs/my\\040group rw - cgroup2 cgroup2 rw,nsdelegate\n";
    assert_true(cgroup_find_mount(v1, "memory", 1, "/a/b", dir, sizeof dir));
    assert_string_equal(dir, "/sys/fs/cgroup/memory/a/b");
    assert_true(cgroup_find_mount(v1, "memory", 1, "/", dir, sizeof dir));
    assert_string_equal(dir, "/sys/fs/cgroup/memory");
    assert_false(cgroup_find_mount(v1, "pids", 1, "/a", dir, sizeof dir));
    assert_false(cgroup_find_mount(v1, "memory", 2, "/a", dir, sizeof dir));
    assert_true(cgroup_find_mount(v2, "memory", 2, "/sub/x", dir, sizeof dir));
    assert_string_equal(dir, "/sys/fs/my group/x");
    assert_false(cgroup_find_mount(v2, "memory", 2, "/subx", dir, sizeof dir));
    assert_false(cgroup_find_mount(v2, "memory", 2, "/sub/x", dir, 8));
}

static int close_sandboxes(void **state) {
    (void)state;
    sandbox_fini();
    return 0;
}

int main(void) {
    if (!sandbox_has_root()) {
        fputs("test_sandbox: this machine allows no namespaces\n", stderr);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_program_runs_with_its_own_environment_and_nothing_else),
        cmocka_unit_test(nothing_of_the_host_is_there),
        cmocka_unit_test(the_root_is_read_only_and_tmp_is_bounded),
        cmocka_unit_test(there_are_no_rights_and_no_way_to_get_any),
        cmocka_unit_test(the_init_shows_nothing_of_its_parent),
        cmocka_unit_test(descriptors_are_the_given_ones_only),
        cmocka_unit_test(the_pid_inside_is_the_wanted_one),
        cmocka_unit_test(the_page_gets_the_wait_status),
        cmocka_unit_test(all_that_the_program_started_ends_with_it),
        cmocka_unit_test(killing_the_init_ends_all),
        cmocka_unit_test(the_init_ends_all_when_its_time_is_over),
        cmocka_unit_test(the_program_starts_with_default_signals),
        cmocka_unit_test(limits_are_set),
        cmocka_unit_test(a_fork_bomb_stays_inside),
        cmocka_unit_test(a_memory_bomb_is_told_from_a_crash),
        cmocka_unit_test(a_program_that_is_missing_is_an_error_and_leaves_nothing),
        cmocka_unit_test(a_bind_is_where_it_was_put),
        cmocka_unit_test(without_proc_there_is_only_the_link),
        cmocka_unit_test(our_control_group_is_found),
    };
    int failed = cmocka_run_group_tests_name("built at the start", tests, NULL, close_sandboxes);
    sandbox_prepare();
    return failed +
           cmocka_run_group_tests_name("copied from what stands ready", tests, NULL, close_sandboxes);
}
