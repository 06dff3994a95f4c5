#include "egress/gate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef __x86_64__
#define GATE_ARCH AUDIT_ARCH_X86_64
#else
#define GATE_ARCH AUDIT_ARCH_AARCH64
#endif
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

enum {
    GATE_CODE_MAX = 512,
    GATE_X32 = 0x40000000,
    GATE_SOCKET_IOCTLS = 0x8900, /* SIOC…: would show the host's interfaces through the broker's sockets */
};

/* The broker's sockets belong to the network of the host. What could turn one of them into another connection
 * without a connect, or make it listen, is refused; what is left of setsockopt is this. */
static const struct gate_option {
    int level, name;
} gate_options[] = {
    {SOL_SOCKET, SO_REUSEADDR},      {SOL_SOCKET, SO_SNDBUF},          {SOL_SOCKET, SO_RCVBUF},
    {SOL_SOCKET, SO_KEEPALIVE},      {SOL_SOCKET, SO_OOBINLINE},       {SOL_SOCKET, SO_LINGER},
    {SOL_SOCKET, SO_REUSEPORT},      {SOL_SOCKET, SO_PASSCRED},        {SOL_SOCKET, SO_RCVLOWAT},
    {SOL_SOCKET, SO_RCVTIMEO},       {SOL_SOCKET, SO_SNDTIMEO},        {SOL_SOCKET, SO_BROADCAST},
    {IPPROTO_TCP, TCP_NODELAY},      {IPPROTO_TCP, TCP_CORK},          {IPPROTO_TCP, TCP_KEEPIDLE},
    {IPPROTO_TCP, TCP_KEEPINTVL},    {IPPROTO_TCP, TCP_KEEPCNT},       {IPPROTO_TCP, TCP_QUICKACK},
    {IPPROTO_TCP, TCP_USER_TIMEOUT}, {IPPROTO_TCP, TCP_NOTSENT_LOWAT}, {IPPROTO_IP, IP_TOS},
    {IPPROTO_IP, IP_RECVERR}, /* the C library's resolver insists on it */
    {IPPROTO_IPV6, IPV6_V6ONLY},     {IPPROTO_IPV6, IPV6_TCLASS},      {IPPROTO_IPV6, IPV6_RECVERR},
};

static const uint32_t gate_families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};

/* Refused whatever the arguments are. io_uring would connect without a system call. */
static const struct gate_refusal {
    uint32_t number, error;
} gate_refusals[] = {
    {SYS_bind, EACCES},
    {SYS_listen, EACCES},
    {SYS_accept, EACCES},
    {SYS_accept4, EACCES},
    {SYS_io_uring_setup, ENOSYS},
    {SYS_io_uring_enter, ENOSYS},
    {SYS_io_uring_register, ENOSYS},
};

/* Sending with these flags connects (TCP fast open); the argument that holds them. */
static const struct gate_sender {
    uint32_t number;
    int flags_argument;
} gate_senders[] = {{SYS_sendto, 3}, {SYS_sendmsg, 2}, {SYS_sendmmsg, 3}};

struct gate_program {
    struct sock_filter code[GATE_CODE_MAX];
    unsigned short len;
};

static void gate_put(struct gate_program *program, struct sock_filter instruction) {
    if (program->len < GATE_CODE_MAX)
        program->code[program->len++] = instruction;
}

static void gate_load(struct gate_program *program, size_t offset) {
    gate_put(program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

/* Low half of an argument: what the kernel takes of an int. */
static void gate_load_argument(struct gate_program *program, int argument) {
    gate_load(program, offsetof(struct seccomp_data, args) + sizeof(uint64_t) * (size_t)argument);
}

static void gate_if(struct gate_program *program, uint16_t test, uint32_t value, uint8_t skip_true,
                    uint8_t skip_false) {
    gate_put(program, (struct sock_filter)BPF_JUMP(BPF_JMP | test | BPF_K, value, skip_true, skip_false));
}

static void gate_end(struct gate_program *program, uint32_t action) {
    gate_put(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

/* Every block starts with the number in the accumulator and leaves by a jump behind itself. */
static void gate_begin(struct gate_program *program, uint32_t number, uint8_t block_len) {
    gate_load(program, offsetof(struct seccomp_data, nr));
    gate_if(program, BPF_JEQ, number, 0, block_len);
}

static uint32_t gate_error(uint32_t error) {
    return SECCOMP_RET_ERRNO | error;
}

static void gate_check_machine(struct gate_program *program) {
    gate_load(program, offsetof(struct seccomp_data, arch));
    gate_if(program, BPF_JEQ, GATE_ARCH, 1, 0);
    gate_end(program, SECCOMP_RET_KILL_PROCESS);
    gate_load(program, offsetof(struct seccomp_data, nr));
    gate_if(program, BPF_JGE, GATE_X32, 0, 1);
    gate_end(program, gate_error(ENOSYS));
}

static void gate_check_options(struct gate_program *program) {
    enum { ROWS = sizeof gate_options / sizeof *gate_options, ROW = 5 };
    gate_begin(program, SYS_setsockopt, ROWS * ROW + 1);
    for (int i = 0; i < ROWS; i++) {
        gate_load_argument(program, 1);
        gate_if(program, BPF_JEQ, (uint32_t)gate_options[i].level, 0, 3);
        gate_load_argument(program, 2);
        gate_if(program, BPF_JEQ, (uint32_t)gate_options[i].name, 0, 1);
        gate_end(program, SECCOMP_RET_ALLOW);
    }
    gate_end(program, gate_error(ENOPROTOOPT));
    _Static_assert(ROWS * ROW + 1 < 256, "a jump reaches the end of the block");
}

static void gate_check_families(struct gate_program *program) {
    enum { ROWS = sizeof gate_families / sizeof *gate_families };
    gate_begin(program, SYS_socket, ROWS * 2 + 2);
    gate_load_argument(program, 0);
    for (int i = 0; i < ROWS; i++) {
        gate_if(program, BPF_JEQ, gate_families[i], 0, 1);
        gate_end(program, SECCOMP_RET_ALLOW);
    }
    gate_end(program, gate_error(EAFNOSUPPORT));
}

/* sendto with an address: it goes nowhere in an empty network, and the broker says so in the function's log.
 */
static void gate_ask_about_datagrams(struct gate_program *program) {
    gate_begin(program, SYS_sendto, 5);
    gate_load_argument(program, 4);
    gate_if(program, BPF_JEQ, 0, 0, 2);
    gate_load(program, offsetof(struct seccomp_data, args) + sizeof(uint64_t) * 4 + sizeof(uint32_t));
    gate_if(program, BPF_JEQ, 0, 1, 0);
    gate_end(program, SECCOMP_RET_USER_NOTIF);
}

static void gate_build(struct gate_program *program) {
    gate_check_machine(program);
    gate_begin(program, SYS_connect, 1);
    gate_end(program, SECCOMP_RET_USER_NOTIF);
    for (size_t i = 0; i < sizeof gate_refusals / sizeof *gate_refusals; i++) {
        gate_begin(program, gate_refusals[i].number, 1);
        gate_end(program, gate_error(gate_refusals[i].error));
    }
    for (size_t i = 0; i < sizeof gate_senders / sizeof *gate_senders; i++) {
        gate_begin(program, gate_senders[i].number, 3);
        gate_load_argument(program, gate_senders[i].flags_argument);
        gate_if(program, BPF_JSET, MSG_FASTOPEN, 0, 1);
        gate_end(program, gate_error(EOPNOTSUPP));
    }
    gate_ask_about_datagrams(program);
    gate_begin(program, SYS_ioctl, 4);
    gate_load_argument(program, 1);
    gate_put(program, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xffffff00));
    gate_if(program, BPF_JEQ, GATE_SOCKET_IOCTLS, 0, 1);
    gate_end(program, gate_error(EPERM));
    gate_check_families(program);
    gate_check_options(program);
    gate_end(program, SECCOMP_RET_ALLOW);
}

bool gate_open_loopback(int *ret_dns_fd) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(GATE_DNS_PORT)};
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    inet_pton(AF_INET, GATE_DNS_ADDRESS, &address.sin_addr);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    if (ioctl(fd, SIOCSIFFLAGS, &request) == 0 &&
        bind(fd, (const struct sockaddr *)&address, sizeof address) == 0) {
        *ret_dns_fd = fd;
        return true;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    return false;
}

static bool gate_send(int channel_fd, const int *fds, size_t count) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * GATE_FDS)];
    } control = {0};
    char byte = 0;
    struct iovec part = {&byte, 1};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = CMSG_SPACE(sizeof(int) * count)};
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * count);
    return sendmsg(channel_fd, &header, MSG_NOSIGNAL) == 1;
}

bool gate_install(int channel_fd, int dns_fd) {
    struct gate_program program = {.len = 0};
    gate_build(&program);
    struct sock_fprog prog = {.len = program.len, .filter = program.code};
    /* Signals wait until the broker has decided, where the kernel can do that. */
    unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
    if (fd < 0 && errno == EINVAL)
        fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
    if (fd < 0)
        return false;
    int fds[GATE_FDS] = {(int)fd, dns_fd};
    bool sent = gate_send(channel_fd, fds, dns_fd < 0 ? 1 : 2);
    int saved = errno;
    close((int)fd);
    errno = saved;
    return sent;
}
