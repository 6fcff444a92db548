/* SPDX-License-Identifier: Apache-2.0 */
/* A volume and a verdict for programs. Bits are strings ("0x20"): JSON numbers do not hold 64 bits
 * everywhere. */

#include "fs/formats/format.h"
#include "fs/verdict/verdict.h"

#include <jansson.h>
#include <stdio.h>

static json_t *hex(uint64_t value) {
        return json_sprintf("0x%llx", (unsigned long long)value);
}

/* A damaged superblock may claim more than a JSON integer holds. */
static json_int_t bytes(uint64_t n) {
        return n > INT64_MAX ? INT64_MAX : (json_int_t)n;
}

static json_t *reason_to_json(const FsVolume *volume, const FsHost *host, const FsReason *reason) {
        char text[256], way_out[256], need[24];
        json_t *object;

        fs_reason_format(reason, volume, host, text, sizeof(text));
        fs_reason_way_out(reason, volume, host, way_out, sizeof(way_out));
        object = json_pack("{s:s, s:s, s:s, s:s, s:s}", "limit", fs_answer_name(reason->limit),
                           "text", text, "way_out", way_out, "evidence",
                           fs_evidence_name(reason->evidence), "confidence",
                           fs_confidence_name(reason->confidence));
        if (!object)
                return NULL;
        if (reason->bit) {
                json_object_set_new(object, "class",
                                    json_string(fs_class_name(volume->kind, reason->class)));
                json_object_set_new(object, "bit", hex(reason->bit));
                if (reason->feature)
                        json_object_set_new(object, "feature", json_string(reason->feature->name));
        }
        if (reason->need_kernel != FS_VERSION_ANY && reason->need_kernel != FS_VERSION_NEVER)
                json_object_set_new(object, "need_kernel",
                                    json_string(fs_version_format(reason->need_kernel, need)));
        return object;
}

struct json_t *fs_verdict_to_json(const FsVolume *volume, const FsHost *host,
                                  const FsVerdict *verdict) {
        char sentence[FS_SENTENCE_MAX];
        json_t *reasons = json_array();

        fs_verdict_sentence(volume, host, verdict, sentence);
        for (size_t i = 0; i < verdict->n_reasons; i++)
                json_array_append_new(reasons, reason_to_json(volume, host, &verdict->reasons[i]));
        return json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:b, s:s, s:o}", "host", host->name,
                         "kernel", host->release, "page_size", (int)host->page_bytes, "answer",
                         fs_answer_name(verdict->answer), "mount_options",
                         fs_answer_options(verdict->answer, volume->kind), "after_crash",
                         fs_answer_name(verdict->after_crash), "confidence",
                         fs_confidence_name(verdict->confidence), "nouuid",
                         (verdict->options & FS_OPTION_NOUUID) != 0, "sentence", sentence,
                         "reasons", reasons);
}

static json_t *words_to_json(const FsVolume *volume) {
        json_t *object = json_object();

        for (FsClass class = 0; class < _FS_CLASS_N; class ++) {
                uint64_t word = volume->words[class];
                json_t *names = json_array();

                for (uint64_t left = word; left; left &= left - 1) {
                        const FsFeature *f =
                                fs_feature_find(volume->kind, class, left & (0 - left));

                        if (f)
                                json_array_append_new(names, json_string(f->name));
                }
                if (word)
                        json_object_set_new(
                                object, fs_class_name(volume->kind, class),
                                json_pack("{s:o, s:O}", "word", hex(word), "features", names));
                json_decref(names);
        }
        return object;
}

struct json_t *fs_volume_to_json(const FsVolume *volume) {
        static const char *const checksums[] = {"none", "good", "bad", "unknown"};
        static const char *const logs[] = {"none", "clean", "dirty", "external", "unreadable"};
        static const char *const states[] = {
                "errors",         "unclean",           "orphans",       "needs_repair",
                "in_progress",    "forced_ro",         "mmp",           "malformed",
                "test",           "external_log",      "realtime",      "seed",
                "journal_device", "v1_space_cache",    "mmp_broken",    "shuts_down",
                "nil_uuid",       "rt_inodes",         "groups_broken", "journal_small",
                "log_short",      "orphan_file_large",
        };
        char uuid[37] = "";
        json_t *state = json_array();

        if (volume->has_uuid)
                fs_uuid_format(volume->uuid, uuid);
        for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
                if (volume->state & 1U << i)
                        json_array_append_new(state, json_string(states[i]));
        }
        return json_pack(
                "{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:i, s:s, s:s, s:s, s:s, s:o, s:o}", "type",
                volume->type, "uuid", uuid, "label", volume->label, "fs_bytes",
                bytes(volume->fs_bytes), "device_bytes", bytes(volume->device_bytes), "block_bytes",
                (json_int_t)volume->block_bytes, "sector_bytes", (json_int_t)volume->sector_bytes,
                "devices", (int)volume->n_devices, "checksum", checksums[volume->checksum], "log",
                logs[volume->log], "log_byte_order",
                volume->log_order == FS_BYTE_ORDER_BIG      ? "big"
                : volume->log_order == FS_BYTE_ORDER_LITTLE ? "little"
                                                            : "",
                "problem", volume->problem, "state", state, "words", words_to_json(volume));
}
