/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Whether we are in a container. Pure. No sign is certain by itself and all of them can be missing
 * (a private cgroup namespace hides the cgroup's path), so several are looked at.
 */

#include "common/platform/classify_internal.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <stdio.h>

typedef struct ContainerRule {
        const char *kind;
        Match match;
} ContainerRule;

static const ContainerRule rules[] = {
        {"kubernetes", {MATCH_EXISTS, FACT_SERVICE_ACCOUNT, NULL}},
        /* kubelet mounts it into every container. */
        {"kubernetes", {MATCH_CONTAINS, FACT_MOUNTINFO, " /dev/termination-log "}},
        {"kubernetes", {MATCH_CONTAINS, FACT_CGROUP, "/kubepods"}},
        {"docker", {MATCH_EXISTS, FACT_DOCKERENV, NULL}},
        {"podman", {MATCH_EXISTS, FACT_CONTAINERENV, NULL}},
        {"docker", {MATCH_CONTAINS, FACT_CGROUP, "/docker"}},
        {"podman", {MATCH_CONTAINS, FACT_CGROUP, "/libpod"}},
        {"lxc", {MATCH_CONTAINS, FACT_CGROUP, "/lxc"}},
        {"systemd", {MATCH_EXISTS, FACT_SYSTEMD_CONTAINER, NULL}},
};

void classify_container(Platform *platform) {
        const Facts *facts = platform->facts;
        const char *mountinfo = facts_text(facts, FACT_MOUNTINFO);
        bool is_disk = mounts_root_is_disk(mountinfo);
        char type[32];

        platform->container_kind = "";
        for (size_t i = 0; i < N_ELEMENTS(rules); i++) {
                Match matches[MATCHES_MAX] = {rules[i].match};

                if (match_all(facts, matches, NULL) != PLATFORM_YES)
                        continue;
                if (is_disk &&
                    (matches[0].fact == FACT_DOCKERENV || matches[0].fact == FACT_CONTAINERENV))
                        continue; /* left in an image that a virtual machine was made of */
                platform->is_container = PLATFORM_YES;
                platform->container_kind = rules[i].kind;
                match_evidence(facts, &matches[0], platform->container_evidence,
                               sizeof(platform->container_evidence));
                return;
        }
        if (facts->facts[FACT_MOUNTINFO].state != FACT_PRESENT) {
                snprintf(platform->container_evidence, sizeof(platform->container_evidence),
                         "%s could not be read", facts_path(facts, FACT_MOUNTINFO));
        } else if (!mounts_type_at(mountinfo, "/", type, sizeof(type)) ||
                   !str_equal(type, "overlay")) {
                platform->is_container = PLATFORM_NO;
        } else if (strstr(mountinfo, " /etc/hosts ")) {
                /* Runtimes bind their own over it. Talos does, too, but not on an overlay. */
                platform->is_container = PLATFORM_YES;
                snprintf(platform->container_evidence, sizeof(platform->container_evidence),
                         "/ is an overlay and /etc/hosts is mounted");
        } else {
                snprintf(platform->container_evidence, sizeof(platform->container_evidence),
                         "/ is an overlay, which containers and some hosts have");
        }
}
