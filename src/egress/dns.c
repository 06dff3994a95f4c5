#include "egress/dns.h"

#include <string.h>

enum {
    DNS_HEADER_BYTES = 12,
    DNS_CLASS_IN = 1,
    DNS_LABEL_MAX = 63,
    DNS_NAME_MAX = 255,
    DNS_RECORD_BYTES = 12, /* in front of the address; its name is a pointer to the question's */
    DNS_TTL_S = 5,
    DNS_FLAG_ANSWER = 0x80,
    DNS_FLAG_RECURSION_WANTED = 0x01,
    DNS_FLAG_RECURSION_THERE = 0x80,
    DNS_OPCODE_BITS = 0x78,
};

static uint16_t dns_number(const uint8_t *at) {
    return (uint16_t)(at[0] << 8 | at[1]);
}

/* The labels from `at`, with dots between. Returns the bytes they take, 0 when they do not end well; a name
 * with a byte that is no character of a name is "". Compression has no place in a question. */
static size_t dns_read_name(const uint8_t *at, size_t left, char ret_name[ALLOW_NAME_BYTES]) {
    size_t used = 0, len = 0;
    bool clean = true;
    while (used < left && used < DNS_NAME_MAX) {
        size_t label = at[used++];
        if (label == 0) {
            ret_name[len] = 0;
            if (!clean || !allow_clean_name(ret_name))
                ret_name[0] = 0;
            return used;
        }
        if (label > DNS_LABEL_MAX || label > left - used)
            return 0;
        /* One for the dot, one for the end. */
        if (len + label + 2 > ALLOW_NAME_BYTES || memchr(at + used, 0, label) ||
            memchr(at + used, '.', label)) {
            clean = false;
        } else {
            if (len > 0)
                ret_name[len++] = '.';
            memcpy(ret_name + len, at + used, label);
            len += label;
        }
        used += label;
    }
    return 0;
}

bool dns_parse(const uint8_t *packet, size_t len, struct dns_query *ret_query) {
    if (len < DNS_HEADER_BYTES || len > DNS_PACKET_BYTES ||
        (packet[2] & (DNS_FLAG_ANSWER | DNS_OPCODE_BITS)) || dns_number(packet + 4) != 1)
        return false;
    const uint8_t *question = packet + DNS_HEADER_BYTES;
    size_t left = len - DNS_HEADER_BYTES;
    size_t name_len = dns_read_name(question, left, ret_query->name);
    _Static_assert(DNS_HEADER_BYTES + DNS_NAME_MAX + 4 +
                           DNS_ADDRESSES_MAX * (DNS_RECORD_BYTES + ADDRESS_BYTES) <=
                       DNS_PACKET_BYTES,
                   "an answer fits");
    if (name_len == 0 || left - name_len < 4 || dns_number(question + name_len + 2) != DNS_CLASS_IN)
        return false;
    ret_query->recursion = packet[2] & DNS_FLAG_RECURSION_WANTED;
    ret_query->type = dns_number(question + name_len);
    ret_query->question_len = name_len + 4;
    return true;
}

static size_t dns_put_address(const struct address *address, uint16_t type, uint8_t *at) {
    uint8_t size = type == DNS_TYPE_A ? 4 : ADDRESS_BYTES;
    const uint8_t record[DNS_RECORD_BYTES] = {0xc0, DNS_HEADER_BYTES, 0, (uint8_t)type, 0, DNS_CLASS_IN, 0, 0,
                                              0,    DNS_TTL_S,        0, size};
    memcpy(at, record, sizeof record);
    memcpy(at + sizeof record, address->bytes + ADDRESS_BYTES - size, size);
    return sizeof record + size;
}

size_t dns_answer(const uint8_t *packet, const struct dns_query *query, const struct dns_result *result,
                  uint8_t ret_answer[DNS_PACKET_BYTES]) {
    size_t len = DNS_HEADER_BYTES + query->question_len;
    memset(ret_answer, 0, DNS_HEADER_BYTES);
    memcpy(ret_answer, packet, 2);
    ret_answer[2] = (uint8_t)(DNS_FLAG_ANSWER | (query->recursion ? DNS_FLAG_RECURSION_WANTED : 0));
    ret_answer[3] = (uint8_t)(DNS_FLAG_RECURSION_THERE | result->code);
    ret_answer[5] = 1;
    memcpy(ret_answer + DNS_HEADER_BYTES, packet + DNS_HEADER_BYTES, query->question_len);
    for (int i = 0; i < result->count; i++) {
        const struct address *address = &result->addresses[i];
        if (query->type != (address_is_v4(address) ? DNS_TYPE_A : DNS_TYPE_AAAA))
            continue;
        len += dns_put_address(address, query->type, ret_answer + len);
        ret_answer[7]++;
    }
    return len;
}
