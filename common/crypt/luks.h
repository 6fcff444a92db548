/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CRYPT_LUKS_H
#define BERTH_CRYPT_LUKS_H

/*
 * LUKS on a block device, by libcryptsetup. That library has global state, takes up to a GiB for a
 * key derivation and cannot be interrupted: only a process of its own calls this room (berth-luks).
 *
 * A device is given as a descriptor: what was proven to be the volume is what is written to.
 *
 * Each returns 0 or -errno; luks_last_error() has the library's own words. A passphrase is bytes,
 * not text: no NUL is needed at its end, and a newline belongs to it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* More than this is not read by cryptsetup(8) either. */
#define LUKS_PASSPHRASE_MAX 4096U

typedef struct LuksFormat {
        unsigned int version; /* 1 or 2 */
        const char *cipher;   /* "aes-xts-plain64" */
        unsigned int key_bits;
        const char *uuid; /* of the header; NULL: a random one */
} LuksFormat;

/**
 * luks_format() - write a new header with a random volume key and the passphrase in slot 0
 * @fd: open for writing; the caller proved that nothing is lost
 *
 * Of a failure half way nothing is left: the header's place is zeroed again. The key derivation of
 * LUKS2 is Argon2id with 64 MiB (RFC 9106, section 4, second choice), and not the library's GiB:
 * this runs in containers with little memory.
 *
 * Return: 0; -EINVAL for a version, cipher or size that there is not; -EBUSY; another -errno.
 */
int luks_format(int fd, const LuksFormat *format, const char *passphrase, size_t n_passphrase);

enum {
        LUKS_OPEN_READ_ONLY = 1U << 0,
        LUKS_OPEN_DISCARDS = 1U << 1, /* what the filesystem frees, the disk is told */
};

/**
 * luks_open() - activate the device as /dev/mapper/<name>
 *
 * The volume key is given to the kernel in the table and not through a keyring, so that
 * luks_resize() needs no passphrase.
 *
 * Return: 0; -EPERM wrong passphrase; -EEXIST there is a mapper of this name; -ENOTSUP what is on
 * the device is no LUKS; -ENODEV the kernel has no dm-crypt; another -errno.
 */
int luks_open(int fd, const char *name, unsigned int flags, const char *passphrase,
              size_t n_passphrase);

/**
 * luks_resize() - the mapper takes all of its device
 * @passphrase: NULL: none; only needed where somebody else opened it through a keyring
 *
 * Return: 0; -EPERM the passphrase is wrong, or needed and not there; -ENODEV no such mapper.
 */
int luks_resize(const char *name, const char *passphrase, size_t n_passphrase);

/* "" if there are none. Static; of the last call. */
const char *luks_last_error(void);

#endif
