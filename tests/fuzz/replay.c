/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Runs a fuzz target without libFuzzer: replay DIRECTORY|FILE... gives it each file of the corpus,
 * then what is near it: every file cut at several lengths, and with bytes changed by a generator
 * that starts the same each time. Each input is a heap block of its exact size, so that a sanitizer
 * or valgrind sees a read past its end. An empty corpus is a failure.
 */

#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX    (4U << 20)
#define N_CUTS      48U
#define N_MUTATIONS 256U

static unsigned long n_inputs;

static void run(const uint8_t *data, size_t n) {
        uint8_t *copy = malloc(n ? n : 1);

        assert(copy);
        if (n)
                memcpy(copy, data, n);
        (void)LLVMFuzzerTestOneInput(copy, n);
        free(copy);
        n_inputs++;
}

/* xorshift64, for a sequence that is the same on every machine. */
static uint64_t next_random(uint64_t *state) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        return *state;
}

static void run_cuts(const uint8_t *data, size_t n) {
        for (size_t i = 0; i < N_CUTS && i < n; i++)
                run(data, n <= N_CUTS ? i : n / N_CUTS * i);
}

static void run_mutations(const uint8_t *data, size_t n) {
        uint8_t *copy = malloc(n);
        uint64_t state = 0x9e3779b97f4a7c15U ^ n;

        assert(copy);
        for (unsigned int i = 0; i < N_MUTATIONS; i++) {
                memcpy(copy, data, n);
                for (unsigned int k = 0; k <= i % 3; k++)
                        copy[next_random(&state) % n] = (uint8_t)next_random(&state);
                run(copy, n);
        }
        free(copy);
}

static void run_file(const char *path) {
        FILE *file = fopen(path, "rb");
        uint8_t *data = malloc(FILE_MAX);
        size_t n;

        assert(file && data);
        n = fread(data, 1, FILE_MAX, file);
        assert(!ferror(file) && feof(file));
        run(data, n);
        run_cuts(data, n);
        if (n)
                run_mutations(data, n);
        free(data);
        fclose(file);
}

static unsigned long run_directory(const char *path) {
        struct dirent **entries;
        int n = scandir(path, &entries, NULL, alphasort);
        unsigned long n_files = 0;
        char name[4096];

        assert(n >= 0);
        for (int i = 0; i < n; i++) {
                if (entries[i]->d_name[0] != '.') {
                        snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
                        run_file(name);
                        n_files++;
                }
                free(entries[i]);
        }
        free(entries);
        return n_files;
}

int main(int argc, char **argv) {
        unsigned long n_files = 0;

        for (int i = 1; i < argc; i++) {
                struct stat status;

                if (stat(argv[i], &status) < 0) {
                        perror(argv[i]);
                        return 1;
                }
                if (S_ISDIR(status.st_mode)) {
                        n_files += run_directory(argv[i]);
                } else {
                        run_file(argv[i]);
                        n_files++;
                }
        }
        printf("%lu files, %lu inputs\n", n_files, n_inputs);
        if (n_files == 0)
                fputs("no corpus\n", stderr);
        return n_files == 0;
}
