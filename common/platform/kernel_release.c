/* SPDX-License-Identifier: Apache-2.0 */

/* Kernel releases. Pure. */

#include "common/platform/kernel_release.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <stdio.h>

#define NUMBER_MAX 65535U

/* By a word of the suffix, the more telling first. Who backports: facts of fs/, "Backports are
 * real". */
static const struct {
        const char *word, *family;
        bool has_backports;
} families[] = {
        {"microsoft-standard-WSL2", "wsl2", false},
        {"linuxkit", "linuxkit", false},
        {"uek", "oracle-uek", true},
        {".amzn", "amazon", false},
        {".el7", "rhel7", true},
        {".el8", "rhel8", true},
        {".el9", "rhel9", true},
        {".el10", "rhel10", true},
        {".fc", "fedora", false},
        {"-talos", "talos", false},
        {"-flatcar", "flatcar", false},
        {"-default", "suse", true},
        {"-64kb", "suse", true},
        {".azl", "azurelinux", false},
        {".cm2", "azurelinux", false},
        {"-rpi", "raspberrypi", false},
        {"-v8+", "raspberrypi", false},
        {"-pve", "proxmox", false},
        {"-azure", "ubuntu", false},
        {"-aws", "ubuntu", false},
        {"-gcp", "ubuntu", false},
        {"-gke", "ubuntu", false},
        {"-oracle", "ubuntu", false},
        {"-generic", "ubuntu", false},
        {"-lowlatency", "ubuntu", false},
        {"-kvm", "ubuntu", false},
        {"-raspi", "ubuntu", false},
        {"-nvidia", "ubuntu", false},
        {"-cloud-amd64", "debian", false},
        {"-cloud-arm64", "debian", false},
        {"-amd64", "debian", false},
        {"-arm64", "debian", false},
        {"-armmp", "debian", false},
        {"-powerpc64le", "debian", false},
        {"-s390x", "debian", false},
};

static int parse_number(const char **textp, unsigned int *valuep) {
        const char *text = *textp;
        unsigned int value = 0;

        if (*text < '0' || *text > '9')
                return -EINVAL;
        for (; *text >= '0' && *text <= '9'; text++) {
                value = value * 10 + (unsigned int)(*text - '0');
                if (value > NUMBER_MAX)
                        return -ERANGE;
        }
        *textp = text;
        *valuep = value;
        return 0;
}

static void find_family(KernelRelease *release) {
        release->family = "";
        for (size_t i = 0; i < N_ELEMENTS(families); i++) {
                if (!strstr(release->suffix, families[i].word))
                        continue;
                release->family = families[i].family;
                release->has_backports = families[i].has_backports;
                return;
        }
}

int kernel_release_parse(const char *text, KernelRelease *release) {
        KernelRelease made = {0};
        unsigned int *const numbers[] = {&made.major, &made.minor, &made.patch};
        const char *at = text;
        int r;

        if (strlen(text) >= sizeof(made.text))
                return -ENAMETOOLONG;
        for (size_t i = 0; i < N_ELEMENTS(numbers); i++) {
                r = parse_number(&at, numbers[i]);
                if (r < 0)
                        return r;
                if (i + 1 == N_ELEMENTS(numbers) || at[0] != '.' || at[1] < '0' || at[1] > '9')
                        break;
                at++;
        }
        if (strlen(at) >= sizeof(made.suffix))
                return -ENAMETOOLONG;
        snprintf(made.text, sizeof(made.text), "%s", text);
        snprintf(made.suffix, sizeof(made.suffix), "%s", at);
        find_family(&made);
        *release = made;
        return 0;
}
