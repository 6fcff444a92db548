/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/cli/install.h"
#include "cni/spec/test-support.h"

static int parse(PodNetwork *network, const char *text, Error *err) {
        cleanup(freep) char *copy = strdup(text);

        *network = (PodNetwork){0};
        *err = (Error){0};
        return pod_network_parse(network, copy, "FILE", err);
}

static void assert_prefix(const IpPrefix *prefix, const char *expected) {
        char text[IP_TEXT_MAX];

        assert_string_equal(ip_prefix_format(prefix, text), expected);
}

static void test_subnet_env(void **state) {
        PodNetwork network;
        Error err;

        assert_int_equal(parse(&network,
                               "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.3.1/24\n"
                               "FLANNEL_IPV6_NETWORK=fd00:244::/48\r\n"
                               "FLANNEL_IPV6_SUBNET=\"fd00:244:0:3::1/64\"\n"
                               "FLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\nELSE=1",
                               &err),
                         0);
        assert_int_equal(network.n_subnets, 2);
        assert_int_equal(network.n_cluster, 2);
        assert_int_equal(network.mtu_bytes, 1450);
        assert_true(network.masqueraded_by_others);
        assert_prefix(&network.subnets[0], "10.244.3.0/24");
        assert_prefix(&network.subnets[1], "fd00:244:0:3::/64");
        assert_prefix(&network.cluster[1], "fd00:244::/48");
}

static void test_too_small(void **state) {
        PodNetwork network;
        Error err;

        assert_int_equal(parse(&network, "10.1.0.0/30\nfd00::/126", &err), 0);
        assert_true(parse(&network, "10.1.0.0/31", &err) < 0);
        assert_string_equal(err.message,
                            "FILE: 10.1.0.0/31 is too small: pods need at least a /30");
        assert_true(parse(&network, "fd00::1/128", &err) < 0);
        assert_string_equal(err.message,
                            "FILE: fd00::1/128 is too small: pods need at least a /126");
}

static void test_lines(void **state) {
        PodNetwork network;
        Error err;

        assert_int_equal(parse(&network, "# node 1\n\n  10.1.2.3/24, fd00::/64 \n", &err), 0);
        assert_int_equal(network.n_subnets, 2);
        assert_false(network.masqueraded_by_others);
        assert_prefix(&network.subnets[0], "10.1.2.0/24");
}

static void test_node(void **state) {
        PodNetwork network;
        Error err;

        assert_int_equal(parse(&network,
                               "{\"kind\": \"Node\", \"spec\": {\"podCIDR\": \"10.244.3.0/24\","
                               " \"podCIDRs\": [\"10.244.3.0/24\", \"fd00:3::/64\"]}}",
                               &err),
                         0);
        assert_int_equal(network.n_subnets, 2);
        assert_prefix(&network.subnets[0], "10.244.3.0/24");
        assert_prefix(&network.subnets[1], "fd00:3::/64");
        assert_int_equal(parse(&network, "\n{\"spec\": {\"podCIDR\": \"10.1.0.0/24\"}}", &err), 0);
        assert_int_equal(network.n_subnets, 1);
}

static void test_wrong(void **state) {
        static const struct {
                const char *text, *message;
        } cases[] = {
                {"", "FILE names no subnet"},
                {"# 10.1.0.0/24\n", "FILE names no subnet"},
                {"FLANNEL_NETWORK=10.244.0.0/16\n", "FILE names no subnet"},
                {"FLANNEL_SUBNET=10.244.1",
                 "FILE: \"10.244.1\" is not a subnet (expected for example 10.244.3.0/24)"},
                {"10.1.0.0/33\n",
                 "FILE: \"10.1.0.0/33\" is not a subnet (expected for example 10.244.3.0/24)"},
                {"10.1.0.0/24 10.2.0.0/24 10.3.0.0/24", "FILE: more than 2 subnets"},
                {"{\"kind\": \"Node\", \"spec\": {}}",
                 "FILE: the node has no podCIDR; kube-controller-manager gives it with "
                 "--allocate-node-cidrs"},
                {"{\"kind\": \"Status\", \"message\": \"nodes \\\"a\\\" is forbidden\"}",
                 "FILE has no Node, but: nodes \"a\" is forbidden"},
                {"{\"spec\": {\"podCIDRs\": [\"10.1.0.0/33\"]}}",
                 "FILE: \"10.1.0.0/33\" is not a subnet (expected for example 10.244.3.0/24)"},
                {"POD_MTU=67\n10.1.0.0/24", "FILE: \"67\" is not an MTU (expected 68 to 65535)"},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                PodNetwork network;
                Error err;

                assert_true(parse(&network, cases[i].text, &err) < 0);
                assert_string_equal(err.message, cases[i].message);
        }
}

static void test_nonsense(void **state) {
        static const struct {
                const char *subnets, *cluster, *message;
        } cases[] = {
                {"10.1.2.3/24", "",
                 "--subnet: \"10.1.2.3/24\" is an address in a subnet, not a subnet (expected "
                 "10.1.2.0/24)"},
                {"0.0.0.0/0", "",
                 "the subnet 0.0.0.0/0 is every address there is: give the node's own"},
                {"127.0.0.0/24", "",
                 "the subnet 127.0.0.0/24 has addresses of 127.0.0.0/8, which no pod can have"},
                {"224.0.0.0/24", "",
                 "the subnet 224.0.0.0/24 has addresses of 224.0.0.0/3, which no pod can have"},
                {"fe80::/64", "",
                 "the subnet fe80::/64 has addresses of fe80::/10, which no pod can have"},
                {"10.1.0.0/24,10.2.0.0/24", "",
                 "the subnets 10.1.0.0/24 and 10.2.0.0/24 are of one address family: a node has "
                 "one "
                 "of each"},
                {"10.1.0.0/24", "10.244.0.0/16",
                 "the cluster's range 10.244.0.0/16 does not hold the node's subnet 10.1.0.0/24"},
                {"10.1.0.0/16", "10.1.0.0/24",
                 "the cluster's range 10.1.0.0/24 does not hold the node's subnet 10.1.0.0/16"},
                {"10.1.0.0/24,fd00::/64", "10.1.0.0/16", NULL},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                PodNetwork network = {0};
                Error err = {0};
                int r = pod_network_subnets(&network, cases[i].subnets, "--subnet", &err);

                r = r < 0 ? r : pod_network_cluster(&network, cases[i].cluster, "", &err);
                r = r < 0 ? r : pod_network_check(&network, &err);
                assert_int_equal(r < 0, cases[i].message != NULL);
                if (cases[i].message)
                        assert_string_equal(err.message, cases[i].message);
        }
}

static void test_list(void **state) {
        cleanup(json_decrefp) json_t *list = NULL;
        cleanup(freep) char *text = NULL;
        PodNetwork network = {0};
        Error err = {0};

        assert_int_equal(pod_network_subnets(&network, "10.1.2.0/24,fd00::/64", "", &err), 0);
        assert_int_equal(pod_network_cluster(&network, "10.1.0.0/16", "", &err), 0);
        assert_int_equal(pod_network_mtu(&network, "9000", "", &err), 0);
        assert_int_equal(pod_network_list(&network, &list, &err), 0);
        assert_int_equal(conflist_check(list, &err), 0);
        text = json_dumps(json_array_get(json_find(list, "plugins"), 0), JSON_SORT_KEYS);
        assert_string_equal(text,
                            "{\"bridge\": \"berth0\", \"capabilities\": {\"bandwidth\": true, "
                            "\"portMappings\": true}, \"clusterCIDR\": [\"10.1.0.0/16\"], "
                            "\"firewall\": true, "
                            "\"hairpinMode\": true, \"ipMasq\": true, \"ipam\": {\"ranges\": "
                            "[[{\"subnet\": \"10.1.2.0/24\"}], [{\"subnet\": \"fd00::/64\"}]], "
                            "\"type\": \"host-local\"}, \"isDefaultGateway\": true, "
                            "\"macspoofchk\": true, \"mtu\": 9000, "
                            "\"type\": \"berth-cni\"}");
}

/* Whose list it is, so that a pod of the DaemonSet that is made anew undoes nothing. */
static void test_list_stays(void **state) {
        static const struct {
                const char *subnet, *mtu;
                bool is_managed, is_old, stays;
        } cases[] = {
                {"10.1.2.0/24", "1450", true, false, false}, /* ours, with what changed since */
                {"10.9.9.0/24", "1450", true, false, false},
                {"10.1.2.0/24", NULL, false, false,
                 false},                                   /* as install wrote it before the mark */
                {"10.1.2.0/24", NULL, false, true, false}, /* and before cniVersions */
                {"10.1.2.0/24", "1450", false, false, true},
                {"10.9.9.0/24", NULL, false, false, true},
        };
        cleanup(json_decrefp) json_t *wanted = NULL;
        PodNetwork network = {.is_managed = true};
        Error err = {0};

        assert_int_equal(pod_network_subnets(&network, "10.1.2.0/24", "", &err), 0);
        assert_int_equal(pod_network_list(&network, &wanted, &err), 0);
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                PodNetwork other = {.is_managed = cases[i].is_managed};
                cleanup(json_decrefp) json_t *list = NULL;

                assert_int_equal(pod_network_subnets(&other, cases[i].subnet, "", &err), 0);
                if (cases[i].mtu)
                        assert_int_equal(pod_network_mtu(&other, cases[i].mtu, "", &err), 0);
                assert_int_equal(pod_network_list(&other, &list, &err), 0);
                if (cases[i].is_old)
                        assert_int_equal(json_object_del(list, "cniVersions"), 0);
                assert_int_equal(install_list_stays(list, wanted), cases[i].stays);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_subnet_env), cmocka_unit_test(test_lines),
                cmocka_unit_test(test_too_small),  cmocka_unit_test(test_node),
                cmocka_unit_test(test_wrong),      cmocka_unit_test(test_list),
                cmocka_unit_test(test_nonsense),   cmocka_unit_test(test_list_stays),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
