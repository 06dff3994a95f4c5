/* A function's questions about names: packets, and the addresses that stand for names inside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "egress/dns.h"
#include "egress/names.h"

struct packet {
    uint8_t bytes[DNS_PACKET_BYTES + 64];
    size_t len;
};

/* A query as a resolver sends it: the labels of `name` between its dots. */
static struct packet query(const char *name, uint16_t type) {
    struct packet packet = {.bytes = {0x12, 0x34, 0x01, 0, 0, 1}, .len = 12};
    while (*name) {
        size_t label = strcspn(name, ".");
        packet.bytes[packet.len++] = (uint8_t)label;
        memcpy(packet.bytes + packet.len, name, label);
        packet.len += label;
        name += label + (name[label] == '.');
    }
    const uint8_t tail[] = {0, (uint8_t)(type >> 8), (uint8_t)type, 0, 1};
    memcpy(packet.bytes + packet.len, tail, sizeof tail);
    packet.len += sizeof tail;
    return packet;
}

static void a_query_is_read(void **state) {
    (void)state;
    struct dns_query read;
    struct packet packet = query("API.Example.com", DNS_TYPE_AAAA);
    assert_true(dns_parse(packet.bytes, packet.len, &read));
    assert_string_equal(read.name, "api.example.com");
    assert_int_equal(read.type, DNS_TYPE_AAAA);
    assert_true(read.recursion);
    /* What follows the question, such as EDNS, does not matter. */
    packet.bytes[11] = 1;
    packet.len += 11;
    assert_true(dns_parse(packet.bytes, packet.len, &read));
}

static void a_name_that_could_not_be_in_a_list_is_empty(void **state) {
    (void)state;
    static const char *const names[] = {"",       "127.0.0.1", "a b.example", "1.2",
                                        "a.0x7f", "*.example", "\xff.example"};
    struct dns_query read;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct packet packet = query(names[i], DNS_TYPE_A);
        assert_true(dns_parse(packet.bytes, packet.len, &read));
        assert_string_equal(read.name, "");
    }
    struct packet packet = query("axb.example", DNS_TYPE_A);
    packet.bytes[14] = 0;
    assert_true(dns_parse(packet.bytes, packet.len, &read));
    assert_string_equal(read.name, "");
    packet.bytes[14] = '.';
    assert_true(dns_parse(packet.bytes, packet.len, &read));
    assert_string_equal(read.name, "");
}

static void what_is_no_query_is_not_read(void **state) {
    (void)state;
    struct dns_query read;
    struct packet whole = query("api.example.com", DNS_TYPE_A);
    for (size_t len = 0; len < whole.len; len++)
        assert_false(dns_parse(whole.bytes, len, &read));
    static const struct {
        size_t at;
        uint8_t value;
    } wrong[] = {{2, 0x81}, {2, 0x09}, {5, 0}, {5, 2}, {12, 0xc0}, {12, 0x40}, {12, 200}, {32, 3}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct packet packet = whole;
        packet.bytes[wrong[i].at] = wrong[i].value;
        if (dns_parse(packet.bytes, packet.len, &read))
            fail_msg("row %zu", i);
    }
    struct packet long_name = {.bytes = {0, 0, 1, 0, 0, 1}, .len = 12};
    for (int i = 0; i < 130; i++) {
        long_name.bytes[long_name.len++] = 1;
        long_name.bytes[long_name.len++] = 'a';
    }
    long_name.len += 5;
    assert_false(dns_parse(long_name.bytes, long_name.len, &read));
    assert_false(dns_parse(whole.bytes, sizeof whole.bytes, &read));
}

static void an_answer_has_the_addresses_of_the_type_that_was_asked_for(void **state) {
    (void)state;
    struct dns_query read;
    struct dns_result result = {.code = DNS_OK, .count = 3};
    uint8_t answer[DNS_PACKET_BYTES];
    assert_true(address_parse("198.18.8.1", &result.addresses[0]));
    assert_true(address_parse("100::1", &result.addresses[1]));
    assert_true(address_parse("198.18.8.2", &result.addresses[2]));
    struct packet packet = query("api.example.com", DNS_TYPE_A);
    assert_true(dns_parse(packet.bytes, packet.len, &read));
    assert_int_equal(dns_answer(packet.bytes, &read, &result, answer), packet.len + 2 * 16);
    assert_memory_equal(answer, "\x12\x34\x81\x80\0\1\0\2\0\0\0\0", 12);
    assert_memory_equal(answer + 12, packet.bytes + 12, packet.len - 12);
    assert_memory_equal(answer + packet.len, "\xc0\x0c\0\1\0\1\0\0\0\5\0\4\xc6\x12\x08\x01", 16);
    assert_memory_equal(answer + packet.len + 28, "\xc6\x12\x08\x02", 4);
    packet = query("api.example.com", DNS_TYPE_AAAA);
    assert_true(dns_parse(packet.bytes, packet.len, &read));
    assert_int_equal(dns_answer(packet.bytes, &read, &result, answer), packet.len + 28);
    assert_int_equal(answer[7], 1);
    result = (struct dns_result){.code = DNS_NO_SUCH_NAME};
    assert_int_equal(dns_answer(packet.bytes, &read, &result, answer), packet.len);
    assert_int_equal(answer[3], 0x83);
}

static int hosts_of(const char *text) {
    int fd = memfd_create("hosts", MFD_CLOEXEC);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    return fd;
}

static void a_name_has_an_address_inside_for_each_outside(void **state) {
    (void)state;
    int fd = hosts_of("# a comment\n\n10.0.0.1 a.example b.example # c.example\n::1\ta.example\r\n"
                      "nonsense a.example\n10.0.0.1 a.example\n10.0.0.2 A.EXAMPLE.\n");
    struct names *names = names_new(fd);
    struct names_entry entry, found;
    struct err err;
    struct address outside;
    assert_int_equal(names_look_up(names, "a.example", &entry, &err), 0);
    assert_int_equal(entry.count, 3);
    for (int i = 0; i < entry.count; i++) {
        struct address inside = names_inside(&entry, i);
        assert_true(names_is_inside(&inside));
        assert_int_equal(address_is_v4(&inside), address_is_v4(&entry.addresses[i]));
        assert_true(names_find(names, &inside, &found, &outside));
        assert_string_equal(found.name, "a.example");
        assert_memory_equal(&outside, &entry.addresses[i], sizeof outside);
    }
    struct address inside = names_inside(&entry, 0);
    inside.bytes[14]++;
    assert_false(names_find(names, &inside, &found, &outside));
    free(names);
    close(fd);
}

static void an_address_of_a_name_that_was_forgotten_means_no_other(void **state) {
    (void)state;
    char *text = calloc(1, NAMES_HOSTS_BYTES);
    for (int i = 0; i <= NAMES_MAX; i++)
        sprintf(text + strlen(text), "10.0.%d.%d n%d.example\n", i / 256, i % 256, i);
    int fd = hosts_of(text);
    struct names *names = names_new(fd);
    struct names_entry first, entry;
    struct err err;
    struct address outside;
    assert_int_equal(names_look_up(names, "n0.example", &first, &err), 0);
    for (int i = 1; i <= NAMES_MAX; i++) {
        char name[32];
        snprintf(name, sizeof name, "n%d.example", i);
        struct address inside = names_inside(&first, 0);
        assert_true(names_find(names, &inside, &entry, &outside));
        assert_int_equal(names_look_up(names, name, &entry, &err), 0);
        assert_true(entry.number != first.number);
    }
    struct address inside = names_inside(&first, 0);
    assert_false(names_find(names, &inside, &entry, &outside));
    free(names);
    free(text);
    close(fd);
}

static void an_address_has_a_form_for_a_socket(void **state) {
    (void)state;
    struct sockaddr_storage storage;
    struct address address, again;
    uint16_t port;
    assert_true(address_parse("127.0.0.1", &address));
    for (int i = 0; i < 2; i++) {
        socklen_t len = address_to_socket(&address, 443, i ? AF_INET6 : AF_INET, &storage);
        assert_int_equal(storage.ss_family, i ? AF_INET6 : AF_INET);
        assert_true(address_from_socket((const struct sockaddr *)&storage, len, &again, &port));
        assert_memory_equal(&again, &address, sizeof address);
        assert_int_equal(port, 443);
        assert_false(address_from_socket((const struct sockaddr *)&storage, len - 1, &again, &port));
    }
    assert_true(address_parse("::1", &address));
    assert_int_equal(address_to_socket(&address, 443, AF_INET, &storage), 0);
    storage.ss_family = AF_UNIX;
    assert_false(address_from_socket((const struct sockaddr *)&storage, sizeof storage, &again, &port));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_query_is_read),
        cmocka_unit_test(a_name_that_could_not_be_in_a_list_is_empty),
        cmocka_unit_test(what_is_no_query_is_not_read),
        cmocka_unit_test(an_answer_has_the_addresses_of_the_type_that_was_asked_for),
        cmocka_unit_test(a_name_has_an_address_inside_for_each_outside),
        cmocka_unit_test(an_address_of_a_name_that_was_forgotten_means_no_other),
        cmocka_unit_test(an_address_has_a_form_for_a_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
