/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_LUKS_CRYPT_H
#define BERTH_CSI_LUKS_CRYPT_H

/*
 * Encrypted volumes: the orders to berth-luks, which does them in a process of its own. The
 * passphrase goes to it through a pipe, and is in no message.
 */

#include "csi/api/provider.h"

/* What may end an order before it is done; as call_is_aborted(). */
typedef struct CryptRun {
        bool (*cancelled)(void *userdata);
        void *userdata;
} CryptRun;

/**
 * crypt_format_volume() - LUKS with one key, @encryption->passphrase, on a device proven blank
 * @fd:   the device, held open since it was proven; berth-luks gets this descriptor and no name
 * @uuid: text, of the header: "6a1c0f3e-..."
 *
 * Return: 0; INVALID cipher or key size; UNSUPPORTED berth-luks is not installed; UNAVAILABLE; ...
 */
int crypt_format_volume(int fd, const Device *device, const Encryption *encryption,
                        const char *uuid, const CryptRun *run, Error *err);

/**
 * crypt_open_volume() - as /dev/mapper/<encryption->name>
 *
 * Return: 0; PRECONDITION the passphrase is wrong; CONFLICT there is a mapper of this name;
 * UNSUPPORTED the kernel has no dm-crypt, or berth-luks is not installed; ...
 */
int crypt_open_volume(const Device *device, const Encryption *encryption, bool read_only,
                      const CryptRun *run, Error *err);

/* The mapper takes all of its device. @encryption->passphrase may be NULL. Return: 0;
 * PRECONDITION if the passphrase is needed and is not there, or wrong; ... */
int crypt_resize_volume(const Encryption *encryption, const CryptRun *run, Error *err);

#endif
