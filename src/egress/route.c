#include "egress/route.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

struct route_question {
    struct nlmsghdr header;
    struct rtmsg route;
    struct rtattr attribute;
    uint8_t address[ADDRESS_BYTES];
};

static bool route_ask(int fd, const struct address *address) {
    bool v4 = address_is_v4(address);
    uint16_t len = v4 ? 4 : ADDRESS_BYTES;
    struct route_question question = {
        .header = {.nlmsg_type = RTM_GETROUTE, .nlmsg_flags = NLM_F_REQUEST},
        .route = {.rtm_family = v4 ? AF_INET : AF_INET6, .rtm_dst_len = (unsigned char)(8 * len)},
        .attribute = {.rta_len = (uint16_t)RTA_LENGTH(len), .rta_type = RTA_DST},
    };
    memcpy(question.address, address->bytes + ADDRESS_BYTES - len, len);
    question.header.nlmsg_len = (uint32_t)(NLMSG_LENGTH(sizeof question.route) + RTA_SPACE(len));
    return send(fd, &question, question.header.nlmsg_len, 0) == (ssize_t)question.header.nlmsg_len;
}

bool route_is_own(const struct address *address) {
    union {
        struct nlmsghdr header;
        char bytes[4096];
    } answer;
    MEM_CLOSE_FD int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0 || !route_ask(fd, address))
        return true;
    ssize_t got = recv(fd, &answer, sizeof answer, 0);
    if (got < (ssize_t)sizeof answer.header || answer.header.nlmsg_len > (size_t)got)
        return true;
    if (answer.header.nlmsg_type == NLMSG_ERROR) {
        const struct nlmsgerr *failure = NLMSG_DATA(&answer.header);
        return failure->error != -ENETUNREACH && failure->error != -EHOSTUNREACH;
    }
    const struct rtmsg *route = NLMSG_DATA(&answer.header);
    return answer.header.nlmsg_type != RTM_NEWROUTE || route->rtm_type != RTN_UNICAST;
}
