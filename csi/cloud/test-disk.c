/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Which disk is the wanted one, in a made sysfs with loop devices below a /dev of its own. The
 * whole way from a call to a mounted volume is in tests/integration/test_provider_*.py; here is
 * what cannot be made there, such as what an NVMe namespace answers.
 */

#include "tests/lib/test.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"
#include "common/block/block_ioctl.h"
#include "common/block/nvme.h"
#include "csi/cloud/disk.h"

#include <sys/sysmacros.h>
#include <time.h>

#define DISKS_MAX 8

static char root[] = "/var/tmp/berth-disk-XXXXXX";
static int loops[DISKS_MAX];
static size_t n_loops;

/* In place of the real one: the namespace whose device this is answers. */
static struct {
        uint64_t devno;
        const char *vendor;
} answers[DISKS_MAX];

int nvme_identify_namespace(int fd, uint8_t data[NVME_IDENTIFY_BYTES]) {
        struct stat status;

        memset(data, 0, NVME_IDENTIFY_BYTES);
        assert(fstat(fd, &status) == 0);
        for (size_t i = 0; i < DISKS_MAX; i++)
                if (answers[i].vendor && answers[i].devno == status.st_rdev) {
                        memcpy(data + NVME_VENDOR_OFFSET, answers[i].vendor,
                               strlen(answers[i].vendor));
                        return 0;
                }
        return -ENOTTY;
}

/* --- the tree --- */

__attribute__((format(printf, 1, 2))) static void make(const char *format, ...) {
        char path[512], whole[600];
        va_list args;

        va_start(args, format);
        vsnprintf(path, sizeof(path), format, args);
        va_end(args);
        snprintf(whole, sizeof(whole), "%s/%s", root, path);
        assert(file_make_directories(whole, 0755) == 0);
}

static void put(const char *directory, const char *name, const void *data, size_t n) {
        char path[600];
        int fd;

        snprintf(path, sizeof(path), "%s/%s/%s", root, directory, name);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        assert(fd >= 0 && file_write_all(fd, data, n) == 0);
        close(fd);
}

static void put_text(const char *directory, const char *name, const char *text) {
        put(directory, name, text, strlen(text));
}

static void link_to(const char *target, const char *path) {
        char whole[600];

        snprintf(whole, sizeof(whole), "%s/%s", root, path);
        assert(symlink(target, whole) == 0);
}

static uint64_t new_loop(void) {
        char path[32];
        struct stat status;

        assert(n_loops < DISKS_MAX);
        loops[n_loops] = test_loop_open(1 << 20, path);
        assert(fstat(loops[n_loops], &status) == 0);
        n_loops++;
        return status.st_rdev;
}

static void make_node(const char *name, uint64_t devno) {
        char path[300];

        snprintf(path, sizeof(path), "%s/dev/%s", root, name);
        unlink(path);
        assert(mknod(path, S_IFBLK | 0600, devno) == 0);
}

/* A disk in @directory with "device" one or more levels above; shown in /sys/block. */
static uint64_t new_disk(const char *name, const char *directory, const char *device) {
        uint64_t devno = new_loop();
        char path[300], text[300];

        make("sys/devices/%s", directory);
        snprintf(path, sizeof(path), "sys/devices/%s", directory);
        snprintf(text, sizeof(text), "%u:%u\n", major(devno), minor(devno));
        put_text(path, "dev", text);
        snprintf(path, sizeof(path), "sys/block/%s", name);
        snprintf(text, sizeof(text), "../devices/%s", directory);
        link_to(text, path);
        if (device) {
                snprintf(path, sizeof(path), "sys/devices/%s/device", directory);
                link_to(device, path);
        }
        make_node(name, devno);
        return devno;
}

static void begin(void) {
        strcpy(root, "/var/tmp/berth-disk-XXXXXX");
        assert(mkdtemp(root));
        make("sys/block");
        make("sys/class/scsi_host");
        make("dev/disk/by-id");
        memset(answers, 0, sizeof(answers));
}

static void end(void) {
        while (n_loops > 0)
                close(loops[--n_loops]);
        assert(test_run("rm", "-rf", root, NULL) == 0);
}

/* --- the call --- */

static bool never(void *userdata) {
        return false;
}

static bool always(void *userdata) {
        return true;
}

static int find(const DiskWanted *wanted, uint64_t msecs, bool (*cancelled)(void *), Device *device,
                Error *err) {
        const ProviderConfig config = {.root_path = root};
        struct timespec now;
        Call call = {.cancelled = cancelled};

        *err = (Error){0};
        clock_gettime(CLOCK_MONOTONIC, &now);
        call.deadline_msecs = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000 + msecs;
        return disk_find(&config, &call, wanted, device, err);
}

static void assert_found(const DiskWanted *wanted, const char *name, uint64_t devno) {
        Device device = {0};
        char path[300];
        Error err;
        int r = find(wanted, 10000, never, &device, &err), fd;

        if (r < 0)
                puts(err.message);
        assert(r == 0);
        snprintf(path, sizeof(path), "%s/dev/%s", root, name);
        assert(str_equal(device.path, path) && device.devno == devno);
        fd = block_open(device.path, O_RDONLY, devno);
        assert(fd >= 0);
        close(fd);
}

static void assert_refused(const DiskWanted *wanted, ErrorCode code, const char *part) {
        Device device = {0};
        Error err;
        int r = find(wanted, 600, never, &device, &err);

        puts(err.message);
        assert(r < 0 && err.code == code && strstr(err.message, part) && device.path[0] == '\0');
}

/* --- tests --- */

static void test_nvme_vendor_data(void) {
        DiskWanted wanted = {.name = "pvc-1"};
        uint64_t first, second;

        begin();
        first = new_disk("nvme0n1", "pci0/nvme/nvme0/nvme0n1", "../../nvme0");
        second = new_disk("nvme0n2", "pci0/nvme/nvme0/nvme0n2", "../../nvme0");
        new_disk("nvme1n1", "pci1/nvme/nvme1/nvme1n1", "../../nvme1");
        answers[0].devno = first;
        answers[0].vendor = "{\"device_name\":\"pvc-2\",\"disk_type\":\"PERSISTENT\"}";
        answers[1].devno = second;
        answers[1].vendor = "{\"device_name\":\"pvc-1\",\"disk_type\":\"PERSISTENT\"}";
        disk_want_identity(&wanted, DISK_PROOF_NVME_NAME, DISK_BUS_NVME, NULL, NULL, "pvc-1");
        disk_want_link(&wanted, "/dev/disk/by-id/google-pvc-1");
        link_to("../../nvme0n1", "dev/disk/by-id/google-pvc-1");
        assert_found(&wanted, "nvme0n2", second);
        answers[0].vendor = answers[1].vendor;
        assert_refused(&wanted, ERROR_PRECONDITION, "2 disks");
        answers[0].vendor = answers[1].vendor = "{\"device_name\":\"pvc-10\"}";
        assert_refused(&wanted, ERROR_NOT_FOUND, "google-pvc-1 leads to nvme0n1");
        /* The ioctl asks the device that is there: a name that is another's proves nothing. */
        answers[1].vendor = "{\"device_name\":\"pvc-1\"}";
        make_node("nvme0n2", first);
        answers[0].vendor = answers[1].vendor;
        answers[1].vendor = NULL;
        wanted.n_links = 0;
        assert_found(&wanted, "nvme0n1", first);
        end();
}

static void test_virtio_cut(void) {
        DiskWanted wanted = {.name = "volume"}, other = {.name = "other"};
        Device device = {0};
        Error err = {0};
        uint64_t devno;
        int r;

        begin();
        devno = new_disk("vdb", "pci0/virtio3/block/vdb", "../../../virtio3");
        put_text("sys/devices/pci0/virtio3/block/vdb", "serial", "83679162-1378-4288-a\n");
        disk_want_identity(&wanted, DISK_PROOF_SERIAL, DISK_BUS_VIRTIO, NULL, NULL,
                           "83679162-1378-4288-a2d4-70e13ec132aa");
        assert_found(&wanted, "vdb", devno);
        /* Linux 5.15: what is opened must be the disk that said so. */
        put_text("sys/devices/pci0/virtio3/block/vdb", "diskseq", "21\n");
        r = find(&wanted, 10000, never, &device, &err);
        assert(r == 0 && device.sequence == 21);
        disk_want_identity(&other, DISK_PROOF_SERIAL, DISK_BUS_VIRTIO, NULL, NULL,
                           "83679162-1378-4288-b2d4-70e13ec132aa");
        assert_refused(&other, ERROR_NOT_FOUND, "vdb (83679162-1378-4288-a)");
        /* A shorter serial number is not the start of a longer one. */
        put_text("sys/devices/pci0/virtio3/block/vdb", "serial", "83679162\n");
        assert_refused(&wanted, ERROR_NOT_FOUND, "vdb (83679162)");
        end();
}

static void test_scsi_names(void) {
        static const char pg83[] = "\x00\x83\x00\x33"
                                   "\x02\x01\x00\x1dLinode  Volume          12345"
                                   "\x01\x03\x00\x08\x60\x01\x40\x50\xab\xcd\xef\x01"
                                   "\x02\x00\x00\x02xy";
        const char *device = "sys/devices/pci0/host2/target2:0:0/2:0:0:1";
        DiskWanted wanted = {.name = "12345-data"}, wwn = {.name = "wwn"}, part = {.name = "part"},
                   serial = {.name = "serial"};
        uint64_t devno;

        begin();
        devno = new_disk("sdb", "pci0/host2/target2:0:0/2:0:0:1/block/sdb", "../../../2:0:0:1");
        put_text(device, "vendor", "Linode  \n");
        put_text(device, "model", "Volume          \n");
        put(device, "vpd_pg83", pg83, sizeof(pg83) - 1);
        put(device, "vpd_pg80",
            "\0\x80\0\x04"
            "abcd",
            8);
        disk_want_identity(&wanted, DISK_PROOF_DESIGNATOR, DISK_BUS_SCSI, "Linode", "Volume",
                           "12345");
        assert_found(&wanted, "sdb", devno);
        disk_want_identity(&wwn, DISK_PROOF_WWID, DISK_BUS_ANY, NULL, NULL, "60014050ABCDEF01");
        assert_found(&wwn, "sdb", devno);
        disk_want_identity(&serial, DISK_PROOF_SERIAL, DISK_BUS_SCSI, NULL, NULL, "abcd");
        assert_found(&serial, "sdb", devno);
        disk_want_identity(&part, DISK_PROOF_DESIGNATOR, DISK_BUS_SCSI, "Linode", "Volume", "2345");
        assert_refused(&part, ERROR_NOT_FOUND, "no disk of this node is it");
        wanted.identities[0].vendor = "DO";
        assert_refused(&wanted, ERROR_NOT_FOUND, "sdb has its SCSI designator");
        end();
}

static void test_what_is_no_disk(void) {
        DiskWanted wanted = {.name = "vol-1"};
        uint64_t devno;

        begin();
        /* A path of a multipath namespace, a loop device and one without any identity. */
        new_disk("nvme0c0n1", "pci0/nvme/nvme0/nvme0c0n1", "../../nvme0");
        put_text("sys/devices/pci0/nvme/nvme0/nvme0c0n1", "hidden", "1\n");
        new_disk("loop7", "virtual/block/loop7", NULL);
        put_text("sys/devices/virtual/block/loop7", "serial", "vol1\n");
        devno = new_disk("nvme0n1", "pci0/nvme/nvme0/nvme0n1", "../../nvme0");
        put_text("sys/devices/pci0/nvme/nvme0", "serial", "vol1                \n");
        put_text("sys/devices/pci0/nvme/nvme0", "model", "Amazon Elastic Block Store   \n");
        disk_want_identity(&wanted, DISK_PROOF_SERIAL, DISK_BUS_ANY, NULL, NULL, "vol1");
        assert_found(&wanted, "nvme0n1", devno);
        wanted.identities[0].text[0] = '\0';
        assert_refused(&wanted, ERROR_NOT_FOUND, "no disk of this node is it");
        end();
}

static void test_partition_and_rescan(void) {
        const ProviderConfig config = {.root_path = root};
        DiskWanted wanted = {.name = "vol-1", .partition = 3};
        Device device = {0}, none = {.devno = makedev(4000, 1), .path = "/dev/none"};
        uint64_t partition;
        Error err = {0};
        char text[16] = "", path[300];
        int fd, r;

        begin();
        new_disk("nvme0n1", "pci0/nvme/nvme0/nvme0n1", "../../nvme0");
        put_text("sys/devices/pci0/nvme/nvme0", "serial", "vol1\n");
        put_text("sys/devices/pci0/nvme/nvme0", "rescan_controller", "");
        disk_want_identity(&wanted, DISK_PROOF_SERIAL, DISK_BUS_NVME, NULL, NULL, "vol1");
        assert_refused(&wanted, ERROR_PRECONDITION, "has no partition 3");
        partition = new_loop();
        make("sys/devices/pci0/nvme/nvme0/nvme0n1/nvme0n1p3");
        put_text("sys/devices/pci0/nvme/nvme0/nvme0n1/nvme0n1p3", "partition", "3\n");
        snprintf(path, sizeof(path), "%u:%u\n", major(partition), minor(partition));
        put_text("sys/devices/pci0/nvme/nvme0/nvme0n1/nvme0n1p3", "dev", path);
        make_node("nvme0n1p3", partition);
        assert_found(&wanted, "nvme0n1p3", partition);
        r = find(&wanted, 10000, never, &device, &err);
        assert(r == 0);
        assert(disk_rescan(&config, &device, &err) == 0);
        snprintf(path, sizeof(path), "%s/sys/devices/pci0/nvme/nvme0/rescan_controller", root);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        assert(fd >= 0 && read(fd, text, sizeof(text) - 1) == 1 && text[0] == '1');
        close(fd);
        assert(disk_rescan(&config, &none, &err) < 0 && err.code == ERROR_NOT_FOUND);
        end();
}

static void test_cancelled_and_late(void) {
        DiskWanted wanted = {.name = "vol-1"};
        Device device = {0};
        Error err;
        pid_t pid;
        int r;

        begin();
        disk_want_identity(&wanted, DISK_PROOF_SERIAL, DISK_BUS_NVME, NULL, NULL, "vol1");
        r = find(&wanted, 60000, always, &device, &err);
        assert(r < 0 && err.code == ERROR_TIMEOUT);
        /* It arrives while it is waited for; the link in /sys/block is the last that appears. */
        new_disk("nvme0n1", "pci0/nvme/nvme0/nvme0n1", "../../nvme0");
        pid = fork();
        assert(pid >= 0);
        if (pid == 0) {
                usleep(300000);
                put_text("sys/devices/pci0/nvme/nvme0", "serial", "vol1\n");
                _exit(0);
        }
        r = find(&wanted, 60000, never, &device, &err);
        assert(r == 0);
        assert(waitpid(pid, NULL, 0) == pid);
        end();
}

int main(void) {
        test_require_root();
        test_private_namespaces(0);
        test_nvme_vendor_data();
        test_virtio_cut();
        test_scsi_names();
        test_what_is_no_disk();
        test_partition_and_rescan();
        test_cancelled_and_late();
        return 0;
}
