/* SPDX-License-Identifier: Apache-2.0 */

/* Network configuration lists, as runtimes find and read them. */

#include "cni/cli/commands.h"
#include "cni/spec/conf.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#define FILES_MAX 1024

int conflist_check(const json_t *list, Error *err) {
        const json_t *plugins = NULL;
        const char *name = "", *type = "";
        int r;

        if (!json_is_object(list))
                return error_set(err, ERROR_INVALID, "the configuration is not an object");
        r = json_read_text(list, "name", &name, err);
        r = r < 0 ? r : json_read_array(list, "plugins", &plugins, err);
        if (r < 0)
                return r;
        if (!conf_name_is_valid(name))
                return error_set(err, ERROR_INVALID, "\"%s\" is not a name for a network", name);
        if (json_array_size(plugins) == 0)
                return error_set(err, ERROR_INVALID, "network \"%s\" has no plugins", name);
        for (size_t i = 0; i < json_array_size(plugins) && r == 0; i++) {
                type = "";
                r = json_read_text(json_array_get(plugins, i), "type", &type, err);
                if (r == 0 && type[0] == '\0')
                        r = error_set(err, ERROR_INVALID,
                                      "plugin %zu of network \"%s\" has no type", i, name);
        }
        return r;
}

/* A file of one plugin is a list of one. */
static int as_list(json_t *json, json_t **listp, Error *err) {
        cleanup(json_decrefp) json_t *list = NULL;
        json_t *version = json_find(json, "cniVersion"), *name = json_find(json, "name");

        if (json_find(json, "plugins")) {
                *listp = json_incref(json);
                return 0;
        }
        list = json_pack("{s:O*, s:O*, s:[O]}", "cniVersion", version, "name", name, "plugins",
                         json);
        if (!list)
                return error_set(err, ERROR_INVALID, "no configuration of a network");
        *listp = ptr_steal(&list);
        return 0;
}

int conflist_read(int dir_fd, const char *path, json_t **listp, Error *err) {
        cleanup(json_decrefp) json_t *json = NULL, *list = NULL;
        cleanup(freep) char *text = NULL;
        size_t n = 0;
        int r;

        r = file_read_at(dir_fd, path, JSON_SIZE_MAX, &text, &n);
        if (r < 0)
                return error_set_errno(err, r, "read %s", path);
        r = json_text_parse(text, n, &json, err);
        r = r < 0 ? r : as_list(json, &list, err);
        r = r < 0 ? r : conflist_check(list, err);
        if (r < 0)
                return error_wrap(err, r, "%s", path);
        *listp = ptr_steal(&list);
        return 0;
}

bool conflist_is_loopback(const json_t *list) {
        const json_t *plugins = json_find(list, "plugins");

        for (size_t i = 0; i < json_array_size(plugins); i++)
                if (!str_equal(json_string_value(json_find(json_array_get(plugins, i), "type")),
                               "loopback"))
                        return false;
        return true;
}

int conflist_is_named(const struct dirent *entry) {
        return str_has_suffix(entry->d_name, ".conflist") ||
               str_has_suffix(entry->d_name, ".conf") || str_has_suffix(entry->d_name, ".json");
}

static int by_bytes(const struct dirent **a, const struct dirent **b) {
        return strcmp((*a)->d_name, (*b)->d_name);
}

int conflist_find(const char *directory, const char *name, json_t **listp, Error *err) {
        cleanup(closep) int dir_fd = -1;
        struct dirent **entries = NULL;
        Error unread = {0};
        bool found = false;
        int n;

        if (strchr(name, '/'))
                return conflist_read(AT_FDCWD, name, listp, err);
        dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        n = dir_fd < 0 ? -1 : scandirat(dir_fd, ".", &entries, conflist_is_named, by_bytes);
        if (n < 0)
                return error_set_errno(err, errno, "read %s", directory);
        for (int i = 0; i < n; i++) {
                Error failed = {0};
                json_t *list = NULL;

                if (!found && i < FILES_MAX &&
                    conflist_read(dir_fd, entries[i]->d_name, &list, &failed) == 0) {
                        found = str_equal(json_string_value(json_find(list, "name")), name) ||
                                strcmp(entries[i]->d_name, name) == 0;
                        if (found)
                                *listp = json_incref(list);
                }
                if (error_is_set(&failed) && !error_is_set(&unread))
                        unread = failed;
                json_decref(list);
                free(entries[i]);
        }
        free(entries);
        if (found)
                return 0;
        if (error_is_set(&unread))
                return error_set(err, ERROR_NOT_FOUND,
                                 "no network \"%s\" in %s, but one file there cannot be read: %s",
                                 name, directory, unread.message);
        return error_set(err, ERROR_NOT_FOUND, "no network \"%s\" in %s", name, directory);
}
