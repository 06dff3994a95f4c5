/* Which addresses are this host's own, as its kernel says. Nothing is sent anywhere. */
#include <ifaddrs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "egress/route.h"

static bool is_own(const char *text) {
    struct address address;
    assert_true(address_parse(text, &address));
    return route_is_own(&address);
}

static void loopback_and_what_nothing_connects_to_is_own(void **state) {
    (void)state;
    assert_true(is_own("127.0.0.1"));
    assert_true(is_own("127.255.255.254"));
    assert_true(is_own("::ffff:127.0.0.1"));
    assert_true(is_own("::1"));
    assert_true(is_own("255.255.255.255"));
    assert_true(is_own("224.0.0.1"));
}

static void addresses_elsewhere_are_not_own(void **state) {
    (void)state;
    assert_false(is_own("192.0.2.1"));
    assert_false(is_own("2001:db8::1"));
}

static void addresses_of_every_interface_are_own(void **state) {
    (void)state;
    struct ifaddrs *all;
    int seen = 0;
    assert_int_equal(getifaddrs(&all), 0);
    for (const struct ifaddrs *at = all; at; at = at->ifa_next) {
        struct address address;
        uint16_t port;
        if (!at->ifa_addr || !address_from_socket(at->ifa_addr, sizeof(struct sockaddr_in6), &address, &port))
            continue;
        assert_true(route_is_own(&address));
        seen++;
    }
    freeifaddrs(all);
    assert_true(seen > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loopback_and_what_nothing_connects_to_is_own),
        cmocka_unit_test(addresses_elsewhere_are_not_own),
        cmocka_unit_test(addresses_of_every_interface_are_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
