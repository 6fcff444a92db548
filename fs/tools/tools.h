/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_TOOLS_TOOLS_H
#define BERTH_FS_TOOLS_TOOLS_H

/*
 * What is known of the filesystems' own tools, in one place: what they are called, which options
 * they take and which of those a volume may have, how small a device they make a filesystem on,
 * what they are known to break. fs/tools/tool_table.c is data and nothing else. Sources: the manual
 * pages, and running the tools of Debian 11, 12, 13 and of 2026 (tests/integration/test_mkfs.py
 * does it again with what is installed).
 */

#include "common/base/error.h"
#include "fs/features/feature.h"

/* Tool packages; a package's programs have one version. */
typedef enum FsTools {
        FS_TOOLS_E2FSPROGS = 0,
        FS_TOOLS_XFSPROGS,
        FS_TOOLS_BTRFS,
        FS_TOOLS_F2FS,
        _FS_TOOLS_N,
} FsTools;

#define FS_TOOLS_UNKNOWN 0U         /* version was not asked for */
#define FS_TOOLS_ABSENT  UINT32_MAX /* no mkfs of it here */

/* Versions of what is installed here, by running each mkfs once; FS_TOOLS_ABSENT where one does not
 * answer. */
void fs_tools_read(uint32_t tools[_FS_TOOLS_N]);

/* The version in what a tool says about itself: "mke2fs 1.47.0 (5-Feb-2023)". Pure. FS_TOOLS_ABSENT
 * if there is none. */
uint32_t fs_tool_version(const char *text);

typedef enum FsProgram {
        FS_PROGRAM_MAKE = 0,
        FS_PROGRAM_CHECK, /* also repairs what may be repaired without asking */
        FS_PROGRAM_GROW,  /* unmounted; a mounted filesystem is grown by its kernel */
        _FS_PROGRAM_N,
} FsProgram;

typedef struct FsToolset {
        FsKind kind;
        FsTools tools;
        const char *package;                 /* "e2fsprogs", as in logs */
        const char *programs[_FS_PROGRAM_N]; /* argv[0]; NULL: none is ever run */
        const char *version_flag;            /* of the first program */
        const char *environment;             /* "NAME=value" for the first program; NULL: none */
        const char *force;                   /* flag that only spares a question; NULL: none */
        uint64_t grows_to_least_bytes;       /* smaller than this it cannot be after growing */
        uint64_t capabilities;               /* what the first program cannot do without */
        uint64_t grow_step_factor;           /* at most so many times larger in one unmounted run;
                                                0: any */
} FsToolset;

extern const FsToolset fs_toolsets[];
extern const size_t fs_n_toolsets;

/* NULL: nothing makes or checks such a filesystem. */
const FsToolset *fs_toolset_find(FsKind kind);

/* The versions a feature needs, by what is done with it. */
typedef enum FsToolUse {
        FS_TOOL_USE_MAKE = 0, /* mkfs takes its switch */
        FS_TOOL_USE_CHECK,
        FS_TOOL_USE_REPAIR,
        FS_TOOL_USE_GROW,
        _FS_TOOL_USE_N,
} FsToolUse;

/* FS_VERSION_ANY where the kernel does it and no tool is asked. */
uint32_t fs_tool_since(const FsFeature *f, FsToolUse use);

/* How the value of an option looks. */
typedef enum FsOptionForm {
        FS_OPTION_REFUSED = 0,
        FS_OPTION_IGNORED,  /* says what is done anyway, or nothing about the filesystem */
        FS_OPTION_FLAG,     /* has no value */
        FS_OPTION_NUMBER,   /* least..most */
        FS_OPTION_SIZE,     /* likewise, also with k, m, g, t */
        FS_OPTION_POWER2,   /* likewise, a power of two */
        FS_OPTION_PERCENT,  /* least..most, with decimals */
        FS_OPTION_WORDS,    /* one of words */
        FS_OPTION_TEXT,     /* at most @most bytes */
        FS_OPTION_FEATURES, /* a list of names of fs_features[] with this letter */
        FS_OPTION_ALIAS,    /* a long option; words is the letter it stands for */
} FsOptionForm;

typedef struct FsToolOption {
        FsKind kind;
        char letter;     /* 'b' of "-b"; 0: a long option, its name is the key */
        const char *key; /* of "key=value" in a list; "": the option has one value */
        FsOptionForm form;
        uint64_t least, most;
        const char *words; /* "single|dup" */
        uint32_t since;    /* first version that takes it */
        const char *why;   /* of REFUSED: with the way out */
} FsToolOption;

extern const FsToolOption fs_tool_options[];
extern const size_t fs_n_tool_options;

/* @key NULL: any row of the letter. NULL: the tool has no such option, or a volume may not. */
const FsToolOption *fs_tool_option_find(FsKind kind, char letter, const char *key);

/* "64k", "1m", "1T", "4096": in bytes. Return: 0; -EINVAL, also for what 64 bits do not hold. */
int fs_tool_size_parse(const char *text, uint64_t *valuep);

/* ERROR_INVALID if @value is not as the row says. @value NULL: none was given. */
int fs_tool_option_check(const FsToolOption *option, const char *value, Error *err);

/* What one option needs of another, or excludes: "O orphan_file" needs "O has_journal". A feature
 * that the plan chose gives way to what the user chose. */
typedef struct FsToolRule {
        FsKind kind;
        char letter;
        const char *key;
        bool excludes;
        char other_letter;
        const char *other;
} FsToolRule;

extern const FsToolRule fs_tool_rules[];
extern const size_t fs_n_tool_rules;

/* The switch of a row of fs_features[]: letter and key, as in "-m reflink=1" or "-O extent". False
 * for formats of a whole (crc=0, version=ci, a realtime device), which are no features to choose.
 */
bool fs_feature_switch(const FsFeature *f, char *letterp, char key[32]);

/**
 * fs_tool_first_line() - what a tool said first of what went wrong
 * @errors, @output: its stderr and stdout; stdout is looked at if stderr says nothing
 *
 * Its banner, its progress and its warnings come before that, its usage behind. "" if it said
 * nothing. UTF-8, without control characters.
 */
void fs_tool_first_line(const char *errors, const char *output, char *text, size_t n);

#define FS_TOOL_IO_ERROR "Input/output error"

/* Whether a tool tells in @text of a read or a write that failed. */
bool fs_tool_says_io_error(const char *text);

/* The smallest device that any version makes this type on with its defaults, for who makes volumes
 * and cannot know the tool. 0: not one of ours. */
uint64_t fs_tool_minimum(const char *fs_type);

#endif
