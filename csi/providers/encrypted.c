/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/providers/encrypted.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <ctype.h>
#include <stdarg.h>

/* Linux' DM_NAME_LEN; a longer name is another volume's when it is cut. */
#define NAME_MAX_BYTES 127

#define KEY_BITS_MAX 4096

/* libdevmapper's own set, and no "/": the name becomes one below /dev/mapper. */
static bool is_name(const char *name) {
        if (*name == '\0' || *name == '.')
                return false;
        for (; *name; name++)
                if (!isalnum((unsigned char)*name) && !strchr("#+-.:=@_", *name))
                        return false;
        return true;
}

int encrypted_set_name(Encryption *encryption, Error *err, const char *format, ...) {
        va_list args;
        int n;

        va_start(args, format);
        n = vsnprintf(encryption->name, sizeof(encryption->name), format, args);
        va_end(args);
        if (n > 0 && n <= NAME_MAX_BYTES && is_name(encryption->name))
                return 0;
        encryption->name[0] = '\0';
        return error_set(err, ERROR_INVALID,
                         "the name of the volume cannot be one below /dev/mapper: expected at most "
                         "%d letters, digits and #+-.:=@_",
                         NAME_MAX_BYTES);
}

void encrypted_set_passphrase(Encryption *encryption, const VolumeRef *volume, const char *key) {
        const char *text = volume->secrets ? string_map_get(volume->secrets, key) : NULL;

        encryption->secret_key = key;
        encryption->passphrase = str_is_empty(text) ? NULL : text;
        encryption->n_passphrase = encryption->passphrase ? strlen(text) : 0;
}

static bool is_cipher(const char *text) {
        if (!strchr(text, '-') || strlen(text) > 100)
                return false;
        for (; *text; text++)
                if (!isalnum((unsigned char)*text) && !strchr("-_:.()", *text))
                        return false;
        return true;
}

int encrypted_set_cipher(Encryption *encryption, const char *field, const char *cipher,
                         const char *key_bits, Error *err) {
        uint64_t bits;

        if (str_is_empty(cipher) || !is_cipher(cipher))
                return error_set(err, ERROR_INVALID,
                                 "%s/luks-cipher: expected a cipher, \"aes-xts-plain64\"", field);
        if (str_is_empty(key_bits) || str_parse_u64(key_bits, KEY_BITS_MAX, &bits) < 0 ||
            bits == 0 || bits % 8 != 0)
                return error_set(err, ERROR_INVALID,
                                 "%s/luks-key-size: expected a number of bits, \"512\"", field);
        encryption->cipher = cipher;
        encryption->key_bits = (unsigned int)bits;
        return 0;
}

bool encrypted_has_no_context(const VolumeRef *volume) {
        return !volume->publish_context && !volume->volume_context;
}
