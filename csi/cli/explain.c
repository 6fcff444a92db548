/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/cli/explain.h"

#include "common/base/arguments.h"
#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "csi/cli/message_match.h"

#include <stdio.h>
#include <stdlib.h>

#define NEAR_MAX 3U

static const char usage[] =
        "Usage: berth-csi explain MESSAGE...\n"
        "       berth-csi explain -\n"
        "       berth-csi explain --all\n\n"
        "Says what a message of Berth's programs means and what to do. MESSAGE is pasted from an\n"
        "event, a log or a terminal, with whatever stands before it; quote it for the shell.\n"
        "-      read it from standard input\n"
        "--all  every message, with what is said of it\n";

static int wrong_usage(const char *words, const char *argument) {
        (void)fprintf(stderr, "berth-csi explain: %s%.100s\nTry: berth-csi explain --help\n", words,
                      argument);
        return EXIT_USAGE;
}

static void print_sentences(const MessageEntry *entry) {
        for (size_t i = 0; entry->sentences[i]; i++)
                (void)printf("    %s\n", entry->sentences[i]);
}

static int print_all(void) {
        for (const MessageEntry *entry = message_entries; entry->place; entry++) {
                (void)printf("%s\n\n", entry->place);
                print_sentences(entry);
                (void)printf("\n%s\n\n", entry->text);
        }
        for (const MessageWords *row = message_words; row->words; row++)
                (void)printf("%s\n", row->text);
        return fflush(stdout) == 0 ? 0 : 1;
}

/* The code before a sentence, and the system's words behind it. Return: whether there are any. */
static bool print_words(const char *message) {
        bool any = false;

        for (const MessageWords *row = message_words; row->words; row++) {
                if (!message_weight(row->words, message))
                        continue;
                (void)printf("%s\n", row->text);
                any = true;
        }
        return any;
}

static int not_ours(const char *message, bool words) {
        MessageFound near[NEAR_MAX];
        size_t n = message_near(message_entries, message, near, NEAR_MAX);

        (void)fflush(stdout);
        (void)fputs(words ? "\nThe rest is no sentence of Berth " BERTH_VERSION
                            ": it is somebody else's.\n"
                          : "No sentence of Berth " BERTH_VERSION
                            " is in it: kubelet's, the runtime's or another driver's?\n",
                    stderr);
        if (n > 0)
                (void)fputs("Near it are:\n", stderr);
        for (size_t i = 0; i < n; i++)
                (void)fprintf(stderr, "    %s\n", near[i].sentence);
        (void)fputs("By symptom: docs/troubleshooting.md\n", stderr);
        return words ? 0 : 1;
}

static int explain(char *message) {
        MessageFound found;

        message_normalize(message);
        if (message[0] == '\0')
                return wrong_usage("the message is empty", "");
        if (!message_find(message_entries, message, &found))
                return not_ours(message, print_words(message));
        (void)printf("    %s\n\n%s\n\n%s\n", found.sentence, found.entry->place, found.entry->text);
        (void)putchar('\n');
        (void)print_words(message);
        return fflush(stdout) == 0 ? 0 : 1;
}

/* What of standard input a message may be. */
static int explain_input(void) {
        cleanup(freep) char *message = malloc(MESSAGE_MAX + 1);
        size_t n = message ? fread(message, 1, MESSAGE_MAX, stdin) : 0;

        if (!message || ferror(stdin)) {
                (void)fputs("berth-csi explain: standard input cannot be read\n", stderr);
                return 1;
        }
        message[n] = '\0';
        return explain(message);
}

static int explain_arguments(int argc, char **argv) {
        cleanup(strbuf_deinit) StrBuf message = {0};

        for (int i = 1; i < argc && message.n < MESSAGE_MAX; i++) {
                strbuf_append(&message, i > 1 ? " " : "");
                strbuf_append(&message, argv[i]);
        }
        if (message.failed) {
                (void)fputs("berth-csi explain: no memory for the message\n", stderr);
                return 1;
        }
        return message.text ? explain(message.text) : wrong_usage("the message is empty", "");
}

int explain_command(int argc, char **argv) {
        if (argc < 2)
                return wrong_usage("the message is missing", "");
        if (str_equal(argv[1], "--help") || str_equal(argv[1], "-h"))
                return fputs(usage, stdout) < 0 ? 1 : 0;
        if (str_equal(argv[1], "--all"))
                return argc > 2 ? wrong_usage("--all: unexpected argument ", argv[2]) : print_all();
        if (str_equal(argv[1], "-") && argc == 2)
                return explain_input();
        return explain_arguments(argc, argv);
}
