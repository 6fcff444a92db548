/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a filesystem: blank test, mkfs, read back, judge. The device is only written to after it
 * was proven blank, through the descriptor that it was proven on; mkfs is given a UUID of ours, and
 * after a failure only what carries it is taken back, so that a retry is not refused.
 */

#include "fs/formats/format.h"
#include "fs/make/mkfs.h"
#include "fs/tools/tools.h"

#include "common/base/cleanup.h"
#include "common/base/exec.h"
#include "common/base/str.h"
#include "common/block/block_ioctl.h"

#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

int fs_write_zeros(int fd, uint64_t offset, uint64_t n) {
        static const uint8_t zeros[FS_REGION_BYTES_MAX];

        for (uint64_t at = 0; at < n;) {
                uint64_t left = n - at;
                size_t part = left < sizeof(zeros) ? (size_t)left : sizeof(zeros);
                ssize_t r = pwrite(fd, zeros, part, (off_t)(offset + at));

                if (r < 0 && errno == EINTR)
                        continue;
                if (r <= 0)
                        return r < 0 ? -errno : -EIO;
                at += (uint64_t)r;
        }
        return 0;
}

int fs_zero_places(int fd) {
        cleanup(freep) FsRegion *regions = calloc(FS_REGIONS_MAX, sizeof(*regions));
        FsReader reader;
        size_t n;
        int r;

        if (!regions)
                return -ENOMEM;
        r = fs_reader_from_fd(&reader, fd);
        n = r < 0 ? 0 : fs_known_places(reader.size_bytes, regions);
        for (size_t i = 0; r == 0 && i < n; i++)
                r = fs_write_zeros(fd, regions[i].offset, regions[i].n);
        return r < 0 ? r : fsync(fd) < 0 ? -errno : 0;
}

int fs_uuid_make(uint8_t uuid[16]) {
        if (getrandom(uuid, 16, 0) != 16)
                return -EIO;
        /* RFC 9562: version 4, variant 1. */
        uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
        uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
        return 0;
}

/* --- the UUID --- */

/* The plan's words, and between them and the device the UUID. */
typedef struct Command {
        const char *argv[FS_MAKE_WORDS_MAX + 4];
        char word[64];
        FsClaim claim;
        bool has_claim; /* what it makes carries @claim.uuid */
} Command;

bool fs_uuid_parse(const char *text, size_t n, uint8_t uuid[16]) {
        size_t n_digits = 0;

        for (size_t i = 0; i < n; i++) {
                char digit[2] = {text[i]};
                uint64_t value;

                if (text[i] == '-')
                        continue;
                if (n_digits == 32 || str_parse_hex_u64(digit, 15, &value) < 0)
                        return false;
                if (n_digits % 2 == 0)
                        uuid[n_digits / 2] = (uint8_t)(value << 4);
                else
                        uuid[n_digits / 2] |= (uint8_t)value;
                n_digits++;
        }
        return n_digits == 32;
}

/* The user's own UUID: "-U x", or "uuid=x" among XFS' "-m". NULL: there is none. */
static const char *find_uuid(const FsMakePlan *plan) {
        for (size_t i = 0; i + 1 < plan->n_argv; i++) {
                const char *word = plan->argv[i + 1], *at;

                if (plan->kind != FS_KIND_XFS && str_equal(plan->argv[i], "-U"))
                        return word;
                at = plan->kind == FS_KIND_XFS && str_equal(plan->argv[i], "-m")
                             ? strstr(word, "uuid=")
                             : NULL;
                if (at && (at == word || at[-1] == ','))
                        return at + strlen("uuid=");
        }
        return NULL;
}

/* mkfs.f2fs takes one since 1.15. */
static bool takes_uuid(const FsMakeRequest *request, const FsMakePlan *plan) {
        return plan->kind != FS_KIND_F2FS || request->tools[FS_TOOLS_F2FS] >= FS_VERSION(1, 15, 0);
}

static void command_init(Command *command, const FsMakeRequest *request, const FsMakePlan *plan,
                         const FsMakeRun *run) {
        const char *own = find_uuid(plan);
        size_t n = 0;
        char uuid[37];

        *command = (Command){.claim = {.kind = plan->kind}};
        for (; n + 1 < plan->n_argv; n++)
                command->argv[n] = plan->argv[n];
        if (own) {
                command->has_claim = fs_uuid_parse(own, strcspn(own, ","), command->claim.uuid);
        } else if (takes_uuid(request, plan)) {
                memcpy(command->claim.uuid, run->uuid, sizeof(run->uuid));
                fs_uuid_format(run->uuid, uuid);
                (void)snprintf(command->word, sizeof(command->word), "%s%s",
                               plan->kind == FS_KIND_XFS ? "uuid=" : "", uuid);
                command->argv[n++] = plan->kind == FS_KIND_XFS ? "-m" : "-U";
                command->argv[n++] = command->word;
                command->has_claim = true;
        }
        command->argv[n] = EXEC_DEVICE_PATH;
}

static int run_tool(int fd, const Command *command, const FsMakePlan *plan, const FsMakeRun *run,
                    Error *err) {
        cleanup(freep) const char **environment = exec_environment(plan->environment);
        ExecRequest request = {
                .argv = command->argv,
                .device_fd = fd,
                .envp = environment,
                .timeout_msecs = run->timeout_msecs,
                .cancelled = run->cancelled,
                .userdata = run->userdata,
                .is_expendable = true,
                .confinement = CONFINEMENT_TOOL,
                .capabilities = fs_toolset_find(plan->kind)->capabilities,
        };
        ExecResult result = {0};
        char line[300];
        int r = environment ? exec_run(&request, &result) : -ENOMEM;

        if (r == -ETIMEDOUT || r == -ECANCELED)
                r = error_set(err, ERROR_TIMEOUT, "%s was stopped after %llu s", plan->argv[0],
                              (unsigned long long)(result.duration_msecs / 1000));
        else if (r < 0)
                r = error_set_errno(err, r, "run %s", plan->argv[0]);
        else if (result.term_signal)
                r = error_set(err, ERROR_UNAVAILABLE, "%s was killed by signal %d (out of memory?)",
                              plan->argv[0], result.term_signal);
        else if (result.exit_status) {
                fs_tool_first_line(result.errors, result.output, line, sizeof(line));
                r = error_set(err, ERROR_INTERNAL, "%s failed with exit code %d: %s", plan->argv[0],
                              result.exit_status, line);
        }
        exec_result_deinit(&result);
        return r;
}

static int compare_words(const FsMakePlan *plan, const FsVolume *volume, Error *err) {
        for (FsClass class = 0; class < _FS_CLASS_N; class ++) {
                uint64_t wrong =
                        (plan->words[class] ^ volume->words[class]) & plan->word_mask[class];
                const FsFeature *f;

                if (!wrong)
                        continue;
                f = fs_feature_find(plan->kind, class, wrong & (0 - wrong));
                return error_set(err, ERROR_INTERNAL,
                                 "%s made %s 0x%llx where 0x%llx was planned (%s)", plan->argv[0],
                                 fs_class_name(plan->kind, class),
                                 (unsigned long long)volume->words[class],
                                 (unsigned long long)plan->words[class], f ? f->name : "unknown");
        }
        return 0;
}

static int judge_hosts(const FsMakeRequest *request, const FsVolume *volume, Error *err) {
        cleanup(freep) FsVerdict *verdict = malloc(sizeof(*verdict));
        char sentence[FS_SENTENCE_MAX];

        if (!verdict)
                return error_set(err, ERROR_EXHAUSTED, "no memory");
        for (size_t i = 0; i < request->n_hosts; i++) {
                FsSituation situation = {0};

                if (request->hosts[i].is_this_node)
                        situation.logical_sector_bytes = request->logical_sector_bytes;
                fs_verdict(volume, &request->hosts[i], &situation, verdict);
                if (verdict->answer == FS_ANSWER_RW && verdict->after_crash == FS_ANSWER_RW)
                        continue;
                fs_verdict_sentence(volume, &request->hosts[i], verdict, sentence);
                return error_set(err, ERROR_PRECONDITION,
                                 "what mkfs made is not for every host: %s", sentence);
        }
        return 0;
}

static int read_back(int fd, const FsMakePlan *plan, FsVolume *volume, Error *err) {
        FsReader reader;
        int r;

        /* The tool may have written past the page cache; an image has no flush of its own. */
        r = block_flush(fd);
        if (r < 0 && r != -ENOTTY)
                return error_set_errno(err, r, "flush the device");
        r = fs_reader_from_fd(&reader, fd);
        if (r == 0)
                r = fs_read_volume(&reader, volume);
        if (r < 0)
                return error_set_errno(err, r, "read back");
        if (r == FS_E_NONE || volume->kind != plan->kind)
                return error_set(err, ERROR_INTERNAL,
                                 "%s ended well, and there is no %s on the device", plan->argv[0],
                                 plan->fs_type);
        return compare_words(plan, volume, err);
}

/* An error never hides the first one; what could not be taken back is told beside it. */
static void take_back(int fd, const Command *command, Error *err) {
        Error other = {0};

        if (!command->has_claim)
                error_set(&other, ERROR_PRECONDITION,
                          "the disk is left as it is: the UUID of what was made is not known");
        else
                (void)fs_take_back(fd, &command->claim, &other);
        error_join(err, &other);
}

int fs_make(int fd, const FsMakeRequest *request, const FsMakePlan *plan, const FsMakeRun *run,
            FsVolume *volume, Error *err) {
        FsVolume made = {0};
        Command command;
        int r;

        r = fs_blank_test(fd, run->expect, err);
        if (r < 0)
                return r;
        command_init(&command, request, plan, run);
        r = run_tool(fd, &command, plan, run, err);
        if (r == 0)
                r = read_back(fd, plan, &made, err);
        if (r == 0)
                r = judge_hosts(request, &made, err);
        if (r == 0)
                *volume = made;
        else
                take_back(fd, &command, err);
        return r;
}
