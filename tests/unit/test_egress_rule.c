/* What a function may connect to: the list as a user writes it, the ranges of addresses, and the rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "egress/rule.h"

enum { GATEWAY = 8080 };

struct row {
    const char *allow, *name, *address;
    uint16_t port;
    const char *why; /* NULL: permitted; else a part of what is said */
};

#define PRIVATE "private address, not in allow="
#define LOOPBACK "loopback address, not in allow="
#define LINK "link-local address, not in allow="
#define NOTHING "which nothing connects to"

/* Addresses that are none of this host's. */
static const struct row rows[] = {
    /* Nothing is listed: nothing is permitted. */
    {"", NULL, "8.8.8.8", 443, "not in allow="},
    {"", NULL, "2606:4700::1111", 443, "not in allow="},
    {"", "example.com", "93.184.216.34", 443, "not in allow="},
    {"", NULL, "127.0.0.1", 80, LOOPBACK},
    {"", NULL, "::1", 80, LOOPBACK},
    {"", NULL, "10.0.0.1", 80, PRIVATE},
    {"", NULL, "169.254.169.254", 80, LINK},
    /* Every address that is public; no range of special use. */
    {"*:*", NULL, "8.8.8.8", 53, NULL},
    {"*:*", NULL, "1.0.0.0", 1, NULL},
    {"*:*", NULL, "9.255.255.255", 65535, NULL},
    {"*:*", NULL, "11.0.0.0", 80, NULL},
    {"*:*", NULL, "100.63.255.255", 80, NULL},
    {"*:*", NULL, "100.128.0.0", 80, NULL},
    {"*:*", NULL, "126.255.255.255", 80, NULL},
    {"*:*", NULL, "128.0.0.0", 80, NULL},
    {"*:*", NULL, "169.253.255.255", 80, NULL},
    {"*:*", NULL, "169.255.0.0", 80, NULL},
    {"*:*", NULL, "172.15.255.255", 80, NULL},
    {"*:*", NULL, "172.32.0.0", 80, NULL},
    {"*:*", NULL, "192.167.255.255", 80, NULL},
    {"*:*", NULL, "192.169.0.0", 80, NULL},
    {"*:*", NULL, "198.17.255.255", 80, NULL},
    {"*:*", NULL, "198.20.0.0", 80, NULL},
    {"*:*", NULL, "223.255.255.255", 80, NULL},
    {"*:*", NULL, "2606:4700::1111", 443, NULL},
    {"*:*", NULL, "2a00::1", 443, NULL},
    {"*:*", NULL, "::ffff:8.8.8.8", 443, NULL},
    {"*:*", NULL, "8.8.8.8", 0, NOTHING},
    {"*:*", NULL, "0.0.0.0", 80, NOTHING},
    {"*:*", NULL, "0.1.2.3", 80, NOTHING},
    {"*:*", NULL, "10.0.0.0", 80, PRIVATE},
    {"*:*", NULL, "10.255.255.255", 80, PRIVATE},
    {"*:*", NULL, "100.64.0.0", 80, "shared address of a carrier, not in allow="},
    {"*:*", NULL, "100.127.255.255", 80, "shared address of a carrier, not in allow="},
    {"*:*", NULL, "127.0.0.1", 80, LOOPBACK},
    {"*:*", NULL, "127.255.255.254", 80, LOOPBACK},
    {"*:*", NULL, "169.254.0.1", 80, LINK},
    {"*:*", NULL, "169.254.169.254", 80, LINK},
    {"*:*", NULL, "172.16.0.0", 80, PRIVATE},
    {"*:*", NULL, "172.31.255.255", 80, PRIVATE},
    {"*:*", NULL, "192.0.0.170", 80, "special use"},
    {"*:*", NULL, "192.0.2.1", 80, "documentation"},
    {"*:*", NULL, "192.88.99.1", 80, "6to4"},
    {"*:*", NULL, "192.168.1.1", 80, PRIVATE},
    {"*:*", NULL, "198.18.0.1", 80, NOTHING},
    {"*:*", NULL, "198.19.255.255", 80, NOTHING},
    {"*:*", NULL, "198.51.100.7", 80, "documentation"},
    {"*:*", NULL, "203.0.113.7", 80, "documentation"},
    {"*:*", NULL, "224.0.0.1", 80, NOTHING},
    {"*:*", NULL, "239.255.255.250", 80, NOTHING},
    {"*:*", NULL, "240.0.0.1", 80, NOTHING},
    {"*:*", NULL, "255.255.255.255", 80, NOTHING},
    {"*:*", NULL, "::", 80, NOTHING},
    {"*:*", NULL, "::1", 80, LOOPBACK},
    {"*:*", NULL, "::2", 80, NOTHING},
    {"*:*", NULL, "::127.0.0.1", 80, NOTHING},
    {"*:*", NULL, "::ffff:127.0.0.1", 80, LOOPBACK},
    {"*:*", NULL, "::ffff:7f00:1", 80, LOOPBACK},
    {"*:*", NULL, "::ffff:10.0.0.1", 80, PRIVATE},
    {"*:*", NULL, "::ffff:169.254.169.254", 80, LINK},
    {"*:*", NULL, "::ffff:0.0.0.0", 80, NOTHING},
    {"*:*", NULL, "::ffff:0:127.0.0.1", 80, "translated address"},
    {"*:*", NULL, "64:ff9b::7f00:1", 80, "NAT64"},
    {"*:*", NULL, "64:ff9b::808:808", 80, "NAT64"},
    {"*:*", NULL, "64:ff9b:1::1", 80, "NAT64"},
    {"*:*", NULL, "100::1", 80, NOTHING},
    {"*:*", NULL, "2001::1", 80, "special use"},
    {"*:*", NULL, "2001:db8::1", 80, "documentation"},
    {"*:*", NULL, "2002:7f00:1::", 80, "6to4"},
    {"*:*", NULL, "3fff::1", 80, "documentation"},
    {"*:*", NULL, "4000::1", 80, NOTHING},
    {"*:*", NULL, "5f00::1", 80, NOTHING},
    {"*:*", NULL, "fc00::1", 80, "unique local address, not in allow="},
    {"*:*", NULL, "fd12:3456::1", 80, "unique local address, not in allow="},
    {"*:*", NULL, "fe80::1", 80, LINK},
    {"*:*", NULL, "febf::1", 80, LINK},
    {"*:*", NULL, "fec0::1", 80, "site-local"},
    {"*:*", NULL, "ff02::1", 80, NOTHING},
    /* A port is one port. */
    {"*:443", NULL, "8.8.8.8", 443, NULL},
    {"*:443", NULL, "8.8.8.8", 80, "not in allow="},
    {"8.8.8.8:443", NULL, "8.8.8.8", 443, NULL},
    {"8.8.8.8:443", NULL, "8.8.8.8", 442, "not in allow="},
    {"8.8.8.8:443", NULL, "8.8.4.4", 443, "not in allow="},
    {"8.8.8.8:*", NULL, "8.8.8.8", 1, NULL},
    {"1.1.1.1:80,8.8.8.8:443", NULL, "8.8.8.8", 443, NULL},
    {"1.1.1.1:80,8.8.8.8:443", NULL, "8.8.8.8", 80, "not in allow="},
    {"8.8.0.0/16:53", NULL, "8.8.8.8", 53, NULL},
    {"8.8.0.0/16:53", NULL, "8.9.8.8", 53, "not in allow="},
    {"8.8.8.0/25:53", NULL, "8.8.8.127", 53, NULL},
    {"8.8.8.0/25:53", NULL, "8.8.8.128", 53, "not in allow="},
    {"[2606:4700::/32]:443", NULL, "2606:4700::1111", 443, NULL},
    {"[2606:4700::/32]:443", NULL, "2606:4701::1111", 443, "not in allow="},
    {"[2606:4700::1111]:443", NULL, "2606:4700::1111", 443, NULL},
    {"[::ffff:8.8.8.8]:443", NULL, "8.8.8.8", 443, NULL},
    {"8.8.8.8:443", NULL, "::ffff:8.8.8.8", 443, NULL},
    /* A private range is named by an address or a network inside of it, never by one around it. */
    {"127.0.0.1:9000", NULL, "127.0.0.1", 9000, NULL},
    {"127.0.0.1:9000", NULL, "::ffff:127.0.0.1", 9000, NULL},
    {"127.0.0.1:9000", NULL, "127.0.0.2", 9000, LOOPBACK},
    {"127.0.0.1:9000", NULL, "127.0.0.1", 9001, LOOPBACK},
    {"127.0.0.1:9000", NULL, "::1", 9000, LOOPBACK},
    {"127.0.0.0/8:9000", NULL, "127.9.9.9", 9000, NULL},
    {"[::1]:9000", NULL, "::1", 9000, NULL},
    {"10.0.0.0/8:5432", NULL, "10.200.0.1", 5432, NULL},
    {"10.1.0.0/16:5432", NULL, "10.2.0.1", 5432, PRIVATE},
    {"169.254.169.254:80", NULL, "169.254.169.254", 80, NULL},
    {"[fd00::/8]:443", NULL, "fd12::1", 443, NULL},
    {"[fe80::1]:443", NULL, "fe80::1", 443, NULL},
    {"[64:ff9b::/96]:443", NULL, "64:ff9b::808:808", 443, NULL},
    {"0.0.0.0/0:*", NULL, "8.8.8.8", 443, NULL},
    {"0.0.0.0/0:*", NULL, "10.0.0.1", 443, PRIVATE},
    {"0.0.0.0/0:*", NULL, "127.0.0.1", 443, LOOPBACK},
    {"0.0.0.0/0:*", NULL, "0.0.0.0", 443, NOTHING},
    {"0.0.0.0/0:*", NULL, "2606:4700::1111", 443, "not in allow="},
    {"8.0.0.0/6:*", NULL, "10.0.0.1", 443, PRIVATE},
    {"126.0.0.0/7:*", NULL, "127.0.0.1", 443, LOOPBACK},
    {"[::/0]:*", NULL, "::1", 443, LOOPBACK},
    {"[::/0]:*", NULL, "127.0.0.1", 443, LOOPBACK},
    {"[::/0]:*", NULL, "fd00::1", 443, "unique local address, not in allow="},
    /* Names. */
    {"api.example.com:443", "api.example.com", "93.184.216.34", 443, NULL},
    {"API.Example.COM.:443", "api.example.com", "93.184.216.34", 443, NULL},
    {"api.example.com:443", "api.example.com", "93.184.216.34", 80, "not in allow="},
    {"api.example.com:443", "example.com", "93.184.216.34", 443, "not in allow="},
    {"api.example.com:443", "x.api.example.com", "93.184.216.34", 443, "not in allow="},
    {"api.example.com:443", NULL, "93.184.216.34", 443, "not in allow="},
    {"api.example.com:*", "api.example.com", "2606:4700::1", 9, NULL},
    {"*.example.com:443", "a.example.com", "93.184.216.34", 443, NULL},
    {"*.example.com:443", "a.b.example.com", "93.184.216.34", 443, NULL},
    {"*.example.com:443", "example.com", "93.184.216.34", 443, "not in allow="},
    {"*.example.com:443", "badexample.com", "93.184.216.34", 443, "not in allow="},
    {"*.example.com:443", "a.example.com.evil.org", "93.184.216.34", 443, "not in allow="},
    {"*:443", "anything.example", "93.184.216.34", 443, NULL},
    {"93.184.216.34:443", "other.example", "93.184.216.34", 443, "not in allow="},
    /* A name that leads to a private address does not name it. */
    {"api.example.com:443", "api.example.com", "10.0.0.1", 443, PRIVATE},
    {"api.example.com:443", "api.example.com", "127.0.0.1", 443, LOOPBACK},
    {"api.example.com:80", "api.example.com", "169.254.169.254", 80, LINK},
    {"api.example.com:80", "api.example.com", "::ffff:169.254.169.254", 80, LINK},
    {"api.example.com:80", "api.example.com", "0.0.0.0", 80, NOTHING},
    {"*:*", "api.example.com", "fd00::1", 80, "unique local address, not in allow="},
    {"db.example.com:5432,10.0.0.0/8:5432", "db.example.com", "10.0.0.7", 5432, NULL},
    {"db.example.com:5432,10.0.0.0/8:80", "db.example.com", "10.0.0.7", 5432, PRIVATE},
    {"db.example.com:80,10.0.0.0/8:5432", "db.example.com", "10.0.0.7", 5432, "not in allow="},
};

/* Addresses of this host. */
static const struct row own_rows[] = {
    {"*:*", NULL, "93.184.216.34", 443, "an address of this machine, not in allow="},
    {"*:*", "me.example.com", "93.184.216.34", 443, "an address of this machine, not in allow="},
    {"93.184.216.0/24:443", NULL, "93.184.216.34", 443, "an address of this machine, not in allow="},
    {"93.184.216.34:443", NULL, "93.184.216.34", 443, NULL},
    {"me.example.com:443,93.184.216.34:443", "me.example.com", "93.184.216.34", 443, NULL},
    {"10.0.0.5:22", NULL, "10.0.0.5", 22, NULL},
    {"127.0.0.1:*", NULL, "127.0.0.1", 22, NULL},
    {"127.0.0.1:*", NULL, "127.0.0.1", GATEWAY, "the platform's own socket"},
    {"127.0.0.1:8080", NULL, "127.0.0.1", GATEWAY, "the platform's own socket"},
    {"127.0.0.0/8:*", NULL, "127.1.2.3", GATEWAY, "the platform's own socket"},
    {"127.0.0.1:8080", NULL, "::ffff:127.0.0.1", GATEWAY, "the platform's own socket"},
    {"[::1]:8080", NULL, "::1", GATEWAY, "the platform's own socket"},
    {"10.0.0.5:8080", NULL, "10.0.0.5", GATEWAY, "the platform's own socket"},
    {"93.184.216.34:8080", NULL, "93.184.216.34", GATEWAY, "the platform's own socket"},
    {"me.example.com:8080,10.0.0.5:8080", "me.example.com", "10.0.0.5", GATEWAY, "the platform's own socket"},
    {"0.0.0.0/0:8080", NULL, "0.0.0.0", GATEWAY, NOTHING},
};

static bool ask(const struct row *row, bool own, uint16_t gateway_port, char why[RULE_WHY_BYTES]) {
    struct rule rule = {.gateway_port = gateway_port};
    struct rule_target target = {.port = row->port, .name = row->name, .own = own};
    struct err err;
    if (allow_parse(row->allow, &rule.allow, &err) != 0)
        fail_msg("'%s': %s", row->allow, err.msg);
    if (!address_parse(row->address, &target.address))
        fail_msg("'%s' is no address", row->address);
    return rule_permits(&rule, &target, why);
}

static void check(const struct row *row, bool own) {
    char why[RULE_WHY_BYTES] = "permitted";
    bool permitted = ask(row, own, GATEWAY, why);
    if (permitted != !row->why || (row->why && !strstr(why, row->why)))
        fail_msg("allow=%s: %s (%s) port %u: %s", row->allow, row->name ? row->name : "no name", row->address,
                 row->port, why);
}

static void every_row_of_the_table_is_decided_as_it_says(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check(&rows[i], false);
    for (size_t i = 0; i < sizeof own_rows / sizeof *own_rows; i++)
        check(&own_rows[i], true);
}

static void nothing_of_this_host_is_reached_while_the_gateways_port_is_not_known(void **state) {
    (void)state;
    char why[RULE_WHY_BYTES];
    struct row row = {"127.0.0.1:22", NULL, "127.0.0.1", 22, NULL};
    assert_false(ask(&row, true, 0, why));
    assert_string_equal(why, "the platform's own socket");
}

static void a_list_that_is_wrong_is_refused_with_the_reason(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } wrong[] = {
        {"example.com", "has no port"},
        {"example.com:", "a port is 1 to 65535"},
        {"example.com:0", "a port is 1 to 65535"},
        {"example.com:65536", "a port is 1 to 65535"},
        {"example.com:+80", "a port is 1 to 65535"},
        {"example.com:80 ", "a port is 1 to 65535"},
        {"example.com:http", "a port is 1 to 65535"},
        {"example.com:000080", "a port is 1 to 65535"},
        {":80", "neither a name"},
        {"a..b:80", "neither a name"},
        {".example.com:80", "neither a name"},
        {"exa mple.com:80", "neither a name"},
        {"ex*mple.com:80", "neither a name"},
        {"*.*.com:80", "neither a name"},
        {"*example.com:80", "neither a name"},
        {"http://example.com:80", "brackets"},
        {"user@example.com:80", "neither a name"},
        {"127.1:80", "neither a name"},
        {"2130706433:80", "neither a name"},
        {"0x7f000001:80", "neither a name"},
        {"0x7f.1:80", "neither a name"},
        {"0177.0.0.1:80", "neither a name"},
        {"1.2.3.4.5:80", "neither a name"},
        {"256.0.0.1:80", "neither a name"},
        {"10.0.0.1/8:80", "neither a name"},
        {"10.0.0.0/33:80", "neither a name"},
        {"10.0.0.0/:80", "neither a name"},
        {"10.0.0.0/-1:80", "neither a name"},
        {"[::1:80", "has no port"},
        {"::1:80", "brackets"},
        {"[127.0.0.1]:80", "brackets"},
        {"[fe80::1%eth0]:80", "neither a name"},
        {"[::1]80", "has no port"},
        {"[fd00::]/8:80", "has no port"},
        {"localhost:80", "name the address"},
        {"LOCALHOST.:80", "name the address"},
        {"a.localhost:80", "name the address"},
        {"0.0.0.0:80", "no connection is made"},
        {"[::]:80", "no connection is made"},
        {"224.0.0.1:80", "no connection is made"},
        {"198.18.0.1:80", "no connection is made"},
        {"[ff02::1]:80", "no connection is made"},
        {"a.example:1,", "ends with a comma"},
        {",a.example:1", "has no port"},
        {"a.example:1,,b.example:1", "has no port"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct allow allow;
        struct err err = {0};
        int rc = allow_parse(wrong[i].text, &allow, &err);
        if (rc != -ERR_BAD_REQUEST || !strstr(err.msg, wrong[i].says))
            fail_msg("'%s': %d, %s", wrong[i].text, rc, err.msg);
    }
}

static void a_list_has_bounds(void **state) {
    (void)state;
    char text[2 * ALLOW_TEXT_BYTES] = "a:1";
    struct allow allow;
    struct err err;
    for (int i = 1; i < ALLOW_ENTRIES_MAX; i++)
        strcat(text, ",a:1");
    assert_int_equal(allow_parse(text, &allow, &err), 0);
    assert_int_equal(allow.count, ALLOW_ENTRIES_MAX);
    strcat(text, ",a:1");
    assert_int_equal(allow_parse(text, &allow, &err), -ERR_BAD_REQUEST);
    memset(text, 'a', sizeof text);
    text[ALLOW_TEXT_BYTES] = 0;
    assert_int_equal(allow_parse(text, &allow, &err), -ERR_BAD_REQUEST);
    memset(text, 0, sizeof text);
    for (int i = 0; i < 4; i++) {
        memset(text + strlen(text), 'a', 63);
        strcat(text, ".");
    }
    strcat(text, ":1");
    assert_int_equal(allow_parse(text, &allow, &err), -ERR_BAD_REQUEST);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_of_the_table_is_decided_as_it_says),
        cmocka_unit_test(nothing_of_this_host_is_reached_while_the_gateways_port_is_not_known),
        cmocka_unit_test(a_list_that_is_wrong_is_refused_with_the_reason),
        cmocka_unit_test(a_list_has_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
