/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Choosing the mkfs command. Every optional feature of the table is decided by all hosts and named
 * on the command line, on or off, if the installed tool knows its name; then the filesystem that
 * would come out is judged for every host, before anything is run.
 */

#include "fs/make/mkfs.h"

#include "fs/formats/format.h"
#include "fs/make/mkfs_internal.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <stdarg.h>
#include <stdio.h>

/* --- which features --- */

static void leave_out(Making *m, FsLeftOut left_out) {
        if (m->plan->n_left_out < FS_MAKE_LEFT_OUT_MAX)
                m->plan->left_out[m->plan->n_left_out++] = left_out;
}

static bool host_allows(const FsHost *host, const FsFeature *f, FsLeftOut *left_out) {
        FsClass then;
        uint64_t bit;
        uint32_t tools = host->tools[fs_toolset_find(f->kind)->tools];

        *left_out = (FsLeftOut){.feature = f, .host = host};
        if (!fs_host_has(host, f->kind, f->class, f->bit, NULL))
                return false;
        if (f->gate != FS_GATE_NONE && fs_gates[f->gate].blocks_mount &&
            !fs_host_gate(host, f->gate, NULL))
                return false;
        if (fs_feature_consequence(f, &then, &bit) &&
            !fs_host_has(host, f->kind, then, bit, NULL)) {
                left_out->after_crash = true;
                return false;
        }
        for (FsToolUse use = FS_TOOL_USE_CHECK; use < _FS_TOOL_USE_N; use++) {
                if (tools == FS_TOOLS_UNKNOWN || tools == FS_TOOLS_ABSENT ||
                    tools >= fs_tool_since(f, use))
                        continue;
                left_out->for_tools = true;
                left_out->tool_since = fs_tool_since(f, use);
                return false;
        }
        if (host->kernel < f->plan_since) {
                left_out->by_choice = true;
                return false;
        }
        return true;
}

/* The first host that stands against it is told. */
static bool all_allow(Making *m, const FsFeature *f) {
        FsLeftOut left_out = {.feature = f};

        if (fs_tool_since(f, FS_TOOL_USE_MAKE) > m->tool) {
                left_out.tool_since = fs_tool_since(f, FS_TOOL_USE_MAKE);
                leave_out(m, left_out);
                return false;
        }
        for (size_t i = 0; i < m->request->n_hosts; i++) {
                if (!host_allows(&m->request->hosts[i], f, &left_out)) {
                        leave_out(m, left_out);
                        return false;
                }
        }
        return true;
}

/* ext2 and ext3 have what their drivers had. */
static bool type_has(const FsMakePlan *plan, const FsFeature *f) {
        if (plan->kind != FS_KIND_EXT || str_equal(plan->fs_type, "ext4"))
                return true;
        if (f->class == FS_CLASS_COMPAT && f->bit == 0x4)
                return str_equal(plan->fs_type, "ext3");
        return (f->class == FS_CLASS_COMPAT && f->bit <= 0x20) ||
               (f->class == FS_CLASS_INCOMPAT && f->bit == 0x2) ||
               (f->class == FS_CLASS_RO_COMPAT && f->bit <= 0x2);
}

static int choose_features(Making *m) {
        for (size_t i = 0; i < fs_n_features; i++) {
                const FsFeature *f = &fs_features[i];
                char letter = 0, key[32] = "";
                bool on;

                if (f->kind != m->plan->kind || !fs_feature_switch(f, &letter, key) ||
                    !type_has(m->plan, f))
                        continue;
                on = f->plan_since != FS_VERSION_NEVER && all_allow(m, f);
                /* What is not planned is turned off by name where the tool knows the name: its
                 * default may change. An -O none list needs no "off". */
                if (!on && (fs_tool_since(f, FS_TOOL_USE_MAKE) > m->tool || !f->mkfs_off ||
                            f->kind == FS_KIND_EXT))
                        continue;
                /* mkfs.btrfs has turned these on for ten years and calls the names obsolete. */
                if (on && f->kind == FS_KIND_BTRFS && f->plan_since == FS_VERSION_ANY)
                        continue;
                if (mkfs_options_set(&m->options, letter, key, on ? "1" : "0") < 0)
                        return -E2BIG;
        }
        return 0;
}

/* --- words --- */

static bool is_word(const char *value, const char *wanted) {
        return str_equal(value, wanted);
}

static void expect(FsMakePlan *plan, const FsFeature *f, bool on) {
        plan->word_mask[f->class] |= f->bit;
        if (on)
                plan->words[f->class] |= f->bit;
        else
                plan->words[f->class] &= ~f->bit;
}

/* What every filesystem of the kind carries, so that it can be judged before it exists. */
static void expect_base(Making *m) {
        FsMakePlan *plan = m->plan;
        const MkfsOption *crc;

        switch (plan->kind) {
        case FS_KIND_XFS:
                crc = mkfs_options_find(&m->options, 'm', "crc");
                plan->words[FS_CLASS_VERSION] = crc && is_word(crc->value, "0") ? 1U << 4 : 1U << 5;
                plan->word_mask[FS_CLASS_VERSION] = UINT64_MAX;
                if (plan->words[FS_CLASS_VERSION] == 1U << 4)
                        break;
                plan->words[FS_CLASS_INCOMPAT] = 1;
                plan->word_mask[FS_CLASS_INCOMPAT] = 1;
                break;
        case FS_KIND_BTRFS:
                plan->words[FS_CLASS_INCOMPAT] = 0x141;
                plan->words[FS_CLASS_ALGORITHM] = 1;
                break;
        case FS_KIND_NONE:
        case FS_KIND_EXT:
        case FS_KIND_F2FS:
        case FS_KIND_EROFS:
        case FS_KIND_SQUASHFS:
        case FS_KIND_VFAT:
        case FS_KIND_EXFAT:
        case FS_KIND_NTFS:
        case _FS_KIND_N:
                break;
        }
}

/* The format of names is a version of directories, and no switch. */
static void expect_ci(Making *m) {
        const MkfsOption *version = mkfs_options_find(&m->options, 'n', "version");

        m->plan->word_mask[FS_CLASS_VERSIONNUM] = 0x4000;
        if (version && str_equal(version->value, "ci"))
                m->plan->words[FS_CLASS_VERSIONNUM] = 0x4000;
}

/* Known by no switch: the value of --csum, and -M. */
static void expect_btrfs(Making *m) {
        static const char *const names[] = {"crc32c", "xxhash", "sha256", "blake2"};
        const MkfsOption *csum = mkfs_options_find(&m->options, 0, "--csum");

        for (size_t i = 0; csum && i < N_ELEMENTS(names); i++) {
                if (str_has_prefix(csum->value, names[i]))
                        m->plan->words[FS_CLASS_ALGORITHM] = UINT64_C(1) << i;
        }
        m->plan->word_mask[FS_CLASS_ALGORITHM] = UINT64_MAX;
        m->plan->word_mask[FS_CLASS_INCOMPAT] |= 0x4;
        if (mkfs_options_find(&m->options, 'M', ""))
                m->plan->words[FS_CLASS_INCOMPAT] |= 0x4;
}

static void expect_words(Making *m) {
        expect_base(m);
        for (size_t i = 0; i < fs_n_features; i++) {
                const FsFeature *f = &fs_features[i];
                const MkfsOption *option;
                char letter = 0, key[32] = "";

                if (f->kind != m->plan->kind || !fs_feature_switch(f, &letter, key))
                        continue;
                option = mkfs_options_find(&m->options, letter, key);
                if (option)
                        expect(m->plan, f, is_word(option->value, "1"));
        }
        if (m->plan->kind == FS_KIND_BTRFS && mkfs_options_on(&m->options, 'R', "free-space-tree"))
                m->plan->words[FS_CLASS_RO_COMPAT] |= 0x2;
        if (m->plan->kind == FS_KIND_XFS)
                expect_ci(m);
        if (m->plan->kind == FS_KIND_BTRFS)
                expect_btrfs(m);
}

/* As it would be read back, for the verdict. */
static void foresee(const Making *m, FsVolume *volume) {
        const FsMakePlan *plan = m->plan;

        *volume = (FsVolume){.kind = plan->kind, .type = plan->fs_type, .n_devices = 1};
        memcpy(volume->words, plan->words, sizeof(volume->words));
        volume->fs_bytes = volume->device_bytes = m->request->size_bytes;
        volume->block_bytes = plan->block_bytes;
        volume->sector_bytes = plan->block_bytes;
        if (plan->kind == FS_KIND_XFS)
                volume->sector_bytes = (uint32_t)making_number(m, 's', "size", 512);
        volume->log = FS_LOG_CLEAN;
        if (plan->kind == FS_KIND_BTRFS && !(plan->words[FS_CLASS_RO_COMPAT] & 0x1))
                volume->state |= FS_STATE_V1_SPACE_CACHE;
}

/* A plan is as sure as the least sure of the verdicts that it rests on. */
static void note_confidence(FsMakePlan *plan, const FsVolume *volume, const FsHost *host,
                            const FsVerdict *verdict) {
        if (plan->least_sure && verdict->confidence <= plan->confidence)
                return;
        plan->confidence = verdict->confidence;
        plan->least_sure = host;
        plan->least_sure_text[0] = '\0';
        for (size_t i = 0; i < verdict->n_reasons; i++) {
                if (verdict->reasons[i].confidence < verdict->confidence)
                        continue;
                fs_reason_format(&verdict->reasons[i], volume, host, plan->least_sure_text,
                                 sizeof(plan->least_sure_text));
                return;
        }
}

static int judge(const Making *m, const FsVolume *volume, Error *err) {
        cleanup(freep) FsVerdict *verdict = malloc(sizeof(*verdict));
        char sentence[FS_SENTENCE_MAX];

        if (!verdict)
                return error_set(err, ERROR_EXHAUSTED, "no memory");
        for (size_t i = 0; i < m->request->n_hosts; i++) {
                const FsHost *host = &m->request->hosts[i];
                FsSituation situation = {0};

                if (host->is_this_node)
                        situation.logical_sector_bytes = m->request->logical_sector_bytes;
                fs_verdict(volume, host, &situation, verdict);
                if (verdict->answer == FS_ANSWER_RW && verdict->after_crash == FS_ANSWER_RW) {
                        note_confidence(m->plan, volume, host, verdict);
                        continue;
                }
                fs_verdict_sentence(volume, host, verdict, sentence);
                return error_set(err, ERROR_PRECONDITION, "not formatted: %s", sentence);
        }
        return 0;
}

/* --- argv --- */

static void add_word(Making *m, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add_word(Making *m, const char *format, ...) {
        FsMakePlan *plan = m->plan;
        size_t left = sizeof(plan->text) - plan->n_text;
        va_list args;
        int n;

        if (plan->n_argv == FS_MAKE_WORDS_MAX) {
                m->full = true;
                return;
        }
        va_start(args, format);
        n = vsnprintf(plan->text + plan->n_text, left, format, args);
        va_end(args);
        if (n < 0 || (size_t)n >= left) {
                m->full = true;
                return;
        }
        plan->argv[plan->n_argv++] = plan->text + plan->n_text;
        plan->argv[plan->n_argv] = NULL;
        plan->n_text += (size_t)n + 1;
}

static void append_item(StrBuf *list, const MkfsOption *option, FsKind kind) {
        bool feature = option->letter == 'O' || option->letter == 'R';

        if (feature && kind == FS_KIND_EXT && !str_equal(option->value, "1"))
                return;
        if (feature && kind == FS_KIND_F2FS && !str_equal(option->value, "1"))
                return;
        strbuf_append(list, list->n ? "," : "");
        if (feature)
                strbuf_printf(list, "%s%s", str_equal(option->value, "1") ? "" : "^", option->key);
        else
                strbuf_printf(list, "%s%s%s", option->key, option->has_value ? "=" : "",
                              option->value);
}

/* All items of one letter as one list, at the place of the first. */
static void add_list(Making *m, char letter) {
        cleanup(strbuf_deinit) StrBuf list = {0};

        if (letter == 'O' && m->plan->kind == FS_KIND_EXT)
                strbuf_append(&list, "none");
        for (size_t i = 0; i < m->options.n_options; i++) {
                if (m->options.options[i].letter == letter)
                        append_item(&list, &m->options.options[i], m->plan->kind);
        }
        if (list.n == 0)
                return;
        add_word(m, "-%c", letter);
        add_word(m, "%s", strbuf_text(&list));
}

static bool letter_seen(const MkfsOptions *options, size_t before, char letter) {
        for (size_t i = 0; i < before; i++) {
                if (options->options[i].letter == letter)
                        return true;
        }
        return false;
}

static void add_options(Making *m) {
        for (size_t i = 0; i < m->options.n_options; i++) {
                const MkfsOption *option = &m->options.options[i];

                if (option->letter == 0) {
                        add_word(m, "%s", option->key);
                        add_word(m, "%s", option->value);
                } else if (option->key[0]) {
                        if (!letter_seen(&m->options, i, option->letter))
                                add_list(m, option->letter);
                } else {
                        add_word(m, "-%c", option->letter);
                        if (option->has_value)
                                add_word(m, "%s", option->value);
                }
        }
}

static int build_argv(Making *m, Error *err) {
        add_word(m, "%s", m->tool_row->programs[FS_PROGRAM_MAKE]);
        /* The others get no force: they look for signatures once more. */
        if (m->tool_row->force)
                add_word(m, "%s", m->tool_row->force);
        add_options(m);
        add_word(m, "%s", m->request->device);
        m->plan->environment = m->tool_row->environment;
        if (m->full)
                return error_set(err, ERROR_INVALID, "too many mkfs options");
        return 0;
}

/* --- the whole --- */

static int check_type(Making *m, Error *err) {
        const FsMakeRequest *request = m->request;
        const FormatRules *rules = request->rules;
        const char *type = request->fs_type;
        bool supported = !rules || !rules->fs_types;

        if (str_is_empty(type))
                type = rules && rules->default_fs_type ? rules->default_fs_type : "ext4";
        for (size_t i = 0; rules && rules->fs_types && rules->fs_types[i]; i++)
                supported |= str_equal(rules->fs_types[i], type);
        m->plan->kind = fs_kind_from_type(type);
        if (!supported || m->plan->kind == FS_KIND_NONE || m->plan->kind > FS_KIND_F2FS)
                return error_set(err, ERROR_INVALID, "filesystem type \"%.30s\" is not supported",
                                 type);
        m->plan->fs_type = type;
        m->tool_row = fs_toolset_find(m->plan->kind);
        m->tool = request->tools[m->tool_row->tools];
        if (m->tool == FS_TOOLS_ABSENT || m->tool == FS_TOOLS_UNKNOWN)
                return error_set(err, ERROR_UNSUPPORTED, "no mkfs for %s is installed", type);
        return 0;
}

int fs_make_plan(const FsMakeRequest *request, FsMakePlan *plan, Error *err) {
        cleanup(freep) Making *m = calloc(1, sizeof(*m));
        cleanup(freep) FsVolume *volume = malloc(sizeof(*volume));
        int r;

        memset(plan, 0, sizeof(*plan));
        if (!m || !volume)
                return error_set(err, ERROR_EXHAUSTED, "no memory");
        m->request = request;
        m->plan = plan;
        r = check_type(m, err);
        if (r < 0)
                return r;
        m->options.kind = plan->kind;
        m->options.tool = m->tool;
        if (choose_features(m) < 0)
                return error_set(err, ERROR_INTERNAL, "too many features");
        making_base(m);
        if (!str_is_empty(request->label))
                making_set(m, plan->kind == FS_KIND_F2FS ? 'l' : 'L', "", request->label);
        r = mkfs_options_parse(&m->options, request->options, request->n_options, err);
        if (r == 0)
                r = making_fit(m, err);
        if (r < 0)
                return r;
        plan->block_bytes = making_block(m);
        expect_words(m);
        foresee(m, volume);
        r = judge(m, volume, err);
        return r < 0 ? r : build_argv(m, err);
}

/* --- text --- */

static bool is_plain(const char *word) {
        return *word && word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "0123456789-_=,./:^+%@")] == '\0';
}

char *fs_make_plan_text(const FsMakePlan *plan) {
        StrBuf text = {0};

        if (plan->environment)
                strbuf_printf(&text, "%s ", plan->environment);
        for (size_t i = 0; i < plan->n_argv; i++) {
                const char *word = plan->argv[i];

                strbuf_append(&text, i ? " " : "");
                if (is_plain(word)) {
                        strbuf_append(&text, word);
                        continue;
                }
                strbuf_append(&text, "'");
                for (; *word; word++) {
                        if (*word == '\'')
                                strbuf_append(&text, "'\\''");
                        else
                                strbuf_append_n(&text, word, 1);
                }
                strbuf_append(&text, "'");
        }
        return strbuf_steal(&text);
}

size_t fs_left_out_format(const FsLeftOut *left_out, char *text, size_t n) {
        const FsFeature *f = left_out->feature;
        char need[24];
        int r;

        if (!left_out->host)
                r = snprintf(text, n, "%s (the installed mkfs is older than %s)", f->name,
                             fs_version_format(left_out->tool_since, need));
        else if (left_out->for_tools)
                r = snprintf(text, n, "%s (fsck and resize of %s are older than %s)", f->name,
                             left_out->host->name, fs_version_format(left_out->tool_since, need));
        else if (left_out->after_crash)
                r = snprintf(text, n, "%s (%s could not mount it after a crash)", f->name,
                             left_out->host->name);
        else if (left_out->by_choice)
                r = snprintf(text, n, "%s (used from Linux %s on; %s is older)", f->name,
                             fs_version_format(f->plan_since, need), left_out->host->name);
        else
                r = snprintf(text, n, "%s (needs Linux %s; %s does not have it)", f->name,
                             fs_version_format(f->rw_since, need), left_out->host->name);
        if (r < 0)
                return 0;
        return (size_t)r < n ? (size_t)r : n - 1;
}
