/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BASE_SHA256_H
#define BERTH_BASE_SHA256_H

/* SHA-256 of short strings, to turn a name that a stranger chose into a file name of fixed form. */

#include <stddef.h>
#include <stdint.h>

#define SHA256_SIZE 32
/* Lower-case hexadecimal with its NUL. */
#define SHA256_HEX_SIZE 65

/* FIPS 180-4. */
void sha256(const void *data, size_t n, uint8_t digest[SHA256_SIZE]);

/* As text, the form kubelet uses in its staging paths. */
void sha256_hex(const void *data, size_t n, char hex[SHA256_HEX_SIZE]);

#endif
