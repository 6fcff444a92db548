/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether an XFS log must be recovered, and in which byte order it was written.
 *
 * The log is a ring of 512-byte blocks. Every block starts with the number of the round ("cycle")
 * it was written in, so the head is where the number drops; a binary search finds it. The log is
 * clean if the record just before the head is an unmount record that ends there; else a mount
 * recovers. Recovery needs a kernel of the byte order that wrote it, which the record header tells
 * (h_fmt): the metadata are big endian everywhere, the log's items are the host's.
 *
 * As fs/xfs/xfs_log_recover.c, xlog_find_head() and xlog_check_unmount_rec(), without the scan for
 * torn writes: a torn log is dirty either way.
 */

#include "fs/formats/formats_internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"

#define LOG_MAGIC 0xfeedbabeU
#define BB        512U

/* A record is at most 256 KiB and its headers 8 blocks (XLOG_MAX_RECORD_BSIZE). */
#define RECORD_BLOCKS_MAX (512U + 8U)

#define ZEROED_BLOCKS_MAX 128U

#define UNMOUNT_TRANS 0x20U

typedef struct XfsLog {
        FsSource *source;
        uint64_t offset;
        uint64_t n_blocks;
        uint64_t lsn; /* of the superblock */
} XfsLog;

static uint32_t block_cycle(const uint8_t *block) {
        return be32(block) == LOG_MAGIC ? be32(block + 4) : be32(block);
}

static int read_cycle(const XfsLog *log, uint64_t block, uint32_t *cyclep) {
        uint8_t bytes[8] = {0};
        int r = source_read(log->source, log->offset + block * BB, bytes, sizeof(bytes));

        if (r == 0)
                *cyclep = block_cycle(bytes);
        return r;
}

/* The first block in (0, last] that has cycle @tail, where every block before it has another. */
static int search_cycle(const XfsLog *log, uint32_t tail, uint64_t *blockp) {
        uint64_t low = 0, high = log->n_blocks - 1;

        while (high - low > 1) {
                uint64_t middle = low + (high - low) / 2;
                uint32_t cycle = 0;
                int r = read_cycle(log, middle, &cycle);

                if (r < 0)
                        return r;
                if (cycle == tail)
                        high = middle;
                else
                        low = middle;
        }
        *blockp = high;
        return 0;
}

/* Of a log that was never written to its end, *headp back to the first of the blocks before it that
 * was not written either, as xlog_find_zeroed() scans them; 64 KiB of them. */
static int pull_back(const XfsLog *log, uint64_t *headp) {
        uint64_t n = *headp < ZEROED_BLOCKS_MAX ? *headp : ZEROED_BLOCKS_MAX, first = *headp - n;
        cleanup(freep) uint8_t *blocks = calloc(ZEROED_BLOCKS_MAX, BB);
        int r;

        if (!blocks)
                return -ENOMEM;
        r = source_read(log->source, log->offset + first * BB, blocks, (size_t)n * BB);
        for (uint64_t i = 0; r == 0 && i < n; i++) {
                if (block_cycle(blocks + i * BB) == 0) {
                        *headp = first + i;
                        break;
                }
        }
        return r;
}

/* Where the next record would go. @emptyp: the log was never written to. */
static int find_head(const XfsLog *log, uint64_t *headp, bool *emptyp) {
        uint32_t first = 0, last = 0;
        int r = read_cycle(log, 0, &first);

        if (r == 0)
                r = read_cycle(log, log->n_blocks - 1, &last);
        if (r < 0)
                return r;
        *emptyp = first == 0;
        if (first == 0 || first == last) {
                *headp = 0;
                return 0;
        }
        r = search_cycle(log, last, headp);
        return r == 0 && last == 0 ? pull_back(log, headp) : r;
}

/* The blocks before the head, oldest first; wraps around the ring. */
static int read_before(const XfsLog *log, uint64_t head, uint8_t *blocks, size_t n) {
        size_t n_direct = head < n ? (size_t)head : n, n_wrapped = n - n_direct;
        int r = 0;

        if (n_wrapped)
                r = source_read(log->source, log->offset + (log->n_blocks - n_wrapped) * BB, blocks,
                                n_wrapped * BB);
        if (r == 0 && n_direct)
                r = source_read(log->source, log->offset + (head - n_direct) * BB,
                                blocks + n_wrapped * BB, n_direct * BB);
        return r;
}

/* Blocks of a record: headers and body. Version 2 logs have one header block for each 32 KiB of the
 * buffer. */
static uint64_t record_headers(const uint8_t *header) {
        uint32_t size = be32(header + 0x140);

        return be32(header + 8) & 2 && size > 32768 ? (size + UINT64_C(32767)) / 32768 : 1;
}

static uint64_t record_blocks(const uint8_t *header) {
        return record_headers(header) + (be32(header + 0xc) + UINT64_C(BB - 1)) / BB;
}

/* @header: the last record's, @n_blocks from it to the head. */
static bool is_unmount(const uint8_t *header, uint64_t n_blocks) {
        uint64_t n_headers = record_headers(header);

        if (record_blocks(header) != n_blocks || n_headers >= n_blocks)
                return false;
        return be32(header + 0x28) == 1 && header[n_headers * BB + 9] & UNMOUNT_TRANS;
}

static FsByteOrder record_order(const uint8_t *header) {
        switch (be32(header + 0x12c)) {
        case 1:
                return FS_BYTE_ORDER_LITTLE;
        case 2:
                return FS_BYTE_ORDER_BIG;
        default:
                return FS_BYTE_ORDER_UNKNOWN;
        }
}

/* The last record that begins before @head, and @n_backp blocks from its start to the head. A clean
 * log ends in a record of a few blocks, so those are looked at first. *headerp is in *blocksp,
 * which the caller frees; NULL: there is none. */
static int last_record(const XfsLog *log, uint64_t head, uint8_t **blocksp, const uint8_t **headerp,
                       size_t *n_backp) {
        size_t n = log->n_blocks < RECORD_BLOCKS_MAX ? (size_t)log->n_blocks : RECORD_BLOCKS_MAX;

        *headerp = NULL;
        for (size_t n_tail = n < 16 ? n : 16;; n_tail = n) {
                int r;

                free(*blocksp);
                *blocksp = calloc(n_tail, BB);
                if (!*blocksp)
                        return -ENOMEM;
                r = read_before(log, head, *blocksp, n_tail);
                if (r < 0)
                        return r;
                for (size_t back = 1; back <= n_tail; back++) {
                        const uint8_t *header = *blocksp + (n_tail - back) * BB;

                        if (be32(header) != LOG_MAGIC)
                                continue;
                        *headerp = header;
                        *n_backp = back;
                        return 0;
                }
                if (n_tail == n)
                        return 0;
        }
}

/* A superblock from a later moment than the log tells means that the log is not its own
 * (xfs_log_check_lsn(), V5). */
static bool is_ahead(uint64_t lsn, uint32_t cycle, uint64_t head) {
        return lsn != UINT64_MAX &&
               (lsn >> 32 > cycle || (lsn >> 32 == cycle && (lsn & UINT32_MAX) > head));
}

static bool is_foreign(const FsVolume *volume, const uint8_t *header) {
        static const uint8_t nil[16];

        return memcmp(header + 0x130, volume->uuid, 16) != 0 &&
               memcmp(header + 0x130, nil, 16) != 0;
}

static int judge(const XfsLog *log, uint64_t head, FsVolume *volume) {
        cleanup(freep) uint8_t *blocks = NULL;
        const uint8_t *header = NULL;
        size_t n_back = 0;
        bool wrapped;
        int r = last_record(log, head, &blocks, &header, &n_back);

        /* A record that does not end at the head is no whole one: the head is where it begins. A
         * log that was cleared by a tool is like that, its head at its very start. */
        if (r == 0 && header && record_blocks(header) != n_back) {
                head = (head + log->n_blocks - n_back) % log->n_blocks;
                r = last_record(log, head, &blocks, &header, &n_back);
        }
        if (r < 0)
                return r;
        if (!header || is_foreign(volume, header)) {
                volume->log = FS_LOG_UNREADABLE;
                return 0;
        }
        wrapped = head < n_back;
        volume->log = is_unmount(header, n_back) ? FS_LOG_CLEAN : FS_LOG_DIRTY;
        volume->log_order = record_order(header);
        if (is_ahead(log->lsn, be32(header + 4) + wrapped, head))
                volume->log = FS_LOG_UNREADABLE;
        return 0;
}

int xfs_log_read(FsSource *source, uint64_t offset, uint64_t n_bytes, uint64_t lsn,
                 FsVolume *volume) {
        bool v5 = volume->words[FS_CLASS_VERSION] == 1U << 5;
        XfsLog log = {
                .source = source, .offset = offset, .n_blocks = n_bytes / BB, .lsn = v5 ? lsn : 0};
        uint64_t head = 0;
        bool empty = false;
        int r;

        if (log.n_blocks < 2) {
                volume->log = FS_LOG_UNREADABLE;
                return 0;
        }
        r = find_head(&log, &head, &empty);
        if (r == 0 && empty) {
                volume->log = is_ahead(log.lsn, 1, 0) ? FS_LOG_UNREADABLE : FS_LOG_CLEAN;
                return 0;
        }
        if (r == 0)
                r = judge(&log, head, volume);
        if (r < 0) {
                volume->log = FS_LOG_UNREADABLE;
                return source_is_image_fault(r) ? 0 : r;
        }
        return 0;
}
