/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_KUBELET_HOLDER_H
#define BERTH_CSI_KUBELET_HOLDER_H

/* "Device or resource busy", and by whom: for messages alone, after the failure. */

#include "common/base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define HOLDER_TEXT_MAX 320

/* A device: "dm-3 (mpatha) lies on it", "it is mounted at /mnt", "process 12 (dd) has it open".
 * Return: whether somebody was seen. */
bool holder_of_device(uint64_t devno, char text[HOLDER_TEXT_MAX]);

/* A mount that could not be unmounted, by its id in mountinfo. */
bool holder_of_mount(uint64_t id, char text[HOLDER_TEXT_MAX]);

/* Adds the holder to what @err says already. */
void holder_tell_device(uint64_t devno, Error *err);
void holder_tell_mount(uint64_t id, Error *err);

#endif
