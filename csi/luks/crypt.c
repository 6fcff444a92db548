/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/luks/crypt.h"
#include "csi/wait/limits.h"

#include "common/base/cleanup.h"
#include "common/base/exec.h"
#include "common/base/str.h"
#include "common/crypt/luks.h" /* its flags; its functions are berth-luks' alone */

#include <inttypes.h>
#include <limits.h>
#include <linux/capability.h>

#define PROGRAM "berth-luks"

/* Device mapper; keys kept out of swap. Where there is no udev, nobody makes a node in /dev/mapper:
 * the mapper is used by the one that the kernel makes. */
#define NEEDED (UINT64_C(1) << CAP_SYS_ADMIN | UINT64_C(1) << CAP_IPC_LOCK)

/* Beside this program: what was built or installed together works together. */
static int find_program(char path[PATH_MAX], Error *err) {
        ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - sizeof(PROGRAM) - 1);
        char *slash;

        if (n <= 0)
                return error_set_errno(err, n < 0 ? errno : ENOENT, "find %s", PROGRAM);
        path[n] = '\0';
        slash = strrchr(path, '/');
        if (!slash)
                return error_set(err, ERROR_INTERNAL, "find %s", PROGRAM);
        memcpy(slash + 1, PROGRAM, sizeof(PROGRAM));
        return 0;
}

/* "1 Operation not permitted with this..." */
static int read_failure(const ExecResult *result, char *words, size_t n_words) {
        size_t n_digits = strspn(result->errors, "0123456789");
        char number[8];
        uint64_t value;

        words[0] = '\0';
        if (result->exit_status != 1 || n_digits == 0 || n_digits >= sizeof(number))
                return -EIO;
        (void)snprintf(number, sizeof(number), "%.*s", (int)n_digits, result->errors);
        if (str_parse_u64(number, INT_MAX, &value) < 0 || value == 0)
                return -EIO;
        (void)snprintf(words, n_words, "%.*s", (int)strcspn(result->errors + n_digits + 1, "\n"),
                       result->errors[n_digits] != '\0' ? result->errors + n_digits + 1 : "");
        str_make_utf8(words);
        return -(int)value;
}

/* Return: 0; what berth-luks says, as -errno, with its words; or with @err filled. */
static int run_helper(int fd, const char *const *arguments, const Encryption *encryption,
                      const CryptRun *run, char *words, size_t n_words, Error *err) {
        char path[PATH_MAX];
        const char *argv[9] = {PROGRAM};
        const ExecRequest request = {
                .argv = argv,
                .program = path,
                .device_fd = fd,
                .input = encryption->passphrase,
                .n_input = encryption->passphrase ? encryption->n_passphrase : 0,
                .timeout_msecs = CRYPT_TIMEOUT_MSECS,
                .cancelled = run->cancelled,
                .userdata = run->userdata,
                .is_expendable = true,
                .confinement = CONFINEMENT_CRYPTO,
                .capabilities = NEEDED,
        };
        cleanup(exec_result_deinit) ExecResult result = {0};
        int r;

        for (size_t i = 0; arguments[i] && i + 2 < N_ELEMENTS(argv); i++)
                argv[i + 1] = arguments[i];
        r = find_program(path, err);
        if (r < 0)
                return r;
        r = exec_run(&request, &result);
        if (r == -ENOENT)
                return error_set(err, ERROR_UNSUPPORTED,
                                 "%s is not installed, and encrypted volumes need it", path);
        if (r < 0)
                return error_set_errno(err, r, "run %s", PROGRAM);
        if (result.exit_status == 0)
                return 0;
        if (result.term_signal == 9)
                return error_set(err, ERROR_EXHAUSTED,
                                 "%s was killed, most likely for want of memory: the key "
                                 "derivation of this volume needs more than the container may take",
                                 PROGRAM);
        r = read_failure(&result, words, n_words);
        return r != -EIO || words[0] != '\0' ? r
                                             : error_set(err, ERROR_INTERNAL, "%s ended with %d",
                                                         PROGRAM, result.exit_status);
}

/* The words are of the library and tell of devices and algorithms. */
static int fail(int r, const char *what, const char *path, const char *words, Error *err) {
        if (error_is_set(err))
                return r;
        return words[0] != '\0' ? error_set_errno(err, r, "%s %s: %s", what, path, words)
                                : error_set_errno(err, r, "%s %s", what, path);
}

int crypt_format_volume(int fd, const Device *device, const Encryption *encryption,
                        const char *uuid, const CryptRun *run, Error *err) {
        char devno[24], version[12], key_bits[12], words[256] = "";
        const char *const arguments[] = {"format",           EXEC_DEVICE_PATH, devno, version,
                                         encryption->cipher, key_bits,         uuid,  NULL};
        int r;

        (void)snprintf(devno, sizeof(devno), "%" PRIu64, device->devno);
        (void)snprintf(version, sizeof(version), "%u", encryption->version);
        (void)snprintf(key_bits, sizeof(key_bits), "%u", encryption->key_bits);
        r = run_helper(fd, arguments, encryption, run, words, sizeof(words), err);
        if (r == -EINVAL && !error_is_set(err))
                return error_set(
                        err, ERROR_INVALID,
                        "there is no LUKS%u with cipher %.64s and a key of %u bits here%s%s",
                        encryption->version, encryption->cipher, encryption->key_bits,
                        words[0] != '\0' ? ": " : "", words);
        return r < 0 ? fail(r, "encrypt", device->path, words, err) : 0;
}

int crypt_open_volume(const Device *device, const Encryption *encryption, bool read_only,
                      const CryptRun *run, Error *err) {
        char devno[24], flags[12], words[256] = "";
        const char *const arguments[] = {"open",           device->path, devno,
                                         encryption->name, flags,        NULL};
        int r;

        (void)snprintf(devno, sizeof(devno), "%" PRIu64, device->devno);
        (void)snprintf(flags, sizeof(flags), "%u",
                       (read_only ? LUKS_OPEN_READ_ONLY : 0U) |
                               (encryption->allows_discards ? LUKS_OPEN_DISCARDS : 0U));
        r = run_helper(0, arguments, encryption, run, words, sizeof(words), err);
        if (r == 0 || error_is_set(err))
                return r;
        switch (-r) {
        case EPERM:
                return error_set(err, ERROR_PRECONDITION,
                                 "the passphrase in secrets[%s] does not open %s: nothing was "
                                 "changed on it",
                                 encryption->secret_key, device->path);
        case ENODEV:
        case ENOTBLK:
        case ENOTSUP:
                if (access("/sys/module/dm_crypt", F_OK) < 0)
                        return error_set(err, ERROR_UNSUPPORTED,
                                         "the kernel has no dm-crypt (or it is not loaded, and "
                                         "nobody may load it from here): modprobe dm-crypt on the "
                                         "node%s%s",
                                         words[0] != '\0' ? "; " : "", words);
                return error_set(err, ERROR_UNSUPPORTED,
                                 "open the encryption of %s: %s: perhaps the kernel has no module "
                                 "for its cipher (xts, aes)",
                                 device->path, words);
        default:
                break;
        }
        return fail(r, "open the encryption of", device->path, words, err);
}

int crypt_resize_volume(const Encryption *encryption, const CryptRun *run, Error *err) {
        const char *const arguments[] = {"resize", encryption->name, NULL};
        char words[256] = "";
        int r;

        r = run_helper(0, arguments, encryption, run, words, sizeof(words), err);
        if (r == -EPERM && !error_is_set(err))
                return error_set(err, ERROR_PRECONDITION,
                                 "/dev/mapper/%s was opened by another program, and to resize it "
                                 "the passphrase is needed%s: give the StorageClass "
                                 "csi.storage.k8s.io/node-expand-secret-name, or stage the volume "
                                 "anew",
                                 encryption->name,
                                 encryption->passphrase ? ", which is not the one in the secret"
                                                        : "");
        return r < 0 ? fail(r, "resize", encryption->name, words, err) : 0;
}
