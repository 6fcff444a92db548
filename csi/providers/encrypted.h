/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_PROVIDERS_ENCRYPTED_H
#define BERTH_CSI_PROVIDERS_ENCRYPTED_H

/* What the providers with encrypted volumes share: reading their attributes into an Encryption. */

#include "csi/api/provider.h"

/* Name below /dev/mapper; NOT_FOUND for one that no mapper can have. printf-like. */
int encrypted_set_name(Encryption *encryption, Error *err, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* The passphrase of secrets[@key], if there is one. */
void encrypted_set_passphrase(Encryption *encryption, const VolumeRef *volume, const char *key);

/**
 * encrypted_set_cipher() - of a new volume, as upstream's attributes give them
 * @field, @cipher, @key_bits: of the context, for messages, and their values; NULL: not there
 *
 * Return: 0; INVALID.
 */
int encrypted_set_cipher(Encryption *encryption, const char *field, const char *cipher,
                         const char *key_bits, Error *err);

/* Neither context is there: an unstage, an expansion. */
bool encrypted_has_no_context(const VolumeRef *volume);

#endif
