/* The names that a function has looked up: each has a number, and each of the addresses it really has an
 * address inside that is made of the number, of the networks 198.18.0.0/15 and 100::/64. Any thread. */
#ifndef FAAS_EGRESS_NAMES_H
#define FAAS_EGRESS_NAMES_H

#include "egress/allow.h"

enum {
    NAMES_MAX = 256,         /* kept; the oldest is forgotten for a newer one */
    NAMES_ADDRESSES_MAX = 8, /* of one name */
    NAMES_FRESH_S = 30,      /* looked up again when a function asks after that */
    NAMES_HOSTS_BYTES = 64 << 10,
};

struct names_entry {
    char name[ALLOW_NAME_BYTES]; /* "" = empty */
    uint32_t number;
    struct address addresses[NAMES_ADDRESSES_MAX];
    int count;
    uint64_t looked_up_ns;
};

struct names;

/* hosts_fd: a file like /etc/hosts (its first NAMES_HOSTS_BYTES) that goes before the machine's resolver, or
 * -1. Borrowed. */
struct names *names_new(int hosts_fd);
/* Looks a cleaned name up, unless that was done a moment ago, and waits for it. ERR_NOT_FOUND when there is
 * no such name, ERR_UNAVAILABLE when nobody could say. */
int names_look_up(struct names *names, const char *name, struct names_entry *ret_entry, struct err *err);
/* What stands for the i-th of its addresses inside; of the same version. */
struct address names_inside(const struct names_entry *entry, int i);
/* The name and the address that one inside stands for. False when there is none (any more). */
bool names_find(struct names *names, const struct address *inside, struct names_entry *ret_entry,
                struct address *ret_address);
/* Whether it is an address of a name at all. */
bool names_is_inside(const struct address *address);

#endif
