/* SPDX-License-Identifier: Apache-2.0 */

#undef NDEBUG

#include "csi/luks/mapper_note.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

static char dir[] = "/tmp/berth-test-mappers-XXXXXX";

static const MapperNote note = {.mapper = "pvc-1",
                                .uuid = "CRYPT-LUKS2-6a1c0f3e00000000000000000000abcd-",
                                .volume_id = "vol/1",
                                .devno = 64771,
                                .sequence = 17,
                                .is_left = true};

static void put(const char *name, const char *text, mode_t mode) {
        cleanup(freep) char *path = str_printf("%s/mappers/%s", dir, name);
        FILE *file = fopen(path, "w");

        assert_non_null(file);
        assert_true(fputs(text, file) >= 0);
        assert_int_equal(fclose(file), 0);
        assert_int_equal(chmod(path, mode), 0);
}

static void count(void *userdata, const MapperNote *found) {
        size_t *n = userdata;

        *n += str_equal(found->mapper, note.mapper) && str_equal(found->uuid, note.uuid) &&
                              str_equal(found->volume_id, note.volume_id) && found->is_left &&
                              found->devno == note.devno && found->sequence == note.sequence
                      ? 1
                      : 100;
}

static size_t n_notes(void) {
        size_t n = 0;

        assert_int_equal(mapper_note_each(dir, count, &n), 0);
        return n;
}

/* cryptsetup's own words for a header of this UUID. */
static void test_uuid(void **state) {
        const LuksHeader header = {.version = 2, .uuid = "6a1c0f3e-0000-0000-0000-00000000abcd"};
        static const char whole[] = "CRYPT-LUKS2-6a1c0f3e00000000000000000000abcd-pvc-1";
        Mapper mapper = {.devno = 64771, .sequence = 17, .name = "pvc-1", .is_crypt = true};
        MapperNote opening = note;
        char uuid[MAPPER_UUID_MAX];

        mapper_note_uuid(&header, uuid);
        assert_string_equal(uuid, note.uuid);
        memcpy(mapper.uuid, whole, sizeof(whole));
        assert_true(mapper_note_is_of(&note, &mapper));
        /* Closed by hand, and opened again by hand: the same disk and name. */
        mapper.sequence = 18;
        assert_false(mapper_note_is_of(&note, &mapper));
        mapper.sequence = 17;
        mapper.devno++;
        assert_false(mapper_note_is_of(&note, &mapper));
        opening.devno = opening.sequence = 0;
        assert_true(mapper_note_is_of(&opening, &mapper));
        mapper.devno--;
        mapper.uuid[20] = '9';
        assert_false(mapper_note_is_of(&note, &mapper));
        memcpy(mapper.uuid, whole, sizeof(whole));
        (void)snprintf(mapper.name, sizeof(mapper.name), "pvc-2");
        assert_false(mapper_note_is_of(&note, &mapper));
        (void)snprintf(mapper.name, sizeof(mapper.name), "pvc-1");
        mapper.is_crypt = false;
        assert_false(mapper_note_is_of(&note, &mapper));
        /* A note without a UUID is of nobody. */
        assert_false(mapper_note_is_of(&(MapperNote){.mapper = "pvc-1"},
                                       &(Mapper){.name = "pvc-1", .is_crypt = true}));
}

static void test_round(void **state) {
        MapperNote found;

        assert_int_equal(n_notes(), 0);
        assert_int_equal(mapper_note_remove(dir, "pvc-1"), 0);
        assert_int_equal(mapper_note_read(dir, "pvc-1", &found), -ENOENT);
        assert_int_equal(mapper_note_write(dir, &note), 0);
        assert_int_equal(mapper_note_write(dir, &note), 0);
        assert_int_equal(n_notes(), 1);
        assert_int_equal(mapper_note_read(dir, "pvc-1", &found), 0);
        assert_string_equal(found.volume_id, "vol/1");
        assert_int_equal(mapper_note_remove(dir, "pvc-1"), 0);
        assert_int_equal(n_notes(), 0);
        /* Nowhere to note it. */
        assert_int_equal(mapper_note_write(NULL, &note), 0);
        assert_int_equal(mapper_note_each(NULL, count, NULL), 0);
        assert_int_equal(mapper_note_read("", "pvc-1", &found), -ENOENT);
        assert_int_equal(mapper_note_write(dir, &(MapperNote){.mapper = "a/b"}), -EINVAL);
        assert_int_equal(mapper_note_write(dir, &(MapperNote){.mapper = ""}), -EINVAL);
}

/* It has neither number nor sequence. */
static void test_former(void **state) {
        MapperNote found;

        put("luks-pvc-1", "{\"mapper\":\"pvc-1\",\"uuid\":\"u\",\"volume\":\"v\",\"left\":true}",
            0600);
        assert_int_equal(mapper_note_read(dir, "pvc-1", &found), 0);
        assert_true(found.devno == 0 && found.sequence == 0 && found.is_left);
        assert_int_equal(mapper_note_remove(dir, "pvc-1"), 0);
}

/* What is no note of ours is of no mapper. */
static void test_malformed(void **state) {
        static const char *const texts[] = {
                "", "{}", "{\"mapper\":\"pvc-1\"}", "[1]",
                "{\"mapper\":\"pvc-1\",\"uuid\":1,\"volume\":\"v\",\"left\":true}",
                /* Another's name. */
                "{\"mapper\":\"pvc-2\",\"uuid\":\"u\",\"volume\":\"v\",\"left\":true}"};
        cleanup(freep) char *path = str_printf("%s/mappers", dir);
        cleanup(freep) char *link = str_printf("%s/mappers/luks-link", dir);

        assert_int_equal(mapper_note_write(dir, &note), 0);
        for (size_t i = 0; i < N_ELEMENTS(texts); i++) {
                MapperNote found;

                put("luks-pvc-1", texts[i], 0600);
                assert_int_equal(mapper_note_read(dir, "pvc-1", &found), -EINVAL);
                assert_int_equal(n_notes(), 0);
        }
        assert_int_equal(symlink("luks-pvc-1", link), 0);
        assert_int_equal(n_notes(), 0);
        assert_int_equal(unlink(link), 0);
        /* Somebody else may write there. */
        assert_int_equal(chmod(path, 0777), 0);
        assert_int_equal(mapper_note_write(dir, &note), -EPERM);
        assert_int_equal(mapper_note_remove(dir, "pvc-1"), -EPERM);
        assert_int_equal(chmod(path, 0700), 0);
        assert_int_equal(mapper_note_remove(dir, "pvc-1"), 0);
        assert_int_equal(rmdir(path), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_uuid),
                cmocka_unit_test(test_round),
                cmocka_unit_test(test_former),
                cmocka_unit_test(test_malformed),
        };
        int r;

        if (!mkdtemp(dir))
                return 1;
        r = cmocka_run_group_tests(tests, NULL, NULL);
        (void)rmdir(dir);
        return r;
}
