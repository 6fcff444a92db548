/* SPDX-License-Identifier: Apache-2.0 */

/* The drive is found by its label on the device, since nobody may have made a link for it. */

#include "csi/providers/openstack.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"
#include "common/block/block_ioctl.h"
#include "common/mount/mount_api.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <strings.h>

#define LABEL   "config-2"
#define CONTENT "openstack/latest/meta_data.json"

/* A node has few disks; what has more is not searched to the end. */
#define DISKS_MAX 256

/* ISO 9660: the first descriptor is sector 16; the volume's name has 32 characters. */
#define ISO_OFFSET  32768
#define ISO_NAME    40
#define ISO_N_NAME  32
#define ISO_N_BYTES 128

/* Boot sectors: the label of FAT12 and FAT16, and that of FAT32. */
#define FAT_N_BYTES   512
#define FAT_NAME      43
#define FAT32_NAME    71
#define FAT_N_NAME    11
#define FAT_SIGNATURE 510

/* Padded by spaces at the end. Nova writes small letters, mkfs.vfat makes them large. */
static bool is_label(const uint8_t *text, size_t n) {
        const size_t n_label = strlen(LABEL);

        if (strncasecmp((const char *)text, LABEL, n_label) != 0)
                return false;
        for (size_t i = n_label; i < n; i++)
                if (text[i] != ' ' && text[i] != '\0')
                        return false;
        return true;
}

/* NULL: it is no configuration drive. */
static const char *type_of(int fd) {
        uint8_t iso[ISO_N_BYTES], fat[FAT_N_BYTES];

        if (pread(fd, iso, sizeof(iso), ISO_OFFSET) == sizeof(iso) &&
            memcmp(iso + 1, "CD001", 5) == 0)
                return is_label(iso + ISO_NAME, ISO_N_NAME) ? "iso9660" : NULL;
        if (pread(fd, fat, sizeof(fat), 0) != sizeof(fat) || fat[FAT_SIGNATURE] != 0x55 ||
            fat[FAT_SIGNATURE + 1] != 0xaa)
                return NULL;
        return is_label(fat + FAT_NAME, FAT_N_NAME) || is_label(fat + FAT32_NAME, FAT_N_NAME)
                       ? "vfat"
                       : NULL;
}

static int take(const char *text, size_t n, MetadataNode *node, Error *err) {
        static const struct {
                const char *key;
                size_t offset;
                bool is_needed;
        } fields[] = {
                {"uuid", offsetof(MetadataNode, instance_id), true},
                {"availability_zone", offsetof(MetadataNode, zone), true},
                {"name", offsetof(MetadataNode, name), false},
                {"project_id", offsetof(MetadataNode, project), false},
        };
        MetadataNode found = {0};
        json_t *json = NULL;
        int r = metadata_json_parse(text, n, &json);

        for (size_t i = 0; r == 0 && i < N_ELEMENTS(fields); i++) {
                char *field = (char *)&found + fields[i].offset;
                int missing = metadata_json_text(json, fields[i].key, field, METADATA_TEXT_MAX);

                if (missing < 0 && fields[i].is_needed)
                        r = error_set(err, ERROR_UNAVAILABLE, CONTENT ": \"%s\" is missing or odd",
                                      fields[i].key);
        }
        json_decref(json);
        if (r == 0)
                *node = found;
        else if (!error_is_set(err))
                r = error_set_errno(err, r, CONTENT);
        return r;
}

/* @dir_fd: the root of the drive. */
static int read_content(int dir_fd, MetadataNode *node, Error *err) {
        cleanup(freep) char *text = NULL;
        size_t n;
        int r = file_read_in_root(dir_fd, CONTENT, METADATA_ANSWER_MAX, &text, &n);

        return r < 0 ? error_set_errno(err, r, CONTENT) : take(text, n, node, err);
}

static int read_mounted(int root_fd, MetadataNode *node, Error *err) {
        static const char *const places[] = {"mnt/config", "media/config-2", "media/configdrive"};

        for (size_t i = 0; i < N_ELEMENTS(places); i++) {
                cleanup(closep) int fd =
                        file_open_in_root(root_fd, places[i], O_PATH | O_DIRECTORY);
                cleanup(closep) int content = fd < 0 ? -1 : file_open_in_root(fd, CONTENT, O_PATH);

                if (content >= 0)
                        return read_content(fd, node, err);
        }
        return OPENSTACK_E_NO_DRIVE;
}

static int read_device(const char *path, const char *type, MetadataNode *node, Error *err) {
        const MountOptions options = {.set = MOUNT_FLAG_READ_ONLY};
        const MountSpec spec = {.fs_type = type, .source = path, .options = &options};
        MountContext context = {0};
        cleanup(closep) int fd = -1;
        int r = mount_new_detached(&spec, &context, &fd);

        if (r < 0)
                return error_set_errno(err, r, "mount %s (%s)", path, type);
        r = read_content(fd, node, err);
        return r < 0 ? error_wrap(err, r, "%s", path) : 0;
}

/* Optical drives and what a hypervisor attaches as a disk. */
static bool may_be_drive(const char *name) {
        static const char *const prefixes[] = {"sr", "vd", "sd", "xvd", "hd", "nvme"};

        for (size_t i = 0; i < N_ELEMENTS(prefixes); i++)
                if (str_has_prefix(name, prefixes[i]))
                        return true;
        return false;
}

static int try_disk(const char *root, const char *name, MetadataNode *node, Error *err) {
        cleanup(freep) char *path = str_printf("%s/dev/%s", root, name);
        cleanup(closep) int fd = path ? open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) : -1;
        const char *type = fd < 0 ? NULL : type_of(fd);

        return type ? read_device(path, type, node, err) : OPENSTACK_E_NO_DRIVE;
}

static int read_disks(const char *root, int root_fd, const char *uuid, MetadataNode *node,
                      Error *err) {
        cleanup(closedirp) DIR *dir = NULL;
        const struct dirent *entry;
        MetadataNode found;
        size_t n_found = 0;
        int r = OPENSTACK_E_NO_DRIVE, fd;

        fd = file_open_in_root(root_fd, "sys/block", O_RDONLY | O_DIRECTORY);
        dir = fd < 0 ? NULL : fdopendir(fd);
        if (!dir) {
                closep(&fd);
                return OPENSTACK_E_NO_DRIVE;
        }
        for (size_t i = 0; i < DISKS_MAX && (entry = readdir(dir)); i++) {
                r = may_be_drive(entry->d_name) ? try_disk(root, entry->d_name, &found, err)
                                                : OPENSTACK_E_NO_DRIVE;
                if (r < 0)
                        return r;
                if (r > 0)
                        continue;
                *node = found;
                if (strcasecmp(found.instance_id, uuid) == 0)
                        return 0;
                n_found++;
        }
        if (n_found > 1)
                return error_set(err, ERROR_PRECONDITION,
                                 "%zu disks have the label " LABEL ", and none of them is this "
                                 "machine's by its UUID",
                                 n_found);
        return n_found == 1 ? 0 : OPENSTACK_E_NO_DRIVE;
}

int openstack_read_drive(const char *root, const char *uuid, MetadataNode *node, Error *err) {
        cleanup(closep) int root_fd =
                open(str_is_empty(root) ? "/" : root, O_PATH | O_DIRECTORY | O_CLOEXEC);
        int r;

        if (root_fd < 0)
                return error_set_errno(err, errno, "open %s", root);
        r = read_mounted(root_fd, node, err);
        return r == OPENSTACK_E_NO_DRIVE ? read_disks(root, root_fd, uuid, node, err) : r;
}
