/* SPDX-License-Identifier: Apache-2.0 */

/* The backup file of the tuning plugin. */

#include "cni/features/tuning_backup.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#define BACKUP_SIZE_MAX 4096U

static char *backup_path(const char *data_dir, const Attachment *at) {
        return str_printf("%s/%s_%s.json", data_dir, at->container_id, at->ifname);
}

TuningBackup tuning_backup_of(const TuningConf *conf, const Link *link) {
        TuningBackup backup = {
                .has_mac = conf->mac_text && link->has_mac,
                .has_promisc = conf->promisc,
                .has_mtu = conf->mtu_bytes > 0,
                .has_allmulti = conf->has_allmulti,
                .has_txqlen = conf->has_txqlen,
                .promisc = link->n_promiscuous > 0,
                .allmulti = link->flags & IFF_ALLMULTI,
                .mtu_bytes = link->mtu_bytes,
                .txqlen = link->txqlen,
        };

        memcpy(backup.mac, link->mac, sizeof(backup.mac));
        return backup;
}

int tuning_backup_write(const char *data_dir, const Attachment *at, const TuningBackup *backup) {
        cleanup(json_decrefp) json_t *json = json_object();
        cleanup(freep) char *text = NULL, *path = backup_path(data_dir, at);
        char mac[18];
        int r = json && path ? 0 : -1;

        snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", backup->mac[0], backup->mac[1],
                 backup->mac[2], backup->mac[3], backup->mac[4], backup->mac[5]);
        if (backup->has_mac)
                r |= json_object_set_new(json, "mac", json_string(mac));
        if (backup->has_promisc)
                r |= json_object_set_new(json, "promisc", json_boolean(backup->promisc));
        if (backup->has_mtu)
                r |= json_object_set_new(json, "mtu", json_integer(backup->mtu_bytes));
        if (backup->has_allmulti)
                r |= json_object_set_new(json, "allmulti", json_boolean(backup->allmulti));
        if (backup->has_txqlen)
                r |= json_object_set_new(json, "txQLen", json_integer(backup->txqlen));
        text = r == 0 ? json_dumps(json, JSON_INDENT(1)) : NULL;
        if (!text)
                return -ENOMEM;
        r = file_make_directories(data_dir, 0700);
        return r < 0 ? r : file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600);
}

static int read_members(const json_t *json, TuningBackup *backup, Error *err) {
        int64_t mtu = 0, txqlen = -1;
        const char *mac = "";
        int r;

        r = json_read_text(json, "mac", &mac, err);
        r = r < 0 ? r : json_read_bool(json, "promisc", &backup->promisc, err);
        r = r < 0 ? r : json_read_bool(json, "allmulti", &backup->allmulti, err);
        r = r < 0 ? r : json_read_number(json, "mtu", 0, INT32_MAX, &mtu, err);
        r = r < 0 ? r : json_read_number(json, "txQLen", 0, INT32_MAX, &txqlen, err);
        if (r < 0)
                return r;
        backup->has_mac = conf_mac_parse(mac, backup->mac) == 0;
        backup->has_promisc = json_find(json, "promisc") != NULL;
        backup->has_allmulti = json_find(json, "allmulti") != NULL;
        backup->has_mtu = mtu > 0;
        backup->mtu_bytes = (uint32_t)mtu;
        backup->has_txqlen = txqlen >= 0;
        backup->txqlen = txqlen >= 0 ? (uint32_t)txqlen : 0;
        return 0;
}

int tuning_backup_parse(const char *text, size_t n, TuningBackup *backup) {
        cleanup(json_decrefp) json_t *json = NULL;
        Error ignored = {0};

        *backup = (TuningBackup){0};
        if (json_text_parse(text, n, &json, &ignored) < 0 ||
            read_members(json, backup, &ignored) < 0)
                return -EBADMSG;
        return 0;
}

int tuning_backup_read(const char *data_dir, const Attachment *at, TuningBackup *backup) {
        cleanup(freep) char *text = NULL, *path = backup_path(data_dir, at);
        size_t n = 0;
        int r;

        if (!path)
                return -ENOMEM;
        r = file_read_at(AT_FDCWD, path, BACKUP_SIZE_MAX, &text, &n);
        return r < 0 ? r : tuning_backup_parse(text, n, backup);
}

int tuning_backup_remove(const char *data_dir, const Attachment *at) {
        cleanup(freep) char *path = backup_path(data_dir, at);

        if (!path)
                return -ENOMEM;
        return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}
