#include "sandbox/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/syscalls.h"

#ifdef __x86_64__
#define SECCOMP_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define SECCOMP_ARCH AUDIT_ARCH_AARCH64
#else
#error "no table of system calls for this machine"
#endif

enum {
    SECCOMP_NUMBERS = 512, /* above the highest system call; x32's are far above */
    SECCOMP_NEW_NAMESPACES = 0x7e020000,
};

#define SECCOMP_PAGEMAP_SCAN 0xc0606610u /* of a kernel newer than Debian 12's headers */

/* What is done with a system call. Up to SECCOMP_KILL it depends on the number only; the others look at
 * arguments. */
enum seccomp_rule {
    SECCOMP_UNKNOWN, /* ENOSYS */
    SECCOMP_YES,
    SECCOMP_REFUSE, /* EPERM */
    SECCOMP_FORK,   /* YES, or EAGAIN when there may be no further process */
    SECCOMP_KILL,
    SECCOMP_CLONE,
    SECCOMP_FAMILY,
    SECCOMP_PAIR,
    SECCOMP_MAP,
    SECCOMP_MEMFD,
    SECCOMP_IOCTL_TERMINAL,
    SECCOMP_IOCTL_PAGEMAP,
    SECCOMP_FCNTL_OWN,
    SECCOMP_PRCTL,
    SECCOMP_PERSONALITY,
    SECCOMP_OWN_LIMITS,
    SECCOMP_KILL_OWN,
    SECCOMP_SELF,
    SECCOMP_OPEN_READ,
    SECCOMP_EMPTY_PATH,
};

struct seccomp_writer {
    const struct seccomp_options *options;
    uint32_t self;
    uint8_t rules[SECCOMP_NUMBERS];
    struct sock_filter *program;
    size_t len, size;
};

/* --- from the table to a rule for each number --- */

static void seccomp_read_table(struct seccomp_writer *writer, enum sandbox_kind kind) {
    static const struct {
        uint16_t number;
        uint8_t who, rule;
    } allowed[] = {
#define SECCOMP_ROW(name, kinds, what) {__NR_##name, SYSCALLS_##kinds, SECCOMP_##what},
        SYSCALLS_ALLOWED(SECCOMP_ROW)
#undef SECCOMP_ROW
    };
    static const uint16_t refused[] = {
#define SECCOMP_ROW(name) __NR_##name,
        SYSCALLS_REFUSED(SECCOMP_ROW)
#undef SECCOMP_ROW
    };
    static const uint16_t fatal[] = {
#define SECCOMP_ROW(name) __NR_##name,
        SYSCALLS_FATAL_IN_WORKER(SECCOMP_ROW)
#undef SECCOMP_ROW
    };
    bool worker = kind == SANDBOX_WORKER;
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
        if (allowed[i].who & 1u << kind)
            writer->rules[allowed[i].number] = allowed[i].rule;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        writer->rules[refused[i]] = worker ? SECCOMP_KILL : SECCOMP_REFUSE;
    for (size_t i = 0; worker && i < sizeof fatal / sizeof fatal[0]; i++)
        writer->rules[fatal[i]] = SECCOMP_KILL;
#ifdef __x86_64__
    uint8_t fork = worker ? SECCOMP_KILL : writer->options->forkless ? SECCOMP_FORK : SECCOMP_YES;
    writer->rules[__NR_fork] = writer->rules[__NR_vfork] = fork;
#endif
}

/* --- instructions --- */

static void seccomp_put(struct seccomp_writer *writer, uint16_t code, uint8_t yes, uint8_t no,
                        uint32_t value) {
    if (writer->len < writer->size)
        writer->program[writer->len] = (struct sock_filter){code, yes, no, value};
    writer->len++;
}

static void seccomp_return(struct seccomp_writer *writer, uint32_t action) {
    seccomp_put(writer, BPF_RET | BPF_K, 0, 0, action);
}

static void seccomp_errno(struct seccomp_writer *writer, int error) {
    seccomp_return(writer, SECCOMP_RET_ERRNO | (uint32_t)error);
}

static void seccomp_load(struct seccomp_writer *writer, size_t offset) {
    seccomp_put(writer, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

/* The low half of an argument: all that the kernel looks at in those we check. */
static void seccomp_load_argument(struct seccomp_writer *writer, unsigned number) {
    seccomp_load(writer, offsetof(struct seccomp_data, args) + number * sizeof(uint64_t));
}

static void seccomp_allow_if(struct seccomp_writer *writer, uint32_t value) {
    seccomp_put(writer, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, value);
    seccomp_return(writer, SECCOMP_RET_ALLOW);
}

static void seccomp_allow_values(struct seccomp_writer *writer, unsigned argument, const uint32_t *values,
                                 size_t count) {
    seccomp_load_argument(writer, argument);
    for (size_t i = 0; i < count; i++)
        seccomp_allow_if(writer, values[i]);
}
#define SECCOMP_ALLOW_VALUES(writer, argument, ...)                                                          \
    seccomp_allow_values(writer, argument, (const uint32_t[]){__VA_ARGS__},                                  \
                         sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

/* error when one of the bits is set in the argument, else allowed. */
static void seccomp_forbid_bits(struct seccomp_writer *writer, unsigned argument, uint32_t bits, int error) {
    seccomp_load_argument(writer, argument);
    seccomp_put(writer, BPF_JMP | BPF_JSET | BPF_K, 0, 1, bits);
    seccomp_errno(writer, error);
    seccomp_return(writer, SECCOMP_RET_ALLOW);
}

/* --- rules --- */

static void seccomp_put_clone(struct seccomp_writer *writer) {
    if (writer->options->forkless) {
        seccomp_load_argument(writer, 0);
        seccomp_put(writer, BPF_JMP | BPF_JSET | BPF_K, 1, 0, CLONE_THREAD);
        seccomp_errno(writer, EAGAIN);
    }
    seccomp_forbid_bits(writer, 0, SECCOMP_NEW_NAMESPACES, EPERM);
}

static void seccomp_put_signal(struct seccomp_writer *writer) {
    if (writer->options->confined) {
        seccomp_return(writer, SECCOMP_RET_ALLOW);
        return;
    }
    SECCOMP_ALLOW_VALUES(writer, 0, writer->self, 0, -writer->self);
    seccomp_errno(writer, EPERM);
}

static void seccomp_put_family(struct seccomp_writer *writer) {
    if (!writer->options->on_host)
        SECCOMP_ALLOW_VALUES(writer, 0, AF_UNIX);
    if (writer->options->network)
        SECCOMP_ALLOW_VALUES(writer, 0, AF_INET, AF_INET6);
    seccomp_errno(writer, EAFNOSUPPORT);
}

/* Two ends that know each other. One of datagrams could be connected to somebody else. */
static void seccomp_put_pair(struct seccomp_writer *writer) {
    enum { TYPE_BITS = 15 }; /* of what may be a type with flags */
    seccomp_load_argument(writer, 0);
    seccomp_put(writer, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AF_UNIX);
    seccomp_errno(writer, EAFNOSUPPORT);
    if (writer->options->on_host) {
        seccomp_load_argument(writer, 1);
        seccomp_put(writer, BPF_ALU | BPF_AND | BPF_K, 0, 0, TYPE_BITS);
        seccomp_allow_if(writer, SOCK_STREAM);
        seccomp_allow_if(writer, SOCK_SEQPACKET);
        seccomp_errno(writer, EPERM);
    }
    seccomp_return(writer, SECCOMP_RET_ALLOW);
}

/* Anonymous memory that is shared is a file to the kernel, and not the process's data. */
static void seccomp_put_map(struct seccomp_writer *writer) {
    if (writer->options->uncounted) {
        seccomp_load_argument(writer, 3);
        seccomp_put(writer, BPF_ALU | BPF_AND | BPF_K, 0, 0, MAP_TYPE | MAP_ANONYMOUS);
        seccomp_put(writer, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, MAP_SHARED | MAP_ANONYMOUS);
        seccomp_errno(writer, ENOMEM);
    }
    seccomp_return(writer, SECCOMP_RET_ALLOW);
}

static void seccomp_put_prctl(struct seccomp_writer *writer) {
    SECCOMP_ALLOW_VALUES(writer, 0, PR_SET_NAME, PR_GET_NAME, PR_SET_PDEATHSIG, PR_GET_PDEATHSIG,
                         PR_SET_DUMPABLE, PR_GET_DUMPABLE, PR_CAPBSET_READ, PR_SET_NO_NEW_PRIVS,
                         PR_GET_NO_NEW_PRIVS, PR_GET_SECCOMP, PR_SET_TIMERSLACK, PR_GET_TIMERSLACK,
                         PR_SET_VMA, PR_SET_THP_DISABLE, PR_GET_THP_DISABLE, PR_GET_KEEPCAPS);
    seccomp_errno(writer, EINVAL);
}

static void seccomp_put_rule(struct seccomp_writer *writer, enum seccomp_rule rule) {
    switch (rule) {
    case SECCOMP_UNKNOWN:
        seccomp_errno(writer, ENOSYS);
        break;
    case SECCOMP_YES:
        seccomp_return(writer, SECCOMP_RET_ALLOW);
        break;
    case SECCOMP_REFUSE:
        seccomp_errno(writer, EPERM);
        break;
    case SECCOMP_FORK:
        seccomp_errno(writer, EAGAIN);
        break;
    case SECCOMP_KILL:
        seccomp_return(writer, SECCOMP_RET_KILL_PROCESS);
        break;
    case SECCOMP_CLONE:
        seccomp_put_clone(writer);
        break;
    case SECCOMP_FAMILY:
        seccomp_put_family(writer);
        break;
    case SECCOMP_PAIR:
        seccomp_put_pair(writer);
        break;
    case SECCOMP_MAP:
        seccomp_put_map(writer);
        break;
    case SECCOMP_MEMFD:
        if (writer->options->uncounted)
            seccomp_errno(writer, ENOSYS);
        else
            seccomp_return(writer, SECCOMP_RET_ALLOW);
        break;
    case SECCOMP_IOCTL_TERMINAL:
        /* Nothing that puts words into a terminal's mouth (TIOCSTI, TIOCLINUX). */
        SECCOMP_ALLOW_VALUES(writer, 1, TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIOCLEX, FIONCLEX, FIOASYNC,
                             TIOCGPGRP);
        seccomp_errno(writer, ENOTTY);
        break;
    case SECCOMP_IOCTL_PAGEMAP:
        SECCOMP_ALLOW_VALUES(writer, 1, SECCOMP_PAGEMAP_SCAN);
        seccomp_errno(writer, ENOTTY);
        break;
    case SECCOMP_FCNTL_OWN:
        /* Not F_SETOWN and its like, by which the kernel sends signals on. */
        SECCOMP_ALLOW_VALUES(writer, 1, F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL,
                             F_ADD_SEALS, F_GET_SEALS);
        seccomp_errno(writer, EINVAL);
        break;
    case SECCOMP_PRCTL:
        seccomp_put_prctl(writer);
        break;
    case SECCOMP_PERSONALITY:
        SECCOMP_ALLOW_VALUES(writer, 0, 0xffffffff); /* only asks */
        seccomp_errno(writer, EPERM);
        break;
    case SECCOMP_OWN_LIMITS:
        SECCOMP_ALLOW_VALUES(writer, 0, 0, writer->self);
        seccomp_errno(writer, EPERM);
        break;
    case SECCOMP_KILL_OWN:
        seccomp_put_signal(writer);
        break;
    case SECCOMP_SELF:
        SECCOMP_ALLOW_VALUES(writer, 0, writer->self);
        seccomp_return(writer, SECCOMP_RET_KILL_PROCESS);
        break;
    case SECCOMP_OPEN_READ:
        seccomp_forbid_bits(writer, 2, O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_DIRECTORY,
                            EACCES);
        break;
    case SECCOMP_EMPTY_PATH:
        /* fstat, as newer C libraries say it. */
        seccomp_load_argument(writer, 3);
        seccomp_put(writer, BPF_JMP | BPF_JSET | BPF_K, 1, 0, AT_EMPTY_PATH);
        seccomp_errno(writer, EACCES);
        seccomp_return(writer, SECCOMP_RET_ALLOW);
        break;
    }
}

/* --- the search --- */

static unsigned seccomp_range_end(const struct seccomp_writer *writer, unsigned from, unsigned to) {
    unsigned end = from + 1;
    while (end < to && writer->rules[end] == writer->rules[from])
        end++;
    return end;
}

/* Numbers in [from, to), the number in the accumulator: halves it until one rule is left. (The kernel runs
 * the filter for every number when it is entered, to know those that need not be asked about: a list would
 * cost it a thousand walks.) */
static void seccomp_put_search(struct seccomp_writer *writer, unsigned from, unsigned to) {
    unsigned ranges = 0;
    for (unsigned at = from; at < to; at = seccomp_range_end(writer, at, to))
        ranges++;
    if (ranges == 1) {
        seccomp_put_rule(writer, (enum seccomp_rule)writer->rules[from]);
        return;
    }
    unsigned middle = from;
    for (unsigned i = 0; i < ranges / 2; i++)
        middle = seccomp_range_end(writer, middle, to);
    seccomp_put(writer, BPF_JMP | BPF_JGE | BPF_K, 0, 1, middle);
    size_t jump = writer->len;
    seccomp_put(writer, BPF_JMP | BPF_JA, 0, 0, 0);
    seccomp_put_search(writer, from, middle);
    if (jump < writer->size)
        writer->program[jump].k = (uint32_t)(writer->len - jump - 1);
    seccomp_put_search(writer, middle, to);
}

size_t seccomp_program(enum sandbox_kind kind, const struct seccomp_options *options, int self,
                       struct sock_filter *ret_program, size_t size) {
    struct seccomp_writer writer = {
        .options = options, .self = (uint32_t)self, .program = ret_program, .size = size};
    seccomp_read_table(&writer, kind);
    seccomp_load(&writer, offsetof(struct seccomp_data, arch));
    seccomp_put(&writer, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, SECCOMP_ARCH);
    seccomp_return(&writer, SECCOMP_RET_KILL_PROCESS);
    seccomp_load(&writer, offsetof(struct seccomp_data, nr));
    seccomp_put(&writer, BPF_JMP | BPF_JGE | BPF_K, 0, 1, SECCOMP_NUMBERS);
    seccomp_errno(&writer, ENOSYS);
    seccomp_put_search(&writer, 0, SECCOMP_NUMBERS);
    return writer.len <= size ? writer.len : 0;
}

/* --- the kernel --- */

static int seccomp_call(unsigned operation, unsigned flags, void *arguments) {
    return (int)syscall(SYS_seccomp, operation, flags, arguments);
}

bool seccomp_is_there(void) {
    uint32_t action = SECCOMP_RET_KILL_PROCESS;
    return seccomp_call(SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

bool seccomp_enter(enum sandbox_kind kind, const struct seccomp_options *options, int self,
                   bool all_threads) {
    struct sock_filter instructions[SECCOMP_PROGRAM_MAX];
    size_t len = seccomp_program(kind, options, self, instructions, SECCOMP_PROGRAM_MAX);
    struct sock_fprog program = {.len = (unsigned short)len, .filter = instructions};
    errno = EINVAL;
    int result =
        len ? seccomp_call(SECCOMP_SET_MODE_FILTER, all_threads ? SECCOMP_FILTER_FLAG_TSYNC : 0, &program)
            : -1;
    if (result > 0) /* a thread that could not follow */
        errno = EBUSY;
    return result == 0;
}
