/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_CLOUD_DISK_PAGE_H
#define BERTH_CSI_CLOUD_DISK_PAGE_H

/*
 * What disks say of themselves, out of the bytes in which they say it. Pure: the bytes come from
 * whatever hypervisor or shelf the disk is in.
 *
 * Source: SPC-4 7.8.6 (device identification) and 7.8.15 (unit serial number).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A designator has a length of one byte; in hexadecimal it is twice as long. */
#define DISK_TEXT_MAX 513

typedef enum DesignatorType {
        DESIGNATOR_VENDOR_SPECIFIC = 0,
        DESIGNATOR_T10_VENDOR = 1,
        DESIGNATOR_EUI64 = 2,
        DESIGNATOR_NAA = 3,
} DesignatorType;

typedef struct Designator {
        DesignatorType type;
        char text[DISK_TEXT_MAX]; /* as it is without white space at its ends, or hexadecimal in
                                     lower case if it is binary; never "" */
} Designator;

/* More than any disk has; further ones are not looked at. */
#define DESIGNATORS_MAX 16

/**
 * disk_page_83() - the designators of a logical unit
 * @page: with its four header bytes
 *
 * Those of ports and targets, of other types and with control characters are left out.
 *
 * Return: 0, maybe with *@np 0; -EINVAL if it is no page 0x83 or ends too early.
 */
int disk_page_83(const uint8_t *page, size_t n_page, Designator designators[DESIGNATORS_MAX],
                 size_t *np);

/* The unit serial number, page 0x80. Return: 0; -ENOENT if it is empty; -EINVAL. */
int disk_page_80(const uint8_t *page, size_t n_page, char text[DISK_TEXT_MAX]);

/**
 * disk_nvme_name() - "device_name" of the JSON object at the start of the vendor's part of Identify
 * Namespace, which zeros or spaces follow
 *
 * Return: 0; -ENOENT if there is no JSON or no such name in it.
 */
int disk_nvme_name(const uint8_t *data, size_t n_data, char text[DISK_TEXT_MAX]);

/* Hexadecimal digits alone are compared, and case does not count: "naa.6001-aB" is "6001AB".
 * Neither may be without any. */
bool disk_hex_equal(const char *a, const char *b);

#endif
