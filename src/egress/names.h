/* The names that a function has looked up: each has a number of the network 198.18.0.0/15 as its address
 * inside, and the addresses it really has outside. Any thread. */
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
    uint32_t number;             /* its place in the network */
    struct address addresses[NAMES_ADDRESSES_MAX];
    int count;
    uint64_t looked_up_ns;
};

struct names;

/* hosts_fd: a file like /etc/hosts (its first NAMES_HOSTS_BYTES) that goes before the machine's resolver, or
 * -1. Borrowed. */
struct names *names_new(int hosts_fd);
/* Looks a cleaned name up, unless that was done a moment ago, and waits for it. 0 and its address inside;
 * ERR_NOT_FOUND when there is no such name, ERR_UNAVAILABLE when nobody could say. */
int names_look_up(struct names *names, const char *name, struct address *ret_inside, struct err *err);
/* False when that address is not given to a name (any more). */
bool names_find(struct names *names, const struct address *inside, struct names_entry *ret_entry);
/* Whether it is an address of a name at all. */
bool names_is_inside(const struct address *address);

#endif
