/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The parser works in place on one copy of the text: fields are cut by writing NULs, escapes only
 * get shorter. The number of lines is counted first, so that there are two allocations in all.
 */

#include "common/mount/mountinfo.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define READS_MAX 10

/* Octal escapes of three digits: the kernel's mangle() makes \040 \011 \012 \134 and \043. */
static void unescape(char *text) {
        char *out = text;

        for (; *text; text++) {
                if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] >= '0' &&
                    text[2] <= '7' && text[3] >= '0' && text[3] <= '7') {
                        *out++ = (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 +
                                        (text[3] - '0'));
                        text += 3;
                        continue;
                }
                *out++ = *text;
        }
        *out = '\0';
}

/* The next field of the line at *@atp, NUL-terminated; NULL at the end. Fields may be empty: a
 * source of "" is written as two spaces. */
static char *cut_field(char **atp) {
        char *field = *atp, *end;

        if (!field)
                return NULL;
        end = strchr(field, ' ');
        if (end)
                *end++ = '\0';
        *atp = end;
        return field;
}

static int parse_number(const char *field, uint64_t *valuep) {
        return field ? str_parse_u64(field, UINT32_MAX, valuep) : -EINVAL;
}

/* "8:17" */
static int parse_dev(char *field, uint64_t *devp) {
        char *colon = field ? strchr(field, ':') : NULL;
        uint64_t device_major, device_minor;

        if (!colon)
                return -EINVAL;
        *colon = '\0';
        if (parse_number(field, &device_major) < 0 || parse_number(colon + 1, &device_minor) < 0)
                return -EINVAL;
        *devp = makedev((unsigned int)device_major, (unsigned int)device_minor);
        return 0;
}

static int parse_optional(const char *field, Mount *mount) {
        if (str_has_prefix(field, "shared:"))
                return parse_number(field + strlen("shared:"), &mount->shared_group);
        if (str_has_prefix(field, "master:"))
                return parse_number(field + strlen("master:"), &mount->master_group);
        if (str_equal(field, "unbindable"))
                mount->is_unbindable = true;
        return 0;
}

static int parse_text_field(char **atp, const char **valuep) {
        char *field = cut_field(atp);

        if (!field)
                return -EINVAL;
        unescape(field);
        *valuep = field;
        return 0;
}

/* "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue" */
static int parse_line(char *line, Mount *mount) {
        char *at = line, *field;

        if (parse_number(cut_field(&at), &mount->id) < 0 ||
            parse_number(cut_field(&at), &mount->parent_id) < 0 ||
            parse_dev(cut_field(&at), &mount->dev) < 0 || parse_text_field(&at, &mount->root) < 0 ||
            parse_text_field(&at, &mount->target) < 0 || parse_text_field(&at, &mount->options) < 0)
                return -EINVAL;
        while ((field = cut_field(&at)) && !str_equal(field, "-"))
                if (parse_optional(field, mount) < 0)
                        return -EINVAL;
        if (!field || parse_text_field(&at, &mount->fs_type) < 0 ||
            parse_text_field(&at, &mount->source) < 0 || !at)
                return -EINVAL;
        /* The last field is the rest: a filesystem may print spaces of its own. */
        mount->super_options = at;
        unescape(at);
        return 0;
}

static size_t count_lines(const char *text, size_t n) {
        size_t n_lines = 0;

        for (const char *at = text; n > 0; n_lines++) {
                const char *end = memchr(at, '\n', n);
                size_t n_line = end ? (size_t)(end - at) + 1 : n;

                at += n_line;
                n -= n_line;
        }
        return n_lines;
}

static int parse_lines(MountTable *table, size_t *linep) {
        char *at = table->text, *end;

        for (; *at; at = end) {
                end = strchrnul(at, '\n');
                if (*end)
                        *end++ = '\0';
                if (parse_line(at, &table->mounts[table->n_mounts]) < 0) {
                        if (linep)
                                *linep = table->n_mounts + 1;
                        return MOUNTINFO_E_MALFORMED;
                }
                table->n_mounts++;
        }
        return 0;
}

int mountinfo_parse(const char *text, size_t n_text, MountTable **tablep, size_t *linep) {
        cleanup(mount_table_freep) MountTable *table = NULL;
        size_t n_lines;
        int r;

        if (n_text > MOUNTINFO_MAX_BYTES)
                return -EFBIG;
        n_lines = count_lines(text, n_text);
        table = calloc(1, sizeof(*table));
        if (!table)
                return -ENOMEM;
        table->mounts = calloc(n_lines + 1, sizeof(*table->mounts));
        table->text = malloc(n_text + 1);
        if (!table->mounts || !table->text)
                return -ENOMEM;
        memcpy(table->text, text, n_text);
        table->text[n_text] = '\0';
        /* A NUL would hide what comes after it. */
        if (strlen(table->text) != n_text) {
                if (linep)
                        *linep = count_lines(text, strlen(table->text));
                return MOUNTINFO_E_MALFORMED;
        }
        r = parse_lines(table, linep);
        if (r != 0)
                return r;
        *tablep = ptr_steal(&table);
        return 0;
}

/* The cursor that keeps a reader's place, and statx(2)'s STATX_MNT_ID, both came with Linux 5.8. */
static bool is_read_stable(void) {
#ifdef STATX_MNT_ID
        struct statx status;

        return statx(AT_FDCWD, "/", 0, STATX_MNT_ID, &status) == 0 &&
               (status.stx_mask & STATX_MNT_ID) != 0;
#else
        return false;
#endif
}

static int read_text(char **textp, size_t *np) {
        return file_read_at(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX_BYTES, textp, np);
}

static int read_until_stable(char **textp, size_t *np) {
        cleanup(freep) char *last = NULL;
        size_t n_last = 0;
        int r;

        r = read_text(&last, &n_last);
        for (int i = 1; r == 0 && i < READS_MAX; i++) {
                cleanup(freep) char *again = NULL;
                size_t n_again;

                r = read_text(&again, &n_again);
                if (r < 0)
                        return r;
                if (n_again == n_last && memcmp(again, last, n_last) == 0) {
                        *textp = ptr_steal(&again);
                        *np = n_again;
                        return 0;
                }
                free(last);
                last = ptr_steal(&again);
                n_last = n_again;
        }
        return r < 0 ? r : -EAGAIN;
}

int mountinfo_read(MountTable **tablep) {
        cleanup(freep) char *text = NULL;
        size_t n;
        int r;

        r = is_read_stable() ? read_text(&text, &n) : read_until_stable(&text, &n);
        if (r < 0)
                return r;
        r = mountinfo_parse(text, n, tablep, NULL);
        return r == MOUNTINFO_E_MALFORMED ? -EIO : r;
}

MountTable *mount_table_free(MountTable *table) {
        if (table) {
                free(table->mounts);
                free(table->text);
                free(table);
        }
        return NULL;
}

const Mount *mount_table_find_id(const MountTable *table, uint64_t id) {
        for (size_t i = 0; i < table->n_mounts; i++)
                if (table->mounts[i].id == id)
                        return &table->mounts[i];
        return NULL;
}

const Mount *mount_table_find_target(const MountTable *table, const char *target) {
        for (size_t i = table->n_mounts; i > 0; i--)
                if (str_equal(table->mounts[i - 1].target, target))
                        return &table->mounts[i - 1];
        return NULL;
}

bool mount_options_have(const char *options, const char *option) {
        size_t n = strlen(option);

        for (;;) {
                const char *end = strchrnul(options, ',');

                if ((size_t)(end - options) == n && memcmp(options, option, n) == 0)
                        return true;
                if (*end == '\0')
                        return false;
                options = end + 1;
        }
}
