#include "egress/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRESS_V4_AT = 12, ADDRESS_V4_BITS = 96 };

/* The first row that fits counts. */
#define V4(a, b, c, d, prefix)                                                                               \
    { {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d}}, 96 + (prefix) }
#define V6(a, b, c, d, prefix)                                                                               \
    { {{(a) >> 8, (a)&0xff, (b) >> 8, (b)&0xff, (c) >> 8, (c)&0xff, (d) >> 8, (d)&0xff}}, (prefix) }
static const struct address_range address_ranges[] = {
    {V4(0, 0, 0, 0, 8), ADDRESS_NEVER, "address of this network"},
    {V4(10, 0, 0, 0, 8), ADDRESS_PRIVATE, "private address"},
    {V4(100, 64, 0, 0, 10), ADDRESS_PRIVATE, "shared address of a carrier"},
    {V4(127, 0, 0, 0, 8), ADDRESS_PRIVATE, "loopback address"},
    {V4(169, 254, 0, 0, 16), ADDRESS_PRIVATE, "link-local address"},
    {V4(172, 16, 0, 0, 12), ADDRESS_PRIVATE, "private address"},
    {V4(192, 0, 0, 0, 24), ADDRESS_PRIVATE, "address of special use"},
    {V4(192, 0, 2, 0, 24), ADDRESS_PRIVATE, "documentation address"},
    {V4(192, 88, 99, 0, 24), ADDRESS_PRIVATE, "6to4 relay address"},
    {V4(192, 168, 0, 0, 16), ADDRESS_PRIVATE, "private address"},
    {V4(198, 18, 0, 0, 15), ADDRESS_NEVER, "address of a name that was not looked up"},
    {V4(198, 51, 100, 0, 24), ADDRESS_PRIVATE, "documentation address"},
    {V4(203, 0, 113, 0, 24), ADDRESS_PRIVATE, "documentation address"},
    {V4(224, 0, 0, 0, 4), ADDRESS_NEVER, "multicast address"},
    {V4(240, 0, 0, 0, 4), ADDRESS_NEVER, "reserved address"},
    {V4(0, 0, 0, 0, 0), ADDRESS_PUBLIC, "public address"},
    {{{{0}}, 128}, ADDRESS_NEVER, "unspecified address"},
    {{{{[15] = 1}}, 128}, ADDRESS_PRIVATE, "loopback address"},
    {{{{0}}, 96}, ADDRESS_NEVER, "IPv4-compatible address"},
    {{{{[8] = 0xff, [9] = 0xff}}, 96}, ADDRESS_PRIVATE, "translated address"},
    {V6(0x64, 0xff9b, 0, 0, 96), ADDRESS_PRIVATE, "NAT64 address"},
    {V6(0x64, 0xff9b, 1, 0, 48), ADDRESS_PRIVATE, "NAT64 address"},
    {V6(0x2001, 0, 0, 0, 23), ADDRESS_PRIVATE, "address of special use"},
    {V6(0x2001, 0xdb8, 0, 0, 32), ADDRESS_PRIVATE, "documentation address"},
    {V6(0x2002, 0, 0, 0, 16), ADDRESS_PRIVATE, "6to4 address"},
    {V6(0x3fff, 0, 0, 0, 20), ADDRESS_PRIVATE, "documentation address"},
    {V6(0x2000, 0, 0, 0, 3), ADDRESS_PUBLIC, "public address"},
    {V6(0xfc00, 0, 0, 0, 7), ADDRESS_PRIVATE, "unique local address"},
    {V6(0xfe80, 0, 0, 0, 10), ADDRESS_PRIVATE, "link-local address"},
    {V6(0xfec0, 0, 0, 0, 10), ADDRESS_PRIVATE, "site-local address"},
    {V6(0xff00, 0, 0, 0, 8), ADDRESS_NEVER, "multicast address"},
    {{{{0}}, 0}, ADDRESS_NEVER, "address that is not global"},
};
#undef V4
#undef V6

bool address_is_v4(const struct address *address) {
    static const uint8_t mapped[ADDRESS_V4_AT] = {[10] = 0xff, [11] = 0xff};
    return memcmp(address->bytes, mapped, sizeof mapped) == 0;
}

static struct address address_of_v4(const void *four) {
    struct address address = {{[10] = 0xff, [11] = 0xff}};
    memcpy(address.bytes + ADDRESS_V4_AT, four, 4);
    return address;
}

bool address_parse(const char *text, struct address *ret_address) {
    struct in_addr four;
    if (inet_pton(AF_INET, text, &four) == 1) {
        *ret_address = address_of_v4(&four);
        return true;
    }
    struct in6_addr six;
    if (inet_pton(AF_INET6, text, &six) != 1)
        return false;
    memcpy(ret_address->bytes, &six, ADDRESS_BYTES);
    return true;
}

static bool address_has_bits_behind(const struct address_net *net) {
    for (unsigned bit = net->bits; bit < 8 * ADDRESS_BYTES; bit++)
        if (net->address.bytes[bit / 8] >> (7 - bit % 8) & 1)
            return true;
    return false;
}

bool address_parse_net(const char *text, struct address_net *ret_net) {
    char host[ADDRESS_TEXT_BYTES];
    struct address_net net;
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    if (len >= sizeof host)
        return false;
    memcpy(host, text, len);
    host[len] = 0;
    if (!address_parse(host, &net.address))
        return false;
    /* A mapped address that was written as version 6 counts its prefix as version 6 does. */
    unsigned most = strchr(host, ':') ? 128 : 32;
    unsigned long bits = most;
    if (slash) {
        char *end;
        bits = strtoul(slash + 1, &end, 10);
        if (slash[1] < '0' || slash[1] > '9' || *end || end - slash > 4 || bits > most)
            return false;
    }
    net.bits = (uint8_t)(most == 32 ? bits + ADDRESS_V4_BITS : bits);
    if (address_has_bits_behind(&net))
        return false;
    *ret_net = net;
    return true;
}

void address_format(const struct address *address, char ret_text[ADDRESS_TEXT_BYTES]) {
    if (address_is_v4(address))
        inet_ntop(AF_INET, address->bytes + ADDRESS_V4_AT, ret_text, ADDRESS_TEXT_BYTES);
    else
        inet_ntop(AF_INET6, address->bytes, ret_text, ADDRESS_TEXT_BYTES);
}

bool address_is_in(const struct address *address, const struct address_net *net) {
    unsigned whole = net->bits / 8, rest = net->bits % 8;
    if (memcmp(address->bytes, net->address.bytes, whole) != 0)
        return false;
    return !rest || (address->bytes[whole] ^ net->address.bytes[whole]) >> (8 - rest) == 0;
}

const struct address_range *address_range_of(const struct address *address) {
    const struct address_range *row = address_ranges;
    while (!address_is_in(address, &row->net))
        row++;
    return row;
}

bool address_from_socket(const struct sockaddr *socket_address, socklen_t len, struct address *ret_address,
                         uint16_t *ret_port) {
    if (len >= sizeof(struct sockaddr_in) && socket_address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, socket_address, sizeof in);
        *ret_address = address_of_v4(&in.sin_addr);
        *ret_port = ntohs(in.sin_port);
        return true;
    }
    if (len >= sizeof(struct sockaddr_in6) && socket_address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, socket_address, sizeof in6);
        memcpy(ret_address->bytes, &in6.sin6_addr, ADDRESS_BYTES);
        *ret_port = ntohs(in6.sin6_port);
        return true;
    }
    return false;
}

socklen_t address_to_socket(const struct address *address, uint16_t port, int family,
                            struct sockaddr_storage *ret) {
    memset(ret, 0, sizeof *ret);
    if (family == AF_INET6) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
        memcpy(&in6.sin6_addr, address->bytes, ADDRESS_BYTES);
        memcpy(ret, &in6, sizeof in6);
        return sizeof in6;
    }
    if (!address_is_v4(address))
        return 0;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    memcpy(&in.sin_addr, address->bytes + ADDRESS_V4_AT, 4);
    memcpy(ret, &in, sizeof in);
    return sizeof in;
}
