/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_FEATURES_TUNING_BACKUP_H
#define BERTH_CNI_FEATURES_TUNING_BACKUP_H

/* How a link was before tuning changed it, in the file that upstream's plugin writes and reads. */

#include "cni/features/tuning_conf.h"
#include "common/netlink/rtnl_link.h"

typedef struct TuningBackup {
        bool has_mac, has_promisc, has_mtu, has_allmulti, has_txqlen;
        uint8_t mac[6];
        bool promisc, allmulti;
        uint32_t mtu_bytes, txqlen;
} TuningBackup;

/* Those members of @link that @conf changes. */
TuningBackup tuning_backup_of(const TuningConf *conf, const Link *link);

/* <data_dir>/<container>_<ifname>.json, replaced whole. Return: 0; -errno. */
int tuning_backup_write(const char *data_dir, const Attachment *at, const TuningBackup *backup);

/* The bytes of such a file. Return: 0; -EBADMSG. */
int tuning_backup_parse(const char *text, size_t n, TuningBackup *backup);

/* Return: 0; -ENOENT; -EBADMSG when it is no such file; -errno. */
int tuning_backup_read(const char *data_dir, const Attachment *at, TuningBackup *backup);

/* Missing is done. Return: 0; -errno. */
int tuning_backup_remove(const char *data_dir, const Attachment *at);

#endif
