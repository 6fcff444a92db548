/* SPDX-License-Identifier: Apache-2.0 */

#include "common/base/arguments.h"

#include "common/base/str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* --- "did you mean" ------------------------------------------------------------------------- */

static unsigned int min(unsigned int a, unsigned int b) {
        return a < b ? a : b;
}

/* Letters to put in, take out or change; two that changed places count as one. */
static unsigned int distance(const char *a, size_t n_a, const char *b, size_t n_b) {
        unsigned int rows[3][NEAREST_NAME_MAX + 1];
        unsigned int *before = rows[0], *last = rows[1], *now = rows[2];

        for (unsigned int j = 0; j <= n_b; j++)
                last[j] = j;
        for (size_t i = 1; i <= n_a; i++) {
                unsigned int *next = before;

                now[0] = (unsigned int)i;
                for (size_t j = 1; j <= n_b; j++) {
                        now[j] = min(min(last[j], now[j - 1]) + 1,
                                     last[j - 1] + (a[i - 1] != b[j - 1]));
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                                now[j] = min(now[j], before[j - 2] + 1);
                }
                before = last;
                last = now;
                now = next;
        }
        return last[n_b];
}

/* Whether one undoes the other: "install" and "uninstall" are two letters apart. */
static bool is_opposite(const char *a, const char *b) {
        return (str_has_prefix(a, "un") && str_equal(a + 2, b)) ||
               (str_has_prefix(b, "un") && str_equal(b + 2, a));
}

void nearest_offer(Nearest *nearest, const char *name) {
        size_t n_name = strlen(name);
        unsigned int found;

        if (nearest->n_given > NEAREST_NAME_MAX || n_name > NEAREST_NAME_MAX)
                return;
        if (is_opposite(nearest->given, name))
                return;
        found = distance(nearest->given, nearest->n_given, name, n_name);
        if (found > 2 || found * 2 >= n_name || (nearest->name && found >= nearest->distance))
                return;
        nearest->name = name;
        nearest->distance = found;
}

const char *nearest_text(const Nearest *nearest, const char *dashes, char *buffer,
                         size_t n_buffer) {
        buffer[0] = '\0';
        if (nearest->name)
                (void)snprintf(buffer, n_buffer, "; did you mean %s%s?", dashes, nearest->name);
        return buffer;
}

/* --- options -------------------------------------------------------------------------------- */

/* The length of "--name" in "--name=value". */
static size_t flag_length(const char *text) {
        return strcspn(text, "=");
}

static int refuse_unknown(const char *text, const Nearest *nearest, Error *err) {
        size_t n = flag_length(text);
        char hint[NEAREST_NAME_MAX + 32];

        return error_set(err, ERROR_INVALID, "unknown flag %.*s%s", (int)(n < 64 ? n : 64), text,
                         nearest_text(nearest, "--", hint, sizeof(hint)));
}

static const struct option *find_val(const struct option *options, int val) {
        for (; options->name; options++)
                if (options->val == val)
                        return options;
        return NULL;
}

const char *arguments_name(const struct option *options, int val) {
        const struct option *option = find_val(options, val);

        return option ? option->name : "";
}

/* What getopt stands at: it goes on from an argument with several letters only after the last. */
static const char *argument_refused(int argc, char *const *argv) {
        const char *text = optind < argc ? argv[optind] : NULL;

        return optopt && text && text[0] == '-' && text[1] == optopt ? text : argv[optind - 1];
}

static int refuse(const char *text, const struct option *options, Error *err) {
        const struct option *known = str_has_prefix(text, "--") ? find_val(options, optopt) : NULL;
        const char *name = text + strspn(text, "-");
        Nearest nearest = {.given = name, .n_given = flag_length(name)};

        if (known)
                return error_set(err, ERROR_INVALID, "--%s takes no value", known->name);
        for (; options->name; options++)
                nearest_offer(&nearest, options->name);
        return refuse_unknown(text, &nearest, err);
}

/* What getopt has just taken: an option and its value can be two arguments. */
static const char *argument_taken(char *const *argv, const struct option *option) {
        return option->has_arg == required_argument && optarg == argv[optind - 1]
                       ? argv[optind - 2]
                       : argv[optind - 1];
}

int arguments_next(int argc, char *const *argv, const char *shorts, const struct option *options,
                   Error *err) {
        const char *text;
        int index = -1, c;

        opterr = 0;
        c = getopt_long(argc, argv, shorts, options, &index);
        if (c == -1)
                return ARGUMENTS_END;
        if (c == '?')
                return refuse(argument_refused(argc, argv), options, err);
        if (c == ':')
                return error_set(err, ERROR_INVALID, "%.64s: its value is missing",
                                 argv[optind - 1]);
        if (index < 0)
                return c;
        text = argument_taken(argv, &options[index]);
        if (flag_length(text + 2) != strlen(options[index].name))
                return refuse_unknown(text, &(Nearest){.name = options[index].name}, err);
        return c;
}
