/* SPDX-License-Identifier: Apache-2.0 */

/* Where this host's runtime looks for plugins and for configurations. */

#include "cni/cli/commands.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"
#include "common/platform/platform.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CONFIG_MAX (1024U * 1024)

#define DEFAULT_PLUGINS        "/opt/cni/bin"
#define DEFAULT_CONFIGURATIONS "/etc/cni/net.d"

/* Configurations of runtimes, the more special first: a k3s node may have a plain containerd too.
 */
static const char *const runtime_files[] = {
        "/var/lib/rancher/k3s/agent/etc/containerd/config.toml",
        "/var/lib/rancher/rke2/agent/etc/containerd/config.toml",
        "/var/snap/microk8s/current/args/containerd.toml",
        "/etc/k0s/containerd.toml",
        "/etc/crio/crio.conf",
        "/etc/containerd/config.toml",
};

/* The first string behind @key = on @line. */
static bool take_string(const char *line, const char *key, char value[DIRECTORY_MAX]) {
        size_t n_key = strlen(key), n;
        char quote;

        line += strspn(line, " \t");
        if (strncmp(line, key, n_key) != 0)
                return false;
        line += n_key;
        line += strspn(line, " \t");
        if (*line != '=')
                return false;
        line += 1 + strspn(line + 1, " \t[");
        quote = *line;
        if (quote != '"' && quote != '\'')
                return false;
        n = strcspn(++line, quote == '"' ? "\"\n" : "'\n");
        if (line[n] != quote || n == 0 || n >= DIRECTORY_MAX || line[0] != '/')
                return false;
        memcpy(value, line, n);
        value[n] = '\0';
        while (n > 1 && value[n - 1] == '/')
                value[--n] = '\0';
        return true;
}

bool directories_parse(const char *text, CniDirectories *directories) {
        static const char *const plugins[] = {"bin_dirs", "bin_dir", "plugin_dirs", "plugin_dir"};
        static const char *const configurations[] = {"conf_dir", "network_dir"};
        bool plugins_found = false, configurations_found = false;

        /* A list may go on over several lines: its first string is then on the next one. */
        for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
                for (size_t i = 0; i < N_ELEMENTS(plugins) && !plugins_found; i++)
                        plugins_found = take_string(line, plugins[i], directories->plugins);
                for (size_t i = 0; i < N_ELEMENTS(configurations) && !configurations_found; i++)
                        configurations_found =
                                take_string(line, configurations[i], directories->configurations);
        }
        return plugins_found || configurations_found;
}

void directories_join_lists(char *text) {
        bool inside = false;

        for (char *c = text; *c; c++) {
                if (*c == '[' && c > text && c[-1] != '\n')
                        inside = true;
                else if (*c == ']')
                        inside = false;
                else if (*c == '\n' && inside)
                        *c = ' ';
        }
}

void directories_find(int root_fd, bool is_live, CniDirectories *directories) {
        Platform *platform = NULL;

        *directories = (CniDirectories){
                .plugins = DEFAULT_PLUGINS,
                .configurations = DEFAULT_CONFIGURATIONS,
                .why = "default",
        };
        for (size_t i = 0; i < N_ELEMENTS(runtime_files); i++) {
                cleanup(freep) char *text = NULL;

                if (file_read_in_root(root_fd, runtime_files[i], CONFIG_MAX, &text, NULL) < 0)
                        continue;
                directories_join_lists(text);
                if (!directories_parse(text, directories))
                        continue;
                snprintf(directories->why, sizeof(directories->why), "%s", runtime_files[i]);
                return;
        }
        if (platform_read(root_fd, is_live, &platform) < 0)
                return;
        if (platform->kubernetes.is_present == PLATFORM_YES && platform->kubernetes.cni_bin[0]) {
                snprintf(directories->plugins, DIRECTORY_MAX, "%s", platform->kubernetes.cni_bin);
                snprintf(directories->configurations, DIRECTORY_MAX, "%s",
                         platform->kubernetes.cni_conf);
                snprintf(directories->why, DIRECTORY_MAX, "%s: %s",
                         platform->kubernetes.distribution, platform->kubernetes.evidence);
        }
        platform_free(platform);
}
