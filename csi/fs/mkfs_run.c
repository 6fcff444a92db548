/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a filesystem: blank test, mkfs, read back, judge. The device is only written to after it
 * was proven blank; what a failed or interrupted mkfs left is wiped where the blank test looks,
 * because those regions were zero a moment ago, so that a retry is not refused.
 */

#include "csi/fs/mkfs.h"
#include "csi/fs/tools.h"

#include "common/base/cleanup.h"
#include "common/base/exec.h"
#include "common/block/block_ioctl.h"

#include <stdio.h>
#include <unistd.h>

#define ZERO_BYTES 65536UL

int fs_wipe(int fd, uint64_t size_bytes) {
        cleanup(freep) uint8_t *zeros = calloc(1, ZERO_BYTES);
        FsRegion regions[FS_REGIONS_MAX];
        size_t n_regions = fs_blank_regions(size_bytes, regions);

        if (!zeros)
                return -ENOMEM;
        for (size_t i = 0; i < n_regions; i++) {
                for (uint64_t at = 0; at < regions[i].n;) {
                        uint64_t left = regions[i].n - at;
                        size_t n = left < ZERO_BYTES ? (size_t)left : ZERO_BYTES;
                        ssize_t r = pwrite(fd, zeros, n, (off_t)(regions[i].offset + at));

                        if (r < 0 && errno == EINTR)
                                continue;
                        if (r <= 0)
                                return r < 0 ? -errno : -EIO;
                        at += (uint64_t)r;
                }
        }
        return fsync(fd) < 0 ? -errno : 0;
}

static int run_tool(const FsMakePlan *plan, const FsMakeRun *run, Error *err) {
        cleanup(freep) const char **environment = exec_environment(plan->environment);
        ExecRequest request = {
                .argv = plan->argv,
                .envp = environment,
                .timeout_msecs = run->timeout_msecs,
                .cancelled = run->cancelled,
                .userdata = run->userdata,
                .is_expendable = true,
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

int fs_make(int fd, const FsMakeRequest *request, const FsMakePlan *plan, const FsMakeRun *run,
            FsVolume *volume, Error *err) {
        FsVolume made = {0};
        FsReader reader;
        int r, wiped;

        r = fs_blank_test(fd, run->expect, err);
        if (r < 0)
                return r;
        r = fs_reader_from_fd(&reader, fd);
        if (r < 0)
                return error_set_errno(err, r, "find the size of the device");
        r = run_tool(plan, run, err);
        if (r == 0)
                r = read_back(fd, plan, &made, err);
        if (r == 0)
                r = judge_hosts(request, &made, err);
        if (r == 0) {
                *volume = made;
                return 0;
        }
        /* An error never hides the first one; a wipe that fails is told beside it. */
        wiped = fs_wipe(fd, reader.size_bytes);
        if (wiped < 0) {
                Error other = {0};

                error_set_errno(&other, wiped, "wipe what it left");
                error_join(err, &other);
        }
        return r;
}
