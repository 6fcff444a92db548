/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BASE_SHA512_H
#define BERTH_BASE_SHA512_H

/* SHA-512 of short strings: the upstream CNI plugins make names of links and chains with it. */

#include <stddef.h>
#include <stdint.h>

#define SHA512_SIZE 64
/* Lower-case hexadecimal with its NUL. */
#define SHA512_HEX_SIZE 129

/* FIPS 180-4. */
void sha512(const void *data, size_t n, uint8_t digest[SHA512_SIZE]);
void sha512_hex(const void *data, size_t n, char hex[SHA512_HEX_SIZE]);

#endif
