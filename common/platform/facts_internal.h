/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_PLATFORM_FACTS_INTERNAL_H
#define BERTH_PLATFORM_FACTS_INTERNAL_H

/* What the readers share. */

#include "common/platform/facts.h"

/* Makes @fact present with a copy of @text. Return: 0; -ENOMEM. */
int fact_set_text(Fact *fact, const char *text, size_t n);

/* Makes @fact present with the first line of @text, fit to be printed; @text is changed. Return: 0;
 * -ENOMEM. */
int fact_set_line(Fact *fact, char *text);

/* A regular file below @root_fd; @is_head: its start is enough. Return: 0; -errno. */
int fact_read_file(int root_fd, const char *path, size_t limit, bool is_head, char **textp,
                   size_t *np);

/* The arguments of a process called "kubelet", one a line. Return: 0; -ENOMEM. */
int facts_read_kubelet(int root_fd, Fact *fact);

/* Who the hypervisor says it is: "KVMKVMKVM". Absent without one. Return: 0; -ENOMEM. */
int facts_read_cpuid(Fact *fact);

#endif
