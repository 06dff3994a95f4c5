#include "egress/broker.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "egress/connector.h"
#include "egress/gate.h"
#include "egress/resolver.h"

enum { BROKER_STACK_BYTES = 256 << 10, BROKER_PAUSE_MS = 20 };

struct broker {
    struct rule rule;
    struct notice notice;
    struct sockets sockets;
    struct bucket questions, attempts, lookups;
    struct connector connector;
    struct resolver resolver;
    size_t question_bytes; /* of this kernel */
    int hosts_fd;
    atomic_int idle, threads;
};

/* ---- what is allowed ---- */

int broker_write_policy(uint16_t gateway_port, const char *allow, int *ret_fd, struct err *err) {
    MEM_CLOSE_FD int fd = memfd_create("egress", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return err_sys(err, "memfd_create");
    int len = dprintf(fd, "%u\n%s\n", gateway_port, allow);
    if (len < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
        return err_sys(err, "the allow-list");
    *ret_fd = mem_steal_fd(&fd);
    return 0;
}

static int broker_read_policy(int fd, struct rule *ret_rule, struct err *err) {
    char text[BROKER_POLICY_MAX];
    ssize_t len = pread(fd, text, sizeof text - 1, 0);
    if (len < 0)
        return err_sys(err, "the allow-list");
    text[len] = 0;
    char *allow = strchr(text, '\n'), *end = allow ? strchr(allow + 1, '\n') : NULL;
    unsigned long port = strtoul(text, NULL, 10);
    if (!end || end[1] || port > 65535)
        return err_set(err, ERR_BAD_REQUEST, "the allow-list is not whole");
    *end = 0;
    ret_rule->gateway_port = (uint16_t)port;
    return allow_parse(allow + 1, &ret_rule->allow, err);
}

/* ---- the gate ---- */

/* The kernel notes who sends, from the first message on. */
int broker_open_channel(int ret_fds[2], struct err *err) {
    int fds[2], on = 1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
        return err_sys(err, "socketpair");
    if (setsockopt(fds[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0) {
        err_sys(err, "SO_PASSCRED");
        close(fds[0]);
        close(fds[1]);
        return -err->code;
    }
    memcpy(ret_fds, fds, sizeof fds);
    return 0;
}

static bool broker_take_control(struct msghdr *header, int fds[2], struct ucred *sender) {
    bool known = false;
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(header); cmsg; cmsg = CMSG_NXTHDR(header, cmsg)) {
        if (cmsg->cmsg_level != SOL_SOCKET)
            continue;
        if (cmsg->cmsg_type == SCM_RIGHTS) {
            size_t count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(fds, CMSG_DATA(cmsg), (count < 2 ? count : 2) * sizeof(int));
        } else if (cmsg->cmsg_type == SCM_CREDENTIALS) {
            memcpy(sender, CMSG_DATA(cmsg), sizeof *sender);
            known = true;
        }
    }
    return known && fds[0] >= 0;
}

int broker_receive_gate(int channel_fd, int ret_fds[2], uint32_t *ret_user, uint32_t *ret_group,
                        struct err *err) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 2) + CMSG_SPACE(sizeof(struct ucred))];
    } control;
    char byte;
    int fds[2] = {-1, -1};
    struct ucred sender;
    struct iovec part = {&byte, 1};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof control.bytes};
    ssize_t got;
    do
        got = recvmsg(channel_fd, &header, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return err_sys(err, "recvmsg");
    if (got == 0)
        return 0;
    if ((header.msg_flags & MSG_CTRUNC) || !broker_take_control(&header, fds, &sender)) {
        mem_close_fd(&fds[0]);
        mem_close_fd(&fds[1]);
        return err_set(err, ERR_BAD_REQUEST, "what came is no gate");
    }
    memcpy(ret_fds, fds, sizeof fds);
    *ret_user = sender.uid;
    *ret_group = sender.gid;
    return 1;
}

/* The user id of the function's process: its memory can be read then, and that of no other. */
static int broker_become(uint32_t user, uint32_t group, struct err *err) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    if (geteuid() == 0 &&
        (setgroups(0, NULL) != 0 || setresgid(group, group, group) != 0 || setresuid(user, user, user) != 0))
        return err_sys(err, "cannot become user %u", user);
    if (geteuid() != user)
        return err_set(err, ERR_FORBIDDEN, "the gate is of user %u", user);
    if (syscall(SYS_capset, &header, none) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return err_sys(err, "capabilities");
    return 0;
}

/* ---- threads ---- */

static void broker_add_thread(struct broker *broker);

static void broker_slow_down(struct broker *broker) {
    if (!bucket_take(&broker->questions))
        nanosleep(&(struct timespec){.tv_nsec = BROKER_PAUSE_MS * (long)CLOCK_NS_PER_MS}, NULL);
}

static void *broker_serve(void *context) {
    struct broker *broker = context;
    struct seccomp_notif *question = calloc(1, broker->question_bytes);
    while (question) {
        memset(question, 0, broker->question_bytes);
        int rc = ioctl(broker->connector.listener, SECCOMP_IOCTL_NOTIF_RECV, question);
        if (rc != 0 && (errno == EINTR || errno == ENOENT))
            continue; /* who asked was killed meanwhile */
        if (rc != 0)
            break;
        if (atomic_fetch_sub(&broker->idle, 1) == 1)
            broker_add_thread(broker);
        broker_slow_down(broker);
        connector_answer(&broker->connector, question);
        atomic_fetch_add(&broker->idle, 1);
    }
    free(question);
    return NULL;
}

static void broker_add_thread(struct broker *broker) {
    pthread_attr_t attributes;
    pthread_t thread;
    if (atomic_fetch_add(&broker->threads, 1) >= BROKER_THREADS_MAX) {
        atomic_fetch_sub(&broker->threads, 1);
        return;
    }
    atomic_fetch_add(&broker->idle, 1);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, BROKER_STACK_BYTES);
    if (pthread_create(&thread, &attributes, broker_serve, broker) != 0) {
        atomic_fetch_sub(&broker->threads, 1);
        atomic_fetch_sub(&broker->idle, 1);
    }
    pthread_attr_destroy(&attributes);
}

/* Until nobody is left who could ask. */
static void broker_wait(struct broker *broker) {
    struct pollfd watched[] = {{.fd = broker->connector.listener},
                               {.fd = broker->resolver.fd, .events = POLLIN}};
    for (;;) {
        if (poll(watched, 2, -1) < 0 && errno != EINTR)
            return;
        if (watched[0].revents & (POLLHUP | POLLERR | POLLNVAL))
            return;
        if (!watched[1].revents)
            continue;
        broker_slow_down(broker);
        resolver_serve(&broker->resolver);
    }
}

static int broker_prepare(struct broker *broker, const struct broker_config *config, int listener, int dns_fd,
                          struct err *err) {
    struct seccomp_notif_sizes sizes;
    int rc = broker_read_policy(config->policy_fd, &broker->rule, err);
    if (rc == 0)
        rc = sockets_open(&broker->sockets, CONNECTOR_OPEN_MAX, err);
    if (rc != 0)
        return rc;
    if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) != 0)
        return err_sys(err, "seccomp");
    broker->question_bytes = sizes.seccomp_notif;
    if (broker->question_bytes < sizeof(struct seccomp_notif))
        broker->question_bytes = sizeof(struct seccomp_notif);
    notice_init(&broker->notice, config->log_fd);
    bucket_init(&broker->questions, BROKER_QUESTIONS_PER_S, BROKER_QUESTIONS_BURST);
    bucket_init(&broker->attempts, CONNECTOR_PER_S, CONNECTOR_BURST);
    bucket_init(&broker->lookups, RESOLVER_PER_S, RESOLVER_BURST);
    struct names *names = names_new(broker->hosts_fd);
    broker->connector = (struct connector){.listener = listener,
                                           .rule = &broker->rule,
                                           .names = names,
                                           .notice = &broker->notice,
                                           .sockets = &broker->sockets,
                                           .attempts = &broker->attempts};
    broker->resolver.fd = dns_fd;
    broker->resolver.rule = &broker->rule;
    broker->resolver.names = names;
    broker->resolver.notice = &broker->notice;
    broker->resolver.lookups = &broker->lookups;
    return 0;
}

int broker_run(const struct broker_config *config, struct err *err) {
    int fds[2];
    uint32_t user, group;
    int rc = broker_receive_gate(config->channel_fd, fds, &user, &group, err);
    close(config->channel_fd);
    /* 0: the process never got as far as its program. */
    if (rc <= 0)
        return rc;
    /* Its threads use it until the end of the program. */
    struct broker *broker = mem_zalloc(sizeof *broker);
    /* The file need not be for everybody. */
    broker->hosts_fd = *config->hosts_path ? open(config->hosts_path, O_RDONLY | O_CLOEXEC) : -1;
    if (*config->hosts_path && broker->hosts_fd < 0)
        return err_sys(err, "cannot read %s", config->hosts_path);
    rc = broker_become(user, group, err);
    if (rc == 0)
        rc = broker_prepare(broker, config, fds[0], fds[1], err);
    if (rc != 0)
        return rc;
    broker_add_thread(broker);
    broker_wait(broker);
    return 0;
}
