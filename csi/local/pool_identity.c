/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/local/pool_identity.h"
#include "csi/local/meta.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define POOL_FORMAT 1

static int refuse_missing(const PoolIdentity *identity, const char *wanted, Error *err) {
        if (wanted[0] == '\0')
                return error_set(err, ERROR_UNAVAILABLE,
                                 "there is no pool at %s: mount its disk there, or make a new one "
                                 "with --pool-init or `berth-csi pool init %s`",
                                 identity->path, identity->path);
        return error_set(err, ERROR_UNAVAILABLE,
                         "there is no pool at %s, and this node's pool %s was there: its disk is "
                         "not mounted, so nothing is made or removed. For a new pool remove %s and "
                         "start again",
                         identity->path, wanted, identity->asked[0] ? "--pool-id" : identity->note);
}

PoolAction pool_identity_decide(const PoolIdentity *identity, Error *err) {
        const char *wanted = identity->asked[0] ? identity->asked : identity->outside;

        if (!identity->is_there) {
                if (wanted[0] == '\0' && identity->may_make)
                        return POOL_ACTION_MAKE;
                (void)refuse_missing(identity, wanted, err);
                return POOL_ACTION_REFUSE;
        }
        if (wanted[0] == '\0')
                return identity->inside[0] ? POOL_ACTION_ADOPT : POOL_ACTION_NAME;
        if (str_equal(wanted, identity->inside))
                return str_equal(identity->outside, wanted) ? POOL_ACTION_OPEN : POOL_ACTION_ADOPT;
        (void)error_set(err, ERROR_UNAVAILABLE,
                        "the pool at %s is %s, not this node's pool %s: another disk is mounted "
                        "there. Mount the right one; if this one is meant, remove %s and start "
                        "again",
                        identity->path, identity->inside[0] ? identity->inside : "without a name",
                        wanted, identity->asked[0] ? "--pool-id" : identity->note);
        return POOL_ACTION_REFUSE;
}

int pool_uuid_make(char uuid[POOL_UUID_SIZE]) {
        unsigned char bytes[16];

        if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
                return errno ? -errno : -EIO;
        /* RFC 9562, version 4. */
        bytes[6] = (unsigned char)((bytes[6] & 0x0f) | 0x40);
        bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
        for (size_t i = 0, at = 0; i < sizeof(bytes); i++) {
                if (i == 4 || i == 6 || i == 8 || i == 10)
                        uuid[at++] = '-';
                (void)snprintf(&uuid[at], 3, "%02x", bytes[i]);
                at += 2;
        }
        return 0;
}

bool pool_uuid_is_valid(const char *text) {
        if (strlen(text) != POOL_UUID_SIZE - 1)
                return false;
        for (size_t i = 0; text[i] != '\0'; i++) {
                bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;

                if (is_dash ? text[i] != '-' : !strchr("0123456789abcdef", text[i]))
                        return false;
        }
        return true;
}

int pool_json_read(int pool_fd, const char *path, char uuid[POOL_UUID_SIZE], Error *err) {
        cleanup(freep) char *text = NULL;
        const char *found;
        json_t *root;
        int r;

        uuid[0] = '\0';
        r = file_read_at(pool_fd, "pool.json", LOCAL_META_MAX, &text, NULL);
        if (r == -ENOENT)
                return r;
        if (r < 0)
                return error_set_errno(err, r, "read %s/pool.json", path);
        root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        found = json_string_value(json_object_get(root, "uuid"));
        r = json_integer_value(json_object_get(root, "format")) == POOL_FORMAT &&
            (!found || pool_uuid_is_valid(found));
        if (r && found)
                memcpy(uuid, found, POOL_UUID_SIZE);
        json_decref(root);
        if (!r)
                return error_set(err, ERROR_PRECONDITION,
                                 "%s/pool.json is not of format %d, the one this version knows",
                                 path, POOL_FORMAT);
        return 0;
}

int pool_json_write(int pool_fd, const char *uuid) {
        char text[96];

        (void)snprintf(text, sizeof(text), "{\"format\": %d, \"uuid\": \"%s\"}\n", POOL_FORMAT,
                       uuid);
        return file_write_atomic(pool_fd, "pool.json", text, strlen(text), 0600);
}

int pool_note_read(const char *file, const char *path, char uuid[POOL_UUID_SIZE]) {
        cleanup(freep) char *text = NULL;
        int r;

        uuid[0] = '\0';
        r = file_read_at(AT_FDCWD, file, PATH_MAX + POOL_UUID_SIZE + 1, &text, NULL);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        str_trim_end(text);
        if (strlen(text) <= POOL_UUID_SIZE || text[POOL_UUID_SIZE - 1] != ' ')
                return -EINVAL;
        text[POOL_UUID_SIZE - 1] = '\0';
        if (!pool_uuid_is_valid(text))
                return -EINVAL;
        if (str_equal(text + POOL_UUID_SIZE, path))
                memcpy(uuid, text, POOL_UUID_SIZE);
        return 0;
}

int pool_note_write(const char *file, const char *path, const char *uuid) {
        cleanup(freep) char *directory = strdup(file);
        cleanup(freep) char *text = str_printf("%s %s\n", uuid, path);
        cleanup(closep) int fd = -1;
        char *name;

        if (!directory || !text)
                return -ENOMEM;
        name = strrchr(directory, '/');
        if (!name)
                return -EINVAL;
        *name++ = '\0';
        fd = open(directory[0] ? directory : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : file_write_atomic(fd, name, text, strlen(text), 0600);
}
