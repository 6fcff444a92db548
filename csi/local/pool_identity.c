/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/local/pool_identity.h"
#include "csi/local/meta.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
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

/* The path may be the same place in other words that nobody can compare now that its disk is not
 * mounted. */
static int refuse_moved(const PoolIdentity *identity, Error *err) {
        return error_set(err, ERROR_UNAVAILABLE,
                         "there is no pool at %s, and this node's pool %s was at %s: is --pool "
                         "what it was, and its disk mounted? Nothing is made or removed. For a new "
                         "pool beside it run `berth-csi pool init %s`",
                         identity->path, identity->other_uuid, identity->other_path,
                         identity->path);
}

static PoolAction decide_missing(const PoolIdentity *identity, const char *wanted, Error *err) {
        if (wanted[0] == '\0' && identity->other_uuid[0] != '\0') {
                (void)refuse_moved(identity, err);
                return POOL_ACTION_REFUSE;
        }
        if (wanted[0] == '\0' && identity->may_make)
                return POOL_ACTION_MAKE;
        (void)refuse_missing(identity, wanted, err);
        return POOL_ACTION_REFUSE;
}

PoolAction pool_identity_decide(const PoolIdentity *identity, Error *err) {
        const char *wanted = identity->asked[0] ? identity->asked : identity->outside;

        if (!identity->is_there)
                return decide_missing(identity, wanted, err);
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

static bool may_hold(const char *name) {
        static const char *const names[] = {"lost+found", "lock", "volumes", "snapshots", "groups"};

        for (size_t i = 0; i < N_ELEMENTS(names); i++)
                if (str_equal(name, names[i]))
                        return true;
        return name[0] == '.';
}

int pool_check_unused(int pool_fd, const char *path, Error *err) {
        cleanup(closedirp) DIR *directory = NULL;
        int fd = openat(pool_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        directory = fd < 0 ? NULL : fdopendir(fd);
        if (!directory)
                return error_set_errno(err, errno, "read %s", path);
        for (const struct dirent *entry; (entry = readdir(directory));)
                if (!may_hold(entry->d_name))
                        return error_set(err, ERROR_PRECONDITION,
                                         "no pool is made in %s: \"%.64s\" is in it, and a pool "
                                         "wants a directory of its own, such as %s/pool",
                                         path, entry->d_name, path);
        return 0;
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

int pool_json_parse(const char *text, const char *path, char uuid[POOL_UUID_SIZE], Error *err) {
        json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        const char *found;
        bool r;

        uuid[0] = '\0';
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

int pool_json_read(int pool_fd, const char *path, char uuid[POOL_UUID_SIZE], Error *err) {
        cleanup(freep) char *text = NULL;
        int r = file_read_at(pool_fd, "pool.json", LOCAL_META_MAX, &text, NULL);

        uuid[0] = '\0';
        if (r == -ENOENT)
                return r;
        if (r < 0)
                return error_set_errno(err, r, "read %s/pool.json", path);
        return pool_json_parse(text, path, uuid, err);
}

int pool_json_write(int pool_fd, const char *uuid) {
        char text[96];

        (void)snprintf(text, sizeof(text), "{\"format\": %d, \"uuid\": \"%s\"}\n", POOL_FORMAT,
                       uuid);
        return file_write_atomic(pool_fd, "pool.json", text, strlen(text), 0600);
}

/* --- the note --- */

static bool is_separator(const char *at) {
        return at[0] == '/' &&
               (at[1] == '/' || at[1] == '\0' || (at[1] == '.' && (at[2] == '/' || at[2] == '\0')));
}

/* "//", "/./" and "/" at the end of what cannot be looked up. */
static void append_rest(const char *rest, char *out) {
        size_t n = strlen(out);

        if (n == 1)
                n = 0;
        while (*rest != '\0' && n < PATH_MAX - 1) {
                if (is_separator(rest)) {
                        rest += rest[1] == '.' ? 2 : 1;
                        continue;
                }
                out[n++] = *rest++;
        }
        if (n == 0)
                out[n++] = '/';
        out[n] = '\0';
}

/* Of what is there the kernel's name, the rest as it is written. */
static int canonical(const char *path, char out[PATH_MAX]) {
        cleanup(freep) char *parent = strdup(path);
        size_t n;

        if (!parent)
                return -ENOMEM;
        if (path[0] != '/' || strlen(path) >= PATH_MAX)
                return -EINVAL;
        while (!realpath(parent, out)) {
                if (errno != ENOENT && errno != ENOTDIR)
                        return -errno;
                for (n = strlen(parent); n > 1 && parent[n - 1] == '/'; n--)
                        parent[n - 1] = '\0';
                *(strrchr(parent, '/') + (strrchr(parent, '/') == parent)) = '\0';
        }
        n = strlen(parent);
        if (strlen(out) + strlen(path + n) + 1 >= PATH_MAX)
                return -ENAMETOOLONG;
        append_rest(path + n - (n == 1), out);
        return 0;
}

static bool is_same_path(const char *noted, const char *path) {
        char name[PATH_MAX];

        return str_equal(noted, path) || (canonical(noted, name) == 0 && str_equal(name, path));
}

/* One line without its end, "UUID PATH". */
static int read_line(char *line, const char *path, PoolNote *note) {
        const char *where = line + POOL_UUID_SIZE;

        if (strlen(line) <= POOL_UUID_SIZE || line[POOL_UUID_SIZE - 1] != ' ' || *where != '/' ||
            strlen(where) >= PATH_MAX)
                return -EINVAL;
        line[POOL_UUID_SIZE - 1] = '\0';
        if (!pool_uuid_is_valid(line))
                return -EINVAL;
        if (is_same_path(where, path)) {
                memcpy(note->uuid, line, POOL_UUID_SIZE);
                return 0;
        }
        memcpy(note->other_uuid, line, POOL_UUID_SIZE);
        (void)snprintf(note->other_path, sizeof(note->other_path), "%s", where);
        return 0;
}

static int read_text(const char *file, char **textp) {
        int r = file_read_at(AT_FDCWD, file, (size_t)POOL_NOTES_MAX * (PATH_MAX + POOL_UUID_SIZE),
                             textp, NULL);

        return r == -ENOENT ? 0 : r;
}

int pool_note_parse(char *text, const char *path, PoolNote *note) {
        char name[PATH_MAX], *save = NULL;
        int r = canonical(path, name);

        *note = (PoolNote){0};
        if (r == 0 && text[0] == '\0')
                r = -EINVAL;
        for (char *line = strtok_r(text, "\n", &save); line && r == 0;
             line = strtok_r(NULL, "\n", &save))
                r = read_line(line, name, note);
        return r;
}

int pool_note_read(const char *file, const char *path, PoolNote *note) {
        cleanup(freep) char *text = NULL;
        int r;

        *note = (PoolNote){0};
        r = read_text(file, &text);
        return r < 0 || !text ? r : pool_note_parse(text, path, note);
}

/* The lines of other paths stay: what was at a path is not forgotten because another is used. */
static int write_lines(StrBuf *lines, char *old, const char *path, const char *uuid) {
        char *save = NULL;
        size_t n = 1;

        for (char *line = strtok_r(old, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                if (strlen(line) <= POOL_UUID_SIZE || is_same_path(line + POOL_UUID_SIZE, path))
                        continue;
                if (++n > POOL_NOTES_MAX)
                        return -ENOSPC;
                strbuf_printf(lines, "%s\n", line);
        }
        strbuf_printf(lines, "%s %s\n", uuid, path);
        return strbuf_text(lines) ? 0 : -ENOMEM;
}

int pool_note_write(const char *file, const char *path, const char *uuid) {
        cleanup(freep) char *directory = strdup(file);
        cleanup(freep) char *old = NULL;
        cleanup(strbuf_deinit) StrBuf lines = {0};
        cleanup(closep) int fd = -1;
        char name[PATH_MAX], *base;
        char none[] = "";
        int r;

        if (!directory)
                return -ENOMEM;
        base = strrchr(directory, '/');
        r = !base || strchr(path, '\n') ? -EINVAL : canonical(path, name);
        if (r == 0)
                r = read_text(file, &old);
        if (r == 0)
                r = write_lines(&lines, old ? old : none, name, uuid);
        if (r < 0)
                return r;
        *base++ = '\0';
        fd = open(directory[0] ? directory : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : file_write_atomic(fd, base, strbuf_text(&lines), lines.n, 0600);
}
