/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/luks/header.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <jansson.h>
#include <unistd.h>

/* Offsets of both versions. */
#define VERSION_AT 6
#define UUID_AT    168
#define UUID_BYTES 40
/* LUKS2: the binary header, then JSON up to the size that the header tells. */
#define HDR_SIZE_AT 8
#define JSON_AT     4096

/* LUKS1: eight of these, the first word says whether it is in use. */
#define SLOTS_AT    208
#define SLOT_BYTES  48
#define SLOTS       8
#define SLOT_IN_USE 0x00ac71f3U

/* LUKS2's copy follows the header, whose size is one of these. */
#define COPY_AT_MIN UINT32_C(0x4000)
#define COPY_AT_MAX UINT32_C(0x400000)

static const uint8_t magic[6] = {'L', 'U', 'K', 'S', 0xba, 0xbe};
static const uint8_t copy_magic[6] = {'S', 'K', 'U', 'L', 0xba, 0xbe};

static uint64_t read_be64(const uint8_t *bytes) {
        uint64_t value = 0;

        for (int i = 0; i < 8; i++)
                value = value << 8 | bytes[i];
        return value;
}

/* NULL if there is none, or it cannot be understood. */
static json_t *load_json(const uint8_t *bytes, size_t n) {
        uint64_t stated = read_be64(bytes + HDR_SIZE_AT);
        size_t size = stated < n ? (size_t)stated : n;

        if (size <= JSON_AT)
                return NULL;
        size = strnlen((const char *)bytes + JSON_AT, size - JSON_AT);
        return json_loadb((const char *)bytes + JSON_AT, size, 0, NULL);
}

/* The largest "memory" (KiB) of the key slots. */
static uint64_t find_memory(const uint8_t *bytes, size_t n) {
        json_t *json = load_json(bytes, n), *slots, *slot;
        uint64_t most = 0;
        const char *key;

        slots = json_object_get(json, "keyslots");
        if (!json_is_object(slots))
                most = LUKS_MEMORY_DEFAULT;
        json_object_foreach(slots, key, slot) {
                json_t *memory = json_object_get(json_object_get(slot, "kdf"), "memory");
                json_int_t kib = json_integer_value(memory);

                if (kib > 0 && (uint64_t)kib > most / 1024)
                        most = (uint64_t)kib < LUKS_MEMORY_MAX / 1024 ? (uint64_t)kib * 1024
                                                                      : LUKS_MEMORY_MAX;
        }
        json_decref(json);
        return most;
}

int luks_header_parse(const uint8_t *bytes, size_t n, LuksHeader *header) {
        LuksHeader found = {0};

        if (n < UUID_AT + UUID_BYTES || memcmp(bytes, magic, sizeof(magic)) != 0)
                return -ENOENT;
        found.version = (unsigned int)(bytes[VERSION_AT] << 8 | bytes[VERSION_AT + 1]);
        if (found.version != 1 && found.version != 2)
                return -ENOENT;
        memcpy(found.uuid, bytes + UUID_AT, UUID_BYTES);
        str_make_utf8(found.uuid);
        if (found.version == 2)
                found.memory_bytes = find_memory(bytes, n);
        *header = found;
        return 0;
}

int luks_header_read(int fd, LuksHeader *header) {
        cleanup(freep) uint8_t *bytes = malloc(LUKS_HEADER_BYTES);
        ssize_t n;

        if (!bytes)
                return -ENOMEM;
        n = pread(fd, bytes, LUKS_HEADER_BYTES, 0);
        return n < 0 ? -errno : luks_header_parse(bytes, (size_t)n, header);
}

/* What cannot be understood may be in use. */
static bool has_slots(const uint8_t *bytes, size_t n) {
        json_t *json = load_json(bytes, n);
        json_t *slots = json_object_get(json, "keyslots");
        bool none = json_is_object(slots) && json_object_size(slots) == 0;

        json_decref(json);
        return !none;
}

static bool has_slots_1(const uint8_t *bytes) {
        for (size_t i = 0; i < SLOTS; i++)
                if (read_be64(bytes + SLOTS_AT + i * SLOT_BYTES) >> 32 == SLOT_IN_USE)
                        return true;
        return false;
}

bool luks_header_is_used(const uint8_t *bytes, size_t n) {
        unsigned int version;

        if (n < JSON_AT ||
            (memcmp(bytes, magic, sizeof(magic)) && memcmp(bytes, copy_magic, sizeof(copy_magic))))
                return false;
        version = (unsigned int)(bytes[VERSION_AT] << 8 | bytes[VERSION_AT + 1]);
        return version == 1 ? has_slots_1(bytes) : has_slots(bytes, n);
}

int luks_is_used(int fd) {
        cleanup(freep) uint8_t *bytes = malloc(LUKS_HEADER_BYTES);
        uint32_t at = 0;
        bool used = false;
        ssize_t n;

        if (!bytes)
                return -ENOMEM;
        do {
                n = pread(fd, bytes, LUKS_HEADER_BYTES, at);
                if (n < 0)
                        return -errno;
                used = luks_header_is_used(bytes, (size_t)n);
                at = at == 0 ? COPY_AT_MIN : at * 2;
        } while (!used && at <= COPY_AT_MAX);
        return used;
}
