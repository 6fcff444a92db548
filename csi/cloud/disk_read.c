/* SPDX-License-Identifier: Apache-2.0 */

/* One disk: what it says of itself, and whether that is what is wanted. Opens the device only for
 * what sysfs does not show. */

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"
#include "common/block/block_ioctl.h"
#include "common/block/block_sysfs.h"
#include "common/block/nvme.h"
#include "csi/cloud/disk_internal.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* The longest page of vital product data. */
#define ATTRIBUTE_MAX_BYTES 65540

/* What virtio-blk has room for (VIRTIO_BLK_ID_BYTES). */
#define VIRTIO_SERIAL_BYTES 20

/* Inquiry data; a T10 designator often repeats the model with its padding. */
#define INQUIRY_VENDOR_BYTES 8
#define INQUIRY_MODEL_BYTES  16

/* --- attributes --- */

int disk_attribute(int dir_fd, const char *name, char *text, size_t n_text) {
        cleanup(freep) char *content = NULL;
        const char *from;
        size_t n;
        int r;

        r = file_read_at(dir_fd, name, ATTRIBUTE_MAX_BYTES, &content, &n);
        if (r < 0)
                return r;
        str_trim_end(content);
        from = content + strspn(content, " \t\n");
        if (strlen(from) >= n_text)
                return -EFBIG;
        (void)snprintf(text, n_text, "%s", from);
        str_make_utf8(text);
        return 0;
}

int disk_devno(int dir_fd, const char *name, uint64_t *devnop) {
        char text[32];
        int r = disk_attribute(dir_fd, name, text, sizeof(text));

        return r < 0 ? r : block_sysfs_parse_devno(text, devnop);
}

/* --- which disk --- */

/* The drivers' own names, which nobody can change. */
static bool bus_from_name(const char *name, DiskBus *busp) {
        static const struct {
                const char *prefix;
                DiskBus bus;
        } names[] = {
                {"nvme", DISK_BUS_NVME},
                {"vd", DISK_BUS_VIRTIO},
                {"sd", DISK_BUS_SCSI},
                {"xvd", DISK_BUS_XEN},
        };

        for (size_t i = 0; i < N_ELEMENTS(names); i++)
                if (str_has_prefix(name, names[i].prefix)) {
                        *busp = names[i].bus;
                        return true;
                }
        return false;
}

int disk_open(int root_fd, const char *name, Disk *disk) {
        char path[64], hidden[8];
        Disk found = DISK_INIT;
        int r;

        if (strlen(name) >= sizeof(found.name) || !bus_from_name(name, &found.bus))
                return -ENODEV;
        (void)snprintf(found.name, sizeof(found.name), "%s", name);
        (void)snprintf(path, sizeof(path), "sys/block/%s", name);
        found.fd = file_open_in_root(root_fd, path, O_RDONLY | O_DIRECTORY);
        if (found.fd < 0)
                return found.fd;
        r = disk_devno(found.fd, "dev", &found.devno);
        /* One path of a multipath namespace, which has no device node. */
        if (r == 0 && disk_attribute(found.fd, "hidden", hidden, sizeof(hidden)) == 0 &&
            str_equal(hidden, "1"))
                r = -ENODEV;
        if (r < 0) {
                disk_close(&found);
                return r;
        }
        (void)disk_attribute(found.fd, "device/vendor", found.vendor, sizeof(found.vendor));
        (void)disk_attribute(found.fd, "device/model", found.model, sizeof(found.model));
        *disk = found;
        return 0;
}

void disk_close(Disk *disk) {
        closep(&disk->fd);
}

/* --- what it says of itself --- */

static void show(Disk *disk, const char *text) {
        if (disk->shown[0] == '\0')
                (void)snprintf(disk->shown, sizeof(disk->shown), "%s", text);
}

static int read_page(const Disk *disk, const char *name, char **pagep, size_t *np) {
        return file_read_at(disk->fd, name, ATTRIBUTE_MAX_BYTES, pagep, np);
}

static bool has_serial(Disk *disk, const char *wanted) {
        cleanup(freep) char *page = NULL;
        char text[DISK_TEXT_MAX];
        size_t n;

        if (disk->bus == DISK_BUS_SCSI) {
                if (read_page(disk, "device/vpd_pg80", &page, &n) < 0 ||
                    disk_page_80((const uint8_t *)page, n, text) < 0)
                        return false;
        } else if (disk_attribute(disk->fd, disk->bus == DISK_BUS_NVME ? "device/serial" : "serial",
                                  text, sizeof(text)) < 0) {
                return false;
        }
        show(disk, text);
        /* The hypervisor cuts what is longer, and says nothing of it. */
        if (disk->bus == DISK_BUS_VIRTIO && strlen(wanted) > VIRTIO_SERIAL_BYTES)
                return strlen(text) == VIRTIO_SERIAL_BYTES &&
                       strncmp(text, wanted, VIRTIO_SERIAL_BYTES) == 0;
        return str_equal(text, wanted);
}

/* "Vendor  Model           the text": with the vendor always, with the model often. */
static bool is_t10(const Disk *disk, const char *text, const char *wanted) {
        size_t n = strlen(text), n_model = strlen(disk->model);

        if (n <= INQUIRY_VENDOR_BYTES)
                return false;
        text += INQUIRY_VENDOR_BYTES;
        n -= INQUIRY_VENDOR_BYTES;
        if (str_equal(text + strspn(text, " "), wanted))
                return true;
        if (n_model == 0 || n <= INQUIRY_MODEL_BYTES || strncmp(text, disk->model, n_model) != 0)
                return false;
        text += INQUIRY_MODEL_BYTES;
        return str_equal(text + strspn(text, " "), wanted);
}

static bool is_designator(const Disk *disk, const Designator *designator, DiskProof proof,
                          const char *wanted) {
        switch (designator->type) {
        case DESIGNATOR_VENDOR_SPECIFIC:
                return proof == DISK_PROOF_DESIGNATOR && str_equal(designator->text, wanted);
        case DESIGNATOR_T10_VENDOR:
                return proof == DISK_PROOF_DESIGNATOR && is_t10(disk, designator->text, wanted);
        case DESIGNATOR_EUI64:
        case DESIGNATOR_NAA:
                return proof == DISK_PROOF_WWID && disk_hex_equal(designator->text, wanted);
        }
        return false;
}

static bool has_designator(Disk *disk, DiskProof proof, const char *wanted) {
        cleanup(freep) char *page = NULL;
        cleanup(freep) Designator *found = NULL;
        size_t n, n_found;
        bool is_it = false;

        found = calloc(DESIGNATORS_MAX, sizeof(*found));
        if (!found || disk->bus != DISK_BUS_SCSI ||
            read_page(disk, "device/vpd_pg83", &page, &n) < 0 ||
            disk_page_83((const uint8_t *)page, n, found, &n_found) < 0)
                return false;
        for (size_t i = 0; i < n_found; i++) {
                bool is_name = found[i].type <= DESIGNATOR_T10_VENDOR;

                if (is_name == (proof == DISK_PROOF_DESIGNATOR))
                        show(disk, found[i].text);
                is_it = is_it || is_designator(disk, &found[i], proof, wanted);
        }
        return is_it;
}

static bool has_wwid(Disk *disk, const char *wanted) {
        static const char *const nvme[] = {"nguid", "eui", "wwid", NULL};
        static const char *const scsi[] = {"device/wwid", NULL};
        const char *const *names = disk->bus == DISK_BUS_NVME ? nvme : scsi;
        char text[DISK_TEXT_MAX];

        if (has_designator(disk, DISK_PROOF_WWID, wanted))
                return true;
        for (; *names; names++)
                if (disk_attribute(disk->fd, *names, text, sizeof(text)) == 0) {
                        show(disk, text);
                        if (!str_has_prefix(text, "t10.") && disk_hex_equal(text, wanted))
                                return true;
                }
        return false;
}

/* Where a directory of sysfs really is: what leads to it are links. */
static int real_path(int fd, char path[PATH_MAX]) {
        char link[64];
        ssize_t n;

        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, path, PATH_MAX - 1);
        if (n < 0)
                return -errno;
        path[n] = '\0';
        return 0;
}

/* "2:0:0:5", the name of the directory that "device" leads to. */
static bool has_lun(Disk *disk, const char *wanted) {
        cleanup(closep) int fd = -1;
        char path[PATH_MAX], shown[64];
        const char *last, *lun;

        if (disk->bus != DISK_BUS_SCSI)
                return false;
        fd = openat(disk->fd, "device", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || real_path(fd, path) < 0)
                return false;
        last = strrchr(path, '/');
        lun = last ? strrchr(last, ':') : NULL;
        if (!lun)
                return false;
        (void)snprintf(shown, sizeof(shown), "%.40s", last + 1);
        show(disk, shown);
        return str_equal(lun + 1, wanted);
}

/* NVMe multipath makes one of a namespace's "nsid" below each path; the namespace has it itself. */
static bool has_nsid(Disk *disk, const char *wanted) {
        char text[32], shown[64];

        if (disk->bus != DISK_BUS_NVME || disk_attribute(disk->fd, "nsid", text, sizeof(text)) < 0)
                return false;
        (void)snprintf(shown, sizeof(shown), "namespace %s", text);
        show(disk, shown);
        return str_equal(text, wanted);
}

static bool has_nvme_name(int root_fd, Disk *disk, const char *wanted) {
        cleanup(closep) int fd = -1;
        uint8_t data[NVME_IDENTIFY_BYTES];
        char path[64], text[DISK_TEXT_MAX];
        struct stat status;

        if (disk->bus != DISK_BUS_NVME)
                return false;
        (void)snprintf(path, sizeof(path), "dev/%s", disk->name);
        fd = file_open_in_root(root_fd, path, O_RDONLY | O_NONBLOCK);
        if (fd < 0 || fstat(fd, &status) < 0 || !S_ISBLK(status.st_mode) ||
            status.st_rdev != disk->devno || nvme_identify_namespace(fd, data) < 0 ||
            disk_nvme_name(data + NVME_VENDOR_OFFSET, sizeof(data) - NVME_VENDOR_OFFSET, text) < 0)
                return false;
        show(disk, text);
        return str_equal(text, wanted);
}

static bool has_text(int root_fd, Disk *disk, DiskProof proof, const char *wanted) {
        switch (proof) {
        case DISK_PROOF_SERIAL:
                return has_serial(disk, wanted);
        case DISK_PROOF_DESIGNATOR:
                return has_designator(disk, proof, wanted);
        case DISK_PROOF_WWID:
                return has_wwid(disk, wanted);
        case DISK_PROOF_LUN:
                return has_lun(disk, wanted);
        case DISK_PROOF_NVME_NAME:
                return has_nvme_name(root_fd, disk, wanted);
        case DISK_PROOF_NSID:
                return has_nsid(disk, wanted);
        case DISK_PROOF_XEN_NAME:
                show(disk, disk->name);
                return disk->bus == DISK_BUS_XEN && str_equal(disk->name, wanted);
        case DISK_PROOF_N_:
                break;
        }
        return false;
}

/* Whether a directory of that name is above the disk in sysfs, where its controller is. */
static bool has_parent(const Disk *disk, const char *parent) {
        char path[PATH_MAX];
        size_t n_parent = strlen(parent);

        if (real_path(disk->fd, path) < 0)
                return false;
        for (const char *at = strchr(path, '/'); at; at = strchr(at + 1, '/'))
                if (strncasecmp(at + 1, parent, n_parent) == 0 && at[1 + n_parent] == '/')
                        return true;
        return false;
}

static bool is_bus(const Disk *disk, DiskBus bus) {
        return bus == DISK_BUS_ANY || bus == disk->bus;
}

DiskMatch disk_match(int root_fd, Disk *disk, const DiskIdentity *identity) {
        bool is_kind;

        if (identity->text[0] == '\0' || !is_bus(disk, identity->bus))
                return DISK_MATCH_NO;
        is_kind = (!identity->vendor || strcasecmp(identity->vendor, disk->vendor) == 0) &&
                  (!identity->model || strcasecmp(identity->model, disk->model) == 0) &&
                  (!identity->parent || has_parent(disk, identity->parent));
        if (!has_text(root_fd, disk, identity->proof, identity->text))
                return DISK_MATCH_NO;
        return is_kind ? DISK_MATCH_YES : DISK_MATCH_TEXT_ONLY;
}
