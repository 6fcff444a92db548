/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine says beside what a kernel did. */

#include "fs/formats/format.h"
#include "tests/oracle/oracle.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

void oracle_image_path(const OracleSet *set, const char *name, char path[384]) {
        (void)snprintf(path, 384, "%s/%s.img", set->directory, name);
}

bool oracle_read_image(const OracleSet *set, const char *name, FsVolume *volume) {
        cleanup(closep) int fd = -1;
        FsReader reader;
        char image[384];

        oracle_image_path(set, name, image);
        fd = open(image, O_RDONLY | O_CLOEXEC);
        assert(fd >= 0 && fs_reader_from_fd(&reader, fd) == 0);
        return fs_read_volume(&reader, volume) == 0;
}

/* Where Berth says no though the kernel mounts: no f2fs driver refuses a bit that it does not know,
 * btrfs before 5.11 takes a device that is too short, and one without zones takes a zoned btrfs for
 * a plain one. */
static bool is_own(const FsVolume *volume, const FsHost *host, const FsVerdict *verdict) {
        const FsReason *reason = &verdict->reasons[0];

        if (verdict->answer != FS_ANSWER_NO || verdict->n_reasons == 0)
                return false;
        if (volume->kind == FS_KIND_BTRFS)
                return (reason->kind == FS_REASON_SIZE && host->kernel < FS_VERSION(6, 1, 0)) ||
                       (reason->kind == FS_REASON_GATE && reason->gate == FS_GATE_ZONED);
        return reason->kind == FS_REASON_FEATURE &&
               fs_class_unknown(volume->kind, reason->class) == FS_UNKNOWN_MISREAD;
}

static bool is_sure(const FsVerdict *verdict) {
        if (verdict->confidence != FS_CONFIDENCE_HIGH)
                return false;
        for (size_t i = 0; i < verdict->n_reasons; i++) {
                if (verdict->reasons[i].kind == FS_REASON_UNCONFIRMED)
                        return false;
        }
        return true;
}

static void predict_volume(const FsVolume *volume, const FsHost *host, const FsSituation *situation,
                           OraclePrediction *prediction) {
        static FsVerdict verdict;

        *prediction = (OraclePrediction){.is_sure = true, .answer = FS_ANSWER_NO};
        /* Not a filesystem to us: it must not be one to the kernel either. */
        if (!volume)
                return;
        fs_verdict(volume, host, situation, &verdict);
        prediction->answer = verdict.answer;
        prediction->os_errno = verdict.expected_errno;
        prediction->options = verdict.options;
        prediction->is_own = is_own(volume, host, &verdict);
        prediction->is_sure = is_sure(&verdict);
        fs_verdict_sentence(volume, host, &verdict, prediction->sentence);
        assert(strlen(prediction->sentence) <= 400);
}

void oracle_predict(const OracleSet *set, const FsHost *host, const OracleCase *how,
                    FsVolume *volume, OraclePrediction *prediction) {
        FsSituation situation = {.logical_sector_bytes = how->sector_bytes,
                                 .device_read_only = how->read_only,
                                 .uuid_mounted = how->twin};
        bool known = oracle_read_image(set, how->name, volume);

        if (!known)
                *volume = (FsVolume){.kind = FS_KIND_EXT, .type = "ext4"};
        predict_volume(known ? volume : NULL, host, &situation, prediction);
}

void oracle_judge_prepare(OracleJudge *judge) {
        const FsHost *host = &judge->host;
        Error err = {0};

        assert(fs_host_from_release(&judge->by_number, host->release, host->page_bytes,
                                    host->byte_order, &err) == 0);
        /* No number tells which drivers a kernel was shipped with. */
        memcpy(judge->by_number.drivers, host->drivers, sizeof(host->drivers));
}

void oracle_judge_begin(OracleJudge *judge) {
        const FsHost *host = &judge->host;

        oracle_judge_prepare(judge);
        printf("kernel %s, page %u, %s endian\n", host->release, host->page_bytes,
               host->byte_order == FS_BYTE_ORDER_BIG ? "big" : "little");
}

/* The log that was made big-endian by hand has little-endian items: no big-endian host recovers it.
 */
static bool is_forged(const OracleCase *how, const FsHost *host) {
        return host->byte_order == FS_BYTE_ORDER_BIG &&
               str_equal(how->name, "xfs-caught-big-endian");
}

static bool is_right(const OracleCase *how, const FsHost *host, const OraclePrediction *predicted,
                     const OracleObservation *seen) {
        if (how->geometry || is_forged(how, host))
                return seen->answer >= predicted->answer;
        return predicted->answer == seen->answer;
}

static void print_wrong(const char *name, const char *what, const OraclePrediction *predicted,
                        const OracleObservation *seen) {
        printf("WRONG%s %s: predicted %s (errno %d), the kernel says %s (errno %d)\n  %s\n", what,
               name, fs_answer_name(predicted->answer), predicted->os_errno,
               fs_answer_name(seen->answer), seen->os_errno, predicted->sentence);
}

static bool errno_fits(const OraclePrediction *predicted, const OracleObservation *seen) {
        return predicted->os_errno == 0 || seen->os_errno < 0 ||
               predicted->os_errno == seen->os_errno;
}

void oracle_judge_add(OracleJudge *judge, const OracleSet *set, const OracleCase *how,
                      const OracleObservation *seen) {
        OraclePrediction predicted;
        static FsVolume volume;

        judge->n_cases++;
        oracle_predict(set, &judge->host, how, &volume, &predicted);
        if (predicted.is_own) {
                judge->n_own++;
                return;
        }
        if (!how->geometry && !is_forged(how, &judge->host))
                judge->matrix[predicted.answer][seen->answer]++;
        if (!is_right(how, &judge->host, &predicted, seen) ||
            (!how->geometry && !errno_fits(&predicted, seen))) {
                judge->n_wrong++;
                print_wrong(how->name, "", &predicted, seen);
        }
        oracle_predict(set, &judge->by_number, how, &volume, &predicted);
        if (!predicted.is_sure || predicted.is_own) {
                judge->n_unsure++;
                judge->n_unsure_wrong += is_right(how, &judge->host, &predicted, seen) ? 0 : 1;
                return;
        }
        if (!how->geometry && !is_forged(how, &judge->host))
                judge->number_matrix[predicted.answer][seen->answer]++;
        if (!is_right(how, &judge->host, &predicted, seen)) {
                judge->n_number_wrong++;
                print_wrong(how->name, " by number", &predicted, seen);
        }
}

void oracle_judge_volume(OracleJudge *judge, const char *name, const FsVolume *volume,
                         const FsSituation *situation, const OracleObservation *seen) {
        OraclePrediction predicted;

        judge->n_cases++;
        predict_volume(volume, &judge->host, situation, &predicted);
        if (predicted.is_own) {
                judge->n_own++;
                return;
        }
        judge->matrix[predicted.answer][seen->answer]++;
        if (predicted.answer != seen->answer || !errno_fits(&predicted, seen)) {
                judge->n_wrong++;
                print_wrong(name, "", &predicted, seen);
                return;
        }
        predict_volume(volume, &judge->by_number, situation, &predicted);
        if (!predicted.is_sure || predicted.is_own || predicted.answer == seen->answer)
                return;
        judge->n_number_wrong++;
        print_wrong(name, " by number", &predicted, seen);
}

static void print_matrix(const char *title, size_t matrix[4][4]) {
        printf("%-16s", title);
        for (size_t i = 0; i < 4; i++)
                printf("%14s", fs_answer_name((FsAnswer)i));
        for (size_t i = 0; i < 4; i++) {
                printf("\n%-16s", fs_answer_name((FsAnswer)i));
                for (size_t k = 0; k < 4; k++)
                        printf("%14zu", matrix[i][k]);
        }
        printf("\n");
}

size_t oracle_judge_end(const OracleJudge *judge) {
        size_t matrix[4][4];

        memcpy(matrix, judge->matrix, sizeof(matrix));
        print_matrix("facts\\kernel", matrix);
        printf("%zu wrong of %zu; %zu were not compared, because Berth refuses what the kernel "
               "misreads\n",
               judge->n_wrong, judge->n_cases, judge->n_own);
        memcpy(matrix, judge->number_matrix, sizeof(matrix));
        print_matrix("number\\kernel", matrix);
        printf("%zu wrong of %zu; of %zu more that it called unconfirmed, %zu\n",
               judge->n_number_wrong, judge->n_cases - judge->n_unsure, judge->n_unsure,
               judge->n_unsure_wrong);
        return judge->n_wrong + judge->n_number_wrong;
}
