/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking the kernel which XFS features it knows, since it lists them nowhere.
 *
 * A file of 4 KiB holds a superblock of a larger filesystem, with the bits in question. Its mount
 * always fails, and how it fails is the answer: EIO when everything was accepted and only the last
 * sector could not be read, EINVAL when a bit is unknown, ENOSYS when blocks are too large. This
 * sees distributions' backports without knowing their versions. Each question costs a loop device
 * for a moment and a few lines in the kernel's log, so known bits are asked together and the answer
 * is kept for this boot.
 *
 * The order of checks in xfs_fs_fill_super() that this rests on: superblock verifier, block size,
 * then the size of the device; the same from 3.10 to 7.3.
 */

#include "fs/hosts/hosts_internal.h"

#include "fs/volume/bytes.h"
#include "fs/volume/checksum.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"
#include "common/block/loop.h"
#include "common/mount/mount_api.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define IMAGE_BYTES 4096U
#define CACHE_NAME  "fs-probe.json"
#define CACHE_MAX   4096U

/* needsrepair answers EUCLEAN; metadir and zoned want more of the superblock than bits. */
#define XFS_INCOMPAT_NOT_ASKED 0x710U

typedef struct Question {
        bool v4;
        uint32_t ro_compat, incompat;
        uint32_t block_log;
} Question;

typedef enum Answer {
        ANSWER_NONE = 0, /* could not be asked */
        ANSWER_YES,
        ANSWER_NO,
} Answer;

/* A filesystem of 512 MiB with 4 KiB blocks (or larger), as mkfs.xfs lays it out. */
static void build_superblock(const Question *question, uint8_t sb[IMAGE_BYTES]) {
        static const uint8_t uuid[16] = {0xbe, 0x47, 0x68, 0, 0, 0, 0x40, 0,
                                         0x80, 0,    0,    0, 0, 0, 0,    1};
        uint32_t block_log = question->block_log, n_blocks = 1U << (29 - block_log);
        uint32_t chunk = 64U * 512U >> block_log; /* blocks of 64 inodes: their alignment */

        memset(sb, 0, IMAGE_BYTES);
        put_be32(sb, 0x58465342U);
        put_be32(sb + 4, 1U << block_log);
        put_be32(sb + 0xc, n_blocks);
        memcpy(sb + 0x20, uuid, sizeof(uuid));
        put_be32(sb + 0x34, n_blocks / 2 + 16); /* internal log in the third group */
        put_be32(sb + 0x3c, 128);               /* root, realtime bitmap, realtime summary */
        put_be32(sb + 0x44, 129);
        put_be32(sb + 0x4c, 130);
        put_be32(sb + 0x50, 1);
        put_be32(sb + 0x54, n_blocks / 4);
        put_be32(sb + 0x58, 4);
        put_be32(sb + 0x60, n_blocks / 8);
        put_be32(sb + 0x64, (question->v4 ? 0xb4a40200U : 0xb4a50200U)); /* version, sector size */
        put_be32(sb + 0x68, (512U << 16) | (1U << (block_log - 9)));     /* inode size, per block */
        sb[0x78] = (uint8_t)block_log;
        sb[0x79] = 9;
        sb[0x7a] = 9;
        sb[0x7b] = (uint8_t)(block_log - 9);
        sb[0x7c] = (uint8_t)(27 - block_log);
        sb[0x7f] = 25;
        put_be32(sb + 0x84, 64); /* inodes: 64 made, 61 free */
        put_be32(sb + 0x8c, 61);
        put_be32(sb + 0x94, n_blocks - n_blocks / 8 - 64);
        put_be32(sb + 0xb4, chunk ? chunk : 1);
        put_be32(sb + 0xc4, 1); /* log stripe */
        put_be32(sb + 0xc8, question->v4 ? 0x8aU : 0x18aU);
        put_be32(sb + 0xcc, question->v4 ? 0x8aU : 0x18aU);
        if (question->v4)
                return;
        put_be32(sb + 0xd4, question->ro_compat);
        put_be32(sb + 0xd8, question->incompat);
        if (question->incompat & 0x2U)
                put_be32(sb + 0xe4, chunk / 2); /* alignment of sparse inodes */
        if (question->incompat & 0x4U)
                memcpy(sb + 0xf8, uuid, sizeof(uuid));
        put_le32(sb + 0xe0, checksum_crc32c(UINT32_MAX, sb, 512) ^ UINT32_MAX);
}

static int attach(const Question *question, char path[LOOP_PATH_MAX], int *loop_fdp) {
        cleanup(closep) int fd = memfd_create("berth-xfs-probe", MFD_CLOEXEC);
        uint8_t image[IMAGE_BYTES];
        LoopConfig config = {.is_autoclear = true};
        unsigned int number;
        int r;

        if (fd < 0)
                return -errno;
        build_superblock(question, image);
        r = file_write_all(fd, image, sizeof(image));
        if (r < 0)
                return r;
        config.backing_fd = fd;
        r = loop_attach(&config, &number, loop_fdp);
        if (r == 0)
                loop_path(number, path);
        return r;
}

static Answer ask(const Question *question) {
        cleanup(closep) int loop_fd = -1, mount_fd = -1;
        char path[LOOP_PATH_MAX];
        MountContext context;
        MountSpec spec = {.fs_type = "xfs", .source = path};
        int r;

        if (attach(question, path, &loop_fd) < 0)
                return ANSWER_NONE;
        r = mount_new_detached(&spec, &context, &mount_fd);
        if (context.step != MOUNT_STEP_CREATE)
                return ANSWER_NONE;
        if (r == -EIO)
                return ANSWER_YES;
        return r == -EINVAL || r == -ENOSYS ? ANSWER_NO : ANSWER_NONE;
}

/* Bits of the table that can be asked for. */
static uint32_t table_bits(FsClass class) {
        uint32_t bits = 0;

        for (size_t i = 0; i < fs_n_features; i++) {
                if (fs_features[i].kind == FS_KIND_XFS && fs_features[i].class == class)
                        bits |= (uint32_t)fs_features[i].bit;
        }
        return class == FS_CLASS_INCOMPAT ? bits & ~XFS_INCOMPAT_NOT_ASKED : bits;
}

static Question question_for(FsClass class, uint32_t bits) {
        /* ftype is on every V5; EL7 and later know it, and mainline since 3.13. */
        Question question = {.block_log = 12, .incompat = 1};

        if (class == FS_CLASS_INCOMPAT)
                question.incompat |= bits;
        else
                question.ro_compat = bits;
        return question;
}

/* A "no" may also come from another field of our superblock: where the release alone is sure, it
 * stands. */
static void record(const FsHost *host, FsMask *mask, uint32_t bits, Answer answer) {
        if (answer == ANSWER_YES) {
                mask->have |= bits;
                mask->probed |= bits;
        } else if (!(mask->have & bits)) {
                mask->probed |= bits;
        } else if (host->confidence != FS_CONFIDENCE_HIGH) {
                mask->have &= ~(uint64_t)bits;
                mask->probed |= bits;
        }
}

/* A bit that nobody has must be refused, and no extra bit accepted; else the answers mean something
 * else here. */
static bool controls_hold(void) {
        Question none = {.block_log = 12, .incompat = 1};
        Question unknown = {.block_log = 12, .incompat = 1 | 1U << 30};

        return ask(&none) == ANSWER_YES && ask(&unknown) == ANSWER_NO;
}

/* What the table gives it is asked in one question; if that fails, and for the rest, bit by bit. */
static bool ask_class(FsHost *host, FsClass class) {
        FsMask *mask = &host->masks[FS_KIND_XFS][class];
        uint32_t bits = table_bits(class), likely = bits & (uint32_t)mask->have;
        Question question = question_for(class, likely);
        Answer answer = ask(&question);

        if (answer == ANSWER_NONE)
                return false;
        if (answer == ANSWER_YES) {
                record(host, mask, likely, answer);
                bits &= ~likely;
        }
        while (bits) {
                uint32_t bit = bits & (0 - bits);

                bits &= ~bit;
                question = question_for(class, bit);
                answer = ask(&question);
                if (answer == ANSWER_NONE)
                        return false;
                record(host, mask, bit, answer);
        }
        return true;
}

static void ask_gate(FsHost *host, FsGate gate, Question question) {
        Answer answer;

        if (host->gates[gate] != FS_TRI_UNKNOWN)
                return;
        answer = ask(&question);
        if (answer == ANSWER_NONE)
                return;
        host->gates[gate] = answer == ANSWER_YES ? FS_TRI_YES : FS_TRI_NO;
        host->gate_evidence[gate] = FS_EVIDENCE_PROBE;
}

/* --- the answers of this boot --- */

static int read_boot_id(char *text, size_t n) {
        cleanup(freep) char *id = NULL;
        int r = file_read_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &id, NULL);

        if (r < 0)
                return r;
        str_trim_end(id);
        snprintf(text, n, "%s", id);
        return 0;
}

static bool restore_mask(const json_t *object, const char *key, FsMask *mask) {
        const json_t *pair = json_object_get(object, key);
        json_int_t have = json_integer_value(json_array_get(pair, 0));
        json_int_t probed = json_integer_value(json_array_get(pair, 1));

        if (json_array_size(pair) != 2)
                return false;
        mask->have = (mask->have & ~(uint64_t)probed) | ((uint64_t)have & (uint64_t)probed);
        mask->probed = (uint64_t)probed;
        return true;
}

static bool restore(FsHost *host, const char *cache_dir, const char *boot_id) {
        cleanup(freep) char *path = str_printf("%s/" CACHE_NAME, cache_dir), *text = NULL;
        json_t *object;
        bool ok;

        if (!path || file_read_at(AT_FDCWD, path, CACHE_MAX, &text, NULL) < 0)
                return false;
        object = json_loads(text, 0, NULL);
        ok = str_equal(json_string_value(json_object_get(object, "boot_id")), boot_id) &&
             str_equal(json_string_value(json_object_get(object, "release")), host->release) &&
             restore_mask(object, "ro_compat", &host->masks[FS_KIND_XFS][FS_CLASS_RO_COMPAT]) &&
             restore_mask(object, "incompat", &host->masks[FS_KIND_XFS][FS_CLASS_INCOMPAT]);
        if (ok && json_is_boolean(json_object_get(object, "v4")) &&
            host->gates[FS_GATE_XFS_V4] == FS_TRI_UNKNOWN) {
                host->gates[FS_GATE_XFS_V4] =
                        json_is_true(json_object_get(object, "v4")) ? FS_TRI_YES : FS_TRI_NO;
                host->gate_evidence[FS_GATE_XFS_V4] = FS_EVIDENCE_PROBE;
        }
        json_decref(object);
        return ok;
}

static void keep(const FsHost *host, const char *cache_dir, const char *boot_id) {
        const FsMask *ro = &host->masks[FS_KIND_XFS][FS_CLASS_RO_COMPAT];
        const FsMask *incompat = &host->masks[FS_KIND_XFS][FS_CLASS_INCOMPAT];
        json_t *object =
                json_pack("{s:s, s:s, s:[I, I], s:[I, I]}", "boot_id", boot_id, "release",
                          host->release, "ro_compat", (json_int_t)ro->have, (json_int_t)ro->probed,
                          "incompat", (json_int_t)incompat->have, (json_int_t)incompat->probed);
        cleanup(freep) char *path = str_printf("%s/" CACHE_NAME, cache_dir), *text = NULL;

        if (object && host->gates[FS_GATE_XFS_V4] != FS_TRI_UNKNOWN)
                json_object_set_new(object, "v4",
                                    json_boolean(host->gates[FS_GATE_XFS_V4] == FS_TRI_YES));
        text = json_dumps(object, JSON_COMPACT);
        json_decref(object);
        /* A cache that cannot be written only costs the questions again. */
        if (path && text && file_make_directories(cache_dir, 0755) == 0)
                (void)file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644);
}

void host_probe(FsHost *host, const char *cache_dir) {
        char boot_id[64] = "";
        bool cached = cache_dir && read_boot_id(boot_id, sizeof(boot_id)) == 0;

        if (host->drivers[FS_KIND_XFS] == FS_TRI_NO)
                return;
        if (cached && restore(host, cache_dir, boot_id))
                return;
        if (!controls_hold())
                return;
        if (!ask_class(host, FS_CLASS_INCOMPAT) || !ask_class(host, FS_CLASS_RO_COMPAT))
                return;
        ask_gate(host, FS_GATE_XFS_V4, (Question){.v4 = true, .block_log = 12});
        if (host->page_bytes < 65536 && host->kernel >= FS_VERSION(6, 12, 0))
                ask_gate(host, FS_GATE_THP, (Question){.incompat = 1, .block_log = 16});
        if (cached)
                keep(host, cache_dir, boot_id);
}
