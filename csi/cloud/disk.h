/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_CLOUD_DISK_H
#define BERTH_CSI_CLOUD_DISK_H

/*
 * From what a cloud calls a disk to the block device that is provably that disk.
 *
 * The proof is what the disk says of itself: its serial number, its SCSI designator, its address on
 * the bus, its NVMe namespace data, read from sysfs or by ioctl from every disk of the node. A link
 * of udev below /dev/disk is a hint for the message only: it may be missing, late, or of the disk
 * that was there before. No proof, or two disks with the same one, is an error: what is not proven
 * is never formatted and never mounted.
 *
 * Sources: sysfs of Linux 4.18 and later; SPC-4 7.8 (vital product data pages 0x80 and 0x83); NVM
 * Express 1.4 section 5.15.
 */

#include "csi/api/provider.h"
#include "csi/wait/limits.h"

typedef enum DiskProof {
        DISK_PROOF_SERIAL,     /* NVMe controller serial, virtio serial, SCSI page 0x80 */
        DISK_PROOF_DESIGNATOR, /* SCSI page 0x83, designator of type T10 vendor or vendor specific:
                                  its text after the vendor and the model */
        DISK_PROOF_WWID, /* SCSI page 0x83 NAA, NVMe EUI64 or NGUID, hexadecimal without prefix */
        DISK_PROOF_LUN,  /* the last number of H:C:T:L */
        DISK_PROOF_NVME_NAME, /* "device_name" of the JSON in the vendor's part of Identify
                                 Namespace */
        DISK_PROOF_NSID,      /* number of the NVMe namespace, decimal */
        DISK_PROOF_XEN_NAME,  /* the kernel's own name, "xvdba": Xen's hypervisor attaches a disk
                                 by it, and the disk itself says nothing. Bus XEN only */
        DISK_PROOF_N_,
} DiskProof;

typedef enum DiskBus {
        DISK_BUS_ANY,
        DISK_BUS_NVME,
        DISK_BUS_VIRTIO,
        DISK_BUS_SCSI,
        DISK_BUS_XEN,
} DiskBus;

/* One way in which the wanted disk may show itself. */
typedef struct DiskIdentity {
        DiskProof proof;
        DiskBus bus;
        const char
                *vendor; /* as in sysfs, white space at the ends removed, in any case; NULL: any */
        const char *model; /* likewise */
        char text[128]; /* compared as a whole and in its case, but for hexadecimal. On virtio only
                           its first 20 bytes are there to compare */
        const char *parent; /* a directory above it in sysfs that it must have, in any case: the
                               controller of data disks, "f8b3781b-..."; NULL: any */
} DiskIdentity;

#define DISK_IDENTITIES_MAX 6
#define DISK_LINKS_MAX      6

typedef struct DiskWanted {
        const char *name;                             /* of the volume, for messages: "vol-0123" */
        DiskIdentity identities[DISK_IDENTITIES_MAX]; /* one of them is enough */
        size_t n_identities;
        char links[DISK_LINKS_MAX]
                  [192]; /* where udev would show it: "/dev/disk/by-id/..."; only hints */
        size_t n_links;
        unsigned int partition; /* 0: the whole disk */
        uint64_t size_bytes;    /* to expect; 0: not known */
} DiskWanted;

/* Adds to @wanted; more than fit are a fault of the caller and asserted. A @text that is empty or
 * too long is never found. Returned is what was added. */
DiskIdentity *disk_want_identity(DiskWanted *wanted, DiskProof proof, DiskBus bus,
                                 const char *vendor, const char *model, const char *text);
void disk_want_link(DiskWanted *wanted, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

/**
 * disk_find() - the device of a wanted disk, waiting for it to arrive
 * @config: root_path for sysfs and /dev
 *
 * While it is not there the SCSI hosts are asked to look for new disks. That goes on until shortly
 * before call->deadline_msecs, so that the caller hears why, and for DISK_WAIT_MSECS at most. Loop
 * devices, RAM disks and device mapper are no disks of a cloud.
 *
 * Return: 0; NOT_FOUND: no disk has this identity, and which link, if any, points to which other
 * disk; PRECONDITION: two disks have it, the partition is not there, or the name below /dev is
 * another device's; UNAVAILABLE: its name below /dev is missing; TIMEOUT cancelled.
 */
int disk_find(const ProviderConfig *config, const Call *call, const DiskWanted *wanted,
              Device *device, Error *err);

/**
 * disk_rescan() - the kernel reads the size of a disk again
 *
 * SCSI: device/rescan; NVMe: device/rescan_controller; virtio learns it by itself. A partition's
 * disk is meant. Return: 0; an errno's code.
 */
int disk_rescan(const ProviderConfig *config, const Device *device, Error *err);

/* "serial number": for messages. */
const char *disk_proof_to_string(DiskProof proof);

#endif
