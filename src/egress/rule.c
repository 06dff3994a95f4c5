#include "egress/rule.h"

#include <stdio.h>

static bool rule_lists_address(const struct rule *rule, const struct rule_target *target,
                               const struct address_range *range) {
    bool narrow = range->kind != ADDRESS_PUBLIC || target->own;
    for (int i = 0; i < rule->allow.count; i++) {
        const struct allow_entry *entry = &rule->allow.entries[i];
        if (entry->port && entry->port != target->port)
            continue;
        if (entry->kind == ALLOW_ANY && !narrow)
            return true;
        if (entry->kind != ALLOW_NET || !address_is_in(&target->address, &entry->net))
            continue;
        /* 0.0.0.0/0 is everything that is public. Of this host's public addresses each wants its own entry.
         */
        unsigned least = range->kind != ADDRESS_PUBLIC ? range->net.bits : target->own ? 128 : 0;
        if (entry->net.bits >= least)
            return true;
    }
    return false;
}

static bool rule_refuse(char ret_why[RULE_WHY_BYTES], const char *what, const char *why) {
    snprintf(ret_why, RULE_WHY_BYTES, "%s%s", what, why);
    return false;
}

bool rule_permits(const struct rule *rule, const struct rule_target *target, char ret_why[RULE_WHY_BYTES]) {
    const struct address_range *range = address_range_of(&target->address);
    if (target->port == 0 || range->kind == ADDRESS_NEVER)
        return rule_refuse(ret_why, target->port ? range->name : "port 0", ", which nothing connects to");
    if (target->own && (!rule->gateway_port || target->port == rule->gateway_port))
        return rule_refuse(ret_why, "", "the platform's own socket");
    if (target->name && !allow_has_name(&rule->allow, target->name, target->port))
        return rule_refuse(ret_why, "", "not in allow=");
    bool special = range->kind == ADDRESS_PRIVATE || target->own;
    if (target->name && !special)
        return true;
    if (rule_lists_address(rule, target, range))
        return true;
    if (range->kind == ADDRESS_PRIVATE)
        return rule_refuse(ret_why, range->name, ", not in allow=");
    return rule_refuse(ret_why, target->own ? "an address of this machine, " : "", "not in allow=");
}
