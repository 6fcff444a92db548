/* SPDX-License-Identifier: Apache-2.0 */

/* Keys of the tuning plugin, and which sysctls it may touch. Pure. */

#include "cni/features/tuning_conf.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>

void tuning_conf_free(TuningConf *conf) {
        if (!conf)
                return;
        free(conf->sysctls);
        free(conf);
}

CLEANUP_DEFINE(TuningConf *, tuning_conf_free);

bool tuning_changes_link(const TuningConf *conf) {
        return conf->mac_text || conf->promisc || conf->mtu_bytes > 0 || conf->has_allmulti ||
               conf->has_txqlen;
}

/* --- sysctls ------------------------------------------------------------------------------ */

static int add_sysctl(TuningConf *tuning, const char *key, const json_t *value, Error *err) {
        TuningSysctl *sysctls;

        if (!json_is_string(value))
                return error_set(err, ERROR_INVALID, "sysctl: \"%s\" must be a string, not %s", key,
                                 json_type_name(value));
        if (strlen(json_string_value(value)) != json_string_length(value))
                return error_set(err, ERROR_INVALID, "sysctl: \"%s\" has a NUL in it", key);
        for (size_t i = 0; i < tuning->n_sysctls; i++)
                if (strcmp(tuning->sysctls[i].key, key) == 0) {
                        tuning->sysctls[i].value = json_string_value(value);
                        return 0;
                }
        if (tuning->n_sysctls >= TUNING_SYSCTLS_MAX)
                return error_set(err, ERROR_RANGE, "sysctl has more than %d keys",
                                 TUNING_SYSCTLS_MAX);
        sysctls = reallocarray(tuning->sysctls, tuning->n_sysctls + 1, sizeof(*sysctls));
        if (!sysctls)
                return error_set_errno(err, ENOMEM, "sysctl");
        sysctls[tuning->n_sysctls++] = (TuningSysctl){key, json_string_value(value)};
        tuning->sysctls = sysctls;
        return 0;
}

static int read_sysctls(const json_t *object, TuningConf *tuning, Error *err) {
        const json_t *map = NULL;
        int r = json_read_object(object, "sysctl", &map, err);

        /* jansson's iterators take no const; nothing is changed through them. */
        for (void *i = map ? json_object_iter((json_t *)(uintptr_t)map) : NULL; i && r == 0;
             i = json_object_iter_next((json_t *)(uintptr_t)map, i))
                r = add_sysctl(tuning, json_object_iter_key(i), json_object_iter_value(i), err);
        return r;
}

/* The same sysctl twice is a mistake; other keys may be repeated, the last one counts. */
static int refuse_duplicates(const NetConf *conf, const TuningConf *tuning, Error *err) {
        json_error_t error;
        json_t *again;

        if (tuning->n_sysctls == 0 || !conf->text)
                return 0;
        again = json_loadb(conf->text, conf->n_text, JSON_REJECT_DUPLICATES, &error);
        json_decref(again);
        if (again || json_error_code(&error) != json_error_duplicate_key)
                return 0;
        for (size_t i = 0; i < tuning->n_sysctls; i++) {
                char quoted[TUNING_PATH_MAX];

                snprintf(quoted, sizeof(quoted), "\"%.200s\"", tuning->sysctls[i].key);
                if (strstr(error.text, quoted))
                        return error_set(err, ERROR_INVALID,
                                         "duplicated sysctl keys are not allowed: %s", quoted);
        }
        return 0;
}

int tuning_sysctl_path(const char *key, const char *ifname, char path[TUNING_PATH_MAX],
                       Error *err) {
        static const char root[] = "/proc/sys/", net[] = "/proc/sys/net/";
        const char *name = strstr(key, "IFNAME");
        size_t n;

        n = (size_t)snprintf(path, TUNING_PATH_MAX, "%s", root);
        for (const char *c = key; *c; c++) {
                char part[2] = {*c, '\0'};
                const char *text = part;

                if (*c == '.')
                        part[0] = '/';
                if (c == name) {
                        text = ifname;
                        c += strlen("IFNAME") - 1;
                }
                if (text == part && part[0] == '/' && path[n - 1] == '/')
                        continue; /* as a path is cleaned */
                if (n + strlen(text) >= TUNING_PATH_MAX)
                        return error_set(err, ERROR_INVALID,
                                         "net sysctl key is too long: \"%.64s\"", key);
                memcpy(path + n, text, strlen(text) + 1);
                n += strlen(text);
        }
        if (!str_has_prefix(path, net) || path[sizeof(net) - 1] == '\0' || strstr(path, "/../") ||
            str_has_suffix(path, "/.."))
                return error_set(err, ERROR_INVALID, "invalid net sysctl key: \"%s\"", key);
        return 0;
}

/* Return: 1 it matches, 0 not; negative. */
static int match_line(const char *key, const char *line, Error *err) {
        regex_t expression;
        int r;

        if (regcomp(&expression, line, REG_EXTENDED | REG_NOSUB) != 0)
                return error_set(err, ERROR_INVALID,
                                 TUNING_ALLOWLIST ": \"%s\" is not a regular expression", line);
        r = regexec(&expression, key, 0, NULL, 0) == 0;
        regfree(&expression);
        return r;
}

int tuning_is_allowed(const char *key, const char *list, Error *err) {
        cleanup(freep) char *copy = strdup(list);
        char *save = NULL;

        if (!copy)
                return error_set_errno(err, ENOMEM, "allowlist");
        for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                int r;

                line += strspn(line, " \t\r");
                str_trim_end(line);
                r = line[0] ? match_line(key, line, err) : 0;
                if (r != 0)
                        return r < 0 ? r : 0;
        }
        return error_set(err, ERROR_DENIED,
                         "Sysctl %s is not allowed. Only those matched by a line of %s are", key,
                         TUNING_ALLOWLIST);
}

/* --- keys --------------------------------------------------------------------------------- */

static int read_link(const json_t *object, TuningConf *tuning, Error *err) {
        int64_t mtu = -1, txqlen = -1;
        int r;

        r = json_read_bool(object, "promisc", &tuning->promisc, err);
        r = r < 0 ? r : json_read_number(object, "mtu", 0, INT32_MAX, &mtu, err);
        r = r < 0 ? r : json_read_number(object, "txQLen", 0, INT32_MAX, &txqlen, err);
        r = r < 0 ? r : json_read_bool(object, "allmulti", &tuning->allmulti, err);
        if (r < 0)
                return r;
        tuning->has_allmulti = tuning->has_allmulti || json_find(object, "allmulti");
        if (mtu >= 0)
                tuning->mtu_bytes = (uint32_t)mtu;
        if (txqlen >= 0) {
                tuning->has_txqlen = true;
                tuning->txqlen = (uint32_t)txqlen;
        }
        return 0;
}

static int read_mac(const json_t *object, TuningConf *tuning, Error *err) {
        const char *text = "";
        int r = json_read_text(object, "mac", &text, err);

        if (r < 0 || text[0] == '\0')
                return r;
        if (conf_mac_parse(text, tuning->mac) < 0)
                return error_set(err, ERROR_INVALID, "invalid args %s for MAC addr", text);
        tuning->mac_text = text;
        return 0;
}

/* In one entry with the link, its MAC address and MTU are the link's own keys. */
static int read_one_entry(const NetConf *conf, TuningConf *tuning, Error *err) {
        int r = read_sysctls(conf->json, tuning, err);
        int64_t txqlen = -1;

        r = r < 0 ? r : json_read_number(conf->json, "txQLen", 0, INT32_MAX, &txqlen, err);
        r = r < 0 ? r : json_read_bool(conf->json, "promisc", &tuning->promisc, err);
        r = r < 0 ? r : json_read_bool(conf->json, "allmulti", &tuning->allmulti, err);
        tuning->has_allmulti = json_find(conf->json, "allmulti") != NULL;
        tuning->has_txqlen = txqlen >= 0;
        tuning->txqlen = txqlen >= 0 ? (uint32_t)txqlen : 0;
        return r < 0 ? r : read_sysctls(conf->args, tuning, err);
}

static int read_chained(const NetConf *conf, TuningConf *tuning, Error *err) {
        int r = read_mac(conf->json, tuning, err);

        if (r == 0 && conf->link.has_mac) { /* CNI_ARGS */
                memcpy(tuning->mac, conf->link.mac, sizeof(tuning->mac));
                tuning->mac_text = "";
        }
        r = r < 0 ? r : json_read_text(conf->json, "dataDir", &tuning->data_dir, err);
        r = r < 0 ? r : read_mac(conf->runtime, tuning, err);
        r = r < 0 ? r : read_mac(conf->args, tuning, err);
        r = r < 0 ? r : read_sysctls(conf->json, tuning, err);
        r = r < 0 ? r : read_sysctls(conf->args, tuning, err);
        r = r < 0 ? r : read_link(conf->json, tuning, err);
        return r < 0 ? r : read_link(conf->args, tuning, err);
}

int tuning_conf_parse(const NetConf *conf, TuningConf **confp, Error *err) {
        cleanup(tuning_conf_freep) TuningConf *tuning = calloc(1, sizeof(*tuning));
        int r;

        *confp = NULL;
        if (!tuning)
                return error_set_errno(err, ENOMEM, "tuning");
        tuning->data_dir = TUNING_DATA_DIR;
        tuning->chained = conf->role == ROLE_TUNING;
        r = tuning->chained ? read_chained(conf, tuning, err) : read_one_entry(conf, tuning, err);
        if (r == 0)
                r = refuse_duplicates(conf, tuning, err);
        if (r < 0)
                return r;
        if (tuning->data_dir[0] == '\0')
                tuning->data_dir = TUNING_DATA_DIR;
        /* DEL of the plugin looks for a backup whatever is configured now. */
        if (tuning->chained || tuning->n_sysctls > 0 || tuning_changes_link(tuning))
                *confp = ptr_steal(&tuning);
        return 0;
}
