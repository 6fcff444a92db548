/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_FEATURES_TUNING_CONF_H
#define BERTH_CNI_FEATURES_TUNING_CONF_H

/* Keys of the tuning plugin. Pure. */

#include "cni/spec/attachment.h"
#include "common/base/str.h"

#define TUNING_DATA_DIR  "/run/cni/tuning"
#define TUNING_ALLOWLIST "/etc/cni/tuning/allowlist.conf"

/* More sysctls than the network has. */
#define TUNING_SYSCTLS_MAX 256

/* Longest path of one, with its NUL. */
#define TUNING_PATH_MAX 256

typedef struct TuningSysctl {
        const char *key, *value; /* borrowed from the configuration */
} TuningSysctl;

typedef struct TuningConf {
        bool chained;          /* as the plugin "tuning": what is changed is put back by DEL */
        const char *data_dir;  /* borrowed */
        TuningSysctl *sysctls; /* owned */
        size_t n_sysctls;
        const char *mac_text; /* borrowed; NULL: not asked for */
        uint8_t mac[6];
        bool promisc;
        uint32_t mtu_bytes; /* 0: not asked for */
        bool has_allmulti, allmulti;
        bool has_txqlen;
        uint32_t txqlen;
} TuningConf;

/* @confp: NULL when nothing is asked for; freed by tuning_conf_free(). */
int tuning_conf_parse(const NetConf *conf, TuningConf **confp, Error *err);
void tuning_conf_free(TuningConf *conf);

/* Does it change the link, beside sysctls? */
bool tuning_changes_link(const TuningConf *conf);

/**
 * tuning_sysctl_path() - the file of a key, as upstream: dots are slashes, the first "IFNAME" is
 * the interface's name, and it must be below /proc/sys/net
 *
 * Return: 0; INVALID.
 */
int tuning_sysctl_path(const char *key, const char *ifname, char path[TUNING_PATH_MAX], Error *err);

/**
 * tuning_is_allowed() - is @key matched by a line of @list?
 * @list: text of the allowlist: a POSIX extended regular expression per line, anywhere in the key
 *
 * Return: 0; DENIED naming the key; INVALID naming a line that is no expression.
 */
int tuning_is_allowed(const char *key, const char *list, Error *err);

#endif
