/* Just enough of the domain name system (RFC 1035) to answer a function's resolver: a query of one question
 * in, an answer of at most one address out. Pure. */
#ifndef FAAS_EGRESS_DNS_H
#define FAAS_EGRESS_DNS_H

#include <stddef.h>
#include <stdint.h>

#include "egress/allow.h"

enum {
    DNS_PACKET_BYTES = 512,
    DNS_TYPE_A = 1,
    DNS_TYPE_AAAA = 28,
    DNS_OK = 0,
    DNS_SERVER_FAILED = 2,
    DNS_NO_SUCH_NAME = 3,
};

struct dns_query {
    bool recursion;              /* wanted by the asker */
    uint16_t type;               /* of the question */
    size_t question_len;         /* behind the header; it is copied into the answer */
    char name[ALLOW_NAME_BYTES]; /* cleaned; "" when it is none that allow_clean_name takes */
};

/* False when it is no query with one question of class IN. */
bool dns_parse(const uint8_t *packet, size_t len, struct dns_query *ret_query);
enum { DNS_ADDRESSES_MAX = 8 };

struct dns_result {
    int code; /* of the DNS_ list */
    struct address addresses[DNS_ADDRESSES_MAX];
    int count; /* those of the type that was asked for go into the answer */
};

/* The answer to that packet. Returns its length. */
size_t dns_answer(const uint8_t *packet, const struct dns_query *query, const struct dns_result *result,
                  uint8_t ret_answer[DNS_PACKET_BYTES]);

#endif
