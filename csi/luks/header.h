/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_LUKS_HEADER_H
#define BERTH_CSI_LUKS_HEADER_H

/*
 * The first bytes of a LUKS device: enough to know whose mapper it is and what opening it will
 * cost. Nothing secret is in them. Source: LUKS1 On-Disk Format 1.2.3, LUKS2 On-Disk Format 1.1.1.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LUKS_UUID_MAX 41

/* A key derivation with more than this would not run anywhere; libcryptsetup's own limit. */
#define LUKS_MEMORY_MAX (UINT64_C(4) << 30)
/* What LUKS2 takes where its header does not tell: the library's default. */
#define LUKS_MEMORY_DEFAULT (UINT64_C(1) << 30)

typedef struct LuksHeader {
        unsigned int version;
        char uuid[LUKS_UUID_MAX]; /* as written there: "6a1c...-..." */
        uint64_t memory_bytes;    /* of the dearest key derivation in it; 0: none to speak of */
} LuksHeader;

/* What luks_header_parse() wants to see of a device. */
#define LUKS_HEADER_BYTES 65536U

/**
 * luks_header_parse() - pure
 * @bytes: the first @n bytes of the device
 *
 * Return: 0; -ENOENT if there is no LUKS header, or one of a version that is not known.
 */
int luks_header_parse(const uint8_t *bytes, size_t n, LuksHeader *header);

/* luks_header_parse() of a device. Return: 0; -ENOENT; another -errno. */
int luks_header_read(int fd, LuksHeader *header);

/* Whether @bytes are a header, or the copy that LUKS2 keeps of it, that has a key slot, or that
 * cannot be understood: somebody may have data behind it. Pure. */
bool luks_header_is_used(const uint8_t *bytes, size_t n);

/* luks_header_is_used() of a device, at every place where a header or its copy may be: 1; 0;
 * -errno. A header that is being written has no key slot yet. */
int luks_is_used(int fd);

#endif
