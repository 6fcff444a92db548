/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Choosing the mkfs command. Every optional feature of the table is decided by all hosts and named
 * on the command line, on or off, if the installed tool knows its name; then the filesystem that
 * would come out is judged for every host, before anything is run.
 */

#include "csi/fs/mkfs.h"

#include "csi/fs/mkfs_options.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <stdarg.h>
#include <stdio.h>

#define MIB (UINT64_C(1) << 20)

/* One plan in the making. */
typedef struct Making {
        const FsMakeRequest *request;
        FsMakePlan *plan;
        MkfsOptions options;
        uint32_t tool; /* installed version */
        bool full;     /* argv or its text ran out of room */
} Making;

static const FsTools tools_of[_FS_KIND_N] = {
        [FS_KIND_EXT] = FS_TOOLS_E2FSPROGS,
        [FS_KIND_XFS] = FS_TOOLS_XFSPROGS,
        [FS_KIND_BTRFS] = FS_TOOLS_BTRFS,
        [FS_KIND_F2FS] = FS_TOOLS_F2FS,
};

/* --- which features --- */

static void leave_out(Making *m, FsLeftOut left_out) {
        if (m->plan->n_left_out < FS_MAKE_LEFT_OUT_MAX)
                m->plan->left_out[m->plan->n_left_out++] = left_out;
}

static bool host_allows(const FsHost *host, const FsFeature *f, FsLeftOut *left_out) {
        FsClass then;
        uint64_t bit;
        uint32_t tools = host->tools[tools_of[f->kind]];

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
        if (tools != FS_TOOLS_UNKNOWN && tools != FS_TOOLS_ABSENT && tools < f->tool_since) {
                left_out->for_tools = true;
                return false;
        }
        if (host->kernel < f->plan_since) {
                left_out->by_choice = true;
                return false;
        }
        return true;
}

/* The first mkfs that takes the feature's switch. The tree was known to btrfs check long before. */
static uint32_t switch_since(const FsFeature *f) {
        if (f->kind == FS_KIND_BTRFS && f->class == FS_CLASS_RO_COMPAT && f->bit == 0x1)
                return FS_VERSION(5, 15, 0);
        return f->tool_since;
}

/* The first host that stands against it is told. */
static bool all_allow(Making *m, const FsFeature *f) {
        FsLeftOut left_out = {.feature = f};

        if (switch_since(f) > m->tool) {
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

/* The switch of a row is "-m reflink=1" or "-O extent": its letter and key. Formats of a whole
 * (crc=0, version=ci, a realtime device) are no features to choose. */
static bool feature_switch(const FsFeature *f, char *letterp, char key[32]) {
        const char *on = f->mkfs_on;
        size_t n;

        if (!on || on[0] != '-' || on[1] == '-' || on[2] != ' ' || on[1] == 'r' ||
            f->class == FS_CLASS_VERSION || f->class == FS_CLASS_VERSIONNUM ||
            f->class == FS_CLASS_FEATURES2)
                return false;
        n = strcspn(on + 3, "=,");
        if (n >= 32)
                return false;
        *letterp = on[1];
        memcpy(key, on + 3, n);
        key[n] = '\0';
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

                if (f->kind != m->plan->kind || !feature_switch(f, &letter, key) ||
                    !type_has(m->plan, f))
                        continue;
                /* ftype is part of V5 and -n ftype is no switch there. */
                if (f->kind == FS_KIND_XFS && f->class == FS_CLASS_INCOMPAT && f->bit == 1)
                        continue;
                on = f->plan_since != FS_VERSION_NEVER && all_allow(m, f);
                /* What is not planned is turned off by name where the tool knows the name: its
                 * default may change. An -O none list needs no "off". */
                if (!on && (switch_since(f) > m->tool || !f->mkfs_off || f->kind == FS_KIND_EXT))
                        continue;
                /* mkfs.btrfs has turned these on for ten years and calls the names obsolete. */
                if (on && f->kind == FS_KIND_BTRFS && f->plan_since == FS_VERSION_ANY)
                        continue;
                if (mkfs_options_set(&m->options, letter, key, on ? "1" : "0") < 0)
                        return -E2BIG;
        }
        return 0;
}

static bool option_on(const Making *m, char letter, const char *key) {
        const MkfsOption *option = mkfs_options_find(&m->options, letter, key);

        return option && str_equal(option->value, "1");
}

static void set_option(Making *m, char letter, const char *key, const char *value) {
        if (mkfs_options_set(&m->options, letter, key, value) < 0)
                m->full = true;
}

/* --- per tool --- */

static void base_ext(Making *m) {
        set_option(m, 't', "", m->plan->fs_type);
        set_option(m, 'b', "", "4096");
        set_option(m, 'I', "", "256");
        set_option(m, 'm', "", "0");
        /* The device is zero where it matters: a discard costs minutes on some clouds. */
        set_option(m, 'E', "nodiscard", NULL);
        /* One or the other protects group descriptors. */
        if (option_on(m, 'O', "metadata_csum"))
                set_option(m, 'O', "uninit_bg", "0");
}

static void base_xfs(Making *m) {
        set_option(m, 'b', "size", "4096");
        /* 512-byte sectors cannot be mounted on a 4Kn device, the other way round they can. */
        set_option(m, 's', "size", "4096");
        set_option(m, 'm', "crc", "1");
        set_option(m, 'K', "", NULL);
}

static void base_btrfs(Making *m) {
        /* Tools before 6.7 take the page size of the host that formats. */
        set_option(m, 's', "", "4096");
        set_option(m, 'n', "", "16384");
        set_option(m, 'K', "", NULL);
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

static void expect_words(Making *m) {
        expect_base(m);
        if (m->options.has_config)
                return;
        for (size_t i = 0; i < fs_n_features; i++) {
                const FsFeature *f = &fs_features[i];
                const MkfsOption *option;
                char letter = 0, key[32] = "";

                if (f->kind != m->plan->kind || !feature_switch(f, &letter, key))
                        continue;
                option = mkfs_options_find(&m->options, letter, key);
                if (option)
                        expect(m->plan, f, is_word(option->value, "1"));
        }
        if (m->plan->kind == FS_KIND_BTRFS && option_on(m, 'R', "free-space-tree"))
                m->plan->words[FS_CLASS_RO_COMPAT] |= 0x2;
        /* Known by no letter: the value of --csum. */
        if (mkfs_options_find(&m->options, 0, "--csum")) {
                const FsFeature *f = fs_feature_find_name(
                        FS_KIND_BTRFS, mkfs_options_find(&m->options, 0, "--csum")->value);

                m->plan->words[FS_CLASS_ALGORITHM] = f ? f->bit : 1U << 15;
        }
}

static uint32_t option_number(const Making *m, char letter, const char *key, uint32_t otherwise) {
        const MkfsOption *option = mkfs_options_find(&m->options, letter, key);
        uint64_t value;

        if (!option)
                return otherwise;
        if (str_parse_u64(option->value, 1U << 20, &value) == 0)
                return (uint32_t)value;
        /* "4k" */
        return str_has_suffix(option->value, "k") ? (uint32_t)strtoul(option->value, NULL, 10) << 10
                                                  : 0;
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
                volume->sector_bytes = option_number(m, 's', "size", 512);
        volume->log = FS_LOG_CLEAN;
        if (plan->kind == FS_KIND_BTRFS && !(plan->words[FS_CLASS_RO_COMPAT] & 0x1))
                volume->state |= FS_STATE_V1_SPACE_CACHE;
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
                if (verdict->answer == FS_ANSWER_RW && verdict->after_crash == FS_ANSWER_RW)
                        continue;
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
        if (m->plan->kind == FS_KIND_EXT)
                add_word(m, "mke2fs");
        else
                add_word(m, "mkfs.%s", fs_kind_name(m->plan->kind));
        /* Old mke2fs asks about a device that is not a partition. The others get no force: they
         * look for signatures once more. */
        if (m->plan->kind == FS_KIND_EXT)
                add_word(m, "-F");
        add_options(m);
        add_word(m, "%s", m->request->device);
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
        m->tool = request->tools[tools_of[m->plan->kind]];
        if (m->tool == FS_TOOLS_ABSENT || m->tool == FS_TOOLS_UNKNOWN)
                return error_set(err, ERROR_UNSUPPORTED, "no mkfs for %s is installed", type);
        return 0;
}

static int check_size(const Making *m, Error *err) {
        uint64_t minimum = 2 * MIB;

        if (m->plan->kind == FS_KIND_XFS)
                minimum = m->tool >= FS_VERSION(5, 19, 0) ? 300 * MIB : 16 * MIB;
        else if (m->plan->kind == FS_KIND_BTRFS)
                minimum = 109 * MIB;
        else if (m->plan->kind == FS_KIND_F2FS)
                minimum = 52 * MIB;
        if (m->request->size_bytes >= minimum)
                return 0;
        return error_set(err, ERROR_RANGE, "%s needs at least %llu MiB; the volume has %llu",
                         m->plan->fs_type, (unsigned long long)(minimum / MIB),
                         (unsigned long long)(m->request->size_bytes / MIB));
}

static void apply_user_config(Making *m) {
        size_t kept = 0;

        /* A file and the command line may not name the same key, and the file decides. */
        for (size_t i = 0; i < m->options.n_options; i++) {
                const MkfsOption *option = &m->options.options[i];
                bool ours = option->key[0] && strchr("min", option->letter) && !option->by_user;

                if (!ours)
                        m->options.options[kept++] = *option;
        }
        m->options.n_options = kept;
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
        if (r == 0)
                r = check_size(m, err);
        if (r < 0)
                return r;
        m->options.kind = plan->kind;
        if (choose_features(m) < 0)
                return error_set(err, ERROR_INTERNAL, "too many features");
        if (plan->kind == FS_KIND_EXT)
                base_ext(m);
        else if (plan->kind == FS_KIND_XFS)
                base_xfs(m);
        else if (plan->kind == FS_KIND_BTRFS)
                base_btrfs(m);
        if (!str_is_empty(request->label))
                set_option(m, plan->kind == FS_KIND_F2FS ? 'l' : 'L', "", request->label);
        r = mkfs_options_parse(&m->options, request->options, request->n_options, err);
        if (r < 0)
                return r;
        if (m->options.has_config)
                apply_user_config(m);
        plan->block_bytes = plan->kind == FS_KIND_XFS     ? option_number(m, 'b', "size", 4096)
                            : plan->kind == FS_KIND_EXT   ? option_number(m, 'b', "", 4096)
                            : plan->kind == FS_KIND_BTRFS ? option_number(m, 's', "", 4096)
                                                          : 4096;
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
                             fs_version_format(f->tool_since, need));
        else if (left_out->for_tools)
                r = snprintf(text, n, "%s (fsck and resize of %s are older than %s)", f->name,
                             left_out->host->name, fs_version_format(f->tool_since, need));
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
