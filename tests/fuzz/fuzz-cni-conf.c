/* SPDX-License-Identifier: Apache-2.0 */

/* CNI stdin: the first byte chooses the role; a configuration that is accepted makes a plan, and
 * its result can be written and read again in every version. */

#include "cni/commands/request.h"
#include "cni/ipam/conf.h"
#include "cni/link/plan.h"
#include "common/base/cleanup.h"
#include "tests/fuzz/fuzz.h"

static const uint8_t macs[3][6] = {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}, {2, 0, 0, 0, 0, 3}};

static void check_result(const CniResult *result) {
        for (unsigned int i = 0; i < _CNI_VERSION_N; i++) {
                cleanup(result_deinit) CniResult again = {0};
                cleanup(freep) char *text = NULL;
                json_t *json = NULL;
                Error err = {0};

                if (result_format(result, (CniVersion)i, &text, &err) < 0)
                        continue;
                assert(json_text_parse(text, strlen(text), &json, &err) == 0);
                assert(result_parse(json, (CniVersion)i, &again, &err) == 0);
                assert(i < CNI_0_3_0 || again.n_ips == result->n_ips);
                json_decref(json);
        }
}

static void check_plan(const NetConf *conf, CniResult *result) {
        static const HostFacts facts = {.uplink_mtu_bytes = 1500};
        cleanup(plan_deinit) Plan plan = {0};
        cleanup(strbuf_deinit) StrBuf text = {0};
        Error err = {0};

        if (plan_gateways(conf, result, &err) < 0)
                return;
        if (plan_add(&(PlanInput){.conf = conf,
                                  .facts = &facts,
                                  .result = result,
                                  .ifname = "eth0",
                                  .host_name = "veth00112233",
                                  .alias = "a",
                                  .macs = macs},
                     &plan, &err) < 0) {
                assert(err.code != ERROR_NONE);
                return;
        }
        plan_format(&plan, &text);
        assert(plan.n_steps > 0 && text.n > 0);
}

static void check_ipam(const NetConf *conf) {
        cleanup(host_local_conf_deinit) HostLocalConf host_local = {0};
        cleanup(result_deinit) CniResult fixed = {0};
        CniArgs args = {.ip = "10.0.0.1/24", .gateway = "10.0.0.2"};
        Error err = {0};

        if (host_local_conf_parse(conf, &args, &host_local, &err) == 0)
                for (size_t i = 0; i < host_local.n_sets; i++) {
                        const IpamRange *range = NULL;
                        IpamCursor cursor;
                        IpAddress ip;

                        ipam_cursor_init(&cursor, &host_local.sets[i], NULL);
                        for (int j = 0; j < 50 && ipam_cursor_next(&cursor, &ip, &range); j++)
                                assert(ipam_set_find(&host_local.sets[i], &ip) == range &&
                                       !ip_equal(&ip, &range->gateway));
                }
        if (static_conf_parse(conf, &args, &fixed, &err) == 0)
                check_result(&fixed);
}

static void check_features(const NetConf *conf) {
        Features parsed = FEATURES_NULL;
        Error err = {0};

        (void)features_parse(&parsed, conf, &err);
        features_deinit(&parsed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        cleanup(conf_deinit) NetConf conf = {0};
        cleanup(freep) uint8_t(*owners)[OWNER_SIZE] = NULL;
        size_t n_owners;
        Error err = {0};
        int r;

        if (n == 0)
                return 0;
        conf.role = (PluginRole)(data[0] % _ROLE_N);
        r = conf_parse(&conf, (const char *)data + 1, n - 1, &err);
        assert((r != 0) == (err.code != ERROR_NONE));
        if (r != 0)
                return 0;
        (void)gc_parse(&conf, &owners, &n_owners, &err);
        check_ipam(&conf);
        check_features(&conf);
        check_result(&conf.prev);
        if (ROLE_BIT(conf.role) & ROLES_LINK)
                check_plan(&conf, &conf.prev);
        return 0;
}
