/* An address of the Internet Protocol, either version in one form, and which range of special use it lies in.
 * Pure. */
#ifndef FAAS_EGRESS_ADDRESS_H
#define FAAS_EGRESS_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { ADDRESS_BYTES = 16, ADDRESS_TEXT_BYTES = 64 };

/* Version 4 as ::ffff:a.b.c.d, so that the two spellings of one address are one value. */
struct address {
    uint8_t bytes[ADDRESS_BYTES];
};

/* A network: the first `bits` bits of the address, the others are zero. */
struct address_net {
    struct address address;
    uint8_t bits; /* of 128: a version 4 prefix of /8 is 104 */
};

enum address_kind {
    ADDRESS_PUBLIC,
    ADDRESS_PRIVATE, /* only when it is named */
    ADDRESS_NEVER,   /* nothing that a connection could be made to */
};

struct address_range {
    struct address_net net;
    enum address_kind kind;
    const char *name; /* "private address", "link-local address"… */
};

/* Dotted quad (no other spelling of version 4) or a version 6 address without a zone. */
bool address_parse(const char *text, struct address *ret_address);
/* With "/bits" behind it, or without: then the address alone. False also when a bit behind the prefix is set.
 */
bool address_parse_net(const char *text, struct address_net *ret_net);
void address_format(const struct address *address, char ret_text[ADDRESS_TEXT_BYTES]);
bool address_is_v4(const struct address *address);
bool address_is_in(const struct address *address, const struct address_net *net);
/* The range that an address lies in; never NULL. The rows are of the registries of special-purpose addresses
 * (RFC 6890 and its updates); what is no global unicast address of version 6 is ADDRESS_NEVER. */
const struct address_range *address_range_of(const struct address *address);
/* AF_INET or AF_INET6. */
bool address_from_socket(const struct sockaddr *socket_address, socklen_t len, struct address *ret_address,
                         uint16_t *ret_port);
/* For a socket of AF_INET or AF_INET6. Returns its length, 0 when that family has no form of it. */
socklen_t address_to_socket(const struct address *address, uint16_t port, int family,
                            struct sockaddr_storage *ret);

#endif
