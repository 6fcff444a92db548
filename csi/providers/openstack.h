/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_PROVIDERS_OPENSTACK_H
#define BERTH_CSI_PROVIDERS_OPENSTACK_H

/* OpenStack's configuration drive: the answers of the metadata service on a small disk. */

#include "csi/cloud/metadata.h"

#define OPENSTACK_E_NO_DRIVE 1

/**
 * openstack_read_drive() - who this instance is, by its configuration drive
 * @root: "" or the directory that stands for /
 * @uuid: what the firmware calls the machine, which Nova sets to the instance's UUID; ""
 *
 * The drive is a disk or CD with the label "config-2", iso9660 or vfat. It is read and never
 * mounted (drive.h); one that somebody mounted at /mnt/config or /media/config-2 is read there.
 * Anybody's volume may have that label: a disk of 1 GiB or more is not read, only one with @uuid is
 * believed, what cannot be read is passed over, and two with @uuid that differ are both refused.
 *
 * Return: 0 with uuid, name, availability zone and project; OPENSTACK_E_NO_DRIVE;
 * ERROR_PRECONDITION.
 */
int openstack_read_drive(const char *root, const char *uuid, MetadataNode *node, Error *err);

#endif
