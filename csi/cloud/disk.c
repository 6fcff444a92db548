/* SPDX-License-Identifier: Apache-2.0 */

/* Which of this node's disks is the wanted one: look at all of them, wait, and say what was seen.
 */

#include "csi/cloud/disk.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "csi/cloud/disk_internal.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <time.h>

/* First a disk is nearly there, then something takes its time. */
#define POLL_FIRST_MSECS 20U
#define POLL_LAST_MSECS  1000U

/* A scan of SCSI hosts makes them talk to every target; a new disk is usually announced anyway. */
#define SCAN_EVERY_MSECS 5000U

/* The kernel reads the partitions of a new disk after it announced the disk. */
#define PARTITION_WAIT_MSECS 5000U

/* Left of the deadline for the answer to arrive. */
#define ANSWER_MSECS 2000U

/* Disks that a message names. */
#define SEEN_MAX 6

typedef struct Search {
        const ProviderConfig *config;
        const DiskWanted *wanted;
        int root_fd; /* owned */
        Disk disk;   /* that was found */
        size_t n_found;
        char second[BLOCK_NAME_MAX]; /* another one with the same identity */
        StrBuf nearly;               /* what has the text and is of another make */
        StrBuf seen;                 /* the others */
        size_t n_seen;
        bool cannot_scan;
} Search;

/* --- what is wanted --- */

DiskIdentity *disk_want_identity(DiskWanted *wanted, DiskProof proof, DiskBus bus,
                                 const char *vendor, const char *model, const char *text) {
        DiskIdentity *identity;

        assert(wanted->n_identities < DISK_IDENTITIES_MAX);
        identity = &wanted->identities[wanted->n_identities++];
        *identity = (DiskIdentity){.proof = proof, .bus = bus, .vendor = vendor, .model = model};
        /* A text that is cut might be another disk's. */
        if (strlen(text) < sizeof(identity->text))
                (void)snprintf(identity->text, sizeof(identity->text), "%s", text);
        return identity;
}

void disk_want_link(DiskWanted *wanted, const char *format, ...) {
        va_list args;

        assert(wanted->n_links < DISK_LINKS_MAX);
        va_start(args, format);
        (void)vsnprintf(wanted->links[wanted->n_links++], sizeof(wanted->links[0]), format, args);
        va_end(args);
}

const char *disk_proof_to_string(DiskProof proof) {
        static const char *const names[] = {
                [DISK_PROOF_SERIAL] = "serial number",
                [DISK_PROOF_DESIGNATOR] = "SCSI designator",
                [DISK_PROOF_WWID] = "world-wide name",
                [DISK_PROOF_LUN] = "LUN",
                [DISK_PROOF_NVME_NAME] = "NVMe device name",
                [DISK_PROOF_NSID] = "NVMe namespace",
                [DISK_PROOF_XEN_NAME] = "Xen device name",
        };

        return (size_t)proof < N_ELEMENTS(names) && names[proof] ? names[proof] : "unknown";
}

/* --- one look at all disks --- */

static void note_seen(Search *search, const Disk *disk) {
        if (search->n_seen++ < SEEN_MAX)
                strbuf_printf(&search->seen, "%s%s (%.40s)", search->n_seen > 1 ? ", " : "",
                              disk->name, disk->shown[0] ? disk->shown : "says nothing");
        else if (search->n_seen == SEEN_MAX + 1)
                strbuf_append(&search->seen, ", ...");
}

static void note_nearly(Search *search, const Disk *disk, const DiskIdentity *identity) {
        strbuf_printf(&search->nearly,
                      "; %s has its %s and is of another make or place (%.24s %.24s)", disk->name,
                      disk_proof_to_string(identity->proof), disk->vendor, disk->model);
}

static bool look_at(void *userdata, const char *name) {
        Search *search = userdata;
        Disk disk = DISK_INIT;
        DiskMatch best = DISK_MATCH_NO;
        const DiskIdentity *nearly = NULL;

        if (disk_open(search->root_fd, name, &disk) < 0)
                return true;
        for (size_t i = 0; best != DISK_MATCH_YES && i < search->wanted->n_identities; i++) {
                const DiskIdentity *identity = &search->wanted->identities[i];
                DiskMatch match = disk_match(search->root_fd, &disk, identity);

                if (match == DISK_MATCH_TEXT_ONLY)
                        nearly = identity;
                if (match > best)
                        best = match;
        }
        if (nearly && best != DISK_MATCH_YES)
                note_nearly(search, &disk, nearly);
        if (best != DISK_MATCH_YES) {
                note_seen(search, &disk);
                disk_close(&disk);
        } else if (search->n_found++ == 0) {
                search->disk = disk;
        } else {
                (void)snprintf(search->second, sizeof(search->second), "%s", disk.name);
                disk_close(&disk);
        }
        return true;
}

static void forget(Search *search) {
        disk_close(&search->disk);
        search->disk = DISK_INIT;
        search->n_found = search->n_seen = 0;
        strbuf_deinit(&search->nearly);
        strbuf_deinit(&search->seen);
}

/* @look: false ends it. Return: 0; -errno when nothing can be seen. */
static int for_each_disk(int root_fd, bool (*look)(void *userdata, const char *name),
                         void *userdata, Error *err) {
        cleanup(closedirp) DIR *dir = NULL;
        const struct dirent *entry;
        int fd = file_open_in_root(root_fd, "sys/block", O_RDONLY | O_DIRECTORY);

        dir = fd < 0 ? NULL : fdopendir(fd);
        if (!dir) {
                closep(&fd);
                return error_set_errno(err, fd < 0 ? fd : -ENOMEM, "read /sys/block");
        }
        while ((entry = readdir(dir)))
                if (entry->d_name[0] != '.' && !look(userdata, entry->d_name))
                        break;
        return 0;
}

static int look(Search *search, Error *err) {
        forget(search);
        return for_each_disk(search->root_fd, look_at, search, err);
}

/* --- from the disk to its device --- */

static DIR *disk_open_dir(const Disk *disk) {
        int fd = openat(disk->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);

        if (!dir)
                closep(&fd);
        return dir;
}

/* Return: 0; -ENOENT. */
static int find_partition(const Disk *disk, unsigned int number, char name[BLOCK_NAME_MAX],
                          uint64_t *devnop) {
        cleanup(closedirp) DIR *dir = disk_open_dir(disk);
        const struct dirent *entry;

        while (dir && (entry = readdir(dir))) {
                char path[320], text[16];
                uint64_t found;

                if (!str_has_prefix(entry->d_name, disk->name) ||
                    strlen(entry->d_name) >= BLOCK_NAME_MAX)
                        continue;
                (void)snprintf(path, sizeof(path), "%s/partition", entry->d_name);
                if (disk_attribute(disk->fd, path, text, sizeof(text)) < 0 ||
                    str_parse_u64(text, UINT32_MAX, &found) < 0 || found != number)
                        continue;
                (void)snprintf(path, sizeof(path), "%s/dev", entry->d_name);
                /* gcc without optimisation does not see that the length was checked. */
                memcpy(name, entry->d_name, strlen(entry->d_name) + 1);
                return disk_devno(disk->fd, path, devnop);
        }
        return -ENOENT;
}

/* The name below /dev must be the device that sysfs means: where no udev or devtmpfs runs, names
 * are left over from disks that are gone. */
static int check_node(const Search *search, const char *name, uint64_t devno, Error *err) {
        char path[64];
        struct stat status;
        cleanup(closep) int fd = -1;

        (void)snprintf(path, sizeof(path), "dev/%s", name);
        fd = file_open_in_root(search->root_fd, path, O_PATH | O_NOFOLLOW);
        if (fd < 0 || fstat(fd, &status) < 0)
                return error_set(err, ERROR_UNAVAILABLE,
                                 "%s is /dev/%s, which is not there: the /dev of the host is "
                                 "missing here, or not kept by devtmpfs",
                                 search->wanted->name, name);
        if (!S_ISBLK(status.st_mode) || status.st_rdev != devno)
                return error_set(err, ERROR_PRECONDITION,
                                 "%s is %s, and /dev/%s is another device's name: it was left over "
                                 "from a disk that is gone",
                                 search->wanted->name, name, name);
        return 0;
}

/* Read from the directory that the proof was read from: of that disk, and of no later one. */
static uint64_t read_sequence(const Disk *disk) {
        char text[24];
        uint64_t sequence;

        return disk_attribute(disk->fd, "diskseq", text, sizeof(text)) >= 0 &&
                               str_parse_u64(text, UINT64_MAX, &sequence) == 0
                       ? sequence
                       : 0;
}

#define E_LATE 1 /* what is missing may still come */

static int take_device(const Search *search, Device *device, Error *err) {
        const Disk *disk = &search->disk;
        char name[BLOCK_NAME_MAX];
        uint64_t devno = disk->devno;
        int r;

        (void)snprintf(name, sizeof(name), "%s", disk->name);
        if (search->wanted->partition != 0 &&
            find_partition(disk, search->wanted->partition, name, &devno) < 0) {
                (void)error_set(err, ERROR_PRECONDITION, "%s is /dev/%s, which has no partition %u",
                                search->wanted->name, disk->name, search->wanted->partition);
                return E_LATE;
        }
        r = check_node(search, name, devno, err);
        if (r < 0)
                return E_LATE;
        *device = (Device){.devno = devno,
                           .size_bytes = search->wanted->size_bytes,
                           .sequence = read_sequence(disk)};
        r = snprintf(device->path, sizeof(device->path), "%s/dev/%s", search->config->root_path,
                     name);
        if ((size_t)r >= sizeof(device->path))
                return error_set(err, ERROR_INTERNAL, "--root: %s is too long",
                                 search->config->root_path);
        return 0;
}

/* --- words --- */

/* Where a link leads, if it is there. */
static void explain_links(const Search *search, StrBuf *text) {
        for (size_t i = 0; i < search->wanted->n_links; i++) {
                const char *link = search->wanted->links[i];
                char target[256];
                const char *last;
                ssize_t n;

                n = readlinkat(search->root_fd, link + (link[0] == '/'), target,
                               sizeof(target) - 1);
                if (n < 0)
                        continue;
                target[n] = '\0';
                last = strrchr(target, '/') ? strrchr(target, '/') + 1 : target;
                strbuf_printf(text, "; the link %s leads to %.32s, which is not it", link, last);
                return;
        }
}

static int say_missing(const Search *search, Error *err) {
        cleanup(strbuf_deinit) StrBuf text = {0};
        const DiskWanted *wanted = search->wanted;

        strbuf_printf(&text, "%s: no disk of this node is it", wanted->name);
        for (size_t i = 0; i < wanted->n_identities; i++) {
                const DiskIdentity *one = &wanted->identities[i];

                /* The same in another place. */
                if (i > 0 && one->proof == one[-1].proof && str_equal(one->text, one[-1].text))
                        continue;
                strbuf_printf(&text, "%s%s %.48s", i == 0 ? " (" : " or ",
                              disk_proof_to_string(one->proof), one->text);
        }
        strbuf_append(&text, wanted->n_identities > 0 ? ")" : "");
        explain_links(search, &text);
        strbuf_append(&text, strbuf_text(&search->nearly));
        if (search->cannot_scan)
                strbuf_append(&text, "; SCSI hosts cannot be asked for new disks: /sys is "
                                     "read-only here");
        strbuf_printf(&text, "; disks here: %s",
                      search->n_seen > 0 ? strbuf_text(&search->seen) : "none");
        return error_set(err, ERROR_NOT_FOUND, "%s", strbuf_text(&text));
}

static int say_twice(const Search *search, Error *err) {
        return error_set(err, ERROR_PRECONDITION,
                         "%s: %zu disks have its identity, among them %s and %s: which one it is "
                         "cannot be told",
                         search->wanted->name, search->n_found, search->disk.name, search->second);
}

/* --- waiting --- */

static bool is_on_scsi(const DiskWanted *wanted) {
        for (size_t i = 0; i < wanted->n_identities; i++)
                if (wanted->identities[i].bus == DISK_BUS_SCSI ||
                    wanted->identities[i].bus == DISK_BUS_ANY)
                        return true;
        return false;
}

static int write_attribute(int dir_fd, const char *path, const char *text) {
        cleanup(closep) int fd = openat(dir_fd, path, O_WRONLY | O_CLOEXEC);

        return fd < 0 ? -errno : file_write_all(fd, text, strlen(text));
}

/* "- - -": every channel, target and LUN. */
static void scan_scsi_hosts(Search *search) {
        cleanup(closedirp) DIR *dir = NULL;
        const struct dirent *entry;
        int fd = file_open_in_root(search->root_fd, "sys/class/scsi_host", O_RDONLY | O_DIRECTORY);

        dir = fd < 0 ? NULL : fdopendir(fd);
        if (!dir) {
                closep(&fd);
                return;
        }
        while ((entry = readdir(dir))) {
                char path[320];

                if (entry->d_name[0] == '.')
                        continue;
                (void)snprintf(path, sizeof(path), "%s/scan", entry->d_name);
                if (write_attribute(fd, path, "- - -") == -EROFS)
                        search->cannot_scan = true;
        }
}

static uint64_t stop_msecs(const Call *call, uint64_t start) {
        uint64_t longest = start + DISK_WAIT_MSECS, left;

        if (call->deadline_msecs >= longest)
                return longest;
        left = call->deadline_msecs > start ? call->deadline_msecs - start : 0;
        /* Of a short time half is for looking. */
        return start + (left > 2ULL * ANSWER_MSECS ? left - ANSWER_MSECS : left / 2);
}

/* Looks until it is there. Return: 0; negative. */
static int wait_for(Search *search, const Call *call, Device *device, Error *err) {
        uint64_t start = clock_msecs(), stop = stop_msecs(call, start), next_scan = start;
        uint64_t found_at = 0, pause = POLL_FIRST_MSECS;

        for (;;) {
                Error error = {0};
                uint64_t now;
                int r;

                r = look(search, err);
                if (r < 0)
                        return r;
                if (search->n_found > 1)
                        return say_twice(search, err);
                r = search->n_found == 1 ? take_device(search, device, &error)
                                         : say_missing(search, &error);
                now = clock_msecs();
                if (search->n_found == 1 && found_at == 0)
                        found_at = now;
                if (r <= 0 && search->n_found == 1) {
                        if (r < 0)
                                error_move(err, &error);
                        return r;
                }
                if (now + pause >= stop ||
                    (found_at != 0 && now - found_at >= PARTITION_WAIT_MSECS)) {
                        error_move(err, &error);
                        return -ENOENT;
                }
                if (call->cancelled(call->userdata))
                        return error_set(err, ERROR_TIMEOUT, "%s", error.message);
                if (search->n_found == 0 && now >= next_scan && is_on_scsi(search->wanted)) {
                        scan_scsi_hosts(search);
                        next_scan = now + SCAN_EVERY_MSECS;
                }
                (void)poll(NULL, 0, (int)pause);
                pause = pause * 2 < POLL_LAST_MSECS ? pause * 2 : POLL_LAST_MSECS;
        }
}

static int open_root(const ProviderConfig *config, int *fdp, Error *err) {
        int fd = open(str_is_empty(config->root_path) ? "/" : config->root_path,
                      O_PATH | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return error_set_errno(err, errno, "open %s", config->root_path);
        *fdp = fd;
        return 0;
}

static void search_deinit(Search *search) {
        forget(search);
        closep(&search->root_fd);
}

int disk_find(const ProviderConfig *config, const Call *call, const DiskWanted *wanted,
              Device *device, Error *err) {
        cleanup(search_deinit) Search search = {
                .config = config, .wanted = wanted, .root_fd = -1, .disk = DISK_INIT};
        int r;

        r = open_root(config, &search.root_fd, err);
        if (r == 0)
                r = wait_for(&search, call, device, err);
        if (r == 0)
                log_debug("%s is %s (%s)", wanted->name, device->path, search.disk.shown);
        return r;
}

/* --- a new size --- */

typedef struct Below {
        int root_fd;
        uint64_t devno;
        Disk disk; /* found */
} Below;

static bool is_devno(const Disk *disk, const char *partition, uint64_t devno) {
        char path[320];
        uint64_t found;

        (void)snprintf(path, sizeof(path), "%s/dev", partition);
        return disk_devno(disk->fd, path, &found) == 0 && found == devno;
}

/* The disk itself, a partition of it, or what device mapper made of them. */
static bool is_below(const Below *below, const Disk *disk) {
        cleanup(closedirp) DIR *dir = NULL;
        const struct dirent *entry;

        if (disk->devno == below->devno)
                return true;
        dir = disk_open_dir(disk);
        while (dir && (entry = readdir(dir)))
                if (str_has_prefix(entry->d_name, disk->name) &&
                    is_devno(disk, entry->d_name, below->devno))
                        return true;
        return block_sysfs_is_on(below->root_fd, below->devno, disk->devno) == 1;
}

static bool find_below(void *userdata, const char *name) {
        Below *below = userdata;
        Disk disk = DISK_INIT;

        if (disk_open(below->root_fd, name, &disk) < 0)
                return true;
        if (!is_below(below, &disk)) {
                disk_close(&disk);
                return true;
        }
        below->disk = disk;
        return false;
}

/* With multipath the namespace is its subsystem's, and that one has the controllers. */
static int rescan_nvme(const Disk *disk) {
        cleanup(closedirp) DIR *dir = NULL;
        const struct dirent *entry;
        int r, fd;

        r = write_attribute(disk->fd, "device/rescan_controller", "1");
        if (r != -ENOENT)
                return r;
        fd = openat(disk->fd, "device", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        dir = fd < 0 ? NULL : fdopendir(fd);
        if (!dir) {
                closep(&fd);
                return -ENOENT;
        }
        while ((entry = readdir(dir))) {
                char path[320];

                (void)snprintf(path, sizeof(path), "%s/rescan_controller", entry->d_name);
                if (str_has_prefix(entry->d_name, "nvme") && write_attribute(fd, path, "1") == 0)
                        r = 0;
        }
        return r;
}

static int rescan(const Disk *disk) {
        switch (disk->bus) {
        case DISK_BUS_SCSI:
                return write_attribute(disk->fd, "device/rescan", "1");
        case DISK_BUS_NVME:
                return rescan_nvme(disk);
        case DISK_BUS_VIRTIO:
        case DISK_BUS_XEN:
        case DISK_BUS_ANY:
                break;
        }
        return 0;
}

int disk_rescan(const ProviderConfig *config, const Device *device, Error *err) {
        cleanup(closep) int root_fd = -1;
        Below below = {.devno = device->devno, .disk = DISK_INIT};
        int r;

        r = open_root(config, &root_fd, err);
        if (r < 0)
                return r;
        below.root_fd = root_fd;
        r = for_each_disk(root_fd, find_below, &below, err);
        if (r < 0)
                return r;
        if (below.disk.fd < 0)
                return error_set(err, ERROR_NOT_FOUND, "%s is on no disk of this node",
                                 device->path);
        r = rescan(&below.disk);
        disk_close(&below.disk);
        if (r == -EROFS)
                return error_set(err, ERROR_PRECONDITION,
                                 "%s cannot be asked for its new size: /sys is read-only here",
                                 device->path);
        return r < 0 ? error_set_errno(err, r, "rescan %s", device->path) : 0;
}
