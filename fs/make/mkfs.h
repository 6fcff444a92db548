/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_MAKE_MKFS_H
#define BERTH_FS_MAKE_MKFS_H

/*
 * Which options make a filesystem that every host of a set can mount, with the newest features that
 * allows. The plan is pure. Flag lists rot (a tool's next version turns on what the list does not
 * name), so the plan names every optional feature that the installed tool knows, and what was made
 * is read back and judged for every host before anybody mounts it.
 */

#include "common/base/string_map.h"
#include "fs/look/inspect.h"
#include "fs/rules.h"
#include "fs/verdict/verdict.h"

typedef struct FsMakeRequest {
        const char *fs_type;           /* "" or NULL: the provider's default, or ext4 */
        const char *device;            /* last word of argv */
        uint64_t size_bytes;           /* of the device */
        uint64_t grow_to_bytes;        /* what it is meant to grow to; 0: nobody said */
        uint32_t logical_sector_bytes; /* of the device; 0: unknown */
        const FormatRules *rules;      /* NULL: anything we can make */
        const char *const *options;    /* the user's mkfs words, ["-m", "reflink=0"]; n_options */
        size_t n_options;
        const FsHost *hosts; /* all that must be able to mount it read-write; n_hosts >= 1 */
        size_t n_hosts;
        uint32_t tools[_FS_TOOLS_N]; /* versions installed here; FS_TOOLS_UNKNOWN is refused */
        const char *label;           /* NULL: none */
} FsMakeRequest;

#define FS_MAKE_WORDS_MAX    64
#define FS_MAKE_TEXT_MAX     2048
#define FS_MAKE_LEFT_OUT_MAX 16

/* Key of a volume's context: what it is meant to grow to, "1Ti". */
#define FS_MAKE_KEY_GROW_TO "berth.dev/fs-grow-to"

/* A feature that is not turned on, and the first host it is left out for. */
typedef struct FsLeftOut {
        const FsFeature *feature;
        const FsHost *host;  /* borrowed from the request; NULL: for the installed mkfs */
        bool for_tools;      /* the host's kernel has it, its fsck and resize do not */
        bool after_crash;    /* the host mounts it clean, not after a crash elsewhere */
        bool by_choice;      /* the kernel has it, and upstream does not advise it there yet */
        uint32_t tool_since; /* with for_tools or without host: the version it takes */
} FsLeftOut;

/* Starts as (FsMakePlan){0}. argv points into text: do not copy the struct by value. */
typedef struct FsMakePlan {
        FsKind kind;
        const char *fs_type;
        const char *argv[FS_MAKE_WORDS_MAX + 1]; /* NULL-terminated */
        size_t n_argv;
        const char *environment; /* "NAME=value" to run it with; NULL: nothing */
        char text[FS_MAKE_TEXT_MAX];
        size_t n_text;
        uint64_t words[_FS_CLASS_N];     /* expected, for the classes in word_mask */
        uint64_t word_mask[_FS_CLASS_N]; /* the bits we decided; others come from sizes */
        uint32_t block_bytes;
        FsLeftOut left_out[FS_MAKE_LEFT_OUT_MAX];
        size_t n_left_out;
        FsConfidence confidence;   /* the least that a host's verdict has, */
        const FsHost *least_sure;  /* borrowed from the request: of the first host that has it, */
        char least_sure_text[256]; /* and what that rests on; "": on the kernel as a whole */
} FsMakePlan;

/**
 * fs_make_plan() - choose the mkfs command
 *
 * Return: 0; negative with @err: ERROR_INVALID (type or option the provider or we do not support),
 * ERROR_RANGE (too small), ERROR_PRECONDITION (no feature set suits all hosts; says which),
 * ERROR_UNSUPPORTED (no such mkfs installed).
 */
int fs_make_plan(const FsMakeRequest *request, FsMakePlan *plan, Error *err);

/**
 * fs_make_words() - the provider's and the volume's own mkfs words
 * @context: keys of @rules->parameters are looked up in it; NULL: none
 * @words:   the type's defaults, then what the context asks for; give them as request.options
 *
 * Return: 0; ERROR_INVALID for a key that is not for this type, or a value with characters that are
 * in no number or name.
 */
typedef struct FsMakeWords {
        const char *words[33]; /* NULL-terminated; borrowed from the rules or pointing into text */
        size_t n_words;
        char text[1024];
        size_t n_text;
} FsMakeWords;

int fs_make_words(const FormatRules *rules, const char *fs_type, const StringMap *context,
                  FsMakeWords *words, Error *err);

/* ERROR_INVALID for words that a plan of the type would refuse whatever the device: of all that a
 * mkfs takes only what shapes the one volume. */
int mkfs_words_check(const char *fs_type, const char *const *words, size_t n_words, Error *err);

/* "mkfs.xfs -m crc=1,... /dev/sdb", with its environment before it, quoted where a shell would need
 * it. Caller frees; NULL without memory. */
char *fs_make_plan_text(const FsMakePlan *plan);

/* "reflink (needs kernel 4.9; node-7 has 4.4)". Returns bytes written. */
size_t fs_left_out_format(const FsLeftOut *left_out, char *text, size_t n);

/* How fs_make() runs things. */
typedef struct FsMakeRun {
        const FsExpect *expect; /* identity and size of the device */
        uint64_t timeout_msecs;
        bool (*cancelled)(void *userdata);
        void *userdata;
        uint8_t uuid[16]; /* what the filesystem gets, from fs_uuid_make(), unless the user's words
                             name one */
} FsMakeRun;

/* A random one. Return: 0; -errno. */
int fs_uuid_make(uint8_t uuid[16]);

/* @n characters, 32 hexadecimal digits and dashes anywhere. */
bool fs_uuid_parse(const char *text, size_t n, uint8_t uuid[16]);

/**
 * fs_make() - blank test, mkfs, read back, judge for every host
 * @fd: the device, not O_EXCL, which mkfs wants for itself; proven by the caller, and held open
 *      throughout. The tool gets this descriptor, and no name.
 *
 * Refuses with ERROR_PRECONDITION if the device is not proven blank. When mkfs fails, is killed, or
 * made something else than planned, what carries @run->uuid is taken back, as fs_take_back() does,
 * and only that; why the rest is left is in @err beside the failure.
 *
 * Return: 0 with @volume filled; negative with @err.
 */
int fs_make(int fd, const FsMakeRequest *request, const FsMakePlan *plan, const FsMakeRun *run,
            FsVolume *volume, Error *err);

/* What was being made on a device, and the UUID that it was to get. */
typedef struct FsClaim {
        FsKind kind; /* FS_CLAIM_LUKS: a LUKS header */
        uint8_t uuid[16];
} FsClaim;

#define FS_CLAIM_LUKS _FS_KIND_N

/**
 * fs_take_back() - wipe what an interrupted mkfs of ours left on a device that was blank before
 * @fd: the device, held open since it was proven; it is opened once more, O_EXCL, and must be the
 *      same disk by its sequence number
 *
 * It is ours if the claim's UUID stands in it (or in the checksum of ext's root directory), and
 * nothing else does: no signature of another format, no superblock with another UUID, no data
 * before a superblock, no sector of noise or text. Of a LUKS header that is not written yet it is
 * enough that the mark of fs_luks_mark() is there, and below it nothing but zeros and noise.
 *
 * Return: 0 if it was taken back, or there was nothing; PRECONDITION what is there is not ours;
 * UNAVAILABLE somebody uses the device; another negative.
 */
int fs_take_back(int fd, const FsClaim *claim, Error *err);

/* Writes behind the place of a LUKS header, on a disk that was proven blank, that it is about to be
 * made; the encrypted data overwrites it. None on a disk of hardly 16 MiB. Return: 0; -errno. */
int fs_luks_mark(int fd, const FsClaim *claim);

/* Zeros, where a blank test looks for signatures: for a mapper that was encrypted a moment ago,
 * which shows noise. Return: 0; -errno. */
int fs_zero_places(int fd);

int fs_write_zeros(int fd, uint64_t offset, uint64_t n);

#endif
