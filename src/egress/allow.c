#include "egress/allow.h"

#include <stdlib.h>
#include <string.h>

static bool allow_is_alpha(char c) {
    return c >= 'a' && c <= 'z';
}

static bool allow_is_label_char(char c) {
    return allow_is_alpha(c) || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool allow_clean_name(char *name) {
    size_t len = strlen(name);
    if (len > 0 && name[len - 1] == '.')
        name[--len] = 0;
    if (len == 0 || len >= ALLOW_NAME_BYTES)
        return false;
    size_t label = 0;
    const char *last = name;
    for (size_t i = 0; i < len; i++) {
        if (name[i] >= 'A' && name[i] <= 'Z')
            name[i] = (char)(name[i] - 'A' + 'a');
        if (name[i] == '.') {
            if (label == 0)
                return false;
            label = 0;
            last = name + i + 1;
        } else if (!allow_is_label_char(name[i]) || ++label > 63) {
            return false;
        }
    }
    return label > 0 && allow_is_alpha(*last);
}

static int allow_parse_port(const char *text, const char *entry, uint16_t *ret_port, struct err *err) {
    if (strcmp(text, "*") == 0) {
        *ret_port = 0;
        return 0;
    }
    char *end;
    unsigned long port = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || end - text > 5 || port < 1 || port > 65535)
        return err_set(err, ERR_BAD_REQUEST, "allow: '%.64s': a port is 1 to 65535, or * for every one",
                       entry);
    *ret_port = (uint16_t)port;
    return 0;
}

static int allow_parse_net(const char *host, const char *text, struct allow_entry *entry, struct err *err) {
    if (!address_parse_net(host, &entry->net))
        return err_set(err, ERR_BAD_REQUEST,
                       "allow: '%.64s' is neither a name nor an address or network (10.0.0.0/8, [fd00::/8])",
                       text);
    const struct address_range *range = address_range_of(&entry->net.address);
    if (range->kind == ADDRESS_NEVER && range->net.bits <= entry->net.bits)
        return err_set(err, ERR_BAD_REQUEST, "allow: '%.64s': no connection is made to an %s", text,
                       range->name);
    entry->kind = ALLOW_NET;
    return 0;
}

static int allow_parse_host(char *host, const char *text, struct allow_entry *entry, struct err *err) {
    if (strcmp(host, "*") == 0) {
        entry->kind = ALLOW_ANY;
        return 0;
    }
    bool below = strncmp(host, "*.", 2) == 0;
    char name[ALLOW_TEXT_BYTES];
    strcpy(name, below ? host + 2 : host);
    if (!allow_clean_name(name))
        return allow_parse_net(host, text, entry, err);
    if (strcmp(name, "localhost") == 0 ||
        (strlen(name) > 10 && !strcmp(name + strlen(name) - 10, ".localhost")))
        return err_set(
            err, ERR_BAD_REQUEST,
            "allow: '%.64s': name the address, 127.0.0.1 or [::1]: inside of a function localhost is "
            "its own",
            text);
    entry->kind = below ? ALLOW_BELOW : ALLOW_NAME;
    /* Fits: a clean name is shorter than the field, and one more for the dot is checked here. */
    if (strlen(name) + 2 > sizeof entry->name)
        return err_set(err, ERR_BAD_REQUEST, "allow: '%.64s' is too long for a name", text);
    entry->name[0] = '.';
    strcpy(entry->name + below, name);
    return 0;
}

/* Splits "host:port" at its last colon; brackets around the host are taken off. */
static int allow_parse_entry(const char *text, struct allow_entry *ret_entry, struct err *err) {
    char copy[ALLOW_TEXT_BYTES];
    strcpy(copy, text);
    char *host = copy, *colon = strrchr(copy, ':');
    bool bracketed = *copy == '[';
    if (!colon || (bracketed && colon > copy && colon[-1] != ']') || strchr(copy, ']') > colon)
        return err_set(err, ERR_BAD_REQUEST, "allow: '%.64s' has no port: write host:port", text);
    *colon = 0;
    if (bracketed) {
        host++;
        colon[-1] = 0;
    }
    if (bracketed != (strchr(host, ':') != NULL))
        return err_set(err, ERR_BAD_REQUEST,
                       "allow: '%.64s': brackets are around an IPv6 address, as in [::1]:80", text);
    *ret_entry = (struct allow_entry){0};
    int rc = allow_parse_port(colon + 1, text, &ret_entry->port, err);
    return rc == 0 ? allow_parse_host(host, text, ret_entry, err) : rc;
}

int allow_parse(const char *text, struct allow *ret_allow, struct err *err) {
    char entry[ALLOW_TEXT_BYTES];
    if (strlen(text) >= ALLOW_TEXT_BYTES)
        return err_set(err, ERR_BAD_REQUEST, "allow is longer than %d bytes", ALLOW_TEXT_BYTES - 1);
    ret_allow->count = 0;
    while (*text) {
        size_t len = strcspn(text, ",");
        memcpy(entry, text, len);
        entry[len] = 0;
        if (ret_allow->count == ALLOW_ENTRIES_MAX)
            return err_set(err, ERR_BAD_REQUEST, "allow has more than %d entries", ALLOW_ENTRIES_MAX);
        int rc = allow_parse_entry(entry, &ret_allow->entries[ret_allow->count], err);
        if (rc != 0)
            return rc;
        ret_allow->count++;
        text += len;
        if (*text == ',' && !*++text)
            return err_set(err, ERR_BAD_REQUEST, "allow ends with a comma");
    }
    return 0;
}

static bool allow_entry_has_name(const struct allow_entry *entry, const char *name) {
    size_t len = strlen(name), below = strlen(entry->name);
    if (entry->kind == ALLOW_NAME)
        return strcmp(entry->name, name) == 0;
    if (entry->kind == ALLOW_BELOW)
        return len > below && strcmp(name + len - below, entry->name) == 0;
    return entry->kind == ALLOW_ANY;
}

bool allow_has_name(const struct allow *allow, const char *name, uint16_t port) {
    for (int i = 0; i < allow->count; i++) {
        const struct allow_entry *entry = &allow->entries[i];
        if ((!port || !entry->port || entry->port == port) && allow_entry_has_name(entry, name))
            return true;
    }
    return false;
}
