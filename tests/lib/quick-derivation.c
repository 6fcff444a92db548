/* SPDX-License-Identifier: Apache-2.0 */

/*
 * For tests, preloaded into berth-luks: new LUKS headers get a key derivation that costs nothing,
 * since a virtual machine without help of its processor needs a minute for a real one. All else is
 * libcryptsetup's. With BERTH_TEST_FAIL_OPEN set no device is opened, as by a kernel that cannot.
 */

#include <dlfcn.h>
#include <errno.h>
#include <libcryptsetup.h>
#include <stdlib.h>
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

EXPORTED int crypt_activate_by_passphrase(struct crypt_device *cd, const char *name, int keyslot,
                                          const char *passphrase, size_t passphrase_size,
                                          uint32_t flags) {
        int (*real)(struct crypt_device * device, const char *text, int slot, const char *secret,
                    size_t n, uint32_t how);
        void *symbol = dlsym(RTLD_NEXT, "crypt_activate_by_passphrase");

        if (getenv("BERTH_TEST_FAIL_OPEN"))
                return -ENODEV;
        memcpy(&real, &symbol, sizeof(real));
        return real(cd, name, keyslot, passphrase, passphrase_size, flags);
}
