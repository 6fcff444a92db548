/* SPDX-License-Identifier: Apache-2.0 */

/* Configurations for the features behind the link: first byte the role, then JSON. What is accepted
 * makes elements; keys of elements always fit. */

#include "cni/commands/feature_table.h"
#include "common/base/cleanup.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include <sys/socket.h>

static void run_feature(const Feature *feature, const NetConf *conf) {
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
        RuleList list = {0};
        void *state = NULL;
        Error err = {0};

        if (!(feature->roles & ROLE_BIT(conf->role)))
                return;
        rule_owner_format(&at, list.comment);
        if (feature->parse(conf, &state, &err) < 0)
                assert(error_is_set(&err));
        else if (state && feature->want)
                (void)feature->want(state, &at, false, &list, &err);
        if (state)
                feature->free(state);
        rules_deinit(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        NetConf conf = {.name = ""};
        Error err = {0};

        if (n < 1)
                return 0;
        conf.role = (PluginRole)(data[0] % _ROLE_N);
        if (conf_parse(&conf, (const char *)data + 1, n - 1, &err) == 0)
                for (size_t i = 0; i < FEATURES_N; i++)
                        run_feature(features[i], &conf);
        conf_deinit(&conf);
        return 0;
}
