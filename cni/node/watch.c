/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/node/watch.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <sys/inotify.h>

#define CHANGES (IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR)

void node_watch_close(NodeWatch *watch) {
        closep(&watch->fd);
}

/* Without it a change is seen with the next look at everything. */
static void add(const NodeWatch *watch, int *idp, const char *path) {
        if (*idp < 0)
                *idp = inotify_add_watch(watch->fd, path, CHANGES);
}

int node_watch_add(NodeWatch *watch, const NodeArgs *args) {
        cleanup(freep) char *directory = args->subnet_file ? strdup(args->subnet_file) : NULL;
        char *slash = directory ? strrchr(directory, '/') : NULL;

        if (watch->fd < 0)
                watch->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        if (watch->fd < 0)
                return -errno;
        add(watch, &watch->plugins, args->plugins);
        add(watch, &watch->configurations, args->configurations);
        if (slash) {
                *slash = '\0';
                add(watch, &watch->subnets, directory[0] ? directory : "/");
        }
        return 0;
}

static bool is_plugin(const char *name) {
        for (size_t i = 0; install_names[i]; i++)
                if (str_equal(name, install_names[i]))
                        return true;
        return str_equal(name, "berth-cni");
}

/* Temporary files begin with a dot. */
static bool is_list(const char *name) {
        return name[0] != '.' && (str_has_suffix(name, ".conflist") ||
                                  str_has_suffix(name, ".conf") || str_has_suffix(name, ".json"));
}

/* A directory that is removed is another one when it comes again. */
static void forget(NodeWatch *watch, int id) {
        if (watch->plugins == id)
                watch->plugins = -1;
        if (watch->configurations == id)
                watch->configurations = -1;
        if (watch->subnets == id)
                watch->subnets = -1;
}

static bool is_reason(NodeWatch *watch, const NodeArgs *args, const struct inotify_event *event) {
        const char *name = event->len > 0 ? event->name : "";
        const char *slash = args->subnet_file ? strrchr(args->subnet_file, '/') : NULL;
        bool is = event->mask & (IN_Q_OVERFLOW | IN_IGNORED);

        /* One directory may be watched for two reasons. */
        if (event->wd == watch->plugins)
                is |= is_plugin(name);
        if (event->wd == watch->configurations)
                is |= is_list(name);
        if (event->wd == watch->subnets && slash)
                is |= str_equal(name, slash + 1);
        if (event->mask & IN_IGNORED)
                forget(watch, event->wd);
        return is;
}

bool node_watch_read(NodeWatch *watch, const NodeArgs *args) {
        char bytes[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
        bool is = false;
        ssize_t n;

        while ((n = read(watch->fd, bytes, sizeof(bytes))) > 0)
                for (const char *at = bytes; at < bytes + n;) {
                        const struct inotify_event *event = (const void *)at;

                        is |= is_reason(watch, args, event);
                        at += sizeof(*event) + event->len;
                }
        return is;
}
