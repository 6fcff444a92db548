/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of tools: data and nothing else. See fs/tools/tools.h. */

#include "fs/tools/tools.h"

#include <linux/capability.h>

#define KIB          UINT64_C(1024)
#define MIB          (1024 * KIB)
#define GIB          (1024 * MIB)
#define TIB          (1024 * GIB)
#define ANY          FS_VERSION_ANY
#define V(a, b, c)   FS_VERSION(a, b, c)
#define EXT          FS_KIND_EXT
#define XFS          FS_KIND_XFS
#define BTR          FS_KIND_BTRFS
#define F2F          FS_KIND_F2FS
#define REFUSED      FS_OPTION_REFUSED, 0, 0, NULL, ANY
#define IGNORED      FS_OPTION_IGNORED, 0, 0, NULL, ANY, NULL
#define FLAG         FS_OPTION_FLAG, 0, 0, NULL, ANY, NULL
#define FEATURES     FS_OPTION_FEATURES, 0, 0, NULL, ANY, NULL
#define WORDS(w)     FS_OPTION_WORDS, 0, 0, w, ANY, NULL
#define NUMBER(a, b) FS_OPTION_NUMBER, a, b, NULL, ANY, NULL
#define SIZE(a, b)   FS_OPTION_SIZE, a, b, NULL, ANY, NULL
#define POWER2(a, b) FS_OPTION_POWER2, a, b, NULL, ANY, NULL
#define TEXT(n)      FS_OPTION_TEXT, 0, n, NULL, ANY, NULL
#define ALIAS(w)     FS_OPTION_ALIAS, 0, 0, w, ANY, NULL

#define ONE_DEVICE "a volume is one device"
#define OWN_UUID   "every volume has a UUID of its own"
#define OTHER_FILE "it names a file of the node"
#define NO_FORCE   "only what is proven blank is formatted, and nothing is forced"
#define WHOLE      "the filesystem has the size of its volume"

/* mkfs.xfs does not go on when BLKBSZSET is refused. */
#define SET_BLOCK_SIZE (UINT64_C(1) << CAP_SYS_ADMIN)

/* clang-format off */
/* mke2fs reads /etc/mke2fs.conf, which differs by distribution and hand: an empty one in its place,
 * and -F where it misses its list of types in it. resize2fs up to 1.47.4 destroys an ext4 without
 * meta_bg that grows more than 1024 times at once ("Illegal doubly indirect block"). The kernel
 * refuses any resize of a btrfs to less than 256 MiB, to a larger size as well. */
const FsToolset fs_toolsets[] = {
{EXT, FS_TOOLS_E2FSPROGS, "e2fsprogs",   {"mke2fs", "e2fsck", "resize2fs"}, "-V",        "MKE2FS_CONFIG=/dev/null", "-F", 0, 0, 256},
{XFS, FS_TOOLS_XFSPROGS,  "xfsprogs",    {"mkfs.xfs", NULL, NULL},          "-V",        NULL, NULL, 0, SET_BLOCK_SIZE, 0},
{BTR, FS_TOOLS_BTRFS,     "btrfs_progs", {"mkfs.btrfs", NULL, NULL},        "--version", NULL, NULL, 256 * MIB, 0, 0},
{F2F, FS_TOOLS_F2FS,      "f2fs_tools",  {"mkfs.f2fs", "fsck.f2fs", NULL},  "-V",        NULL, NULL, 0, 0, 0},
};
const size_t fs_n_toolsets = sizeof(fs_toolsets) / sizeof(fs_toolsets[0]);

const FsToolOption fs_tool_options[] = {
{EXT, 'b', "", POWER2(1024, 65536)},
{EXT, 'C', "", POWER2(1024, 512 * MIB)},
{EXT, 'G', "", POWER2(2, 1U << 20)},
{EXT, 'i', "", SIZE(1024, 64 * MIB)},
{EXT, 'I', "", POWER2(128, 65536)},
{EXT, 'L', "", TEXT(16)},
{EXT, 'm', "", FS_OPTION_PERCENT, 0, 50, NULL, ANY, NULL},
{EXT, 'N', "", NUMBER(16, UINT32_MAX)},
{EXT, 'e', "", WORDS("continue|remount-ro")},
{EXT, 'O', "", FEATURES},
{EXT, 'E', "nodiscard", FLAG},
{EXT, 'E', "discard", FLAG},
{EXT, 'E', "lazy_itable_init", WORDS("0|1")},
{EXT, 'E', "lazy_journal_init", WORDS("0|1")},
{EXT, 'E', "packed_meta_blocks", WORDS("0|1")},
{EXT, 'E', "stride", NUMBER(1, 65536)},
{EXT, 'E', "stripe_width", NUMBER(1, 1U << 20)},
{EXT, 'E', "stripe-width", NUMBER(1, 1U << 20)},
{EXT, 'E', "root_owner", REFUSED, "ask for fsGroup"},
{EXT, 'E', "resize", REFUSED, "ask for what it is meant to grow to (berth.dev/fs-grow-to)"},
{EXT, 'J', "size", NUMBER(4, 10240)},
{EXT, 'J', "device", REFUSED, ONE_DEVICE},
{EXT, 'J', "location", REFUSED, "mke2fs places the journal"},
{EXT, 'j', "", FLAG},
{EXT, 'F', "", REFUSED, NO_FORCE},
{EXT, 'q', "", IGNORED},
{EXT, 'v', "", IGNORED},
{EXT, 'D', "", IGNORED},
{EXT, 'c', "", REFUSED, "a search for bad blocks reads the whole volume"},
{EXT, 'd', "", REFUSED, OTHER_FILE},
{EXT, 'g', "", REFUSED, "mke2fs sizes the block groups"},
{EXT, 'l', "", REFUSED, OTHER_FILE},
{EXT, 'M', "", REFUSED, "it names a path of the node"},
{EXT, 'o', "", REFUSED, "only Linux mounts it"},
{EXT, 'r', "", REFUSED, "revision 0 has no features"},
{EXT, 'T', "", REFUSED, "mke2fs.conf is not read: give -b, -i and -I"},
{EXT, 'U', "", REFUSED, OWN_UUID},
{EXT, 'z', "", REFUSED, OTHER_FILE},

{XFS, 'b', "size", POWER2(512, 65536)},
{XFS, 's', "size", POWER2(512, 32768)},
{XFS, 'd', "agcount", NUMBER(2, 1000000)},
{XFS, 'd', "agsize", SIZE(16 * MIB, TIB - 512)},
{XFS, 'd', "su", SIZE(512, 16 * MIB)},
{XFS, 'd', "sw", NUMBER(1, 1024)},
{XFS, 'd', "sunit", NUMBER(1, 32768)},
{XFS, 'd', "swidth", NUMBER(1, 1U << 20)},
{XFS, 'd', "noalign", FLAG},
{XFS, 'd', "name", REFUSED, ONE_DEVICE},
{XFS, 'd', "file", REFUSED, ONE_DEVICE},
{XFS, 'd', "size", REFUSED, WHOLE},
{XFS, 'i', "size", POWER2(256, 2048)},
{XFS, 'i', "maxpct", NUMBER(0, 100)},
{XFS, 'l', "size", SIZE(64 * MIB, 2000 * MIB)},
{XFS, 'l', "su", POWER2(4096, 256 * KIB)},
{XFS, 'l', "internal", WORDS("1")},
{XFS, 'l', "version", WORDS("2")},
{XFS, 'l', "lazy-count", WORDS("1")},
{XFS, 'l', "logdev", REFUSED, ONE_DEVICE},
{XFS, 'l', "name", REFUSED, ONE_DEVICE},
{XFS, 'l', "file", REFUSED, ONE_DEVICE},
{XFS, 'm', "crc", WORDS("0|1")},
{XFS, 'm', "uuid", REFUSED, OWN_UUID},
{XFS, 'n', "size", POWER2(4096, 65536)},
{XFS, 'n', "version", WORDS("2|ci")},
{XFS, 'L', "", TEXT(12)},
{XFS, 'K', "", FLAG},
{XFS, 'f', "", REFUSED, NO_FORCE},
{XFS, 'q', "", IGNORED},
{XFS, 'c', "", REFUSED, "a file decides what is not judged: give its options themselves"},
{XFS, 'N', "", REFUSED, "it only pretends"},
{XFS, 'p', "", REFUSED, OTHER_FILE},
{XFS, 'r', "", REFUSED, ONE_DEVICE},

{BTR, 's', "", POWER2(4096, 65536)},
{BTR, 'n', "", POWER2(4096, 65536)},
{BTR, 'd', "", WORDS("single|dup")},
{BTR, 'm', "", WORDS("single|dup")},
{BTR, 'L', "", TEXT(255)},
{BTR, 'O', "", FEATURES},
{BTR, 'R', "", FEATURES},
{BTR, 'M', "", FLAG},
{BTR, 'K', "", FLAG},
{BTR, 'f', "", REFUSED, NO_FORCE},
{BTR, 'q', "", IGNORED},
{BTR, 'v', "", IGNORED},
{BTR, 'A', "", REFUSED, "mkfs.btrfs places the chunks"},
{BTR, 'b', "", REFUSED, WHOLE},
{BTR, 'l', "", REFUSED, "give -n"},
{BTR, 'r', "", REFUSED, OTHER_FILE},
{BTR, 'U', "", REFUSED, OWN_UUID},
{BTR, 0, "--csum", FS_OPTION_WORDS, 0, 0, "crc32c|xxhash|xxhash64|sha256|blake2|blake2b", V(5, 5, 0), NULL},
{BTR, 0, "--checksum", ALIAS("--csum")},
{BTR, 0, "--data", ALIAS("d")},
{BTR, 0, "--metadata", ALIAS("m")},
{BTR, 0, "--mixed", ALIAS("M")},
{BTR, 0, "--nodesize", ALIAS("n")},
{BTR, 0, "--sectorsize", ALIAS("s")},
{BTR, 0, "--features", ALIAS("O")},
{BTR, 0, "--runtime-features", ALIAS("R")},
{BTR, 0, "--nodiscard", ALIAS("K")},
{BTR, 0, "--label", ALIAS("L")},
{BTR, 0, "--uuid", REFUSED, OWN_UUID},
{BTR, 0, "--rootdir", REFUSED, OTHER_FILE},

{F2F, 'a', "", WORDS("0|1")},
{F2F, 'l', "", TEXT(255)},
{F2F, 'o', "", NUMBER(1, 50)},
{F2F, 's', "", POWER2(1, 4)},
{F2F, 'z', "", POWER2(1, 4)},
{F2F, 't', "", WORDS("0|1")},
{F2F, 'i', "", FLAG},
{F2F, 'O', "", FEATURES},
{F2F, 'f', "", REFUSED, NO_FORCE},
{F2F, 'q', "", IGNORED},
{F2F, 'c', "", REFUSED, ONE_DEVICE},
{F2F, 'C', "", REFUSED, "casefold is not offered for f2fs"},
{F2F, 'm', "", REFUSED, "zoned devices are not offered"},
{F2F, 'U', "", REFUSED, OWN_UUID},
};
const size_t fs_n_tool_options = sizeof(fs_tool_options) / sizeof(fs_tool_options[0]);

const FsToolRule fs_tool_rules[] = {
{EXT, 'O', "orphan_file", false, 'O', "has_journal"},
{EXT, 'O', "fast_commit", false, 'O', "has_journal"},
{EXT, 'J', "size", false, 'O', "has_journal"},
{EXT, 'O', "64bit", false, 'O', "extent"},
{EXT, 'O', "bigalloc", false, 'O', "extent"},
{EXT, 'C', "", false, 'O', "bigalloc"},
{EXT, 'G', "", false, 'O', "flex_bg"},
{EXT, 'O', "meta_bg", true, 'O', "resize_inode"},
{EXT, 'O', "resize_inode", false, 'O', "sparse_super"},
/* The resize inode is larger than 2 GiB by its holes. */
{EXT, 'O', "resize_inode", false, 'O', "large_file"},
/* One or the other protects group descriptors. */
{EXT, 'O', "uninit_bg", true, 'O', "metadata_csum"},
{EXT, 'O', "metadata_csum_seed", false, 'O', "metadata_csum"},
{EXT, 'O', "casefold", true, 'O', "encrypt"},

{XFS, 'm', "finobt", false, 'm', "crc"},
{XFS, 'm', "rmapbt", false, 'm', "crc"},
{XFS, 'm', "reflink", false, 'm', "crc"},
{XFS, 'm', "inobtcount", false, 'm', "crc"},
{XFS, 'm', "bigtime", false, 'm', "crc"},
{XFS, 'm', "metadir", false, 'm', "crc"},
{XFS, 'i', "sparse", false, 'm', "crc"},
{XFS, 'i', "nrext64", false, 'm', "crc"},
{XFS, 'i', "exchange", false, 'm', "crc"},
{XFS, 'n', "parent", false, 'm', "crc"},
{XFS, 'm', "inobtcount", false, 'm', "finobt"},
{XFS, 'm', "metadir", false, 'i', "exchange"},
{XFS, 'd', "su", false, 'd', "sw"},
{XFS, 'd', "sw", false, 'd', "su"},
{XFS, 'd', "sunit", false, 'd', "swidth"},
{XFS, 'd', "swidth", false, 'd', "sunit"},
{XFS, 'd', "su", true, 'd', "sunit"},
{XFS, 'd', "noalign", true, 'd', "su"},
{XFS, 'd', "noalign", true, 'd', "sunit"},
{XFS, 'd', "agsize", true, 'd', "agcount"},
{XFS, 'd', "agsize", true, 'd', "su"},
{XFS, 'd', "agsize", true, 'd', "sunit"},

{BTR, 'O', "block-group-tree", false, 'O', "no-holes"},
{BTR, 'O', "block-group-tree", false, 'R', "free-space-tree"},

{F2F, 'O', "project_quota", false, 'O', "extra_attr"},
{F2F, 'O', "inode_checksum", false, 'O', "extra_attr"},
{F2F, 'O', "flexible_inline_xattr", false, 'O', "extra_attr"},
{F2F, 'O', "inode_crtime", false, 'O', "extra_attr"},
{F2F, 'O', "compression", false, 'O', "extra_attr"},
};
const size_t fs_n_tool_rules = sizeof(fs_tool_rules) / sizeof(fs_tool_rules[0]);
/* clang-format on */
