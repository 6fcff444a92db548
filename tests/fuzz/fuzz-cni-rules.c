/* SPDX-License-Identifier: Apache-2.0 */

/* Configurations for the modules behind the link: first byte the role, then JSON. What is accepted
 * makes a plan; keys of elements always fit. */

#include "cni/rules/rules.h"
#include "common/base/cleanup.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include <sys/socket.h>

static void run_module(const Module *module, const NetConf *conf) {
        ResultIp ips[] = {
                {.address = {{.family = AF_INET, .bytes = {10, 1, 0, 2}}, 16}},
                {.address = {{.family = AF_INET6, .bytes = {0xfd}}, 128}},
        };
        Attachment at = {.network = conf->name,
                         .container_id = "c",
                         .ifname = "eth0",
                         .netns_fd = -1,
                         .bridge = "cni0",
                         .host_link = "veth0",
                         .has_pod_mac = true,
                         .ips = ips,
                         .n_ips = 2};
        StrBuf text = {0};
        void *state = NULL;
        Error err = {0};

        if (!(module->roles & ROLE_BIT(conf->role)))
                return;
        if (module->parse(conf, &state, &err) < 0)
                assert(error_is_set(&err));
        else if (state)
                module->plan(state, &at, &text);
        if (state)
                module->free(state);
        strbuf_deinit(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        static const Module *const tested[] = {&module_rules, &module_bandwidth, &module_tuning};
        NetConf conf = {.name = ""};
        Error err = {0};

        if (n < 1)
                return 0;
        conf.role = (PluginRole)(data[0] % _ROLE_N);
        if (conf_parse(&conf, (const char *)data + 1, n - 1, &err) == 0)
                for (size_t i = 0; i < N_ELEMENTS(tested); i++)
                        run_module(tested[i], &conf);
        conf_deinit(&conf);
        return 0;
}
