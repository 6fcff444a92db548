/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_PROVIDERS_GPT_H
#define BERTH_CSI_PROVIDERS_GPT_H

/*
 * Partition tables, for the cloud whose driver puts filesystems on partitions. Written only on a
 * disk that is proven blank. Source: UEFI Specification 2.10, chapter 5.
 */

#include "csi/api/provider.h"

#define GPT_TABLE_MAX (48U * 1024) /* of 4096-byte sectors: MBR, header, 16 KiB of entries */

/* What is written: at the start of the disk, and at its end. */
typedef struct GptTable {
        uint8_t *head; /* owned */
        size_t n_head;
        uint8_t *tail; /* owned; ends where the disk ends */
        size_t n_tail;
} GptTable;

/**
 * gpt_format() - a table with one partition from 1 MiB to the end of the disk, a whole MiB. Pure.
 * @sector_bytes: the disk's logical sector, 512 or 4096
 * @name:         what disk and partition are called by: the same name makes the same bytes, so
 *                that a table that was half written is known again
 *
 * Return: 0; -ENOSPC for a disk below 4 MiB; -EINVAL for another sector; -ENOMEM.
 */
int gpt_format(uint64_t size_bytes, uint32_t sector_bytes, const char *name, GptTable *table);
void gpt_deinit(GptTable *table);

#define GPT_E_NOT_BLANK 1

/**
 * gpt_make() - give a proven disk one partition, if it is blank
 *
 * What an earlier attempt wrote in part counts as blank. Return: 0 with the partition known to the
 * kernel soon; GPT_E_NOT_BLANK; negative.
 */
int gpt_make(const Device *disk, const char *name, Error *err);

/* How many partitions sysfs shows of a disk, and the highest number. Return: 0; -errno. */
int gpt_count(const ProviderConfig *config, const Device *disk, size_t *np, unsigned int *lastp);

#endif
