/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_PLATFORM_KERNEL_RELEASE_H
#define BERTH_PLATFORM_KERNEL_RELEASE_H

/* A kernel release taken apart: the numbers to compare, the vendor's words to keep. */

#include <stdbool.h>

typedef struct KernelRelease {
        char text[128]; /* "4.18.0-553.el8_10.x86_64" */
        unsigned int major, minor, patch;
        char suffix[96]; /* all behind the numbers: "-553.el8_10.x86_64"; "" for an upstream one */
        const char *family; /* static: "rhel", "amazon", "wsl2"; "" if no vendor is recognised */
        bool has_backports; /* the vendor adds features to old kernels: the numbers say little */
} KernelRelease;

/**
 * kernel_release_parse() - "6.1.0-18-amd64" to its parts
 *
 * One to three numbers with dots between, each below 65536; a missing one is 0. What follows is
 * the suffix.
 *
 * Return: 0; -EINVAL if it does not begin with a number; -ERANGE; -ENAMETOOLONG.
 */
int kernel_release_parse(const char *text, KernelRelease *release);

#endif
