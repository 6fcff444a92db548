/* SPDX-License-Identifier: Apache-2.0 */
/* mkfs plans: the commands of known-good recipes, users' options, refusals. */

#undef NDEBUG
#include "fs/hosts/cluster.h"
#include "fs/make/mkfs.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define GIB (UINT64_C(1) << 30)

static FsMakePlan plan;
static FsHost hosts[4];
static Error err;

/* "5.4", "6.6/64" (page size in KiB), up to four, comma separated. */
static size_t set_hosts(const char *text) {
        size_t n = 0;

        while (*text) {
                char release[64];
                size_t length = strcspn(text, ",/");
                unsigned int page = 4;

                (void)snprintf(release, sizeof(release), "%.*s", (int)length, text);
                text += length;
                if (*text == '/') {
                        page = (unsigned int)strtoul(text + 1, NULL, 10);
                        text += strcspn(text, ",");
                }
                text += *text == ',';
                assert_int_equal(fs_host_from_release(&hosts[n++], release, page * 1024,
                                                      FS_BYTE_ORDER_LITTLE, &err),
                                 0);
        }
        return n;
}

static int make(const char *type, const char *for_hosts, uint32_t tools,
                const char *const *options) {
        FsMakeRequest request = {.fs_type = type, .device = "/dev/x", .size_bytes = 10 * GIB};

        err = (Error){0};
        request.hosts = hosts;
        request.n_hosts = set_hosts(for_hosts);
        for (FsTools i = 0; i < _FS_TOOLS_N; i++)
                request.tools[i] = tools;
        request.options = options;
        while (options && options[request.n_options])
                request.n_options++;
        return fs_make_plan(&request, &plan, &err);
}

static void check(const char *wanted) {
        cleanup(freep) char *text = fs_make_plan_text(&plan);

        assert_string_equal(text, wanted);
}

#define EXT_LIST     "none,has_journal,ext_attr,resize_inode,dir_index,"
#define EXT_TAIL     " -t ext4 -b 4096 -I 256 -m 0 -E nodiscard -i 16384 /dev/x"
#define XFS_TAIL     " -b size=4096 -s size=4096 -K /dev/x"
#define XFS_TAIL_NEW " -b size=4096 -s size=4096 -d concurrency=0 -l concurrency=0 -K /dev/x"
#define BTR_TAIL     " -s 4096 -n 16384 -d single -m dup -K /dev/x"

static const struct {
        const char *type, *hosts;
        uint32_t tools;
        const char *command;
        uint64_t compat, ro_compat, incompat;
} recipes[] = {
        {"ext4", "3.10.0-1160.el7.x86_64", FS_VERSION(1, 42, 9),
         "MKE2FS_CONFIG=/dev/null mke2fs -F -O " EXT_LIST
         "filetype,extent,flex_bg,sparse_super,large_file,huge_file,uninit_bg,dir_nlink,"
         "extra_isize" EXT_TAIL,
         0x3c, 0x7b, 0x242},
        {"ext4", "4.18,6.12/64", FS_VERSION(1, 47, 2),
         "MKE2FS_CONFIG=/dev/null mke2fs -F -O " EXT_LIST
         "filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,"
         "metadata_csum" EXT_TAIL,
         0x3c, 0x46b, 0x2c2},
        {"ext4", "5.15,6.12/16", FS_VERSION(1, 47, 0),
         "MKE2FS_CONFIG=/dev/null mke2fs -F -O " EXT_LIST
         "orphan_file,filetype,extent,64bit,flex_bg,metadata_csum_seed,sparse_super,large_file,"
         "huge_file,dir_nlink,extra_isize,metadata_csum" EXT_TAIL,
         0x103c, 0x46b, 0x22c2},
        {"xfs", "4.14", FS_VERSION(5, 0, 0),
         "mkfs.xfs -m finobt=1,rmapbt=0,reflink=0,crc=1 -i sparse=1" XFS_TAIL, 0, 0x1, 0x3},
        {"xfs", "4.19,6.18/64", FS_VERSION(6, 1, 0),
         "mkfs.xfs -m finobt=1,rmapbt=0,reflink=0,inobtcount=0,bigtime=0,crc=1 "
         "-i sparse=1,nrext64=0" XFS_TAIL,
         0, 0x1, 0x3},
        {"xfs", "4.19", FS_VERSION(7, 2, 0),
         "mkfs.xfs -m finobt=1,rmapbt=0,reflink=0,inobtcount=0,bigtime=0,metadir=0,crc=1 "
         "-i sparse=1,nrext64=0,exchange=0 -n parent=0" XFS_TAIL_NEW,
         0, 0x1, 0x3},
        {"xfs", "5.4", FS_VERSION(6, 13, 0),
         "mkfs.xfs -m finobt=1,rmapbt=0,reflink=1,inobtcount=0,bigtime=0,metadir=0,crc=1 "
         "-i sparse=1,nrext64=0,exchange=0 -n parent=0" XFS_TAIL_NEW,
         0, 0x5, 0x3},
        {"xfs", "5.15", FS_VERSION(6, 1, 0),
         "mkfs.xfs -m finobt=1,rmapbt=0,reflink=1,inobtcount=1,bigtime=1,crc=1 "
         "-i sparse=1,nrext64=0" XFS_TAIL,
         0, 0xd, 0xb},
        {"xfs", "6.6,6.12", FS_VERSION(7, 2, 0),
         "mkfs.xfs -m finobt=1,rmapbt=1,reflink=1,inobtcount=1,bigtime=1,metadir=0,crc=1 "
         "-i sparse=1,nrext64=1,exchange=0 -n parent=0" XFS_TAIL_NEW,
         0, 0xf, 0x2b},
        {"xfs", "6.18", FS_VERSION(7, 2, 0),
         "mkfs.xfs -m finobt=1,rmapbt=1,reflink=1,inobtcount=1,bigtime=1,metadir=0,crc=1 "
         "-i sparse=1,nrext64=1,exchange=1 -n parent=1" XFS_TAIL_NEW,
         0, 0xf, 0xeb},
        {"btrfs", "3.10", FS_VERSION(6, 2, 0),
         "mkfs.btrfs -R ^free-space-tree -O ^no-holes" BTR_TAIL, 0, 0, 0x141},
        {"btrfs", "4.9,5.10", FS_VERSION(6, 2, 0),
         "mkfs.btrfs -R free-space-tree -O no-holes" BTR_TAIL, 0, 0x3, 0x341},
        {"btrfs", "5.15/64", FS_VERSION(6, 14, 0),
         "mkfs.btrfs -R free-space-tree -O ^block-group-tree,no-holes" BTR_TAIL, 0, 0x3, 0x341},
        {"btrfs", "6.1", FS_VERSION(7, 3, 0),
         "mkfs.btrfs -R free-space-tree -O block-group-tree,no-holes" BTR_TAIL, 0, 0xb, 0x341},
        {"f2fs", "5.10", FS_VERSION(1, 15, 0), "mkfs.f2fs /dev/x", 0, 0, 0},
};

static void test_recipes(void **state) {
        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(recipes); i++) {
                assert_int_equal(make(recipes[i].type, recipes[i].hosts, recipes[i].tools, NULL),
                                 0);
                check(recipes[i].command);
                assert_int_equal(plan.words[FS_CLASS_COMPAT], recipes[i].compat);
                assert_int_equal(plan.words[FS_CLASS_RO_COMPAT], recipes[i].ro_compat);
                assert_int_equal(plan.words[FS_CLASS_INCOMPAT], recipes[i].incompat);
        }
}

static void test_options(void **state) {
        static const char *const ext[] = {"-b", "1024", "-O", "^64bit,bigalloc", "-C65536",
                                          "-m", "1",    "-E", "discard",         NULL};
        static const char *const xfs[] = {"-m",        "reflink=0", "-l",      "size=64m", "-d",
                                          "agcount=8", "-L",        "a label", NULL};
        static const char *const btrfs[] = {"-O", "^no-holes", "--csum", "sha256",
                                            "-m", "single",    NULL};

        (void)state;
        assert_int_equal(make("ext4", "5.10", FS_VERSION(1, 47, 0), ext), 0);
        check("MKE2FS_CONFIG=/dev/null mke2fs -F -O " EXT_LIST
              "filetype,extent,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,"
              "metadata_csum,bigalloc -t ext4 -b 1024 -I 256 -m 1 -C 65536 -E discard -i 131072 "
              "/dev/x");
        assert_int_equal(plan.words[FS_CLASS_INCOMPAT], 0x242);
        assert_int_equal(plan.words[FS_CLASS_RO_COMPAT], 0x66b);
        assert_int_equal(plan.block_bytes, 1024);
        assert_int_equal(make("xfs", "5.15", FS_VERSION(6, 1, 0), xfs), 0);
        check("mkfs.xfs -m finobt=1,rmapbt=0,reflink=0,inobtcount=1,bigtime=1,crc=1 "
              "-i sparse=1,nrext64=0 -b size=4096 -s size=4096 -K -l size=64m -d agcount=8 "
              "-L 'a label' /dev/x");
        assert_int_equal(plan.words[FS_CLASS_RO_COMPAT], 0x9);
        assert_int_equal(make("btrfs", "6.1", FS_VERSION(6, 2, 0), btrfs), 0);
        check("mkfs.btrfs -R free-space-tree -O ^no-holes -s 4096 -n 16384 -d single "
              "-m single -K --csum sha256 /dev/x");
        assert_int_equal(plan.words[FS_CLASS_ALGORITHM], 1U << 2);
}

static void refused(const char *type, const char *for_hosts, const char *a, const char *b,
                    ErrorCode code, const char *part) {
        const char *const options[] = {a, b, NULL};

        assert_true(make(type, for_hosts, FS_VERSION(6, 13, 0), a ? options : NULL) < 0);
        assert_int_equal(err.code, code);
        if (!strstr(err.message, part))
                print_error("%s\n", err.message);
        assert_non_null(strstr(err.message, part));
}

static void test_refusals(void **state) {
        (void)state;
        refused("zfs", "6.1", NULL, NULL, ERROR_INVALID, "\"zfs\" is not supported");
        refused("erofs", "6.1", NULL, NULL, ERROR_INVALID, "not supported");
        refused("xfs", "6.1", "-l", "logdev=/dev/y", ERROR_INVALID, "a volume is one device");
        refused("xfs", "6.1", "-N", NULL, ERROR_INVALID, "only pretends");
        refused("xfs", "6.1", "-r", "rtdev=/dev/y", ERROR_INVALID, "one device");
        refused("ext4", "6.1", "-n", NULL, ERROR_INVALID, "option -n is not supported");
        refused("ext4", "6.1", "-J", "device=/dev/y", ERROR_INVALID, "one device");
        refused("ext4", "6.1", "-b", NULL, ERROR_INVALID, "needs a value");
        refused("ext4", "6.1", "/dev/sda", NULL, ERROR_INVALID, "is not a mkfs option");
        refused("btrfs", "6.1", "--rootdir", "/", ERROR_INVALID, "names a file of the node");
        refused("xfs", "5.4", "-m", "bigtime=1", ERROR_PRECONDITION, "bigtime");
        refused("xfs", "6.1", "-b", "size=16384", ERROR_PRECONDITION, "block size of 16K");
        refused("xfs", "6.18", "-m", "crc=0", ERROR_PRECONDITION, "CONFIG_XFS_SUPPORT_V4");
        refused("ext4", "5.10", "-O", "orphan_file", ERROR_PRECONDITION, "orphan_file");
        refused("btrfs", "5.10/64", NULL, NULL, ERROR_PRECONDITION, "sectorsize of 4K");
        refused("f2fs", "6.1,6.1/16", NULL, NULL, ERROR_PRECONDITION, "pages of 16K");
        refused("xfs", "3.10", NULL, NULL, ERROR_PRECONDITION, "Linux 3.10");
        /* Every kernel has it, and the installed mke2fs does not. */
        assert_true(make("ext4", "6.1", FS_VERSION(1, 46, 0),
                         (const char *const[]){"-O", "orphan_file", NULL}) < 0);
        assert_int_equal(err.code, ERROR_UNSUPPORTED);
        assert_non_null(strstr(err.message, "needs a mkfs of 1.47"));
}

static void test_sizes(void **state) {
        FsMakeRequest request = {.fs_type = "xfs", .device = "/dev/x", .hosts = hosts};

        (void)state;
        request.n_hosts = set_hosts("5.4");
        request.size_bytes = 299U << 20;
        request.tools[FS_TOOLS_XFSPROGS] = FS_VERSION(6, 1, 0);
        assert_true(fs_make_plan(&request, &plan, &err) < 0);
        assert_int_equal(err.code, ERROR_RANGE);
        assert_non_null(strstr(err.message, "300 MiB"));
        request.tools[FS_TOOLS_XFSPROGS] = FS_VERSION(5, 10, 0);
        assert_int_equal(fs_make_plan(&request, &plan, &err), 0);
        request.tools[FS_TOOLS_XFSPROGS] = FS_TOOLS_ABSENT;
        err = (Error){0};
        assert_true(fs_make_plan(&request, &plan, &err) < 0);
        assert_int_equal(err.code, ERROR_UNSUPPORTED);
}

/* What a size or another option makes a tool drop or refuse is known before; each was refused by
 * the tool, or made otherwise than planned. */
static void check_fit(const char *type, uint64_t size, const char *a, const char *b,
                      const char *has, const char *has_not) {
        const char *const options[] = {a, b, NULL};
        FsMakeRequest request = {.fs_type = type,
                                 .device = "/dev/x",
                                 .size_bytes = size,
                                 .hosts = hosts,
                                 .options = options,
                                 .n_options = a ? 2 : 0};
        cleanup(freep) char *text = NULL;

        err = (Error){0};
        request.n_hosts = set_hosts("6.18");
        for (FsTools i = 0; i < _FS_TOOLS_N; i++)
                request.tools[i] =
                        i == FS_TOOLS_E2FSPROGS ? FS_VERSION(1, 47, 0) : FS_VERSION(6, 1, 0);
        if (fs_make_plan(&request, &plan, &err) < 0) {
                if (has || !strstr(err.message, has_not))
                        fail_msg("%s", err.message);
                return;
        }
        text = fs_make_plan_text(&plan);
        if (!has || !strstr(text, has) || (has_not && strstr(text, has_not)))
                fail_msg("%s", text);
}

static void test_fit(void **state) {
        (void)state;
        check_fit("ext4", 16384 * GIB, NULL, NULL, "64bit", "resize_inode");
        check_fit("ext4", 16384 * GIB, "-O", "resize_inode", NULL, "less than 2^32 blocks");
        check_fit("ext4", 16384 * GIB, "-O", "^64bit", NULL, "at most 2^32 blocks");
        check_fit("ext4", 4 << 20, NULL, NULL, "dir_index", "has_journal");
        check_fit("ext4", 4 << 20, NULL, NULL, "dir_index", "orphan_file");
        check_fit("ext4", 4 << 20, "-O", "has_journal", NULL, "too small for a journal");
        check_fit("ext4", GIB, "-O", "^has_journal", "dir_index", "orphan_file");
        check_fit("ext4", GIB, "-O", "^has_journal,orphan_file", NULL, "needs -O has_journal");
        check_fit("ext4", GIB, "-O", "meta_bg", "meta_bg", "resize_inode");
        check_fit("ext4", GIB, "-O", "^metadata_csum", "uninit_bg", "metadata_csum_seed");
        /* Half of what is free, not of the device. */
        check_fit("ext4", 8 << 20, "-J", "size=4", NULL, "beside its tables");
        check_fit("ext4", 9 << 20, "-J", "size=4", "-J size=4", NULL);
        /* The last group, of 6 MiB, is not made: six groups have to take them. */
        check_fit("ext4", 3227546112, "-Obigalloc", "-C16384", "-i 32768", NULL);
        check_fit("ext4", GIB, "-C", "65536", NULL, "needs -O bigalloc");
        /* The bounds of mke2fs 1.47.0, by trying. */
        check_fit("ext4", 736 * GIB, "-b", "1024", "resize_inode", "meta_bg");
        check_fit("ext4", 737 * GIB, "-b", "1024", "meta_bg", "resize_inode");
        check_fit("ext4", 5120 * GIB, "-b", "1024", "meta_bg", "resize_inode");
        check_fit("ext3", 1472 * GIB, "-b", "1024", "resize_inode", "meta_bg");
        check_fit("ext3", 1473 * GIB, "-b", "1024", "meta_bg", "resize_inode");
        check_fit("ext4", 8191 * GIB, "-b", "2048", "resize_inode", "meta_bg");
        check_fit("ext4", 12289 * GIB, "-b", "2048", "meta_bg", "resize_inode");
        check_fit("ext4", 65536 * GIB, NULL, NULL, "64bit", "meta_bg");
        check_fit("xfs", GIB, "-b", "size=1024", "-s size=1024", "-s size=4096");
        check_fit("xfs", GIB, "-b", "size=512", NULL, "at least 1024 with crc=1");
        check_fit("xfs", GIB, "-m", "finobt=0", "inobtcount=0", "inobtcount=1");
        check_fit("xfs", GIB, "-d", "agcount=64", NULL, "groups of 16 MiB");
        /* Numbers of any length. */
        check_fit("ext4", GIB, "-N", "20000000", NULL, "no room for data");
        check_fit("ext4", GIB, "-i", "16777216", "-i 16777216", NULL);
        check_fit("ext4", GIB, "-i", "67108865", NULL, "from 1024 to 67108864");
        check_fit("xfs", 10 * GIB, "-l", "size=1073741824", "size=1073741824", NULL);
        check_fit("xfs", GIB, "-l", "size=1073741824", NULL, "the log and some");
        check_fit("xfs", GIB, "-d", "agsize=268435456", "agsize=268435456", NULL);
        check_fit("xfs", GIB, "-d", "agsize=16777216t", NULL, "expected a number");
        check_fit("xfs", GIB, "-d", "agsize=18446744073709551616", NULL, "expected a number");
        /* A group has at most a block less than 1 TiB. */
        check_fit("xfs", 4096 * GIB, "-d", "agsize=1t", NULL, "to 1099511627264");
        check_fit("xfs", 2048 * GIB - 8192, "-d", "agsize=1099511623680", "1099511623680", NULL);
        check_fit("xfs", 4096 * GIB, "-d", "agcount=4", NULL, "less than 1 TiB");
        check_fit("xfs", 4096 * GIB, "-d", "agcount=5", "agcount=5", NULL);
        check_fit("xfs", 4096 * GIB, NULL, NULL, "mkfs.xfs", NULL);
        check_fit("btrfs", GIB, "-M", "-K", "-n 4096", "-m dup");
        check_fit("btrfs", 200U << 20, "-d", "dup", NULL, "at least 230 MiB");
        check_fit("f2fs", GIB, "-O", "compression", NULL, "needs -O extra_attr");
}

static void test_left_out(void **state) {
        char text[256];
        bool seen = false;

        (void)state;
        assert_int_equal(make("xfs", "6.6,5.10/64", FS_VERSION(6, 13, 0), NULL), 0);
        for (size_t i = 0; i < plan.n_left_out; i++) {
                assert_true(fs_left_out_format(&plan.left_out[i], text, sizeof(text)) > 0);
                if (!str_equal(plan.left_out[i].feature->name, "nrext64"))
                        continue;
                assert_string_equal(text,
                                    "nrext64 (needs Linux 5.19; Linux 5.10 does not have it)");
                seen = true;
        }
        assert_true(seen);
        /* A node whose e2fsck is too old, although its kernel is not. */
        assert_int_equal(make("ext4", "6.6", FS_VERSION(1, 47, 0), NULL), 0);
        assert_int_equal(plan.words[FS_CLASS_COMPAT] & 0x1000, 0x1000);
        hosts[0].tools[FS_TOOLS_E2FSPROGS] = FS_VERSION(1, 46, 5);
        {
                FsMakeRequest request = {.fs_type = "ext4",
                                         .device = "/dev/x",
                                         .size_bytes = GIB,
                                         .hosts = hosts,
                                         .n_hosts = 1,
                                         .tools = {FS_VERSION(1, 47, 0)}};

                assert_int_equal(fs_make_plan(&request, &plan, &err), 0);
        }
        assert_int_equal(plan.words[FS_CLASS_COMPAT] & 0x1000, 0);
        assert_true(plan.left_out[0].for_tools);
        fs_left_out_format(&plan.left_out[0], text, sizeof(text));
        assert_string_equal(text, "orphan_file (fsck and resize of Linux 6.6 are older than 1.47)");
}

static int check_line(const char *fs_type, const char *line) {
        const char *words[16];
        char copy[256], *save, *at;
        size_t n = 0;

        assert_true(strlen(line) < sizeof(copy));
        (void)snprintf(copy, sizeof(copy), "%s", line);
        for (at = strtok_r(copy, " ", &save); at; at = strtok_r(NULL, " ", &save))
                words[n++] = at;
        return mkfs_words_check(fs_type, words, n, &err);
}

static void test_lines(void **state) {
        static const struct {
                const char *fs_type, *line;
                bool ok;
        } cases[] = {
                {"ext4", "", true},
                {"ext4", "-m 0 -b 4096 -E nodiscard,lazy_itable_init=0 -O ^has_journal", true},
                {"ext4", "-m0 -i16384", true},
                {"ext4", "-J size=64", true},
                {"ext4", "-J device=UUID=x", false},
                {"ext4", "-Jsize=4,device=x", false},
                {"ext4", "-O journal_dev", false},
                {"ext4", "-E offset=4096", false},
                {"ext4", "-d /etc", false},
                {"ext4", "-c", false},
                {"ext4", "-l list", false},
                {"ext4", "-F", false},
                {"ext4", "-n", false},
                {"ext4", "/dev/sda", false},
                {"ext4", "-m 0 sda", false},
                {"ext4", "-j sda", false},
                {"ext4", "-b 4096 -L /dev/sda", false},
                {"ext4", "-", false},
                {"ext4", "--", false},
                {"ext4", "-e remount-ro", true},
                {"ext4", "-e panic", false},
                {"ext4", "-T largefile", false},
                {"ext4", "-E resize=1T", false},
                {"ext4", "-O no_such", false},
                {"ext4", "-b 4095", false},
                {"ext4", "-m 51", false},
                {"ext4", "-U clear", false},
                {"f2fs", "-O extra_attr,compression -o 5", true},
                {"f2fs", "-O ro", false},
                {"f2fs", "-c sda", false},
                {"xfs", "-c defaults=x", false},
                {"xfs", "-c makecfg=x", false},
                {"xfs", "-r extsize=64k", false},
                {"xfs", "-d size=1g", false},
                {"xfs", "-d unknown=1", false},
                {"xfs", "-m crc=2", false},
                {"xfs", "-m reflink=0,bigtime=0 -i nrext64=0 -K", true},
                {"xfs", "-d su=64k,sw=4", true},
                {"xfs", "-d name=x", false},
                {"xfs", "-d file=1", false},
                {"xfs", "-l logdev=x", false},
                {"xfs", "-r rtdev=x", false},
                {"xfs", "-p proto", false},
                {"xfs", "-c options=x", false},
                {"xfs", "-f", false},
                {"xfs", "-N", false},
                {"xfs", "-K sda", false},
                {"btrfs", "--csum xxhash -m single -n 16384", true},
                {"btrfs", "--csum=xxhash --nodiscard", true},
                {"btrfs", "--rootdir x", false},
                {"btrfs", "-r x", false},
                {"btrfs", "-f", false},
                {"btrfs", "-M sda", false},
                {"btrfs", "--mixed sda", false},
                {"btrfs", "--csum=xxhash sda", false},
                {"btrfs", "-d raid0", false},
                {"btrfs", "-b 100m", false},
                {"btrfs", "--features no-holes --nodesize=8192 --data dup", true},
                {"vfat", "-n x", false},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                int r;

                err = (Error){0};
                r = check_line(cases[i].fs_type, cases[i].line);

                if ((r == 0) != cases[i].ok)
                        fail_msg("%s %s: %s", cases[i].fs_type, cases[i].line, err.message);
                if (r < 0)
                        assert_int_equal(err.code, ERROR_INVALID);
        }
}

/* Rules of a provider: parameters that become words, defaults before them. */
static const char *const ext4_words[] = {"-m", "0", NULL};
static const FormatDefault defaults[] = {{"ext4", ext4_words}, {NULL, NULL}};
static const FormatParameter parameters[] = {
        {"blocksize", "ext4", "-b", NULL, NULL},
        {"blocksize", "xfs", "-b", "size=", NULL},
        {"ext4bigalloc", "ext4", "-O", "bigalloc", "true"},
        {"mkfsOptions", "", NULL, NULL, NULL},
        {NULL, NULL, NULL, NULL, NULL},
};
static const char *const rule_types[] = {"ext4", "xfs", NULL};
static const FormatRules rules = {.default_fs_type = "xfs",
                                  .fs_types = rule_types,
                                  .defaults = defaults,
                                  .parameters = parameters};

static void check_words(const char *type, const char *key, const char *value, const char *wanted) {
        StringPair pair = {key, value};
        StringMap context = {&pair, 1};
        cleanup(strbuf_deinit) StrBuf text = {0};
        FsMakeWords words;

        err = (Error){0};
        if (!wanted) {
                assert_true(fs_make_words(&rules, type, &context, &words, &err) < 0);
                assert_int_equal(err.code, ERROR_INVALID);
                return;
        }
        assert_int_equal(fs_make_words(&rules, type, &context, &words, &err), 0);
        for (size_t i = 0; i < words.n_words; i++)
                strbuf_printf(&text, "[%s]", words.words[i]);
        assert_string_equal(strbuf_text(&text), wanted);
}

static void test_words(void **state) {
        (void)state;
        check_words("ext4", "blocksize", "1024", "[-m][0][-b][1024]");
        check_words("xfs", "blocksize", "1024", "[-b][size=1024]");
        check_words("ext4", "ext4bigalloc", "true", "[-m][0][-O][bigalloc]");
        check_words("ext4", "ext4bigalloc", "false", "[-m][0]");
        check_words("xfs", "ext4bigalloc", "true", NULL);
        check_words("ext4", "blocksize", "1024 -F /dev/sda", NULL);
        check_words("ext4", "blocksize", "", "[-m][0]");
        check_words("xfs", "mkfsOptions", " -m 'reflink=0'  -L \"a b\" ",
                    "[-m][reflink=0][-L][a b]");
        check_words("xfs", "mkfsOptions", "-L 'open", NULL);
        check_words("xfs", "other", "x", "");
}

static void test_rules(void **state) {
        FsMakeRequest request = {
                .device = "/dev/x", .size_bytes = GIB, .rules = &rules, .hosts = hosts};

        (void)state;
        request.n_hosts = set_hosts("6.1");
        request.tools[FS_TOOLS_XFSPROGS] = FS_VERSION(6, 1, 0);
        assert_int_equal(fs_make_plan(&request, &plan, &err), 0);
        assert_string_equal(plan.fs_type, "xfs");
        request.fs_type = "btrfs";
        assert_true(fs_make_plan(&request, &plan, &err) < 0);
}

/* This node, a floor, a file. */
static void test_cluster(void **state) {
        static const char *const bad[][2] = {{"new", NULL}, {"5.4", "5K"}, {"5.4", "4K,,64K"}};
        FsCluster cluster = {0};
        FsHost *set = NULL;
        size_t n = 0;

        (void)state;
        set_hosts("6.18/16");
        assert_int_equal(fs_cluster_hosts(&hosts[0], &cluster, &set, &n, &err), 0);
        assert_int_equal(n, 2);
        assert_int_equal(set[0].kernel, FS_VERSION(6, 18, 0));
        assert_int_equal(set[1].kernel, FS_VERSION(5, 4, 0));
        assert_int_equal(set[1].page_bytes, 16384);
        free(set);
        cluster.min_kernel = "4.18";
        cluster.page_sizes = "4K,64k";
        assert_int_equal(fs_cluster_hosts(&hosts[0], &cluster, &set, &n, &err), 0);
        assert_int_equal(n, 3);
        assert_int_equal(set[2].page_bytes, 65536);
        free(set);
        cluster.min_kernel = FS_CLUSTER_NONE;
        assert_int_equal(fs_cluster_hosts(&hosts[0], &cluster, &set, &n, &err), 0);
        assert_int_equal(n, 1);
        free(set);
        cluster.hosts_file = "/no/such/file";
        assert_int_equal(fs_cluster_hosts(&hosts[0], &cluster, &set, &n, &err), -ENOENT);
        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                cluster = (FsCluster){bad[i][0], bad[i][1], NULL};
                err = (Error){0};
                assert_true(fs_cluster_hosts(&hosts[0], &cluster, &set, &n, &err) < 0);
                assert_int_equal(err.code, ERROR_INVALID);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_recipes),  cmocka_unit_test(test_options),
                cmocka_unit_test(test_refusals), cmocka_unit_test(test_sizes),
                cmocka_unit_test(test_left_out), cmocka_unit_test(test_words),
                cmocka_unit_test(test_lines),    cmocka_unit_test(test_fit),
                cmocka_unit_test(test_rules),    cmocka_unit_test(test_cluster),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
