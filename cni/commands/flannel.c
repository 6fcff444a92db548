/* SPDX-License-Identifier: Apache-2.0 */

/*
 * flannel's verbs. ADD keeps what the delegate got under the container's id, as upstream, because
 * the subnet file may be another one, or gone, when DEL comes. Unlike upstream it is not synced:
 * after a power cut no pod of before is there, and DEL makes anew what it cannot read.
 */

#include "cni/commands/flannel.h"

#include "cni/commands/request.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SUBNET_FILE_MAX 65536U

/* A file that is being written. */
#define TEMPORARY_PREFIX ".tmp-"

/* Not garbage yet: a "berth-cni gc" of now may not know of the pod that is being attached. */
#define GRACE_SECS 120

/* --- files -------------------------------------------------------------------------------- */

static int subnet_read(const json_t *conf, FlannelSubnet *subnet, Error *err) {
        const char *path = FLANNEL_SUBNET_FILE;
        cleanup(freep) char *text = NULL;
        int r = json_read_text(conf, "subnetFile", &path, err);

        r = r < 0 ? r : file_read_at(AT_FDCWD, path, SUBNET_FILE_MAX, &text, NULL);
        if (r == -ENOENT)
                return error_set(err, ERROR_AGAIN,
                                 "open %s: no such file or directory: flanneld writes it when this "
                                 "node has its subnet; see whether its pod runs here",
                                 path);
        if (error_is_set(err))
                return r;
        return r < 0 ? error_set_errno(err, r, "open %s", path)
                     : flannel_subnet_parse(subnet, text, path, err);
}

static int data_directory(const json_t *conf, const char **pathp, Error *err) {
        *pathp = FLANNEL_DATA_DIRECTORY;
        return json_read_text(conf, "dataDir", pathp, err);
}

static int write_file(int dir_fd, const char *name, const char *text) {
        cleanup(freep) char *temporary = str_printf(TEMPORARY_PREFIX "%s", name);
        cleanup(closep) int fd = -1;
        int r;

        if (!temporary)
                return -ENOMEM;
        fd = file_open_plain_at(dir_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (fd < 0)
                return fd;
        r = file_write_all(fd, text, strlen(text));
        if (r == 0 && renameat(dir_fd, temporary, dir_fd, name) < 0)
                r = -errno;
        if (r < 0)
                (void)unlinkat(dir_fd, temporary, 0);
        return r;
}

static int save(const json_t *conf, const char *container, const char *text, Error *err) {
        cleanup(closep) int dir_fd = -1;
        const char *directory;
        int r = data_directory(conf, &directory, err);

        if (r < 0)
                return r;
        r = file_make_directories(directory, 0700);
        if (r == 0) {
                dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                r = dir_fd < 0 ? -errno : write_file(dir_fd, container, text);
        }
        return r < 0 ? error_set_errno(err, r, "write %s/%s", directory, container) : 0;
}

/* A container's file, if it is of the network of @conf. NULL: none. */
static json_t *read_kept(const json_t *conf, int dir_fd, const char *name) {
        cleanup(freep) char *text = NULL;
        json_t *kept = NULL;
        size_t n = 0;

        if (file_read_at(dir_fd, name, JSON_SIZE_MAX, &text, &n) < 0 ||
            json_text_parse(text, n, &kept, NULL) < 0)
                return NULL;
        if (str_equal(json_string_value(json_find(kept, "name")),
                      json_string_value(json_find(conf, "name"))) &&
            !str_is_empty(json_string_value(json_find(kept, "type"))))
                return kept;
        json_decref(kept);
        return NULL;
}

static json_t *find_kept(const json_t *conf, const char *container) {
        cleanup(closep) int dir_fd = -1;
        const char *directory;
        Error ignored = {0};

        if (data_directory(conf, &directory, &ignored) < 0)
                return NULL;
        dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return dir_fd < 0 ? NULL : read_kept(conf, dir_fd, container);
}

static void forget(const json_t *conf, const char *container) {
        cleanup(freep) char *path = NULL;
        const char *directory;
        Error ignored = {0};

        if (data_directory(conf, &directory, &ignored) == 0)
                path = str_printf("%s/%s", directory, container);
        if (path)
                (void)unlink(path);
}

int flannel_recall(const json_t *conf, const char *container, json_t **delegatep, bool *keptp,
                   Error *err) {
        FlannelSubnet subnet = {0};
        Error ignored = {0};

        *delegatep = container ? find_kept(conf, container) : NULL;
        *keptp = *delegatep != NULL;
        if (*keptp)
                return 0;
        return flannel_delegate(conf, subnet_read(conf, &subnet, &ignored) < 0 ? NULL : &subnet,
                                delegatep, err);
}

/* --- the delegate ------------------------------------------------------------------------- */

bool flannel_runs(const char *type) {
        PluginRole role = role_from_path(type);

        return (ROLE_BIT(role) & ROLES_LINK) && str_equal(type, role_name(role));
}

static char *format(const json_t *delegate) {
        return json_dumps(delegate, JSON_COMPACT | JSON_SORT_KEYS);
}

static int execute(Request *request, const char *type, const char *text, char **outputp,
                   Error *err) {
        Failure passed = {0};
        int r = delegate_exec(
                &(Delegate){
                        .what = "",
                        .type = type,
                        .cni_path = request->env.path,
                        .input = text,
                        .n_input = strlen(text),
                        .passed = &passed,
                },
                verb_name(request->env.verb), outputp, err);

        if (r < 0 && passed.code)
                request->failure = passed;
        return r;
}

/* @delegate in this process or another. */
static int run(Request *request, const json_t *delegate, Error *err) {
        cleanup(freep) char *type = strdup(json_string_value(json_find(delegate, "type")));
        cleanup(freep) char *text = format(delegate);

        if (!type || !text)
                return error_set_errno(err, ENOMEM, "delegate");
        if (flannel_runs(type))
                return request_serve_again(request, role_from_path(type), ptr_steal(&text));
        return execute(request, type, text, request->env.verb == VERB_ADD ? &request->output : NULL,
                       err);
}

/* What runtimes add to a configuration for one verb. */
static int pass(json_t *delegate, const json_t *conf, const char *key, Error *err) {
        json_t *value = json_find(conf, key);

        return value && json_object_set(delegate, key, value) < 0
                       ? error_set_errno(err, ENOMEM, "delegate")
                       : 0;
}

/* --- verbs -------------------------------------------------------------------------------- */

int flannel_add(Request *request, Error *err) {
        cleanup(json_decrefp) json_t *delegate = NULL;
        cleanup(freep) char *text = NULL;
        FlannelSubnet subnet = {0};
        int r = subnet_read(request->conf.json, &subnet, err);

        r = r < 0 ? r : flannel_delegate(request->conf.json, &subnet, &delegate, err);
        if (r < 0)
                return r;
        text = format(delegate);
        if (!text)
                return error_set_errno(err, ENOMEM, "delegate");
        r = save(request->conf.json, request->env.container_id, text, err);
        return r < 0 ? r : run(request, delegate, err);
}

/* Another's plugin is asked only about what it was given. */
int flannel_del(Request *request, Error *err) {
        cleanup(json_decrefp) json_t *conf = json_incref(request->conf.json), *delegate = NULL;
        bool kept;
        int r = flannel_recall(conf, request->env.container_id, &delegate, &kept, err);

        if (r < 0) {
                *err = (Error){0};
                r = flannel_delegate_undo(conf, &delegate, err);
        }
        if (r < 0)
                return r;
        if (flannel_runs(json_string_value(json_find(delegate, "type"))))
                r = pass(delegate, conf, "prevResult", err);
        else if (!kept)
                return 0;
        r = r < 0 ? r : run(request, delegate, err);
        if (r == 0 && kept)
                forget(conf, request->env.container_id);
        return r;
}

int flannel_check(Request *request, Error *err) {
        cleanup(json_decrefp) json_t *delegate = NULL;
        bool kept;
        int r = flannel_recall(request->conf.json, request->env.container_id, &delegate, &kept,
                               err);

        r = r < 0 ? r : pass(delegate, request->conf.json, "prevResult", err);
        return r < 0 ? r : run(request, delegate, err);
}

int flannel_status(Request *request, Error *err) {
        cleanup(json_decrefp) json_t *delegate = NULL;
        FlannelSubnet subnet = {0};
        int r = subnet_read(request->conf.json, &subnet, err);

        r = r < 0 ? r : flannel_delegate(request->conf.json, &subnet, &delegate, err);
        if (r < 0) {
                (void)failure_set(&request->failure, CNI_CODE_UNAVAILABLE, "not available",
                                  err->message);
                return r;
        }
        return run(request, delegate, err);
}

/* --- GC ----------------------------------------------------------------------------------- */

static bool is_valid(const json_t *attachments, const char *container) {
        for (size_t i = 0; i < json_array_size(attachments); i++)
                if (str_equal(json_string_value(
                                      json_find(json_array_get(attachments, i), "containerID")),
                              container))
                        return true;
        return false;
}

static bool is_old(int dir_fd, const char *name) {
        struct stat info;

        return fstatat(dir_fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode) &&
               time(NULL) - info.st_mtime > GRACE_SECS;
}

/* Files of containers that are gone; one that cannot be read says of no network that it is its. */
static void sweep(const json_t *conf, const json_t *attachments) {
        cleanup(closedirp) DIR *dir = NULL;
        const char *directory;
        const struct dirent *entry;
        Error ignored = {0};

        if (data_directory(conf, &directory, &ignored) == 0)
                dir = opendir(directory);
        while (dir && (entry = readdir(dir))) {
                cleanup(json_decrefp) json_t *kept = NULL;
                const char *name = entry->d_name;

                if (str_has_prefix(name, TEMPORARY_PREFIX))
                        name += strlen(TEMPORARY_PREFIX);
                if (!conf_name_is_valid(name) || is_valid(attachments, name) ||
                    !is_old(dirfd(dir), entry->d_name))
                        continue;
                kept = read_kept(conf, dirfd(dir), entry->d_name);
                if (kept || name != entry->d_name)
                        (void)unlinkat(dirfd(dir), entry->d_name, 0);
        }
}

int flannel_gc(Request *request, Error *err) {
        static const char key[] = "cni.dev/valid-attachments", other_key[] = "cni.dev/attachments";
        cleanup(json_decrefp) json_t *conf = json_incref(request->conf.json), *delegate = NULL;
        const json_t *attachments = json_find(conf, key);
        bool kept;
        int r;

        attachments = attachments ? attachments : json_find(conf, other_key);
        if (!attachments)
                return 0;
        r = flannel_recall(conf, NULL, &delegate, &kept, err);
        /* Another's plugin cannot be asked what it would remove. */
        if (r == 0 && request->env.tell &&
            !flannel_runs(json_string_value(json_find(delegate, "type"))))
                return 0;
        if (r == 0 && json_object_set(delegate, key, (json_t *)(uintptr_t)attachments) < 0)
                r = error_set_errno(err, ENOMEM, "delegate");
        r = r < 0 ? r : run(request, delegate, err);
        if (r == 0 && !request->env.tell)
                sweep(conf, attachments);
        return r;
}
