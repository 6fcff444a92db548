/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BASE_ARGUMENTS_H
#define BERTH_BASE_ARGUMENTS_H

/* What people type, read and refused in the same way by every program. */

#include "common/base/error.h"

#include <getopt.h>
#include <stddef.h>

/* Wrong usage: EX_USAGE of sysexits.h. 1 and 2 are answers of some commands. */
#define EXIT_USAGE 64

#define ARGUMENTS_END (-1)

/**
 * arguments_next() - one step of getopt_long(3), whose complaints come as an Error
 * @argv:    argv[0] is not read; optind = 0 before the first step
 * @shorts:  ":h", or "+:h" to stop at the first argument that is no option
 * @options: ended by zeros, vals above 0
 *
 * Names must be whole: a shortened one would mean something else as soon as there is another flag.
 *
 * Return: the option's val, with optarg and optind as getopt leaves them; ARGUMENTS_END; -EINVAL
 * with @err.
 */
int arguments_next(int argc, char *const *argv, const char *shorts, const struct option *options,
                   Error *err);

/* The name of the option with this val. */
const char *arguments_name(const struct option *options, int val);

/* --- "did you mean" ------------------------------------------------------------------------- */

#define NEAREST_NAME_MAX 48U

typedef struct Nearest {
        const char *given; /* @n_given bytes; borrowed */
        size_t n_given;
        const char *name; /* the best so far; borrowed; NULL: none is near */
        unsigned int distance;
} Nearest;

/* Offers a name that would have been right. It is near when two letters at most are missing, wrong
 * or too many, and less than half of them. Names of more than NEAREST_NAME_MAX bytes never are, and
 * a word is not near to the one that undoes it ("uninstall"). */
void nearest_offer(Nearest *nearest, const char *name);

/**
 * nearest_text() - "; did you mean NAME?", or nothing
 * @dashes: what stands before the name: "--", or ""
 * Return: @buffer.
 */
const char *nearest_text(const Nearest *nearest, const char *dashes, char *buffer, size_t n_buffer);

#endif
