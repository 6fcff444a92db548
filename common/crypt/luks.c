/* SPDX-License-Identifier: Apache-2.0 */

#include "common/crypt/luks.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <libcryptsetup.h>
#include <stdarg.h>
#include <sys/stat.h>

#define SECTOR_BYTES 512U

/*
 * Fixed, and not measured: a busy node would write weak headers, and measuring costs more than the
 * derivation. RFC 9106, section 4, the second recommended choice (libcryptsetup's least is 4
 * passes); OWASP's number for PBKDF2 with SHA-256.
 */
#define ARGON_MEMORY_KIB  65536U
#define ARGON_PASSES      4U
#define ARGON_THREADS     4U
#define PBKDF2_ITERATIONS 600000U

#define CIPHER_PART_MAX 64

static char last_error[256];

static void keep_error(int level, const char *message, void *userdata) {
        if (level != CRYPT_LOG_ERROR)
                return;
        (void)snprintf(last_error, sizeof(last_error), "%.*s", (int)strcspn(message, "\n"),
                       message);
        str_make_utf8(last_error);
}

const char *luks_last_error(void) {
        return last_error;
}

static void crypt_freep(struct crypt_device **devicep) {
        crypt_free(*devicep);
}

/* Nodes and links are the business of whoever runs udev, and in a container nobody answers its
 * semaphores: libdevmapper would wait for ever. */
static void set_up(void) {
        last_error[0] = '\0';
        (void)setenv("DM_DISABLE_UDEV", "1", 1);
        crypt_set_log_callback(NULL, keep_error, NULL);
        /* LUKS2 is locked below /run; where that is read-only, the caller's own lock must do. */
        if (mkdir("/run/cryptsetup", 0700) < 0 && errno != EEXIST)
                (void)crypt_metadata_locking(NULL, 0);
}

static int init(struct crypt_device **devicep, int fd) {
        char path[32];
        int r;

        set_up();
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        r = crypt_init(devicep, path);
        if (r == 0)
                (void)crypt_volume_key_keyring(*devicep, 0);
        return r;
}

/* --- format --- */

/* "aes-xts-plain64" is the cipher "aes" in the mode "xts-plain64". */
static int split_cipher(const char *text, char cipher[CIPHER_PART_MAX],
                        char mode[CIPHER_PART_MAX]) {
        size_t n = strcspn(text, "-");

        if (n == 0 || n >= CIPHER_PART_MAX || text[n] == '\0' ||
            strlen(text + n + 1) >= CIPHER_PART_MAX)
                return -EINVAL;
        (void)snprintf(cipher, CIPHER_PART_MAX, "%.*s", (int)n, text);
        (void)snprintf(mode, CIPHER_PART_MAX, "%s", text + n + 1);
        return 0;
}

static int choose_derivation(struct crypt_device *device, unsigned int version) {
        const struct crypt_pbkdf_type luks1 = {
                .type = CRYPT_KDF_PBKDF2,
                .hash = "sha256",
                .iterations = PBKDF2_ITERATIONS,
                .flags = CRYPT_PBKDF_NO_BENCHMARK,
        };
        const struct crypt_pbkdf_type luks2 = {
                .type = CRYPT_KDF_ARGON2ID,
                .hash = "sha256",
                .iterations = ARGON_PASSES,
                .flags = CRYPT_PBKDF_NO_BENCHMARK,
                .max_memory_kb = ARGON_MEMORY_KIB,
                .parallel_threads = ARGON_THREADS,
        };

        return crypt_set_pbkdf_type(device, version == 1 ? &luks1 : &luks2);
}

static int write_header(struct crypt_device *device, const LuksFormat *format) {
        struct crypt_params_luks1 luks1 = {.hash = "sha256"};
        struct crypt_params_luks2 luks2 = {.sector_size = SECTOR_BYTES};
        char cipher[CIPHER_PART_MAX], mode[CIPHER_PART_MAX];
        int r;

        r = split_cipher(format->cipher, cipher, mode);
        if (r < 0)
                return r;
        return crypt_format(device, format->version == 1 ? CRYPT_LUKS1 : CRYPT_LUKS2, cipher, mode,
                            format->uuid, NULL, format->key_bits / 8,
                            format->version == 1 ? (void *)&luks1 : (void *)&luks2);
}

/* A header without a key is neither a volume nor blank. */
static void take_back(struct crypt_device *device, int fd) {
        uint64_t n = crypt_get_data_offset(device) * SECTOR_BYTES;
        static const char zeros[65536];

        for (uint64_t at = 0; at < n; at += sizeof(zeros))
                if (pwrite(fd, zeros, sizeof(zeros), (off_t)at) < 0)
                        return;
        (void)fsync(fd);
}

int luks_format(int fd, const LuksFormat *format, const char *passphrase, size_t n_passphrase) {
        cleanup(crypt_freep) struct crypt_device *device = NULL;
        int r;

        if (format->version < 1 || format->version > 2 || format->key_bits == 0 ||
            format->key_bits % 8 != 0 || n_passphrase == 0)
                return -EINVAL;
        r = init(&device, fd);
        if (r == 0)
                r = choose_derivation(device, format->version);
        if (r == 0)
                r = write_header(device, format);
        if (r < 0)
                return r;
        r = crypt_keyslot_add_by_volume_key(device, 0, NULL, 0, passphrase, n_passphrase);
        if (r < 0)
                take_back(device, fd);
        else if (fsync(fd) < 0)
                r = -errno;
        return r < 0 ? r : 0;
}

/* --- open, resize --- */

int luks_open(int fd, const char *name, unsigned int flags, const char *passphrase,
              size_t n_passphrase) {
        cleanup(crypt_freep) struct crypt_device *device = NULL;
        uint32_t how = 0;
        int r;

        if (flags & LUKS_OPEN_READ_ONLY)
                how |= CRYPT_ACTIVATE_READONLY;
        if (flags & LUKS_OPEN_DISCARDS)
                how |= CRYPT_ACTIVATE_ALLOW_DISCARDS;
        r = init(&device, fd);
        if (r < 0)
                return r;
        r = crypt_load(device, CRYPT_LUKS, NULL);
        if (r < 0)
                return r == -EINVAL ? -ENOTSUP : r;
        r = crypt_activate_by_passphrase(device, name, CRYPT_ANY_SLOT, passphrase, n_passphrase,
                                         how);
        return r < 0 ? r : 0;
}

int luks_resize(const char *name, const char *passphrase, size_t n_passphrase) {
        cleanup(crypt_freep) struct crypt_device *device = NULL;
        int r;

        set_up();
        r = crypt_init_by_name(&device, name);
        if (r < 0)
                return r;
        r = crypt_resize(device, name, 0);
        if (r != -EPERM || !passphrase)
                return r < 0 ? r : 0;
        /* Whoever opened it keeps the key in the kernel's keyring, where it must be put again. */
        r = crypt_activate_by_passphrase(device, NULL, CRYPT_ANY_SLOT, passphrase, n_passphrase,
                                         CRYPT_ACTIVATE_KEYRING_KEY);
        if (r >= 0)
                r = crypt_resize(device, name, 0);
        return r < 0 ? r : 0;
}
