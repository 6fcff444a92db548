/* SPDX-License-Identifier: Apache-2.0 */

/* The drive is found by its label on the device, since nobody may have made a link for it. */

#include "csi/providers/openstack.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "csi/cloud/drive.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <strings.h>

#define LABEL   "config-2"
#define CONTENT "openstack/latest/meta_data.json"

/* Nova attaches no more; loop devices of pods and the like are not counted. */
#define DISKS_MAX 256

/* Cinder makes no volume below 1 GiB; Nova's drive has 64 MiB, or what an ISO 9660 image needs. */
#define VOLUME_MIN_BYTES (1LL << 30)

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

/* --- where it may be --- */

static int read_mounted(int root_fd, const char *place, MetadataNode *node, Error *err) {
        cleanup(closep) int fd = file_open_in_root(root_fd, place, O_PATH | O_DIRECTORY);
        cleanup(freep) char *text = NULL;
        size_t n;
        int r = fd < 0 ? fd : file_read_in_root(fd, CONTENT, METADATA_ANSWER_MAX, &text, &n);

        if (r == -ENOENT)
                return OPENSTACK_E_NO_DRIVE;
        return r < 0 ? error_set_errno(err, r, "%s/" CONTENT, place) : take(text, n, node, err);
}

static int read_fd(void *userdata, uint64_t offset, void *buffer, size_t n) {
        const int *fd = userdata;

        for (size_t at = 0; at < n;) {
                ssize_t got = pread(*fd, (char *)buffer + at, n - at, (off_t)(offset + at));

                if (got < 0 && errno == EINTR)
                        continue;
                if (got <= 0)
                        return got < 0 ? -errno : -ENODATA;
                at += (size_t)got;
        }
        return 0;
}

/* Optical drives and what a hypervisor attaches as a disk. */
static bool may_be_drive(const char *name) {
        static const char *const prefixes[] = {"sr", "vd", "sd", "xvd", "hd", "nvme"};

        for (size_t i = 0; i < N_ELEMENTS(prefixes); i++)
                if (str_has_prefix(name, prefixes[i]))
                        return true;
        return false;
}

/* Whose UUID is on it says nothing: a pod with user 0 reads the machine's in /sys. Nothing is read
 * for this, so a volume whose storage hangs keeps nobody waiting. */
static bool is_volume(int fd) {
        off_t size = lseek(fd, 0, SEEK_END);

        return size < 0 || size >= VOLUME_MIN_BYTES;
}

static int read_disk(const char *root, const char *name, MetadataNode *node, Error *err) {
        static const char *const path[] = {"openstack", "latest", "meta_data.json", NULL};
        cleanup(freep) char *device = str_printf("%s/dev/%s", root, name), *text = NULL;
        cleanup(closep) int fd = device ? open(device, O_RDONLY | O_NONBLOCK | O_CLOEXEC) : -1;
        const DriveReader reader = {read_fd, &fd};
        size_t n;
        int r = fd < 0 || is_volume(fd)
                        ? DRIVE_E_OTHER
                        : drive_read_file(&reader, LABEL, path, METADATA_ANSWER_MAX, &text, &n);

        if (r == DRIVE_E_OTHER)
                return OPENSTACK_E_NO_DRIVE;
        r = r < 0 ? error_set_errno(err, r, CONTENT) : take(text, n, node, err);
        return r < 0 ? error_wrap(err, r, "%s", device) : 0;
}

/* --- which of them is ours --- */

typedef struct Search {
        const char *uuid; /* the firmware's */
        MetadataNode node;
        size_t n_ours;
} Search;

static bool is_same(const MetadataNode *node, const MetadataNode *other) {
        return str_equal(node->zone, other->zone) && str_equal(node->name, other->name) &&
               str_equal(node->project, other->project);
}

/* A drive that cannot be read, and one of another machine, are somebody's volume: passed over. Two
 * of this machine that differ: one is not what it says. */
static int consider(Search *search, const char *place, int r, const MetadataNode *found,
                    const Error *why, Error *err) {
        if (r < 0)
                log_warning("%s is not a configuration drive of this machine: %s", place,
                            why->message);
        if (r != 0 || strcasecmp(found->instance_id, search->uuid) != 0)
                return 0;
        if (search->n_ours++ > 0 && !is_same(&search->node, found))
                return error_set(err, ERROR_PRECONDITION,
                                 "two disks with the label " LABEL " have this machine's UUID, and "
                                 "differ: neither is believed");
        search->node = *found;
        return 0;
}

static int search_mounted(Search *search, int root_fd, Error *err) {
        static const char *const places[] = {"mnt/config", "media/config-2", "media/configdrive"};
        int r = 0;

        for (size_t i = 0; i < N_ELEMENTS(places) && r == 0; i++) {
                MetadataNode found = {0};
                Error why = {0};
                int got = read_mounted(root_fd, places[i], &found, &why);

                r = consider(search, places[i], got, &found, &why, err);
        }
        return r;
}

static int search_disks(Search *search, const char *root, int root_fd, Error *err) {
        cleanup(closedirp) DIR *dir = NULL;
        const struct dirent *entry;
        int r = 0, fd = file_open_in_root(root_fd, "sys/block", O_RDONLY | O_DIRECTORY);
        size_t n = 0;

        dir = fd < 0 ? NULL : fdopendir(fd);
        if (!dir) {
                closep(&fd);
                return 0;
        }
        while (n < DISKS_MAX && r == 0 && (entry = readdir(dir))) {
                MetadataNode found = {0};
                Error why = {0};
                int got;

                if (!may_be_drive(entry->d_name))
                        continue;
                n++;
                got = read_disk(root, entry->d_name, &found, &why);
                r = consider(search, entry->d_name, got, &found, &why, err);
        }
        return r;
}

int openstack_read_drive(const char *root, const char *uuid, MetadataNode *node, Error *err) {
        cleanup(closep) int root_fd =
                open(str_is_empty(root) ? "/" : root, O_PATH | O_DIRECTORY | O_CLOEXEC);
        Search search = {.uuid = uuid};
        int r;

        if (root_fd < 0)
                return error_set_errno(err, errno, "open %s", root);
        /* Without a word of the firmware's nobody can tell whose a drive is. */
        if (str_is_empty(uuid))
                return OPENSTACK_E_NO_DRIVE;
        r = search_mounted(&search, root_fd, err);
        if (r == 0)
                r = search_disks(&search, root, root_fd, err);
        if (r < 0)
                return r;
        if (search.n_ours == 0)
                return OPENSTACK_E_NO_DRIVE;
        *node = search.node;
        return 0;
}
