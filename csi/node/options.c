/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/node/options.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

/* --- mount flags --- */

typedef struct Refused {
        const char *key;
        const char *value; /* NULL: any */
        const char *why;
} Refused;

static const Refused refused_flags[] = {
        {"source", NULL, "the device is the volume's"},
        {"device", NULL, "it names another device"},
        {"logdev", NULL, "it names another device"},
        {"rtdev", NULL, "it names another device"},
        {"journal_dev", NULL, "it names another device"},
        {"journal_path", NULL, "it names another device"},
        {"jdev", NULL, "it names another device"},
        {"loop", NULL, "the device is the volume's"},
        {"offset", NULL, "the device is the volume's"},
        {"sizelimit", NULL, "the device is the volume's"},
        {"bind", NULL, "it is another kind of mount"},
        {"rbind", NULL, "it is another kind of mount"},
        {"move", NULL, "it is another kind of mount"},
        {"remount", NULL, "it is another kind of mount"},
        {"shared", NULL, "propagation is kubelet's"},
        {"rshared", NULL, "propagation is kubelet's"},
        {"slave", NULL, "propagation is kubelet's"},
        {"rslave", NULL, "propagation is kubelet's"},
        {"private", NULL, "propagation is kubelet's"},
        {"rprivate", NULL, "propagation is kubelet's"},
        {"unbindable", NULL, "propagation is kubelet's"},
        {"runbindable", NULL, "propagation is kubelet's"},
        {"errors", "panic", "an error of one disk must not stop the node"},
        {"fatal_errors", "panic", "an error of one disk must not stop the node"},
        {"test_dummy_encryption", NULL, "it is for tests of the kernel"},
};

static const char *const selinux_keys[] = {"context", "fscontext", "defcontext", "rootcontext",
                                           "seclabel"};

bool access_mode_is_reader(AccessMode mode) {
        return mode == ACCESS_MODE_SINGLE_NODE_READER_ONLY ||
               mode == ACCESS_MODE_MULTI_NODE_READER_ONLY;
}

bool access_mode_is_multi_node_writer(AccessMode mode) {
        return mode == ACCESS_MODE_MULTI_NODE_SINGLE_WRITER ||
               mode == ACCESS_MODE_MULTI_NODE_MULTI_WRITER;
}

static int check_flags(const MountOptions *options, Error *err) {
        for (size_t i = 0; i < N_ELEMENTS(refused_flags); i++) {
                const Refused *refused = &refused_flags[i];
                const char *value = mount_options_get(options, refused->key);

                if (!value || (refused->value && !str_equal(value, refused->value)))
                        continue;
                return error_set(err, ERROR_INVALID, "mount_flags: \"%s%s%s\" is not allowed: %s",
                                 refused->key, refused->value ? "=" : "",
                                 refused->value ? refused->value : "", refused->why);
        }
        return 0;
}

int options_from_capability(MountOptions *options, const VolumeCapability *capability, Error *err) {
        int r = 0;

        for (size_t i = 0; i < capability->n_mount_flags && r == 0; i++)
                r = mount_options_add(options, capability->mount_flags[i]);
        if (r == -E2BIG)
                return error_set(err, ERROR_INVALID,
                                 "mount_flags: expected at most %d flags and %d bytes",
                                 MOUNT_OPTIONS_MAX, MOUNT_OPTIONS_TEXT_MAX);
        if (r < 0)
                return error_set(err, ERROR_INVALID,
                                 "mount_flags: one has an open quote, no name, or a character that "
                                 "cannot be in one");
        r = check_flags(options, err);
        if (r < 0)
                return r;
        if (!(options->clear & MOUNT_FLAG_NO_SUID))
                options->set |= MOUNT_FLAG_NO_SUID;
        if (!(options->clear & MOUNT_FLAG_NO_DEV))
                options->set |= MOUNT_FLAG_NO_DEV;
        if (access_mode_is_reader(capability->access_mode)) {
                options->set |= MOUNT_FLAG_READ_ONLY;
                options->clear &= ~(unsigned int)MOUNT_FLAG_READ_ONLY;
        }
        return 0;
}

void options_add_for(MountOptions *options, const char *fs_type) {
        if (str_equal(fs_type, "xfs") && !mount_options_get(options, "nouuid"))
                /* Room for one word more was left by the limit of the wire, or the mount says so.
                 */
                (void)mount_options_add(options, "nouuid");
}

bool options_drop_selinux(MountOptions *options) {
        bool had = false;

        for (size_t i = 0; i < N_ELEMENTS(selinux_keys); i++) {
                had = had || mount_options_get(options, selinux_keys[i]);
                mount_options_remove(options, selinux_keys[i]);
        }
        return had;
}

/* --- mkfs words --- */

typedef struct Allowed {
        const char *fs_types[4];
        const char *letters;        /* "-b" and "-b4096" */
        const char *long_words[16]; /* "--csum", also with "=value" */
        const char *denied[8];      /* keys in a value that name something else */
} Allowed;

static const Allowed allowed[] = {
        {
                .fs_types = {"ext4", "ext3", "ext2"},
                .letters = "bCEgGiIjJLmMNoOrTeU",
                .denied = {"device", "location", "journal_dev", "offset", "test_fs"},
        },
        {
                .fs_types = {"xfs"},
                .letters = "bmdilnsKLr",
                .denied = {"name", "file", "logdev", "rtdev", "options"},
        },
        {
                .fs_types = {"btrfs"},
                .letters = "dmMnsORKLU",
                .long_words = {"--csum", "--checksum", "--data", "--metadata", "--mixed",
                               "--nodesize", "--sectorsize", "--features", "--runtime-features",
                               "--nodiscard", "--label", "--uuid"},
        },
};

static const Allowed *find_allowed(const char *fs_type) {
        for (size_t i = 0; i < N_ELEMENTS(allowed); i++)
                for (size_t j = 0; j < N_ELEMENTS(allowed[i].fs_types); j++)
                        if (str_equal(allowed[i].fs_types[j], fs_type))
                                return &allowed[i];
        return NULL;
}

/* "--csum" of "--csum=xxhash" */
static bool is_long_word(const Allowed *one, const char *word) {
        size_t n = strcspn(word, "=");

        for (size_t i = 0; i < N_ELEMENTS(one->long_words) && one->long_words[i]; i++)
                if (strlen(one->long_words[i]) == n && strncmp(word, one->long_words[i], n) == 0)
                        return true;
        return false;
}

static bool is_option(const Allowed *one, const char *word) {
        if (word[1] == '-')
                return is_long_word(one, word);
        return word[1] != '\0' && strchr(one->letters, word[1]);
}

/* "size=8,device=x": a key that is denied, alone or with a value. */
static const char *find_denied(const Allowed *one, const char *word) {
        /* The letter of "-Jdevice=x" does not count. */
        if (word[0] == '-' && word[1] != '-' && word[1] != '\0')
                word += 2;
        while (*word) {
                size_t n = strcspn(word, ","), n_key = strcspn(word, "=,");

                for (size_t i = 0; i < N_ELEMENTS(one->denied) && one->denied[i]; i++)
                        if (strlen(one->denied[i]) == n_key &&
                            strncmp(word, one->denied[i], n_key) == 0)
                                return one->denied[i];
                word += n;
                word += strspn(word, ",");
        }
        return NULL;
}

/* Whether the word after @word may be its value: "-K" and "-j" have none, and a second device must
 * not pass for one. */
static bool takes_value(const Allowed *one, const char *word) {
        static const char *const alone[] = {"-K", "-j", "-M", "--mixed", "--nodiscard"};
        bool is_ext = str_has_prefix(one->fs_types[0], "ext");

        if (word[1] == '-')
                return !strchr(word, '=') && !str_equal(word, "--mixed") &&
                       !str_equal(word, "--nodiscard");
        if (word[2] != '\0')
                return false;
        for (size_t i = 0; i < N_ELEMENTS(alone); i++)
                if (str_equal(word, alone[i]))
                        return is_ext && str_equal(word, "-M");
        return true;
}

int mkfs_words_check(const char *fs_type, const char *const *words, size_t n_words, Error *err) {
        const Allowed *one = find_allowed(fs_type);
        bool value = false;

        if (n_words == 0)
                return 0;
        if (!one)
                return error_set(err, ERROR_INVALID, "mkfs options for %s are not supported",
                                 fs_type);
        for (size_t i = 0; i < n_words; i++) {
                const char *word = words[i], *denied;

                if (!value && (word[0] != '-' || !is_option(one, word)))
                        return error_set(err, ERROR_INVALID,
                                         "mkfs option \"%.64s\" for %s is not allowed", word,
                                         fs_type);
                if (strchr(word, '/'))
                        return error_set(err, ERROR_INVALID,
                                         "mkfs option \"%.64s\" for %s names a file or a device",
                                         word, fs_type);
                denied = find_denied(one, word);
                if (denied)
                        return error_set(err, ERROR_INVALID,
                                         "mkfs option \"%s\" for %s is not allowed", denied,
                                         fs_type);
                value = !value && takes_value(one, word);
        }
        return 0;
}
