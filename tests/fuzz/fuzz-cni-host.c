/* SPDX-License-Identifier: Apache-2.0 */

/* Files that others keep on a node: the first byte says which reader gets the rest. */

#include "cni/cli/commands.h"
#include "cni/cli/install.h"
#include "cni/commands/flannel.h"
#include "cni/commands/repair.h"
#include "cni/features/tuning_backup.h"
#include "cni/ipam/conf.h"
#include "cni/rules/rules.h"
#include "common/base/cleanup.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void flannel(const char *text) {
        cleanup(json_decrefp) json_t *conf = json_pack("{s:s}", "name", "n"), *delegate = NULL;
        cleanup(freep) char *copy = strdup(text);
        FlannelSubnet subnet = {0};
        Error err = {0};

        assert(conf && copy);
        if (flannel_subnet_parse(&subnet, copy, "/run/x", &err) == 0)
                assert(flannel_delegate(conf, &subnet, &delegate, &err) == 0);
        else
                assert(error_is_set(&err));
}

/* subnet.env, a list of subnets, or a Node of the API. */
static void pod_network(char *text, size_t n) {
        PodNetwork network = {0};
        json_t *list = NULL;
        Error err = {0};

        flannel(text);
        if (pod_network_parse(&network, text, "/run/x", &err) < 0) {
                assert(error_is_set(&err));
                return;
        }
        assert(network.n_subnets > 0);
        (void)pod_network_check(&network, &err);
        if (pod_network_list(&network, &list, &err) == 0)
                json_decref(list);
}

static void runtime(char *text, size_t n) {
        static CniDirectories directories;

        directories = (CniDirectories){0};
        directories_join_lists(text);
        if (!directories_parse(text, &directories))
                return;
        assert(memchr(directories.plugins, '\0', sizeof(directories.plugins)));
        assert(directories.plugins[0] == '/' || directories.configurations[0] == '/');
}

static void note(char *text, size_t n) {
        PodNote note = {0};
        Error err = {0};

        if (pod_note_parse(text, n, &note, &err) == 0)
                for (size_t i = 0; i < 4; i++) {
                        cleanup(conf_deinit) NetConf conf = {.role = ROLE_BRIDGE};
                        cleanup(freep) char *one = NULL;
                        json_t *json = pod_plugin_conf(&note, i);

                        one = json ? json_dumps(json, JSON_COMPACT) : NULL;
                        if (one)
                                (void)conf_parse(&conf, one, strlen(one), &err);
                        json_decref(json);
                }
        else
                assert(error_is_set(&err));
        pod_note_deinit(&note);
}

static void backup(char *text, size_t n) {
        TuningBackup backup;

        (void)tuning_backup_parse(text, n, &backup);
}

/* A comment in a table of rules, which any other program may have put there. */
static void comment(char *text, size_t n) {
        RuleOwner owner;
        RuleSet set;

        (void)rule_owner_parse(text, &owner);
        (void)rule_set_parse(text, &set);
}

static void resolv_conf(char *text, size_t n) {
        json_t *dns = NULL;

        if (resolv_conf_parse(text, &dns) == 0)
                json_decref(dns);
}

static void list(char *text, size_t n) {
        json_t *list = NULL;
        Error err = {0};

        if (json_text_parse(text, n, &list, &err) == 0)
                (void)conflist_check(list, &err);
        json_decref(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        static void (*const readers[])(char *text, size_t n) = {
                pod_network, runtime, note, backup, comment, resolv_conf, list};
        char *text;

        if (n == 0)
                return 0;
        /* As file_read_at() gives it: with a NUL behind its end. */
        text = malloc(n);
        assert(text);
        memcpy(text, data + 1, n - 1);
        text[n - 1] = '\0';
        readers[data[0] % N_ELEMENTS(readers)](text, n - 1);
        free(text);
        return 0;
}
