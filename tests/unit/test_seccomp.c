/* The filters of system calls, run by an interpreter of our own: what each kind of process may do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/seccomp.h"
#include "sandbox/syscalls.h"

#ifdef __x86_64__
#define TEST_ARCH AUDIT_ARCH_X86_64
#else
#define TEST_ARCH AUDIT_ARCH_AARCH64
#endif
enum { TEST_SELF = 4711, TEST_KINDS = SANDBOX_WORKER + 1 };
#define TEST_ERRNO(number) (SECCOMP_RET_ERRNO | (uint32_t)(number))

static const struct seccomp_options test_plain = {.confined = true};

/* The verdict on one system call. Only what the kernel takes is there: forward jumps, no memory. */
static uint32_t test_run(const struct sock_filter *program, size_t len, const struct seccomp_data *data) {
    uint32_t accumulator = 0;
    for (size_t at = 0; at < len; at++) {
        const struct sock_filter *op = &program[at];
        bool yes;
        switch (op->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            assert_true(op->k % 4 == 0 && op->k < sizeof *data);
            memcpy(&accumulator, (const char *)data + op->k, sizeof accumulator);
            continue;
        case BPF_RET | BPF_K:
            return op->k;
        case BPF_ALU | BPF_AND | BPF_K:
            accumulator &= op->k;
            continue;
        case BPF_JMP | BPF_JA:
            at += op->k;
            continue;
        case BPF_JMP | BPF_JEQ | BPF_K:
            yes = accumulator == op->k;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            yes = accumulator >= op->k;
            break;
        case BPF_JMP | BPF_JSET | BPF_K:
            yes = (accumulator & op->k) != 0;
            break;
        default:
            fail_msg("an instruction of code %#x", op->code);
            return 0;
        }
        at += yes ? op->jt : op->jf;
    }
    fail_msg("the program runs off its end");
    return 0;
}

static uint32_t test_ask(enum sandbox_kind kind, const struct seccomp_options *options, long number,
                         const uint64_t *arguments) {
    struct sock_filter program[SECCOMP_PROGRAM_MAX];
    size_t len = seccomp_program(kind, options, TEST_SELF, program, SECCOMP_PROGRAM_MAX);
    assert_true(len > 0);
    struct seccomp_data data = {.nr = (int)number, .arch = TEST_ARCH};
    if (arguments)
        memcpy(data.args, arguments, sizeof data.args);
    return test_run(program, len, &data);
}
#define TEST_ASK(kind, number, ...)                                                                          \
    test_ask((enum sandbox_kind)(kind), &test_plain, number, (const uint64_t[6]){__VA_ARGS__})

static void every_row_of_the_table_holds(void **state) {
    (void)state;
    static const struct {
        const char *name;
        long number;
        unsigned who;
        const char *rule;
    } rows[] = {
#define TEST_ROW(name, who, rule) {#name, SYS_##name, SYSCALLS_##who, #rule},
        SYSCALLS_ALLOWED(TEST_ROW)
#undef TEST_ROW
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (int kind = 0; kind < TEST_KINDS; kind++) {
            uint32_t verdict = test_ask((enum sandbox_kind)kind, &test_plain, rows[i].number, NULL);
            bool yes = rows[i].who & 1u << kind && strcmp(rows[i].rule, "YES") == 0;
            if (yes && verdict != SECCOMP_RET_ALLOW)
                fail_msg("%s is refused to kind %d", rows[i].name, kind);
            unsigned who = 0;
            for (size_t j = 0; j < sizeof rows / sizeof rows[0]; j++)
                who |= rows[j].number == rows[i].number ? rows[j].who : 0;
            if (!(who & 1u << kind) && verdict == SECCOMP_RET_ALLOW)
                fail_msg("%s is allowed to kind %d", rows[i].name, kind);
        }
}

static void what_no_function_needs_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *name;
        long number;
    } rows[] = {
#define TEST_ROW(name) {#name, SYS_##name},
        SYSCALLS_REFUSED(TEST_ROW)
#undef TEST_ROW
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (int kind = 0; kind < TEST_KINDS; kind++) {
            uint32_t wanted = kind == SANDBOX_WORKER ? SECCOMP_RET_KILL_PROCESS : TEST_ERRNO(EPERM);
            if (test_ask((enum sandbox_kind)kind, &test_plain, rows[i].number, NULL) != wanted)
                fail_msg("%s is not refused to kind %d", rows[i].name, kind);
        }
    /* By name, so that a row that goes missing is missed. */
    static const long must[] = {SYS_ptrace,
                                SYS_process_vm_readv,
                                SYS_process_vm_writev,
                                SYS_unshare,
                                SYS_setns,
                                SYS_mount,
                                SYS_umount2,
                                SYS_pivot_root,
                                SYS_chroot,
                                SYS_open_tree,
                                SYS_move_mount,
                                SYS_fsopen,
                                SYS_bpf,
                                SYS_userfaultfd,
                                SYS_perf_event_open,
                                SYS_keyctl,
                                SYS_add_key,
                                SYS_request_key,
                                SYS_kexec_load,
                                SYS_init_module,
                                SYS_finit_module,
                                SYS_setuid,
                                SYS_setgid,
                                SYS_setresuid,
                                SYS_shmget,
                                SYS_semget,
                                SYS_msgget,
                                SYS_open_by_handle_at,
                                SYS_reboot,
                                SYS_pidfd_getfd};
    for (size_t i = 0; i < sizeof must / sizeof must[0]; i++)
        for (int kind = 0; kind < TEST_KINDS; kind++)
            assert_int_not_equal(test_ask((enum sandbox_kind)kind, &test_plain, must[i], NULL),
                                 SECCOMP_RET_ALLOW);
}

static void what_is_unknown_is_not_there(void **state) {
    (void)state;
    for (int kind = 0; kind < SANDBOX_WORKER; kind++) {
        assert_int_equal(TEST_ASK(kind, SYS_clone3), TEST_ERRNO(ENOSYS));
        assert_int_equal(TEST_ASK(kind, SYS_io_uring_setup), TEST_ERRNO(ENOSYS));
        assert_int_equal(TEST_ASK(kind, 499), TEST_ERRNO(ENOSYS));
        assert_int_equal(TEST_ASK(kind, 100000), TEST_ERRNO(ENOSYS));
        assert_int_equal(TEST_ASK(kind, 0x40000000 + SYS_read), TEST_ERRNO(ENOSYS));
    }
}

static void another_architecture_ends_the_process(void **state) {
    (void)state;
    struct sock_filter program[SECCOMP_PROGRAM_MAX];
    for (int kind = 0; kind < TEST_KINDS; kind++) {
        size_t len =
            seccomp_program((enum sandbox_kind)kind, &test_plain, TEST_SELF, program, SECCOMP_PROGRAM_MAX);
        struct seccomp_data data = {.nr = SYS_read, .arch = AUDIT_ARCH_I386};
        assert_int_equal(test_run(program, len, &data), SECCOMP_RET_KILL_PROCESS);
    }
}

static void a_process_may_be_made_but_no_namespace(void **state) {
    (void)state;
    static const uint64_t namespaces[] = {CLONE_NEWNS,  CLONE_NEWUSER, CLONE_NEWPID,   CLONE_NEWNET,
                                          CLONE_NEWIPC, CLONE_NEWUTS,  CLONE_NEWCGROUP};
    for (int kind = 0; kind < SANDBOX_WORKER; kind++) {
        assert_int_equal(TEST_ASK(kind, SYS_clone, SIGCHLD), SECCOMP_RET_ALLOW);
        assert_int_equal(TEST_ASK(kind, SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD), SECCOMP_RET_ALLOW);
        for (size_t i = 0; i < sizeof namespaces / sizeof namespaces[0]; i++)
            assert_int_equal(TEST_ASK(kind, SYS_clone, namespaces[i] | SIGCHLD), TEST_ERRNO(EPERM));
    }
}

static void without_anything_that_counts_no_process_is_made_but_threads(void **state) {
    (void)state;
    const struct seccomp_options forkless = {.confined = true, .forkless = true};
    const uint64_t fork[6] = {SIGCHLD}, thread[6] = {CLONE_VM | CLONE_SIGHAND | CLONE_THREAD};
    assert_int_equal(test_ask(SANDBOX_PYTHON, &forkless, SYS_clone, fork), TEST_ERRNO(EAGAIN));
    assert_int_equal(test_ask(SANDBOX_NODE, &forkless, SYS_clone, thread), SECCOMP_RET_ALLOW);
#ifdef SYS_vfork
    assert_int_equal(test_ask(SANDBOX_PYTHON, &forkless, SYS_fork, NULL), TEST_ERRNO(EAGAIN));
    assert_int_equal(test_ask(SANDBOX_PYTHON, &forkless, SYS_vfork, NULL), TEST_ERRNO(EAGAIN));
#endif
}

static void sockets_are_for_the_functions_own_processes(void **state) {
    (void)state;
    static const uint64_t others[] = {AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_VSOCK, AF_ALG, AF_TIPC};
    const struct seccomp_options network = {.confined = true, .network = true};
    for (int kind = SANDBOX_PYTHON; kind <= SANDBOX_NODE; kind++) {
        assert_int_equal(TEST_ASK(kind, SYS_socket, AF_UNIX, SOCK_STREAM), SECCOMP_RET_ALLOW);
        assert_int_equal(TEST_ASK(kind, SYS_socketpair, AF_UNIX, SOCK_STREAM), SECCOMP_RET_ALLOW);
        for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
            assert_int_equal(TEST_ASK(kind, SYS_socket, others[i]), TEST_ERRNO(EAFNOSUPPORT));
        const uint64_t inet[6] = {AF_INET, SOCK_STREAM}, packet[6] = {AF_PACKET, SOCK_RAW};
        assert_int_equal(test_ask((enum sandbox_kind)kind, &network, SYS_socket, inet), SECCOMP_RET_ALLOW);
        assert_int_equal(test_ask((enum sandbox_kind)kind, &network, SYS_socket, packet),
                         TEST_ERRNO(EAFNOSUPPORT));
    }
    const struct seccomp_options on_host = {.on_host = true};
    const uint64_t stream[6] = {AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC}, packets[6] = {AF_UNIX, SOCK_SEQPACKET},
                   datagrams[6] = {AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK}, raw[6] = {AF_UNIX, SOCK_RAW};
    assert_int_equal(test_ask(SANDBOX_NODE, &on_host, SYS_socket, stream), TEST_ERRNO(EAFNOSUPPORT));
    assert_int_equal(test_ask(SANDBOX_NODE, &on_host, SYS_socketpair, stream), SECCOMP_RET_ALLOW);
    assert_int_equal(test_ask(SANDBOX_NODE, &on_host, SYS_socketpair, packets), SECCOMP_RET_ALLOW);
    assert_int_equal(test_ask(SANDBOX_NODE, &on_host, SYS_socketpair, datagrams), TEST_ERRNO(EPERM));
    assert_int_equal(test_ask(SANDBOX_NODE, &on_host, SYS_socketpair, raw), TEST_ERRNO(EPERM));
    assert_int_equal(TEST_ASK(SANDBOX_NODE, SYS_socketpair, AF_UNIX, SOCK_DGRAM), SECCOMP_RET_ALLOW);
    assert_int_equal(TEST_ASK(SANDBOX_NODE, SYS_socketpair, AF_INET, SOCK_STREAM), TEST_ERRNO(EAFNOSUPPORT));
    assert_int_equal(TEST_ASK(SANDBOX_BUILDER, SYS_socket, AF_UNIX), TEST_ERRNO(ENOSYS));
    assert_int_equal(TEST_ASK(SANDBOX_WORKER, SYS_socket, AF_UNIX), SECCOMP_RET_KILL_PROCESS);
}

static void memory_that_nobody_counts_is_refused(void **state) {
    (void)state;
    const struct seccomp_options uncounted = {.confined = true, .uncounted = true};
    const uint64_t shared[6] = {0, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, (uint64_t)-1},
                   own[6] = {0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1},
                   file[6] = {0, 4096, PROT_READ, MAP_SHARED, 3};
    for (int kind = 0; kind < SANDBOX_WORKER; kind++) {
        assert_int_equal(test_ask((enum sandbox_kind)kind, &uncounted, SYS_mmap, shared), TEST_ERRNO(ENOMEM));
        assert_int_equal(test_ask((enum sandbox_kind)kind, &uncounted, SYS_mmap, own), SECCOMP_RET_ALLOW);
        assert_int_equal(test_ask((enum sandbox_kind)kind, &uncounted, SYS_mmap, file), SECCOMP_RET_ALLOW);
        assert_int_equal(test_ask((enum sandbox_kind)kind, &uncounted, SYS_memfd_create, NULL),
                         TEST_ERRNO(ENOSYS));
        assert_int_equal(TEST_ASK(kind, SYS_mmap, 0, 4096, 1, MAP_SHARED | MAP_ANONYMOUS), SECCOMP_RET_ALLOW);
        assert_int_equal(TEST_ASK(kind, SYS_memfd_create), SECCOMP_RET_ALLOW);
    }
}

static void signals_stay_inside(void **state) {
    (void)state;
    const struct seccomp_options open = {.confined = false};
    const uint64_t self[6] = {TEST_SELF, SIGTERM}, group[6] = {0, SIGTERM},
                   other[6] = {TEST_SELF + 1, SIGTERM}, all[6] = {(uint64_t)-1, SIGTERM};
    assert_int_equal(test_ask(SANDBOX_PYTHON, &open, SYS_kill, self), SECCOMP_RET_ALLOW);
    assert_int_equal(test_ask(SANDBOX_PYTHON, &open, SYS_kill, group), SECCOMP_RET_ALLOW);
    assert_int_equal(test_ask(SANDBOX_PYTHON, &open, SYS_kill, other), TEST_ERRNO(EPERM));
    assert_int_equal(test_ask(SANDBOX_PYTHON, &open, SYS_kill, all), TEST_ERRNO(EPERM));
    assert_int_equal(test_ask(SANDBOX_PYTHON, &open, SYS_tgkill, other), TEST_ERRNO(EPERM));
    assert_int_equal(test_ask(SANDBOX_PYTHON, &open, SYS_pidfd_open, other), TEST_ERRNO(EPERM));
    assert_int_equal(test_ask(SANDBOX_PYTHON, &test_plain, SYS_kill, other), SECCOMP_RET_ALLOW);
    assert_int_equal(TEST_ASK(SANDBOX_WORKER, SYS_tgkill, TEST_SELF, TEST_SELF, SIGUSR1), SECCOMP_RET_ALLOW);
    assert_int_equal(TEST_ASK(SANDBOX_WORKER, SYS_tgkill, TEST_SELF + 1, TEST_SELF, SIGUSR1),
                     SECCOMP_RET_KILL_PROCESS);
    assert_int_equal(TEST_ASK(SANDBOX_WORKER, SYS_kill, TEST_SELF, SIGTERM), SECCOMP_RET_KILL_PROCESS);
}

static void a_worker_only_reads(void **state) {
    (void)state;
    static const int writes[] = {O_WRONLY, O_RDWR, O_RDONLY | O_CREAT, O_RDONLY | O_TRUNC,
                                 O_TMPFILE | O_RDWR};
    assert_int_equal(
        TEST_ASK(SANDBOX_WORKER, SYS_openat, 0, 0, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK),
        SECCOMP_RET_ALLOW);
    for (size_t i = 0; i < sizeof writes / sizeof writes[0]; i++)
        assert_int_equal(TEST_ASK(SANDBOX_WORKER, SYS_openat, 0, 0, (uint64_t)writes[i]), TEST_ERRNO(EACCES));
    assert_int_equal(TEST_ASK(SANDBOX_WORKER, SYS_execve), SECCOMP_RET_KILL_PROCESS);
    assert_int_equal(TEST_ASK(SANDBOX_WORKER, SYS_clone, SIGCHLD), SECCOMP_RET_KILL_PROCESS);
    assert_int_equal(TEST_ASK(SANDBOX_WORKER, SYS_clone3), SECCOMP_RET_KILL_PROCESS);
    assert_int_equal(TEST_ASK(SANDBOX_WORKER, SYS_io_uring_setup), SECCOMP_RET_KILL_PROCESS);
    assert_int_equal(TEST_ASK(SANDBOX_WORKER, SYS_ioctl, 3, TIOCSTI), TEST_ERRNO(ENOTTY));
    assert_int_equal(TEST_ASK(SANDBOX_WORKER, SYS_fcntl, 3, F_SETOWN, 1), TEST_ERRNO(EINVAL));
    assert_int_equal(TEST_ASK(SANDBOX_WORKER, SYS_unlinkat), TEST_ERRNO(ENOSYS));
}

static void arguments_are_looked_at(void **state) {
    (void)state;
    for (int kind = 0; kind < SANDBOX_WORKER; kind++) {
        assert_int_equal(TEST_ASK(kind, SYS_ioctl, 0, TIOCSTI), TEST_ERRNO(ENOTTY));
        assert_int_equal(TEST_ASK(kind, SYS_ioctl, 0, FIONREAD), SECCOMP_RET_ALLOW);
        assert_int_equal(TEST_ASK(kind, SYS_prctl, PR_SET_NAME), SECCOMP_RET_ALLOW);
        assert_int_equal(TEST_ASK(kind, SYS_prctl, PR_SET_SECCOMP), TEST_ERRNO(EINVAL));
        assert_int_equal(TEST_ASK(kind, SYS_prctl, PR_SET_PTRACER), TEST_ERRNO(EINVAL));
        assert_int_equal(TEST_ASK(kind, SYS_personality, 0xffffffff), SECCOMP_RET_ALLOW);
        assert_int_equal(TEST_ASK(kind, SYS_personality, 0x40000), TEST_ERRNO(EPERM));
        assert_int_equal(TEST_ASK(kind, SYS_prlimit64, 0), SECCOMP_RET_ALLOW);
        assert_int_equal(TEST_ASK(kind, SYS_prlimit64, 1), TEST_ERRNO(EPERM));
    }
}

static void the_kernel_takes_each_filter(void **state) {
    (void)state;
    if (!seccomp_is_there())
        skip();
    for (int kind = 0; kind < TEST_KINDS; kind++) {
        pid_t pid = fork();
        if (pid == 0) {
            bool entered = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
                           seccomp_enter((enum sandbox_kind)kind, &test_plain, getpid(), true);
            _exit(entered && getpid() > 0 ? 0 : 1);
        }
        int status = -1;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
}

static void a_worker_that_makes_a_socket_is_killed(void **state) {
    (void)state;
    if (!seccomp_is_there())
        skip();
    pid_t pid = fork();
    if (pid == 0) {
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
            !seccomp_enter(SANDBOX_WORKER, &test_plain, getpid(), true))
            _exit(1);
        socket(AF_INET, SOCK_STREAM, 0);
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_of_the_table_holds),
        cmocka_unit_test(what_no_function_needs_is_refused),
        cmocka_unit_test(what_is_unknown_is_not_there),
        cmocka_unit_test(another_architecture_ends_the_process),
        cmocka_unit_test(a_process_may_be_made_but_no_namespace),
        cmocka_unit_test(without_anything_that_counts_no_process_is_made_but_threads),
        cmocka_unit_test(sockets_are_for_the_functions_own_processes),
        cmocka_unit_test(memory_that_nobody_counts_is_refused),
        cmocka_unit_test(signals_stay_inside),
        cmocka_unit_test(a_worker_only_reads),
        cmocka_unit_test(arguments_are_looked_at),
        cmocka_unit_test(the_kernel_takes_each_filter),
        cmocka_unit_test(a_worker_that_makes_a_socket_is_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
