/* SPDX-License-Identifier: Apache-2.0 */

/*
 * berth-luks: one operation on an encrypted volume, in a process of its own (see
 * common/crypt/luks.h). Started by berth-csi alone. The passphrase comes through stdin and is
 * nowhere else; stderr gets one line, "<errno> <words>", when it fails.
 *
 *     berth-luks format DEVICE DEVNO VERSION CIPHER KEY-BITS UUID
 *     berth-luks open   DEVICE DEVNO NAME FLAGS
 *     berth-luks resize NAME
 */

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/block/block_ioctl.h"
#include "common/crypt/luks.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define EXIT_USAGE 64

typedef struct Secret {
        char bytes[LUKS_PASSPHRASE_MAX + 1];
        size_t n;
} Secret;

static Secret secret;

/* Not into swap, not into a core file, not for another process of this user. */
static void protect(void) {
        const struct rlimit none = {0, 0};

        (void)setrlimit(RLIMIT_CORE, &none);
        (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        (void)mlock(&secret, sizeof(secret));
}

static int read_secret(void) {
        ssize_t n;

        while ((n = read(STDIN_FILENO, secret.bytes + secret.n, sizeof(secret.bytes) - secret.n)) >
               0)
                secret.n += (size_t)n;
        if (n < 0)
                return -errno;
        return secret.n > LUKS_PASSPHRASE_MAX ? -E2BIG : 0;
}

static int open_device(const char *path, const char *devno_text, int flags) {
        uint64_t devno;
        int r = str_parse_u64(devno_text, UINT64_MAX, &devno);

        return r < 0 ? r : block_open(path, flags, devno);
}

static int run_format(char **argv) {
        cleanup(closep) int fd = -1;
        uint64_t version, key_bits;
        LuksFormat format = {.cipher = argv[3], .uuid = argv[5]};
        int r;

        if ((r = str_parse_u64(argv[2], 2, &version)) < 0 ||
            (r = str_parse_u64(argv[4], 4096, &key_bits)) < 0)
                return r;
        format.version = (unsigned int)version;
        format.key_bits = (unsigned int)key_bits;
        fd = open_device(argv[0], argv[1], O_RDWR);
        return fd < 0 ? fd : luks_format(fd, &format, secret.bytes, secret.n);
}

static int run_open(char **argv) {
        cleanup(closep) int fd = -1;
        uint64_t flags;
        int r = str_parse_u64(argv[3], UINT32_MAX, &flags);

        if (r < 0)
                return r;
        fd = open_device(argv[0], argv[1], O_RDONLY);
        return fd < 0 ? fd : luks_open(fd, argv[2], (unsigned int)flags, secret.bytes, secret.n);
}

static int run_resize(char **argv) {
        return luks_resize(argv[0], secret.n > 0 ? secret.bytes : NULL, secret.n);
}

static const struct {
        const char *name;
        int n_arguments;
        int (*run)(char **argv);
} verbs[] = {
        {"format", 6, run_format},
        {"open", 4, run_open},
        {"resize", 1, run_resize},
};

int main(int argc, char **argv) {
        int r = -ENOSYS;

        protect();
        for (size_t i = 0; i < N_ELEMENTS(verbs) && r == -ENOSYS; i++) {
                if (argc != verbs[i].n_arguments + 2 || !str_equal(argv[1], verbs[i].name))
                        continue;
                r = read_secret();
                if (r == 0)
                        r = verbs[i].run(argv + 2);
        }
        explicit_bzero(&secret, sizeof(secret));
        if (r >= 0)
                return 0;
        if (r == -ENOSYS) {
                fprintf(stderr, "berth-luks is started by berth-csi, for encrypted volumes\n");
                return EXIT_USAGE;
        }
        fprintf(stderr, "%d %s\n", -r, luks_last_error());
        return 1;
}
