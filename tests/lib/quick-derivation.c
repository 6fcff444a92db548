/* SPDX-License-Identifier: Apache-2.0 */

/*
 * For tests, preloaded into berth-luks: new LUKS headers get a key derivation that costs nothing,
 * since a virtual machine without help of its processor needs a minute for a real one. All else is
 * libcryptsetup's.
 */

#include <dlfcn.h>
#include <libcryptsetup.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

EXPORTED int crypt_set_pbkdf_type(struct crypt_device *cd, const struct crypt_pbkdf_type *pbkdf) {
        int (*real)(struct crypt_device * device, const struct crypt_pbkdf_type *type);
        void *symbol = dlsym(RTLD_NEXT, "crypt_set_pbkdf_type");
        struct crypt_pbkdf_type quick = *pbkdf;

        /* ISO C has no cast from an object's pointer to a function's. */
        memcpy(&real, &symbol, sizeof(real));
        quick.iterations = strcmp(pbkdf->type, CRYPT_KDF_PBKDF2) == 0 ? 1000 : 4;
        if (quick.max_memory_kb > 0)
                quick.max_memory_kb = 32;
        return real(cd, &quick);
}
