/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "common/netlink/nl_socket.h"

#include "common/base/cleanup.h"
#include "common/netlink/rtnl_link.h"
#include "common/netlink/rtnl_route.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

/* A message in a buffer that ends where it ends. */
static struct nlmsghdr *message_of(uint16_t type, uint16_t flags, const void *payload, size_t n) {
        struct nlmsghdr *message = calloc(1, NLMSG_LENGTH(n));

        assert_non_null(message);
        message->nlmsg_len = (uint32_t)NLMSG_LENGTH(n);
        message->nlmsg_type = type;
        message->nlmsg_flags = flags;
        memcpy(NLMSG_DATA(message), payload, n);
        return message;
}

static void test_ack(void **state) {
        static const struct {
                int error;
                uint16_t flags;
                const char *text;
                int r;
        } cases[] = {
                {0, NLM_F_CAPPED, "", 0},
                {-EPERM, NLM_F_CAPPED, "", -EPERM},
                {-EINVAL, NLM_F_CAPPED | NLM_F_ACK_TLVS, "no such thing", -EINVAL},
                {5, NLM_F_CAPPED, "", -EBADMSG},
                {-5000, NLM_F_CAPPED, "", -EBADMSG},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                struct {
                        struct nlmsgerr ack;
                        struct nlattr attr;
                        char text[16];
                } payload = {.ack = {.error = cases[i].error},
                             .attr = {.nla_len = 4 + 14, .nla_type = NLMSGERR_ATTR_MSG},
                             .text = "no such thing"};
                cleanup(freep) struct nlmsghdr *message =
                        message_of(NLMSG_ERROR, cases[i].flags, &payload, sizeof(payload));
                char text[NL_TEXT_MAX] = "before";

                assert_int_equal(nl_ack_parse(message, text, NULL), cases[i].r);
                assert_string_equal(text, cases[i].text);
        }
}

/* Cut before its errno ends: what stands behind it is another's. */
static void test_short_ack(void **state) {
        struct {
                struct nlmsghdr header;
                struct nlmsgerr ack;
        } cut = {.header = {.nlmsg_len = NLMSG_HDRLEN + 3}, .ack = {.error = -EPERM}};
        char text[NL_TEXT_MAX] = "before";

        assert_int_equal(nl_ack_parse(&cut.header, text, NULL), -EBADMSG);
        assert_string_equal(text, "");
}

static void test_malformed_attributes(void **state) {
        static const struct {
                uint16_t n_first;
                int r;
        } cases[] = {{8, 0}, {4, 0}, {3, -EBADMSG}, {0, -EBADMSG}, {13, -EBADMSG}, {12, 0}};

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                const struct nlattr *table[4] = {NULL};
                uint16_t payload[6] = {cases[i].n_first, 1, 7, 0, 4, 2};
                cleanup(freep) struct nlmsghdr *message =
                        message_of(RTM_NEWLINK, 0, payload, sizeof(payload));

                assert_int_equal(nl_attributes(message, 0, table, N_ELEMENTS(table)), cases[i].r);
        }
}

/* Values of attributes that are missing or too short. */
static void test_values(void **state) {
        struct {
                struct nlattr attr;
                uint8_t byte;
        } one = {.attr = {.nla_len = 5, .nla_type = 1}, .byte = 9};
        char text[4];

        assert_int_equal(nl_get_u8(&one.attr, 1), 9);
        assert_int_equal(nl_get_u16(&one.attr, 77), 77);
        assert_int_equal(nl_get_u32(&one.attr, 77), 77);
        assert_int_equal(nl_get_u32(NULL, 78), 78);
        nl_get_text(NULL, text, sizeof(text));
        assert_string_equal(text, "");
        nl_get_text(&one.attr, text, sizeof(text));
        assert_string_equal(text, "\t");
}

/* Cut where the caller's room ends, NUL included. */
static void test_long_text(void **state) {
        struct {
                struct nlattr attr;
                char text[4];
        } one = {.attr = {.nla_len = 8, .nla_type = 1}, .text = {'l', 'o', 'n', 'g'}};
        char text[5] = "****";

        nl_get_text(&one.attr, text, 4);
        assert_string_equal(text, "lon");
        nl_get_text(&one.attr, text, 5);
        assert_string_equal(text, "long");
}

static void test_batch_limits(void **state) {
        cleanup(nl_batch_deinit) NlBatch batch = {0};
        char alias[1000];

        memset(alias, 'a', sizeof(alias) - 1);
        alias[999] = '\0';
        link_set(&batch, &(LinkChange){.set = LINK_SET_ALIAS, .index = 1, .alias = alias});
        assert_int_equal(batch.broken, -EMSGSIZE);
        nl_batch_deinit(&batch);
        for (int i = 0; i <= NL_BATCH_MAX; i++)
                link_delete(&batch, 1, NULL);
        assert_int_equal(batch.broken, -E2BIG);
        assert_int_equal(batch.n, NL_BATCH_MAX);
}

/* Field by field: the bytes between fields are nobody's. */
static void assert_same_route(const Route *a, const Route *b) {
        assert_int_equal(a->family, b->family);
        assert_int_equal(a->prefix, b->prefix);
        assert_int_equal(a->scope, b->scope);
        assert_int_equal(a->protocol, b->protocol);
        assert_int_equal(a->type, b->type);
        assert_int_equal(a->has_gateway, b->has_gateway);
        assert_int_equal(a->onlink, b->onlink);
        assert_memory_equal(a->destination, b->destination, sizeof(a->destination));
        assert_memory_equal(a->gateway, b->gateway, sizeof(a->gateway));
        assert_int_equal(a->has_source, b->has_source);
        assert_memory_equal(a->source, b->source, sizeof(a->source));
        assert_int_equal(a->index, b->index);
        assert_int_equal(a->table, b->table);
        assert_int_equal(a->priority, b->priority);
        assert_int_equal(a->mtu_bytes, b->mtu_bytes);
        assert_int_equal(a->advmss, b->advmss);
}

/* What is built is read back as it was. */
static void test_route_round_trip(void **state) {
        cleanup(nl_batch_deinit) NlBatch batch = {0};
        const Route route = {.family = AF_INET,
                             .prefix = 16,
                             .scope = RT_SCOPE_LINK,
                             .protocol = RTPROT_STATIC,
                             .type = RTN_UNICAST,
                             .has_gateway = true,
                             .onlink = true,
                             .destination = {10, 9},
                             .gateway = {10, 1, 0, 1},
                             .has_source = true,
                             .source = {10, 1, 0, 2},
                             .index = 7,
                             .table = 1000,
                             .priority = 5,
                             .mtu_bytes = 1400,
                             .advmss = 1360};
        Route again;

        route_add(&batch, &route);
        assert_int_equal(batch.broken, 0);
        assert_int_equal(route_parse(nlmsg_hdr(batch.messages[0]), &again), 0);
        assert_same_route(&again, &route);
}

static void test_address_round_trip(void **state) {
        cleanup(nl_batch_deinit) NlBatch batch = {0};
        const LinkAddress address = {.index = 3,
                                     .family = AF_INET6,
                                     .prefix = 64,
                                     .bytes = {0xfd, [15] = 9},
                                     .flags = IFA_F_NODAD | IFA_F_NOPREFIXROUTE};
        LinkAddress again;

        addr_add(&batch, &address);
        assert_int_equal(addr_parse(nlmsg_hdr(batch.messages[0]), &again), 0);
        assert_int_equal(again.index, address.index);
        assert_int_equal(again.family, address.family);
        assert_int_equal(again.prefix, address.prefix);
        assert_memory_equal(again.bytes, address.bytes, sizeof(address.bytes));
        assert_memory_equal(again.broadcast, address.broadcast, sizeof(address.broadcast));
        assert_int_equal(again.scope, address.scope);
        assert_int_equal(again.flags, address.flags);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_ack),
                cmocka_unit_test(test_short_ack),
                cmocka_unit_test(test_long_text),
                cmocka_unit_test(test_malformed_attributes),
                cmocka_unit_test(test_values),
                cmocka_unit_test(test_batch_limits),
                cmocka_unit_test(test_route_round_trip),
                cmocka_unit_test(test_address_round_trip),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
