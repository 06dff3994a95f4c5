/* What a function sends to its broker's resolver, and an allow-list as a user sends it. The first byte says
 * which. */
#include <stdlib.h>
#include <string.h>

#include "egress/dns.h"
#include "egress/rule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_check(bool holds) {
    if (!holds)
        abort();
}

/* An answer is no query, and has the question of the one that it answers. */
static void fuzz_dns(const uint8_t *data, size_t size) {
    struct dns_query query, again;
    struct dns_result result = {.code = DNS_OK, .count = DNS_ADDRESSES_MAX};
    uint8_t answer[DNS_PACKET_BYTES];
    if (!dns_parse(data, size, &query))
        return;
    for (int i = 0; i < DNS_ADDRESSES_MAX; i++)
        address_parse(i % 2 ? "198.18.8.1" : "100::1", &result.addresses[i]);
    size_t len = dns_answer(data, &query, &result, answer);
    fuzz_check(len <= sizeof answer && len >= 12 + query.question_len);
    fuzz_check(memcmp(answer + 12, data + 12, query.question_len) == 0);
    fuzz_check(!dns_parse(answer, len, &again));
    char name[ALLOW_NAME_BYTES];
    strcpy(name, query.name);
    fuzz_check(!*name || (allow_clean_name(name) && strcmp(name, query.name) == 0));
}

/* Whatever a list says, what nothing connects to and the platform's own socket stay out of reach, and so does
 * a private address when no network that is written in the list has it. */
static void fuzz_allow(const char *text) {
    static const char *const never[] = {"0.0.0.0",         "0.1.2.3",    "::",      "224.0.0.1",
                                        "255.255.255.255", "198.18.0.1", "ff02::1", "100::1"};
    struct rule rule = {.gateway_port = 8080};
    struct rule_target target = {.port = 443};
    char why[RULE_WHY_BYTES];
    struct err err;
    if (allow_parse(text, &rule.allow, &err) != 0)
        return;
    for (size_t i = 0; i < sizeof never / sizeof *never; i++) {
        fuzz_check(address_parse(never[i], &target.address));
        fuzz_check(!rule_permits(&rule, &target, why));
    }
    fuzz_check(address_parse("127.0.0.1", &target.address));
    bool named = false;
    for (int i = 0; i < rule.allow.count; i++)
        named |= rule.allow.entries[i].kind == ALLOW_NET &&
                 address_is_in(&target.address, &rule.allow.entries[i].net);
    fuzz_check(named || !rule_permits(&rule, &target, why));
    target.own = true;
    target.port = 8080;
    fuzz_check(!rule_permits(&rule, &target, why));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    if (data[0] == 'd') {
        fuzz_dns(data + 1, size - 1);
        return 0;
    }
    char *text = strndup((const char *)data + 1, size - 1);
    fuzz_allow(text);
    free(text);
    return 0;
}
