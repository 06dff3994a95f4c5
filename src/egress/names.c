#include "egress/names.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

/* Numbers go on, so that an address which an application kept never means another name. */
enum { NAMES_FIRST = 256, NAMES_NUMBERS = (1 << 17) / NAMES_ADDRESSES_MAX };
static const struct address_net names_v4 = {{{[10] = 0xff, [11] = 0xff, [12] = 198, [13] = 18}}, 96 + 15};
static const struct address_net names_v6 = {{{[0] = 1}}, 64};

struct names {
    int hosts_fd;
    pthread_mutex_t lock;
    struct names_entry entries[NAMES_MAX]; /* of number n at n % NAMES_MAX */
    uint32_t next;
};

struct names *names_new(int hosts_fd) {
    struct names *names = mem_zalloc(sizeof *names);
    names->hosts_fd = hosts_fd;
    names->next = NAMES_FIRST;
    pthread_mutex_init(&names->lock, NULL);
    return names;
}

bool names_is_inside(const struct address *address) {
    return address_is_in(address, &names_v4) || address_is_in(address, &names_v6);
}

struct address names_inside(const struct names_entry *entry, int i) {
    uint32_t place = entry->number * NAMES_ADDRESSES_MAX + (uint32_t)i;
    struct address address = address_is_v4(&entry->addresses[i]) ? names_v4.address : names_v6.address;
    address.bytes[13] = (uint8_t)(address.bytes[13] + (place >> 16));
    address.bytes[14] = (uint8_t)(place >> 8);
    address.bytes[15] = (uint8_t)place;
    return address;
}

static void names_add(struct names_entry *entry, const struct address *address) {
    for (int i = 0; i < entry->count; i++)
        if (memcmp(&entry->addresses[i], address, sizeof *address) == 0)
            return;
    if (entry->count < NAMES_ADDRESSES_MAX)
        entry->addresses[entry->count++] = *address;
}

static void names_read_hosts_line(char *line, struct names_entry *entry) {
    struct address address;
    char *rest;
    line[strcspn(line, "#")] = 0;
    const char *first = strtok_r(line, " \t\r", &rest);
    if (!first || !address_parse(first, &address))
        return;
    for (char *name; (name = strtok_r(NULL, " \t\r", &rest));)
        if (allow_clean_name(name) && strcmp(name, entry->name) == 0)
            names_add(entry, &address);
}

static void names_read_hosts(int fd, struct names_entry *entry) {
    MEM_FREE char *text = fd < 0 ? NULL : malloc(NAMES_HOSTS_BYTES + 1);
    ssize_t len = text ? pread(fd, text, NAMES_HOSTS_BYTES, 0) : -1;
    if (len <= 0)
        return;
    text[len] = 0;
    char *rest;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        names_read_hosts_line(line, entry);
}

static int names_ask_system(struct names_entry *entry, struct err *err) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *found;
    int rc = getaddrinfo(entry->name, NULL, &hints, &found);
    if (rc == EAI_NONAME || rc == EAI_NODATA || rc == EAI_ADDRFAMILY)
        return err_set(err, ERR_NOT_FOUND, "%s", gai_strerror(rc));
    if (rc != 0)
        return err_set(err, ERR_UNAVAILABLE, "%s", gai_strerror(rc));
    for (const struct addrinfo *at = found; at; at = at->ai_next) {
        struct address address;
        uint16_t port;
        if (address_from_socket(at->ai_addr, at->ai_addrlen, &address, &port))
            names_add(entry, &address);
    }
    freeaddrinfo(found);
    return entry->count > 0 ? 0 : err_set(err, ERR_NOT_FOUND, "the name has no address");
}

static struct names_entry *names_find_name(struct names *names, const char *name) {
    for (int i = 0; i < NAMES_MAX; i++)
        if (strcmp(names->entries[i].name, name) == 0)
            return &names->entries[i];
    return NULL;
}

/* With the lock. */
static void names_keep(struct names *names, struct names_entry *found) {
    struct names_entry *entry = names_find_name(names, found->name);
    found->looked_up_ns = clock_now_ns();
    if (entry) {
        found->number = entry->number;
    } else {
        if (names->next == NAMES_NUMBERS)
            names->next = NAMES_FIRST;
        found->number = names->next++;
        entry = &names->entries[found->number % NAMES_MAX];
    }
    *entry = *found;
}

static bool names_is_fresh(const struct names_entry *entry) {
    return clock_now_ns() - entry->looked_up_ns < NAMES_FRESH_S * CLOCK_NS_PER_S;
}

int names_look_up(struct names *names, const char *name, struct names_entry *ret_entry, struct err *err) {
    struct names_entry found = {0};
    pthread_mutex_lock(&names->lock);
    const struct names_entry *known = names_find_name(names, name);
    bool fresh = known && names_is_fresh(known);
    if (fresh)
        *ret_entry = *known;
    pthread_mutex_unlock(&names->lock);
    if (fresh)
        return 0;
    snprintf(found.name, sizeof found.name, "%s", name);
    names_read_hosts(names->hosts_fd, &found);
    int rc = found.count > 0 ? 0 : names_ask_system(&found, err);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&names->lock);
    names_keep(names, &found);
    pthread_mutex_unlock(&names->lock);
    *ret_entry = found;
    return 0;
}

bool names_find(struct names *names, const struct address *inside, struct names_entry *ret_entry,
                struct address *ret_address) {
    unsigned high = inside->bytes[13];
    if (address_is_v4(inside))
        high -= names_v4.address.bytes[13];
    uint32_t place = high << 16 | (uint32_t)inside->bytes[14] << 8 | inside->bytes[15];
    uint32_t number = place / NAMES_ADDRESSES_MAX, i = place % NAMES_ADDRESSES_MAX;
    pthread_mutex_lock(&names->lock);
    *ret_entry = names->entries[number % NAMES_MAX];
    pthread_mutex_unlock(&names->lock);
    if (!ret_entry->name[0] || ret_entry->number != number)
        return false;
    /* It may have had more of them when it was asked for. */
    *ret_address = ret_entry->addresses[i % (uint32_t)ret_entry->count];
    return true;
}
