/* SPDX-License-Identifier: Apache-2.0 */

/* Metadata of the local pool to JSON and back. A file that does not parse is reported and left
 * alone: it may belong to a newer version. */

#include "csi/local/meta.h"

#include "common/base/cleanup.h"
#include "common/base/sha256.h"
#include "common/base/str.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define FORMAT_VERSION 1
#define N_HASH         32

static const char *const kind_names[_LOCAL_KIND_N] = {"volume", "snapshot", "group"};
static const char *const state_names[_LOCAL_STATE_N] = {"creating", "copying", "ready", "deleting"};
static const char *const source_names[_LOCAL_SOURCE_N] = {"none", "volume", "snapshot"};

void local_stem(const char *prefix, const char *scope, const char *name,
                char stem[LOCAL_STEM_MAX + 1]) {
        cleanup(strbuf_deinit) StrBuf text = {0};
        char hex[SHA256_HEX_SIZE];

        /* A node name has no newline, so two pairs never make the same text. */
        strbuf_printf(&text, "%s\n%s", scope, name);
        sha256_hex(strbuf_text(&text), text.n, hex);
        (void)snprintf(stem, LOCAL_STEM_MAX + 1, "%s-%.*s", prefix, N_HASH, hex);
}

bool local_stem_is_valid(LocalKind kind, const char *text, size_t n) {
        static const char *const prefixes[_LOCAL_KIND_N][2] = {
                {"vol-", "eph-"}, {"snap-", NULL}, {"grp-", NULL}};

        for (size_t i = 0; i < 2 && prefixes[kind][i]; i++) {
                size_t n_prefix = strlen(prefixes[kind][i]);

                if (n != n_prefix + N_HASH || memcmp(text, prefixes[kind][i], n_prefix) != 0)
                        continue;
                for (size_t k = n_prefix; k < n; k++)
                        if (!strchr("0123456789abcdef", text[k]) || text[k] == '\0')
                                return false;
                return true;
        }
        return false;
}

size_t local_stem_of_file(LocalKind kind, const char *file_name, const char *suffix) {
        size_t n = strlen(file_name), n_suffix = strlen(suffix);

        if (n <= n_suffix || strcmp(file_name + n - n_suffix, suffix) != 0)
                return 0;
        return local_stem_is_valid(kind, file_name, n - n_suffix) ? n - n_suffix : 0;
}

bool local_is_temporary(LocalKind kind, const char *file_name) {
        static const char middle[] = ".json.tmp.";
        const char *at = strstr(file_name, middle);
        unsigned int n_dots = 0;

        if (file_name[0] != '.' || !at ||
            !local_stem_is_valid(kind, file_name + 1, (size_t)(at - file_name) - 1))
                return false;
        at += strlen(middle);
        if (!isdigit((unsigned char)*at))
                return false;
        for (; *at; at++) {
                if (*at == '.')
                        n_dots++;
                else if (!isdigit((unsigned char)*at))
                        return false;
        }
        return n_dots == 1;
}

/* --- Reading --- */

/* One field of @object at a time; the first thing that is wrong is kept in @err and the rest is
 * skipped, so that a caller checks once. */
typedef struct Reader {
        const json_t *object;
        Error *err;
        bool failed;
} Reader;

static void fail(Reader *reader, const char *key, const char *expected) {
        if (!reader->failed)
                (void)error_set(reader->err, ERROR_INTERNAL, "\"%s\" is not %s", key, expected);
        reader->failed = true;
}

/* Absent is "". */
static void read_text(Reader *reader, const char *key, char *text, size_t n_text) {
        const json_t *value = json_object_get(reader->object, key);

        text[0] = '\0';
        if (!value)
                return;
        if (!json_is_string(value) || json_string_length(value) >= n_text ||
            memchr(json_string_value(value), '\0', json_string_length(value)))
                fail(reader, key, "a short text");
        else
                memcpy(text, json_string_value(value), json_string_length(value) + 1);
}

static uint64_t read_number(Reader *reader, const char *key, uint64_t max) {
        const json_t *value = json_object_get(reader->object, key);

        if (!value)
                return 0;
        if (!json_is_integer(value) || json_integer_value(value) < 0 ||
            (uint64_t)json_integer_value(value) > max) {
                fail(reader, key, "a number in range");
                return 0;
        }
        return (uint64_t)json_integer_value(value);
}

static bool read_bool(Reader *reader, const char *key) {
        const json_t *value = json_object_get(reader->object, key);

        if (value && !json_is_boolean(value))
                fail(reader, key, "true or false");
        return json_is_true(value);
}

static size_t read_name(Reader *reader, const char *key, const char *const *names, size_t n_names) {
        char text[16];

        read_text(reader, key, text, sizeof(text));
        for (size_t i = 0; i < n_names; i++)
                if (strcmp(names[i], text) == 0)
                        return i;
        fail(reader, key, "a known word");
        return 0;
}

static void read_copy(Reader *reader, LocalCopy *copy) {
        const json_t *object = json_object_get(reader->object, "copy");
        Reader inner = {.object = object, .err = reader->err, .failed = reader->failed};

        if (!object)
                return;
        if (!json_is_object(object)) {
                fail(reader, "copy", "an object");
                return;
        }
        copy->size_bytes = read_number(&inner, "size_bytes", LOCAL_SIZE_MAX);
        copy->at_bytes = read_number(&inner, "at_bytes", copy->size_bytes);
        copy->in_place = read_bool(&inner, "in_place");
        copy->source_seconds = (int64_t)read_number(&inner, "source_seconds", INT64_MAX);
        copy->source_nanos = (int64_t)read_number(&inner, "source_nanos", 999999999);
        copy->asked_seconds = (int64_t)read_number(&inner, "asked_seconds", INT64_MAX);
        reader->failed = inner.failed;
}

/* Rules between fields. */
static void check(Reader *reader, const LocalMeta *meta) {
        if (meta->ephemeral != str_has_prefix(meta->stem, "eph-") ||
            (!meta->ephemeral && strcmp(meta->id, meta->stem) != 0) || meta->id[0] == '\0')
                fail(reader, "id", "what the file's name says");
        if (meta->kind != LOCAL_GROUP && meta->size_bytes == 0)
                fail(reader, "size_bytes", "a size");
        if (meta->kind != LOCAL_GROUP && meta->sector_bytes != 512 && meta->sector_bytes != 4096)
                fail(reader, "sector_bytes", "512 or 4096");
        if ((meta->source == LOCAL_SOURCE_NONE) != (meta->source_id[0] == '\0'))
                fail(reader, "source_id", "set exactly with a source");
        if (meta->kind == LOCAL_SNAPSHOT && meta->source != LOCAL_SOURCE_VOLUME)
                fail(reader, "source", "the snapshot's volume");
        if ((meta->kind == LOCAL_GROUP) != (meta->n_members > 0))
                fail(reader, "n_members", "set exactly for a group");
        if (meta->allows_mount && meta->fs_type[0] == '\0')
                fail(reader, "fs_type", "set for a mounted volume");
}

static void read_all(Reader *reader, LocalMeta *meta) {
        if (read_number(reader, "format", UINT32_MAX) != FORMAT_VERSION)
                fail(reader, "format", "a version that this program knows");
        if (read_name(reader, "kind", kind_names, _LOCAL_KIND_N) != (size_t)meta->kind)
                fail(reader, "kind", "what the directory is for");
        meta->state = (LocalState)read_name(reader, "state", state_names, _LOCAL_STATE_N);
        read_text(reader, "id", meta->id, sizeof(meta->id));
        read_text(reader, "name", meta->name, sizeof(meta->name));
        meta->size_bytes = read_number(reader, "size_bytes", LOCAL_SIZE_MAX);
        meta->sector_bytes = (uint32_t)read_number(reader, "sector_bytes", 4096);
        meta->thick = read_bool(reader, "thick");
        meta->shares = read_bool(reader, "shares");
        meta->ephemeral = read_bool(reader, "ephemeral");
        meta->allows_block = read_bool(reader, "allows_block");
        meta->allows_mount = read_bool(reader, "allows_mount");
        read_text(reader, "fs_type", meta->fs_type, sizeof(meta->fs_type));
        meta->source = (LocalSource)read_name(reader, "source", source_names, _LOCAL_SOURCE_N);
        read_text(reader, "source_id", meta->source_id, sizeof(meta->source_id));
        read_text(reader, "group_id", meta->group_id, sizeof(meta->group_id));
        meta->created_seconds = (int64_t)read_number(reader, "created_seconds", INT64_MAX);
        meta->created_nanos = (int32_t)read_number(reader, "created_nanos", 999999999);
        read_text(reader, "pod_namespace", meta->pod_namespace, sizeof(meta->pod_namespace));
        read_text(reader, "pod_uid", meta->pod_uid, sizeof(meta->pod_uid));
        read_text(reader, "context", meta->context, sizeof(meta->context));
        meta->froze = read_bool(reader, "froze");
        read_copy(reader, &meta->copy);
        meta->n_members = (size_t)read_number(reader, "n_members", LOCAL_MEMBERS_MAX);
        check(reader, meta);
}

int local_meta_parse(const char *text, size_t n, LocalKind kind, const char *stem, LocalMeta *meta,
                     Error *err) {
        cleanup(json_decrefp) json_t *root = NULL;
        LocalMeta parsed = {.kind = kind};
        Reader reader = {.err = err};
        json_error_t error;

        if (n > LOCAL_META_MAX)
                return error_set(err, ERROR_INTERNAL, "more than %d bytes", LOCAL_META_MAX);
        if (!local_stem_is_valid(kind, stem, strlen(stem)))
                return error_set(err, ERROR_INTERNAL, "not a name of ours");
        root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
        if (!root)
                return error_set(err, ERROR_INTERNAL, "line %d column %d: %s", error.line,
                                 error.column, error.text);
        if (!json_is_object(root))
                return error_set(err, ERROR_INTERNAL, "not a JSON object");
        reader.object = root;
        memcpy(parsed.stem, stem, strlen(stem) + 1);
        read_all(&reader, &parsed);
        if (reader.failed)
                return -EINVAL;
        *meta = parsed;
        return 0;
}

/* --- Writing --- */

static json_t *format_copy(const LocalCopy *copy) {
        return json_pack("{s:I, s:I, s:b, s:I, s:I, s:I}", "at_bytes", (json_int_t)copy->at_bytes,
                         "size_bytes", (json_int_t)copy->size_bytes, "in_place",
                         (int)copy->in_place, "source_seconds", (json_int_t)copy->source_seconds,
                         "source_nanos", (json_int_t)copy->source_nanos, "asked_seconds",
                         (json_int_t)copy->asked_seconds);
}

char *local_meta_format(const LocalMeta *meta) {
        cleanup(json_decrefp) json_t *root = NULL;
        cleanup(freep) char *text = NULL;

        root = json_pack("{s:i, s:s, s:s, s:s, s:s, s:I, s:i, s:b, s:b, s:b, s:b, s:s, s:s, s:s, "
                         "s:s, s:I, s:i, "
                         "s:b}",
                         "format", FORMAT_VERSION, "kind", kind_names[meta->kind], "state",
                         state_names[meta->state], "id", meta->id, "name", meta->name, "size_bytes",
                         (json_int_t)meta->size_bytes, "sector_bytes", (int)meta->sector_bytes,
                         "thick", (int)meta->thick, "ephemeral", (int)meta->ephemeral,
                         "allows_block", (int)meta->allows_block, "allows_mount",
                         (int)meta->allows_mount, "fs_type", meta->fs_type, "source",
                         source_names[meta->source], "source_id", meta->source_id, "group_id",
                         meta->group_id, "created_seconds", (json_int_t)meta->created_seconds,
                         "created_nanos", (int)meta->created_nanos, "froze", (int)meta->froze);
        if (!root)
                return NULL;
        if (meta->state == LOCAL_STATE_COPYING &&
            json_object_set_new(root, "copy", format_copy(&meta->copy)) < 0)
                return NULL;
        if (meta->kind == LOCAL_GROUP &&
            json_object_set_new(root, "n_members", json_integer((json_int_t)meta->n_members)) < 0)
                return NULL;
        if (meta->ephemeral &&
            (json_object_set_new(root, "pod_namespace", json_string(meta->pod_namespace)) < 0 ||
             json_object_set_new(root, "pod_uid", json_string(meta->pod_uid)) < 0))
                return NULL;
        if (meta->shares && json_object_set_new(root, "shares", json_true()) < 0)
                return NULL;
        if (meta->context[0] &&
            json_object_set_new(root, "context", json_string(meta->context)) < 0)
                return NULL;
        text = json_dumps(root, JSON_INDENT(1));
        return text ? str_printf("%s\n", text) : NULL;
}
