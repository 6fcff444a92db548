/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/spec/test-support.h"

#define NET "'cniVersion':'1.0.0','name':'net','type':'bridge'"

static void test_roles(void **state) {
        static const struct {
                const char *path;
                PluginRole role;
        } cases[] = {
                {"berth-cni", ROLE_BERTH},         {"/opt/cni/bin/bridge", ROLE_BRIDGE},
                {"host-local", ROLE_HOST_LOCAL},   {"/x/static", ROLE_STATIC},
                {"loopback", ROLE_LOOPBACK},       {"./ptp", ROLE_PTP},
                {"portmap", ROLE_PORTMAP},         {"bandwidth", ROLE_BANDWIDTH},
                {"firewall", ROLE_FIREWALL},       {"tuning", ROLE_TUNING},
                {"/opt/bridge/other", ROLE_BERTH}, {NULL, ROLE_BERTH},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++)
                assert_int_equal(role_from_path(cases[i].path), cases[i].role);
}

static void test_defaults(void **state) {
        cleanup(conf_deinit) NetConf conf;
        Error err = {0};

        assert_int_equal(conf_from(&conf, ROLE_BRIDGE, "{'name':'net','type':'bridge'}", &err), 0);
        assert_int_equal(conf.version, CNI_0_1_0);
        assert_string_equal(conf.name, "net");
        assert_string_equal(conf.ipam_type, "");
        assert_string_equal(conf.link.bridge, "cni0");
        assert_false(conf.link.is_gateway);
        assert_false(conf.ip_masq);
        assert_false(conf.link.has_mac);
        assert_false(conf.has_prev);
        assert_int_equal(conf.link.mtu_bytes, 0);
}

static void test_all_keys(void **state) {
        cleanup(conf_deinit) NetConf conf;
        Error err = {0};
        int r;

        r = conf_from(
                &conf, ROLE_BRIDGE,
                "{" NET ",'Bridge':'br1','isDefaultGateway':true,'forceAddress':true,'ipMasq':"
                "true,'mtu':1400,'hairpinMode':true,'vlan':100,'vlanTrunk':[{'minID':5,'maxID':7}"
                ",{'id':9}],'preserveDefaultVlan':true,'enabledad':true,'portIsolation':true,"
                "'unknown':{'x':[1]},'args':{'cni':{'mac':'02:00:00:00:00:01'}},'runtimeConfig':{"
                "'mac':'02:00:00:00:00:02'},'ipam':{'type':'static'},'dns':{'domain':'d'},"
                "'linkRemoval':'detached'}",
                &err);
        assert_int_equal(r, 0);
        assert_string_equal(conf.link.bridge, "br1");
        assert_true(conf.link.is_default_gateway && conf.link.is_gateway);
        assert_true(conf.link.force_address && conf.ip_masq && conf.link.hairpin);
        assert_true(conf.link.preserve_default_vlan && conf.link.enable_dad);
        assert_true(conf.link.port_isolation);
        assert_int_equal(conf.link.removal, REMOVAL_DETACHED);
        assert_int_equal(conf.link.mtu_bytes, 1400);
        assert_int_equal(conf.link.vlan, 100);
        assert_int_equal(conf.link.n_trunks, 2);
        assert_int_equal(conf.link.trunks[0].last, 7);
        assert_int_equal(conf.link.trunks[1].first, 9);
        assert_true(conf.link.has_mac);
        assert_int_equal(conf.link.mac[5], 2); /* runtimeConfig before args */
        assert_string_equal(conf.ipam_type, "static");
}

/* What Kubernetes' runtimes send: capitalised, null for unset. */
static void test_go_habits(void **state) {
        cleanup(conf_deinit) NetConf conf;
        Error err = {0};

        assert_int_equal(
                conf_from(&conf, ROLE_BRIDGE,
                          "{'CNIVersion':'0.3.1','NAME':'n','ipam':null,'mtu':null,'mtu':9000,"
                          "'MTU':1300,'prevResult':null,'RuntimeConfig':{'Mac':''}}",
                          &err),
                0);
        assert_int_equal(conf.version, CNI_0_3_1);
        assert_int_equal(conf.link.mtu_bytes, 1300);
        assert_false(conf.has_prev);
}

static void test_outcomes(void **state) {
        static const struct {
                const char *quoted;
                int r;
                const char *message;
        } cases[] = {
                {"{", CONF_E_NOT_JSON, "line 1"},
                {"[]", CONF_E_NOT_JSON, "must be an object"},
                {"{} x", CONF_E_NOT_JSON, "line 1"},
                {"{}", CONF_E_NAME, "missing network name"},
                {"{'name':'-x'}", CONF_E_NAME, "-x"},
                {"{'name':'a/b'}", CONF_E_NAME, "a/b"},
                {"{'name':'n','cniVersion':'2.0.0'}", CONF_E_VERSION, "2.0.0"},
                {"{'name':'n','cniVersion':1}", CONF_E_NOT_JSON, "must be a string"},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                cleanup(conf_deinit) NetConf conf;
                Error err = {0};

                assert_int_equal(conf_from(&conf, ROLE_BRIDGE, cases[i].quoted, &err), cases[i].r);
                assert_contains(err.message, cases[i].message);
        }
}

static void test_invalid(void **state) {
        static const struct {
                const char *keys, *message;
        } cases[] = {
                {"'mtu':'1500'", "\"mtu\" must be a number, not a string"},
                {"'mtu':-1", "\"mtu\" is -1"},
                {"'vlan':4095", "invalid VLAN ID 4095 (must be between 0 and 4094)"},
                {"'vlan':-1", "invalid VLAN ID -1"},
                {"'vlanTrunk':[{'minID':0,'maxID':1}]", "incorrect trunk minID parameter"},
                {"'vlanTrunk':[{'minID':1,'maxID':5000}]", "incorrect trunk maxID parameter"},
                {"'vlanTrunk':[{'minID':9,'maxID':5}]", "minID is greater than maxID"},
                {"'vlanTrunk':[{'minID':9}]", "maxID is missing"},
                {"'vlanTrunk':[{'maxID':9}]", "minID is missing"},
                {"'vlanTrunk':[{'id':0}]", "incorrect trunk id parameter"},
                {"'vlanTrunk':[7]", "vlanTrunk[0] must be an object"},
                {"'hairpinMode':true,'promiscMode':true",
                 "cannot set hairpin mode and promiscuous mode at the same time"},
                {"'disableContainerInterface':true,'ipam':{'type':'x'}",
                 "cannot use IPAM when DisableContainerInterface flag is set"},
                {"'bridge':'a-name-of-16-char'", "is not a link name"},
                {"'bridge':'a/b'", "is not a link name"},
                {"'ipam':[]", "\"ipam\" must be an object, not a list"},
                {"'ipam':{'type':'a/b'}", "contains /"},
                {"'args':{'cni':{'mac':'zz'}}", "\"mac\": \"zz\" is not a MAC address"},
                {"'isGateway':1", "\"isGateway\" must be true or false"},
                {"'prevResult':{'ips':[{}]}", "prevResult: ips[0]"},
                {"'linkRemoval':'x'", "must be \"wait\" or \"detached\""},
                {"'dns':[]", "\"dns\" must be an object"},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                cleanup(freep) char *text = str_printf("{" NET ",%s}", cases[i].keys);
                cleanup(conf_deinit) NetConf conf;
                Error err = {0};

                assert_true(conf_from(&conf, ROLE_BRIDGE, text, &err) < 0);
                assert_contains(err.message, cases[i].message);
                assert_int_equal(err.code, ERROR_INVALID);
        }
}

static void test_mac(void **state) {
        uint8_t mac[6];

        assert_int_equal(conf_mac_parse("0a:1B:ff:00:00:09", mac), 0);
        assert_int_equal(mac[1], 0x1b);
        assert_int_equal(conf_mac_parse("0a-1B-ff-00-00-09", mac), 0);
        assert_int_equal(conf_mac_parse("0a1B.ff01.0009", mac), 0);
        assert_int_equal(mac[0], 0x0a);
        assert_int_equal(mac[3], 0x01);
        assert_int_equal(mac[5], 0x09);
        assert_int_equal(conf_mac_parse("0a1B.ff01:0009", mac), -EINVAL);
        assert_int_equal(conf_mac_parse("0a1B.ff01.000g", mac), -EINVAL);
        assert_int_equal(conf_mac_parse("0a:1B:ff:00:00", mac), -EINVAL);
        assert_int_equal(conf_mac_parse("0a:1B:ff:00:00:0g", mac), -EINVAL);
        assert_int_equal(conf_mac_parse("0a:1B:ff:00:00:09:", mac), -EINVAL);
        assert_int_equal(conf_mac_parse("", mac), -EINVAL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_roles),    cmocka_unit_test(test_defaults),
                cmocka_unit_test(test_all_keys), cmocka_unit_test(test_go_habits),
                cmocka_unit_test(test_outcomes), cmocka_unit_test(test_invalid),
                cmocka_unit_test(test_mac),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
