/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This node: release and page size, then the kernel's configuration, /sys/fs and /proc/filesystems,
 * then what the kernel answered when it was asked. What cannot be read stays as the table has it.
 */

#include "fs/hosts/hosts_internal.h"
#include "fs/volume/bytes.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <zlib.h>

/* A configuration is about 300 KiB of text; allmodconfig is under 1 MiB. */
#define CONFIG_MAX_BYTES (4UL << 20)
#define SMALL_MAX_BYTES  65536UL

static int gunzip(const char *data, size_t n, char **textp) {
        z_stream stream = {0};
        cleanup(freep) char *text = NULL;
        size_t n_text;
        int r;

        /* RFC 1952: the last four bytes are the length, which is not trusted but as a limit. */
        if (n < 18)
                return -EBADMSG;
        n_text = le32((const uint8_t *)data + n - 4);
        if (n_text > CONFIG_MAX_BYTES)
                return -EFBIG;
        text = malloc(n_text + 1);
        if (!text)
                return -ENOMEM;
        if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK)
                return -ENOMEM;
        /* zlib only reads its input; its interface predates const. */
        stream.next_in = (Bytef *)(uintptr_t)data;
        stream.avail_in = (uInt)n;
        stream.next_out = (Bytef *)text;
        stream.avail_out = (uInt)n_text;
        r = inflate(&stream, Z_FINISH);
        text[stream.total_out] = '\0';
        inflateEnd(&stream);
        if (r != Z_STREAM_END)
                return -EBADMSG;
        *textp = ptr_steal(&text);
        return 0;
}

static int read_config(int root_fd, const char *release, char **textp) {
        static const char *const plain[] = {"boot/config-%s", "lib/modules/%s/config",
                                            "usr/lib/modules/%s/config"};
        cleanup(freep) char *packed = NULL;
        size_t n = 0;
        int r = file_read_in_root(root_fd, "proc/config.gz", CONFIG_MAX_BYTES, &packed, &n);

        if (r == 0 && gunzip(packed, n, textp) == 0)
                return 0;
        if (strchr(release, '/'))
                return -EINVAL;
        for (size_t i = 0; i < N_ELEMENTS(plain); i++) {
                char path[160];
                const char *tail = strchr(plain[i], '%') + 2;

                snprintf(path, sizeof(path), "%.*s%s%s", (int)(strchr(plain[i], '%') - plain[i]),
                         plain[i], release, tail);
                if (file_read_in_root(root_fd, path, CONFIG_MAX_BYTES, textp, NULL) == 0)
                        return 0;
        }
        return -ENOENT;
}

/* Every option is either "NAME=y|m" or "# NAME is not set"; one that does not exist in this kernel
 * is not there at all, and then it is off. */
static FsTri config_value(const char *text, const char *name) {
        size_t n = strlen(name);

        for (const char *at = text; (at = strstr(at, name)); at += n) {
                if (at != text && at[-1] == '\n' && at[n] == '=')
                        return at[n + 1] == 'y' || at[n + 1] == 'm' ? FS_TRI_YES : FS_TRI_NO;
                if (at - text >= 2 && at[-1] == ' ' && at[-2] == '#' && at[n] == ' ')
                        return FS_TRI_NO;
        }
        return FS_TRI_UNKNOWN;
}

static void set_named_driver(FsHost *host, const FsDriver *driver, FsEvidence evidence) {
        host_set_driver(host, driver->kind, FS_TRI_YES, evidence);
        if (driver->kind == FS_KIND_NTFS)
                host->ntfs_driver = driver->name;
}

void host_apply_config(FsHost *host, const char *text) {
        for (FsGate gate = FS_GATE_NONE + 1; gate < _FS_GATE_N; gate++) {
                const FsGateInfo *info = &fs_gates[gate];
                FsTri all = FS_TRI_YES;

                if (host->kernel < info->exists_since)
                        continue;
                for (size_t i = 0; i < N_ELEMENTS(info->options) && info->options[i]; i++) {
                        if (config_value(text, info->options[i]) != FS_TRI_YES)
                                all = FS_TRI_NO;
                }
                host->gates[gate] = all;
                host->gate_evidence[gate] = FS_EVIDENCE_CONFIG;
        }
        for (size_t i = 0; i < fs_n_drivers; i++) {
                if (host->kernel >= fs_drivers[i].since)
                        host_set_driver(host, fs_drivers[i].kind, FS_TRI_NO, FS_EVIDENCE_CONFIG);
        }
        for (size_t i = 0; i < fs_n_drivers; i++) {
                const FsDriver *driver = &fs_drivers[i];

                if (host->kernel >= driver->since && host->drivers[driver->kind] != FS_TRI_YES &&
                    config_value(text, driver->option) == FS_TRI_YES)
                        set_named_driver(host, driver, FS_EVIDENCE_CONFIG);
        }
}

/* One file in /sys/fs/<kind>/features, and what it is evidence of. */
typedef struct SysfsFile {
        const char *name;
        FsClass class;
        uint64_t bit;
        uint32_t always_since; /* from that kernel on its absence means "no"; NEVER: it does not */
        uint32_t listed_until; /* the last kernel that lists it: later ones have it always; 0: none
                                */
} SysfsFile;

static const SysfsFile ext_files[] = {
        {"encryption", FS_CLASS_INCOMPAT, 0x10000, FS_VERSION_NEVER, 0},
        {"metadata_csum_seed", FS_CLASS_INCOMPAT, 0x2000, FS_VERSION(4, 4, 0), 0},
        {"casefold", FS_CLASS_INCOMPAT, 0x20000, FS_VERSION_NEVER, 0},
        {"verity", FS_CLASS_RO_COMPAT, 0x8000, FS_VERSION_NEVER, 0},
        {"fast_commit", FS_CLASS_LOG_INCOMPAT, 0x20, FS_VERSION(5, 10, 0), 0},
        {"orphan_file", FS_CLASS_RO_COMPAT, 0x10000, FS_VERSION_NEVER, 0},
};

static const SysfsFile btrfs_files[] = {
        {"free_space_tree", FS_CLASS_RO_COMPAT, 0x3, FS_VERSION(4, 9, 0), 0},
        {"block_group_tree", FS_CLASS_RO_COMPAT, 0x8, FS_VERSION(6, 1, 0), 0},
        {"verity", FS_CLASS_RO_COMPAT, 0x4, FS_VERSION_NEVER, 0},
        {"compress_zstd", FS_CLASS_INCOMPAT, 0x10, FS_VERSION(4, 14, 0), 0},
        {"no_holes", FS_CLASS_INCOMPAT, 0x200, FS_VERSION(4, 1, 0), 0},
        {"metadata_uuid", FS_CLASS_INCOMPAT, 0x400, FS_VERSION(5, 4, 0), 0},
        {"raid1c34", FS_CLASS_INCOMPAT, 0x800, FS_VERSION(5, 10, 0), 0},
        {"zoned", FS_CLASS_INCOMPAT, 0x1000, FS_VERSION_NEVER, 0},
        {"extent_tree_v2", FS_CLASS_INCOMPAT, 0x2000, FS_VERSION_NEVER, 0},
        {"raid_stripe_tree", FS_CLASS_INCOMPAT, 0x4000, FS_VERSION_NEVER, 0},
        {"simple_quota", FS_CLASS_INCOMPAT, 0x10000, FS_VERSION(6, 8, 0), 0},
        {"remap_tree", FS_CLASS_INCOMPAT, 0x20000, FS_VERSION_NEVER, 0},
};

static const SysfsFile f2fs_files[] = {
        {"encryption", FS_CLASS_FEATURE, 0x1, FS_VERSION_NEVER, 0},
        {"block_zoned", FS_CLASS_FEATURE, 0x2, FS_VERSION_NEVER, 0},
        {"atomic_write", FS_CLASS_FEATURE, 0x4, FS_VERSION_NEVER, 0},
        {"extra_attr", FS_CLASS_FEATURE, 0x8, FS_VERSION_NEVER, 0},
        {"project_quota", FS_CLASS_FEATURE, 0x10, FS_VERSION_NEVER, 0},
        {"inode_checksum", FS_CLASS_FEATURE, 0x20, FS_VERSION_NEVER, 0},
        {"flexible_inline_xattr", FS_CLASS_FEATURE, 0x40, FS_VERSION_NEVER, 0},
        {"quota_ino", FS_CLASS_FEATURE, 0x80, FS_VERSION_NEVER, 0},
        {"inode_crtime", FS_CLASS_FEATURE, 0x100, FS_VERSION_NEVER, 0},
        {"lost_found", FS_CLASS_FEATURE, 0x200, FS_VERSION_NEVER, 0},
        {"verity", FS_CLASS_FEATURE, 0x400, FS_VERSION_NEVER, 0},
        {"sb_checksum", FS_CLASS_FEATURE, 0x800, FS_VERSION_NEVER, 0},
        {"casefold", FS_CLASS_FEATURE, 0x1000, FS_VERSION_NEVER, 0},
        {"compression", FS_CLASS_FEATURE, 0x2000, FS_VERSION_NEVER, 0},
        {"readonly", FS_CLASS_FEATURE, 0x4000, FS_VERSION_NEVER, 0},
        {"device_alias", FS_CLASS_FEATURE, 0x8000, FS_VERSION_NEVER, 0},
        {"packed_ssa", FS_CLASS_FEATURE, 0x10000, FS_VERSION_NEVER, 0},
};

static const SysfsFile erofs_files[] = {
        {"zero_padding", FS_CLASS_INCOMPAT, 0x1, FS_VERSION(5, 16, 0), FS_VERSION(6, 18, 4095)},
        {"big_pcluster", FS_CLASS_INCOMPAT, 0x2, FS_VERSION(5, 16, 0), 0},
        {"chunked_file", FS_CLASS_INCOMPAT, 0x4, FS_VERSION(5, 16, 0), 0},
        {"device_table", FS_CLASS_INCOMPAT, 0x8, FS_VERSION(5, 16, 0), 0},
        {"ztailpacking", FS_CLASS_INCOMPAT, 0x10, FS_VERSION(5, 17, 0), 0},
        {"fragments", FS_CLASS_INCOMPAT, 0x20, FS_VERSION(6, 1, 0), 0},
        {"xattr_prefixes", FS_CLASS_INCOMPAT, 0x40, FS_VERSION_NEVER, 0},
        {"48bit", FS_CLASS_INCOMPAT, 0x80, FS_VERSION_NEVER, 0},
        {"metabox", FS_CLASS_INCOMPAT, 0x100, FS_VERSION_NEVER, 0},
};

static const struct {
        FsKind kind;
        const char *directory;
        const SysfsFile *files;
        size_t n_files;
} sysfs_directories[] = {
        {FS_KIND_EXT, "sys/fs/ext4/features", ext_files, N_ELEMENTS(ext_files)},
        {FS_KIND_BTRFS, "sys/fs/btrfs/features", btrfs_files, N_ELEMENTS(btrfs_files)},
        {FS_KIND_F2FS, "sys/fs/f2fs/features", f2fs_files, N_ELEMENTS(f2fs_files)},
        {FS_KIND_EROFS, "sys/fs/erofs/features", erofs_files, N_ELEMENTS(erofs_files)},
};

void host_apply_always(FsHost *host) {
        for (size_t i = 0; i < N_ELEMENTS(sysfs_directories); i++) {
                for (size_t k = 0; k < sysfs_directories[i].n_files; k++) {
                        const SysfsFile *file = &sysfs_directories[i].files[k];

                        if (file->listed_until && host->kernel > file->listed_until)
                                host->masks[sysfs_directories[i].kind][file->class].have |=
                                        file->bit;
                }
        }
}

static bool exists_at(int dir_fd, const char *name) {
        struct stat st;

        return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void apply_sysfs_files(FsHost *host, FsKind kind, int dir_fd, const SysfsFile *files,
                              size_t n_files) {
        for (size_t i = 0; i < n_files; i++) {
                FsMask *mask = &host->masks[kind][files[i].class];

                if (exists_at(dir_fd, files[i].name)) {
                        mask->have |= files[i].bit;
                        mask->sysfs |= files[i].bit;
                } else if (host->kernel >= files[i].always_since &&
                           (!files[i].listed_until || host->kernel <= files[i].listed_until)) {
                        mask->have &= ~files[i].bit;
                        mask->sysfs |= files[i].bit;
                }
        }
}

/* "4096 65536": sizes as bits of their logarithm. */
static uint32_t parse_sector_sizes(const char *text) {
        uint32_t bits = 0;

        for (unsigned int log = 12; log <= 16; log++) {
                char number[8];
                const char *at;
                size_t n = (size_t)snprintf(number, sizeof(number), "%u", 1U << log);

                for (at = text; (at = strstr(at, number)); at += n) {
                        if ((at == text || at[-1] == ' ') && (at[n] < '0' || at[n] > '9'))
                                bits |= 1U << log;
                }
        }
        return bits;
}

static void apply_btrfs_lists(FsHost *host, int dir_fd) {
        cleanup(freep) char *sizes = NULL;

        if (file_read_at(dir_fd, "supported_sectorsizes", SMALL_MAX_BYTES, &sizes, NULL) == 0)
                host->btrfs_sector_sizes = parse_sector_sizes(sizes);
        if (host->kernel >= FS_VERSION(6, 7, 0))
                host->btrfs_temp_fsid = exists_at(dir_fd, "temp_fsid") ? FS_TRI_YES : FS_TRI_NO;
}

/* ext4 shows some files only when their option is on, and mounts go by the option. */
static void apply_ext_gates(FsHost *host, int dir_fd) {
        if (host->kernel >= FS_VERSION(5, 2, 0)) {
                host->gates[FS_GATE_UNICODE] =
                        exists_at(dir_fd, "casefold") ? FS_TRI_YES : FS_TRI_NO;
                host->gate_evidence[FS_GATE_UNICODE] = FS_EVIDENCE_SYSFS;
        }
        if (exists_at(dir_fd, "blocksize_gt_pagesize"))
                host->ext_large_blocks = FS_TRI_YES;
        else if (host->kernel >= FS_VERSION(6, 19, 0))
                host->ext_large_blocks = FS_TRI_NO;
}

static void apply_sysfs(FsHost *host, int root_fd) {
        for (size_t i = 0; i < N_ELEMENTS(sysfs_directories); i++) {
                FsKind kind = sysfs_directories[i].kind;
                cleanup(closep) int fd = file_open_in_root(root_fd, sysfs_directories[i].directory,
                                                           O_RDONLY | O_DIRECTORY | O_CLOEXEC);

                if (fd < 0)
                        continue;
                host_set_driver(host, kind, FS_TRI_YES, FS_EVIDENCE_SYSFS);
                apply_sysfs_files(host, kind, fd, sysfs_directories[i].files,
                                  sysfs_directories[i].n_files);
                if (kind == FS_KIND_EXT)
                        apply_ext_gates(host, fd);
                if (kind == FS_KIND_BTRFS)
                        apply_btrfs_lists(host, fd);
        }
}

/* Lists what is loaded or built in; what is not there may still be a module. */
static void apply_filesystems(FsHost *host, const char *text) {
        for (size_t i = 0; i < fs_n_drivers; i++) {
                const FsDriver *driver = &fs_drivers[i];
                char line[32];

                (void)snprintf(line, sizeof(line), "\t%s\n", driver->name);
                if (host->kernel >= driver->since && host->drivers[driver->kind] != FS_TRI_YES &&
                    strstr(text, line))
                        set_named_driver(host, driver, FS_EVIDENCE_SYSFS);
        }
}

/* Distributions name a release by its first number and count their own builds: Debian's 6.1.0-50 is
 * 6.1.176, Ubuntu's 5.15.0-91 is 5.15.131. What they took from the stable series is told beside it.
 */
static void read_stable(FsHost *host, int root_fd) {
        cleanup(freep) char *version = NULL, *signature = NULL;

        /* "... #1 SMP PREEMPT_DYNAMIC Debian 6.1.176-1 (2026-07-05)"; a compiler's is before "#".
         */
        if (file_read_in_root(root_fd, "proc/version", SMALL_MAX_BYTES, &version, NULL) == 0) {
                const char *build = strchr(version, '#');
                const char *debian = build ? strstr(build, " Debian ") : NULL;

                if (debian)
                        host_apply_stable(host, debian + strlen(" Debian "));
        }
        /* "Ubuntu 5.15.0-91.101-generic 5.15.131" */
        if (file_read_in_root(root_fd, "proc/version_signature", SMALL_MAX_BYTES, &signature,
                              NULL) == 0) {
                const char *last = strrchr(signature, ' ');

                if (last)
                        host_apply_stable(host, last + 1);
        }
}

static int open_root(const FsHostRead *how) {
        if (how->root_fd >= 0)
                return openat(how->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int fs_host_read(FsHost *host, const FsHostRead *how, Error *err) {
        cleanup(closep) int root_fd = open_root(how);
        cleanup(freep) char *config = NULL, *filesystems = NULL;
        FsByteOrder order =
                __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? FS_BYTE_ORDER_BIG : FS_BYTE_ORDER_LITTLE;
        struct utsname names;
        FsHost made;
        int r;

        if (root_fd < 0)
                return error_set_errno(err, errno, "open the root directory");
        if (uname(&names) < 0)
                return error_set_errno(err, errno, "uname");
        r = fs_host_from_release(&made, how->release ? how->release : names.release,
                                 (uint32_t)sysconf(_SC_PAGESIZE), order, err);
        if (r < 0)
                return r;
        snprintf(made.name, sizeof(made.name), "this node");
        snprintf(made.architecture, sizeof(made.architecture), "%.23s", names.machine);
        made.is_this_node = true;
        read_stable(&made, root_fd);
        if (read_config(root_fd, made.release, &config) == 0)
                host_apply_config(&made, config);
        if (file_read_in_root(root_fd, "proc/filesystems", SMALL_MAX_BYTES, &filesystems, NULL) ==
            0)
                apply_filesystems(&made, filesystems);
        apply_sysfs(&made, root_fd);
        if (how->tools)
                fs_tools_read(made.tools);
        if (how->probe)
                host_probe(&made, how->cache_dir);
        *host = made;
        return 0;
}
