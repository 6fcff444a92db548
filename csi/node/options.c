/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/node/options.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

/* --- mount flags --- */

typedef struct Refused {
        const char *key;   /* one that ends with "." is a prefix */
        const char *value; /* NULL: any; "0": every way to write the number. What follows a ":" in
                              the option's does not count */
        const char *why;
        bool reads; /* allowed where the whole filesystem is mounted read-only */
} Refused;

#define OTHER_DEVICE "it names another device"
#define ITS_DEVICE   "the device is the volume's"
#define OTHER_MOUNT  "it is another kind of mount"
#define PROPAGATION  "propagation is kubelet's"
#define STOPS_NODE   "an error of one disk must not stop the node"
#define LOSES_DATA   "what was written and synced would be lost or mixed up by a crash"
#define ONLY_WHOLE   "a volume is mounted whole, expected subPath of the pod's volumeMount"
#define ROOT_IS_PODS "who owns the volume is for fsGroup of the pod"
#define FOR_TESTS    "it is for tests of the kernel"
#define GOES_ON      "a filesystem with an error must not be written on"
#define NO_REPLAY                                                                                  \
        "what was written and synced before a crash would be left out and written over, expected " \
        "it only with \"ro\" or an access mode that only reads"

static const Refused refused_flags[] = {
        {"source", NULL, ITS_DEVICE, false},
        {"loop", NULL, ITS_DEVICE, false},
        {"offset", NULL, ITS_DEVICE, false},
        {"sizelimit", NULL, ITS_DEVICE, false},
        {"sb", NULL, "the superblock is the one that was looked at", false},
        {"encryption", NULL, "a volume is encrypted by its provider", false},
        {"verity.", NULL, ITS_DEVICE, false},
        {"device", NULL, OTHER_DEVICE, false},
        {"logdev", NULL, OTHER_DEVICE, false},
        {"rtdev", NULL, OTHER_DEVICE, false},
        {"journal_dev", NULL, OTHER_DEVICE, false},
        {"journal_path", NULL, OTHER_DEVICE, false},
        {"jdev", NULL, OTHER_DEVICE, false},
        {"bind", NULL, OTHER_MOUNT, false},
        {"rbind", NULL, OTHER_MOUNT, false},
        {"move", NULL, OTHER_MOUNT, false},
        {"remount", NULL, OTHER_MOUNT, false},
        {"shared", NULL, PROPAGATION, false},
        {"rshared", NULL, PROPAGATION, false},
        {"slave", NULL, PROPAGATION, false},
        {"rslave", NULL, PROPAGATION, false},
        {"private", NULL, PROPAGATION, false},
        {"rprivate", NULL, PROPAGATION, false},
        {"unbindable", NULL, PROPAGATION, false},
        {"runbindable", NULL, PROPAGATION, false},
        {"errors", "panic", STOPS_NODE, false},
        {"fatal_errors", "panic", STOPS_NODE, false},
        {"fatal_errors", "bug", STOPS_NODE, false},
        {"errors", "continue", GOES_ON, false},
        {"noload", NULL, NO_REPLAY, true},
        {"norecovery", NULL, NO_REPLAY, true},
        {"nologreplay", NULL, NO_REPLAY, true},
        {"rescue", NULL, NO_REPLAY, true},
        {"recovery", NULL, NO_REPLAY, true},
        {"usebackuproot", NULL, NO_REPLAY, true},
        {"disable_roll_forward", NULL, NO_REPLAY, true},
        {"checkpoint", "disable", LOSES_DATA, false},
        {"abort", NULL, "it stops the filesystem", false},
        {"nobarrier", NULL, LOSES_DATA, false},
        {"barrier", "0", LOSES_DATA, false},
        {"data", "writeback", LOSES_DATA, false},
        {"journal_async_commit", NULL, LOSES_DATA, false},
        {"fsync_mode", "nobarrier", LOSES_DATA, false},
        {"test_dummy_encryption", NULL, FOR_TESTS, false},
        {"fault_injection", NULL, FOR_TESTS, false},
        {"fault_type", NULL, FOR_TESTS, false},
        {"fc_debug_force", NULL, FOR_TESTS, false},
        {"fc_debug_max_replay", NULL, FOR_TESTS, false},
        {"X-mount.subdir", NULL, ONLY_WHOLE, false},
        {"X-mount.idmap", NULL, "whose ids a pod has is for its user namespace", false},
        {"X-mount.owner", NULL, ROOT_IS_PODS, false},
        {"X-mount.group", NULL, ROOT_IS_PODS, false},
        {"X-mount.mode", NULL, ROOT_IS_PODS, false},
        {"bg", NULL, "what is mounted in the background tells nobody whether it works", false},
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

static bool is_refused(const Refused *refused, const MountOption *option) {
        const char *value = option->value ? option->value : "";
        char *end = NULL;

        if (str_has_suffix(refused->key, ".") ? !str_has_prefix(option->key, refused->key)
                                              : !str_equal(option->key, refused->key))
                return false;
        if (!refused->value)
                return true;
        if (str_equal(refused->value, "0") && value[0] != '\0')
                return strtoull(value, &end, 0) == 0 && *end == '\0';
        return strlen(refused->value) == strcspn(value, ":") &&
               str_has_prefix(value, refused->value);
}

static bool is_selinux(const char *key) {
        for (size_t i = 0; i < N_ELEMENTS(selinux_keys); i++)
                if (str_equal(key, selinux_keys[i]))
                        return true;
        return false;
}

static int check_one(const MountOption *option, bool reads, Error *err) {
        for (size_t i = 0; i < N_ELEMENTS(refused_flags); i++) {
                const Refused *refused = &refused_flags[i];

                if (!(reads && refused->reads) && is_refused(refused, option))
                        return error_set(err, ERROR_INVALID,
                                         "mount option \"%.64s%s%s\" is not allowed: %s",
                                         option->key, refused->value ? "=" : "",
                                         refused->value ? refused->value : "", refused->why);
        }
        /* A kernel that gets one line of text ends a word there, quoted or not. */
        if (option->value && strchr(option->value, ',') && !is_selinux(option->key))
                return error_set(err, ERROR_INVALID,
                                 "mount option \"%.64s\": a comma in its value, expected one only "
                                 "in the labels of SELinux",
                                 option->key);
        return 0;
}

/* Every one, not the last of a name: which of them counts is for the filesystem to say. */
static int check_all(const MountOptions *options, bool reads, Error *err) {
        int r = 0;

        for (size_t i = 0; i < options->n_options && r == 0; i++)
                r = check_one(&options->options[i], reads, err);
        return r;
}

static int refuse_words(int r, const char *field, const char *name, Error *err) {
        if (r == -E2BIG)
                return error_set(err, ERROR_INVALID,
                                 "%s: expected at most %d mount options and %d bytes", field,
                                 MOUNT_OPTIONS_MAX, MOUNT_OPTIONS_TEXT_MAX);
        if (r == -EOPNOTSUPP)
                return error_set(
                        err, ERROR_INVALID,
                        "%s: mount option \"%s\" has a value that it does not take, expected "
                        "\"%s\" or \"%s=recursive\"",
                        field, name, name, name);
        return error_set(
                err, ERROR_INVALID,
                "%s: mount option \"%s\": expected a name, no control character, and quotes "
                "only around a whole value",
                field, name);
}

/* What only who made the class or the volume may ask for is not taken from its context. */
static int add_context(MountOptions *options, const char *words, Error *err) {
        const unsigned int guards = MOUNT_FLAG_NO_SUID | MOUNT_FLAG_NO_DEV;
        unsigned int before = options->clear;
        int r = mount_options_add(options, words);

        if (r < 0)
                return refuse_words(r, "volume_context", options->refused, err);
        if ((options->clear & ~before) & guards)
                return error_set(err, ERROR_INVALID,
                                 "volume_context: mount option \"%s\" is not allowed there: set it "
                                 "in mountOptions of the StorageClass or PersistentVolume",
                                 (options->clear & ~before) & MOUNT_FLAG_NO_SUID ? "suid" : "dev");
        return 0;
}

int options_from_capability(MountOptions *options, const VolumeCapability *capability,
                            const char *context_words, Error *err) {
        int r = 0;

        for (size_t i = 0; i < capability->n_mount_flags && r == 0; i++)
                r = mount_options_add(options, capability->mount_flags[i]);
        if (r < 0)
                return refuse_words(r, "mount_flags", options->refused, err);
        r = context_words ? add_context(options, context_words, err) : 0;
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
        return check_all(options, options->set & MOUNT_FLAG_READ_ONLY, err);
}

/* What two options of ext set alike, so that the kernel takes the later one (ext4_parse_param()):
 * the words of the mount come after those of the superblock. NULL: nothing takes it back. */
static const char *setting_of(const MountOption *option) {
        static const char *const replaced[] = {"errors", "data", "barrier"};
        const char *key = str_equal(option->key, "nobarrier") ? "barrier" : option->key;

        for (size_t i = 0; i < N_ELEMENTS(replaced); i++)
                if (str_equal(key, replaced[i]))
                        return replaced[i];
        return NULL;
}

static bool is_replaced(const MountOption *option, const MountOption *later, size_t n_later) {
        const char *setting = setting_of(option);

        for (size_t i = 0; setting && i < n_later; i++)
                if (setting_of(&later[i]) == setting)
                        return true;
        return false;
}

static int check_own(const MountOptions *own, const MountOptions *mount, bool reads, Error *err) {
        int r = 0;

        for (size_t i = 0; i < own->n_options && r == 0; i++) {
                const MountOption *option = &own->options[i];

                if (!is_replaced(option, option + 1, own->n_options - i - 1) &&
                    !is_replaced(option, mount->options, mount->n_options))
                        r = check_one(option, reads, err);
        }
        return r;
}

int options_check_own(const char *device, const char *own_options, const MountOptions *mount,
                      bool reads, Error *err) {
        MountOptions own = {0};
        Error error = {0};
        /* The kernel ends a word of these at each comma, whatever is around it. */
        int r = strchr(own_options, '"') ? -EINVAL : mount_options_add(&own, own_options);

        if (r == 0)
                r = check_own(&own, mount, reads, &error);
        if (r == 0)
                return 0;
        return error_set(err, ERROR_PRECONDITION,
                         "%s asks in its superblock for mount options that are not taken: %s. Who "
                         "trusts it takes them off with tune2fs -E mount_opts= -o "
                         "^nobarrier,journal_data_ordered %s, or asks for \"data=ordered\" or "
                         "\"barrier\" in mountOptions",
                         device,
                         error.message[0] != '\0' ? error.message : "they cannot be understood",
                         device);
}

static bool is_ext(const char *fs_type) {
        return str_equal(fs_type, "ext4") || str_equal(fs_type, "ext3") ||
               str_equal(fs_type, "ext2");
}

void options_add_for(MountOptions *options, const char *fs_type) {
        /* What the superblock says would hold otherwise, and it may say "panic". */
        if (is_ext(fs_type) && !mount_options_get(options, "errors"))
                (void)mount_options_add(options, "errors=remount-ro");
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
