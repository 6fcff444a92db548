/* SPDX-License-Identifier: Apache-2.0 */

/* Two questions to a mountinfo file. Pure. */

#include "common/platform/classify_internal.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <stdio.h>

/* One line: "36 35 98:0 /root /point options shared:1 - ext3 /dev/sda1 rw". */
typedef struct MountLine {
        /* Borrowed from the text, not terminated. */
        const char *root, *point, *optional, *type, *source;
        size_t n_root, n_point, n_optional, n_type, n_source;
} MountLine;

/* The next word of [*atp, end). */
static size_t take_word(const char **atp, const char *end, const char **wordp) {
        const char *at = *atp;

        while (at < end && *at == ' ')
                at++;
        *wordp = at;
        while (at < end && *at != ' ')
                at++;
        *atp = at;
        return (size_t)(at - *wordp);
}

static bool parse_line(const char *at, const char *end, MountLine *line) {
        const char *word;
        size_t n;

        for (unsigned int i = 0; i < 3; i++)
                if (take_word(&at, end, &word) == 0)
                        return false;
        line->n_root = take_word(&at, end, &line->root);
        line->n_point = take_word(&at, end, &line->point);
        if (line->n_point == 0 || line->point[0] != '/' || take_word(&at, end, &word) == 0)
                return false;
        line->optional = at;
        do {
                n = take_word(&at, end, &word);
                if (n == 0)
                        return false;
        } while (n != 1 || *word != '-');
        line->n_optional = (size_t)(word - line->optional);
        line->n_type = take_word(&at, end, &line->type);
        line->n_source = take_word(&at, end, &line->source);
        return line->n_type > 0;
}

/* The character at @at, which may be escaped as \040. */
static size_t next_char(const char *at, size_t n, char *cp) {
        if (n >= 4 && at[0] == '\\' && at[1] >= '0' && at[1] <= '3' && at[2] >= '0' &&
            at[2] <= '7' && at[3] >= '0' && at[3] <= '7') {
                *cp = (char)((at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0'));
                return 4;
        }
        *cp = at[0];
        return 1;
}

/* How many characters of @path the mount point takes, 0 if it does not lead to @path. */
static size_t covered_length(const MountLine *line, const char *path) {
        size_t i = 0, n_path = 0;
        char c;

        while (i < line->n_point) {
                i += next_char(line->point + i, line->n_point - i, &c);
                if (path[n_path] != c)
                        return 0;
                n_path++;
        }
        if (n_path == 1 || path[n_path] == '\0' || path[n_path] == '/')
                return n_path;
        return 0;
}

static bool has_shared(const MountLine *line) {
        const char *at = line->optional, *end = at + line->n_optional, *word;
        size_t n;

        while ((n = take_word(&at, end, &word)) > 0)
                if (n > 7 && strncmp(word, "shared:", 7) == 0)
                        return true;
        return false;
}

/* Mounts of one point are stacked in the order of the file: the last one is what is seen. */
static bool find_covering(const char *mountinfo, const char *path, MountLine *foundp,
                          size_t *n_bestp) {
        size_t n_best = 0;

        for (const char *at = mountinfo; *at;) {
                const char *end = strchrnul(at, '\n');
                MountLine line;

                if (parse_line(at, end, &line)) {
                        size_t n = covered_length(&line, path);

                        if (n > 0 && n >= n_best) {
                                n_best = n;
                                *foundp = line;
                        }
                }
                at = *end ? end + 1 : end;
        }
        *n_bestp = n_best;
        return n_best > 0;
}

bool mounts_covering(const char *mountinfo, const char *path, bool *is_sharedp, char *point,
                     size_t n_point) {
        MountLine line;
        size_t n;

        if (!find_covering(mountinfo, path, &line, &n))
                return false;
        *is_sharedp = has_shared(&line);
        if (point)
                snprintf(point, n_point, "%.*s", (int)n, path);
        return true;
}

bool mounts_type_at(const char *mountinfo, const char *path, char *type, size_t n_type) {
        MountLine line;
        size_t n;

        if (!find_covering(mountinfo, path, &line, &n) || n != strlen(path))
                return false;
        snprintf(type, n_type, "%.*s", (int)line.n_type, line.type);
        return true;
}

bool mounts_root_is_disk(const char *mountinfo) {
        MountLine line;
        size_t n;

        return find_covering(mountinfo, "/", &line, &n) && line.n_root == 1 && line.n_source > 5 &&
               strncmp(line.source, "/dev/", 5) == 0;
}
