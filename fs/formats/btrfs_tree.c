/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a mount of btrfs reads behind the superblock: the array of system chunks in it, the chunk
 * tree that they lead to, then the roots of the tree of trees and of the log. Layouts: struct
 * btrfs_chunk, btrfs_header, btrfs_item, btrfs_key_ptr, btrfs_dev_item.
 *
 * Rules: btrfs_check_chunk_valid(), btrfs_validate_extent_buffer(), btrfs_verify_dev_extents() and
 * btrfs_read_chunk_tree() of Linux 6.18.
 */

#include "fs/formats/formats_internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"

#define KEY_BYTES    17U
#define CHUNK_BYTES  48U /* before its stripes */
#define STRIPE_BYTES 32U
#define STRIPE_LEN   65536U
#define HEADER_BYTES 101U
#define ITEM_BYTES   25U
#define PTR_BYTES    33U

#define KEY_CHUNK  228U
#define KEY_DEVICE 216U

#define TYPE_DATA     0x1U
#define TYPE_SYSTEM   0x2U
#define TYPE_METADATA 0x4U
#define TYPE_KNOWN    0x7ffU
#define PROFILES      0x7f8U
#define RAID1         0x10U
#define DUP           0x20U
#define RAID10        0x40U
#define RAID1C3       0x200U
#define RAID1C4       0x400U
/* Each stripe of these is a copy of the whole. */
#define COPIES (RAID1 | DUP | RAID1C3 | RAID1C4)

#define KEY_ROOT        132U
#define KEY_METADATA    169U
#define ROOT_ITEM_BYTES 239U

#define TREE_ROOT   1U
#define TREE_EXTENT 2U
#define TREE_CHUNK  3U
#define TREE_GROUPS 11U
#define TREE_LOG    (UINT64_MAX - 5)

#define INCOMPAT_SKINNY        0x100U
#define INCOMPAT_METADATA_UUID 0x400U
#define RO_GROUP_TREE          0x8U

static uint64_t key_offset(const uint8_t *key) {
        return le64(key + 9);
}

static uint16_t n_stripes(const uint8_t *chunk) {
        return le16(chunk + 44);
}

static size_t chunk_bytes(const uint8_t *chunk) {
        return CHUNK_BYTES + (size_t)n_stripes(chunk) * STRIPE_BYTES;
}

/* --- the array in the superblock --- */

static bool stripes_ok(uint64_t type, const uint8_t *chunk) {
        uint16_t n = n_stripes(chunk);

        switch (type & PROFILES) {
        case 0:
                return n == 1;
        case RAID1:
        case DUP:
                return n == 2;
        case RAID1C3:
                return n == 3;
        case RAID1C4:
                return n == 4;
        case RAID10:
                return n >= 2 && n % 2 == 0 && le16(chunk + 46) == 2;
        default: /* RAID0, RAID5, RAID6 */
                return n >= 1;
        }
}

static bool chunk_ok(const uint8_t *sb, const uint8_t *key, const uint8_t *chunk) {
        uint64_t type = le64(chunk + 24), length = le64(chunk);
        uint64_t profile = type & PROFILES, end;
        uint32_t sector = le32(sb + 0x90);

        return key[8] == KEY_CHUNK && key_offset(key) % sector == 0 && length &&
               length % sector == 0 && !__builtin_add_overflow(key_offset(key), length, &end) &&
               length < (uint64_t)UINT32_MAX * STRIPE_LEN && le64(chunk + 16) == STRIPE_LEN &&
               le32(chunk + 40) == sector && type & TYPE_SYSTEM &&
               !(type & (TYPE_DATA | TYPE_METADATA)) && !(type & ~(uint64_t)TYPE_KNOWN) &&
               (profile & (profile - 1)) == 0 && stripes_ok(type, chunk);
}

static bool is_ours(const uint8_t *sb, const uint8_t *stripe) {
        return le64(stripe) == le64(sb + 0xc9) && memcmp(stripe + 16, sb + 0x10b, 16) == 0;
}

/* The item of the array at *@at, which moves on. NULL at the end, and where one is cut off. */
static const uint8_t *next_chunk(const uint8_t *sb, size_t *at, const uint8_t **key) {
        size_t n = le32(sb + 0xa0);
        const uint8_t *chunk;

        *key = sb + 0x32b + *at;
        chunk = *key + KEY_BYTES;
        if (n - *at < KEY_BYTES + CHUNK_BYTES || n - *at - KEY_BYTES < chunk_bytes(chunk))
                return NULL;
        *at += KEY_BYTES + chunk_bytes(chunk);
        return chunk;
}

static void check_array(const uint8_t *sb, FsVolume *volume) {
        const uint8_t *key, *chunk;
        size_t at = 0;

        while (at < le32(sb + 0xa0)) {
                chunk = next_chunk(sb, &at, &key);
                if (!chunk || !chunk_ok(sb, key, chunk)) {
                        volume_malformed(volume, "system chunk array");
                        return;
                }
                for (uint16_t i = 0; i < n_stripes(chunk) && volume->n_devices == 1; i++) {
                        if (!is_ours(sb, chunk + CHUNK_BYTES + (size_t)i * STRIPE_BYTES))
                                volume_malformed(volume, "system chunk on another device");
                }
        }
}

/* --- nodes --- */

/* A node with room for the largest; freed by the caller. */
typedef struct Node {
        uint64_t address, generation, owner;
        uint8_t level;
        uint8_t *bytes;
} Node;

static bool node_is_sound(const uint8_t *sb, const Node *node) {
        const uint8_t *p = node->bytes;
        uint32_t n = le32(sb + 0x94), n_items = le32(p + 96);
        bool moved = le64(sb + 0xbc) & INCOMPAT_METADATA_UUID;

        return le64(p + 48) == node->address && le64(p + 80) == node->generation &&
               le64(p + 88) == node->owner && p[100] == node->level &&
               memcmp(p + 32, sb + (moved ? 0x23b : 0x20), 16) == 0 &&
               btrfs_checksum(le16(sb + 0xc4), p, n) == FS_CHECKSUM_GOOD &&
               n_items <= (n - HEADER_BYTES) / (node->level ? PTR_BYTES : ITEM_BYTES);
}

/* Whatever copy of it on this device is sound. 0; FS_E_NONE if none is; -errno. */
static int node_read(FsSource *source, const uint8_t *sb, const uint8_t *key, const uint8_t *chunk,
                     Node *node) {
        uint64_t within = node->address - key_offset(key);

        for (uint16_t i = 0; i < n_stripes(chunk) && i < 4; i++) {
                const uint8_t *stripe = chunk + CHUNK_BYTES + (size_t)i * STRIPE_BYTES;
                uint64_t at;
                int r;

                if (!is_ours(sb, stripe) || __builtin_add_overflow(le64(stripe + 8), within, &at))
                        continue;
                r = source_read(source, at, node->bytes, le32(sb + 0x94));
                if (r < 0 && !source_is_image_fault(r))
                        return r;
                if (r == 0 && node_is_sound(sb, node))
                        return 0;
        }
        return FS_E_NONE;
}

static bool holds(const uint8_t *key, const uint8_t *chunk, uint64_t address) {
        return address >= key_offset(key) && address - key_offset(key) < le64(chunk);
}

/* Nodes of the chunk tree are in the chunks of the array. */
static int read_chunk_node(FsSource *source, const uint8_t *sb, Node *node) {
        const uint8_t *key, *chunk;
        size_t at = 0;

        while (at < le32(sb + 0xa0) && (chunk = next_chunk(sb, &at, &key))) {
                if (holds(key, chunk, node->address))
                        return node_read(source, sb, key, chunk, node);
        }
        return FS_E_NONE;
}

/* An item of a leaf and its bytes, at least @n_min of them. NULL: it lies outside. */
static const uint8_t *leaf_item(const uint8_t *sb, const uint8_t *leaf, uint32_t i, size_t n_min,
                                const uint8_t **key) {
        uint32_t room = le32(sb + 0x94) - HEADER_BYTES;
        uint32_t at, n;

        *key = leaf + HEADER_BYTES + (size_t)i * ITEM_BYTES;
        at = le32(*key + KEY_BYTES);
        n = le32(*key + KEY_BYTES + 4);
        if (n < n_min || at > room || n > room - at)
                return NULL;
        return leaf + HEADER_BYTES + at;
}

/* The chunk of a leaf with this address, whole. */
static const uint8_t *leaf_chunk(const uint8_t *sb, const uint8_t *leaf, uint64_t address,
                                 const uint8_t **key) {
        for (uint32_t i = 0; i < le32(leaf + 96); i++) {
                const uint8_t *chunk = leaf_item(sb, leaf, i, CHUNK_BYTES, key);

                if (!chunk || (*key)[8] != KEY_CHUNK ||
                    chunk_bytes(chunk) > le32(*key + KEY_BYTES + 4))
                        continue;
                if (holds(*key, chunk, address))
                        return chunk;
        }
        return NULL;
}

/* Down from the root to the leaf that would have the chunk of @address. */
static int descend(FsSource *source, const uint8_t *sb, uint64_t address, Node *node) {
        while (node->level > 0) {
                const uint8_t *ptr = node->bytes + HEADER_BYTES;
                uint32_t n = le32(node->bytes + 96);
                int r;

                for (uint32_t i = 1;
                     i < n && le64(ptr + PTR_BYTES) <= 256 &&
                     (ptr[PTR_BYTES + 8] < KEY_CHUNK || key_offset(ptr + PTR_BYTES) <= address);
                     i++)
                        ptr += PTR_BYTES;
                node->address = le64(ptr + KEY_BYTES);
                node->generation = le64(ptr + KEY_BYTES + 8);
                node->level--;
                r = read_chunk_node(source, sb, node);
                if (r != 0)
                        return r;
        }
        return 0;
}

/* --- what they say --- */

/* Kernels keep what the array says, and hold it against the extents of the devices. */
static bool array_fits(const uint8_t *sb, const uint8_t *leaf) {
        const uint8_t *key, *chunk, *other_key, *other;
        size_t at = 0;

        while (at < le32(sb + 0xa0) && (chunk = next_chunk(sb, &at, &key))) {
                other = leaf_chunk(sb, leaf, key_offset(key), &other_key);
                if (!other || key_offset(other_key) != key_offset(key) ||
                    le64(other) != le64(chunk) || le64(other + 24) != le64(chunk + 24) ||
                    n_stripes(other) != n_stripes(chunk) ||
                    memcmp(other + CHUNK_BYTES, chunk + CHUNK_BYTES,
                           (size_t)n_stripes(chunk) * STRIPE_BYTES) != 0)
                        return false;
        }
        return true;
}

/* Of devices the chunk tree tells, not the superblock: since 5.17 its number is only mended. */
static void read_devices(const uint8_t *sb, const uint8_t *leaf, FsVolume *volume) {
        uint64_t total = 0;
        uint32_t n = 0;

        for (uint32_t i = 0; i < le32(leaf + 96); i++) {
                const uint8_t *key, *item = leaf_item(sb, leaf, i, 98, &key);

                if (!item || key[8] != KEY_DEVICE)
                        continue;
                n++;
                total += le64(item + 8);
                if (le64(item) == le64(sb + 0xc9))
                        volume->fs_bytes = le64(item + 8);
        }
        if (n)
                volume->n_devices = n;
        if (n && le64(sb + 0x70) < total)
                volume_malformed(volume, "total bytes");
}

/* The root of a tree that the superblock names, which any chunk may hold. 0 as well where its
 * chunk is spread over devices: then nothing is said. */
static int check_root(FsSource *source, const uint8_t *sb, const Node *chunks, Node *root) {
        const uint8_t *key, *chunk;
        cleanup(freep) uint8_t *bytes = malloc(le32(sb + 0x94));
        Node leaf = *chunks;
        int r;

        if (!bytes)
                return -ENOMEM;
        memcpy(bytes, chunks->bytes, le32(sb + 0x94));
        leaf.bytes = bytes;
        r = descend(source, sb, root->address, &leaf);
        if (r != 0)
                return r;
        chunk = leaf_chunk(sb, bytes, root->address, &key);
        if (!chunk)
                return FS_E_NONE;
        if (le64(chunk + 24) & PROFILES & ~(uint64_t)COPIES)
                return 0;
        return node_read(source, sb, key, chunk, root);
}

/* The root item of a tree, in the root of the tree of trees. NULL: none, or it is further down. */
static const uint8_t *find_root(const uint8_t *sb, const Node *root, uint64_t tree) {
        for (uint32_t i = 0; root->level == 0 && i < le32(root->bytes + 96); i++) {
                const uint8_t *key, *item = leaf_item(sb, root->bytes, i, ROOT_ITEM_BYTES, &key);

                if (item && le64(key) == tree && key[8] == KEY_ROOT)
                        return item;
        }
        return NULL;
}

/* Short keys of metadata are no keys where the feature is not set: check_extent_item(). */
static int check_extents(FsSource *source, const uint8_t *sb, const Node *chunks,
                         const uint8_t *item, FsVolume *volume) {
        cleanup(freep) uint8_t *bytes = calloc(1, le32(sb + 0x94));
        Node node = {le64(item + 176), le64(item + 160), TREE_EXTENT, item[238], bytes};
        size_t stride = node.level ? PTR_BYTES : ITEM_BYTES;
        int r;

        if (!bytes)
                return -ENOMEM;
        r = check_root(source, sb, chunks, &node);
        if (r != 0)
                return r < 0 ? r : 0;
        for (uint32_t i = 0; i < le32(bytes + 96); i++) {
                if (bytes[HEADER_BYTES + i * stride + 8] == KEY_METADATA)
                        volume_malformed(volume, "metadata keys without skinny_metadata");
        }
        return 0;
}

static int check_features(FsSource *source, const uint8_t *sb, const Node *chunks, const Node *root,
                          FsVolume *volume) {
        const uint8_t *extents = find_root(sb, root, TREE_EXTENT);

        /* In a tree of trees of several levels nothing is looked up. */
        if (root->level > 0)
                return 0;
        if (le64(sb + 0xb4) & RO_GROUP_TREE && !find_root(sb, root, TREE_GROUPS))
                volume_malformed(volume, "no block group tree");
        if (!extents || le64(sb + 0xbc) & INCOMPAT_SKINNY)
                return 0;
        return check_extents(source, sb, chunks, extents, volume);
}

static int check_roots(FsSource *source, const uint8_t *sb, const Node *chunks, FsVolume *volume) {
        cleanup(freep) uint8_t *bytes = calloc(1, le32(sb + 0x94));
        Node root = {le64(sb + 0x50), le64(sb + 0x48), TREE_ROOT, sb[0xc6], bytes};
        Node log = {le64(sb + 0x60), le64(sb + 0x48) + 1, TREE_LOG, sb[0xc8], bytes};
        int r;

        if (!bytes)
                return -ENOMEM;
        r = check_root(source, sb, chunks, &root);
        if (r == FS_E_NONE)
                volume_malformed(volume, "tree root");
        else if (r == 0)
                r = check_features(source, sb, chunks, &root, volume);
        if (r != 0 || log.address == 0)
                return r < 0 ? r : 0;
        r = check_root(source, sb, chunks, &log);
        if (r == FS_E_NONE)
                volume->log = FS_LOG_UNREADABLE;
        return r < 0 ? r : 0;
}

int btrfs_check_trees(FsSource *source, const uint8_t *sb, FsVolume *volume) {
        cleanup(freep) uint8_t *bytes = malloc(le32(sb + 0x94));
        Node chunks = {le64(sb + 0x58), le64(sb + 0xa4), TREE_CHUNK, sb[0xc7], bytes};
        int r;

        if (!bytes)
                return -ENOMEM;
        check_array(sb, volume);
        if (volume->state & FS_STATE_MALFORMED)
                return 0;
        r = read_chunk_node(source, sb, &chunks);
        /* With several devices it may be on another one. */
        if (r == FS_E_NONE && volume->n_devices == 1)
                volume_malformed(volume, "chunk tree root");
        if (r != 0)
                return r < 0 ? r : 0;
        if (chunks.level == 0) {
                read_devices(sb, bytes, volume);
                if (!array_fits(sb, bytes))
                        volume_malformed(volume, "system chunks are not those of the chunk tree");
        }
        if (volume->state & FS_STATE_MALFORMED || volume->n_devices != 1)
                return 0;
        return check_roots(source, sb, &chunks, volume);
}
