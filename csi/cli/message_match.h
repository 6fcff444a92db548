/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_CLI_MESSAGE_MATCH_H
#define BERTH_CSI_CLI_MESSAGE_MATCH_H

/* Which sentence of the catalogue a pasted message has in it. */

#include "csi/cli/messages.h"

#include <stdbool.h>
#include <stddef.h>

/* Longer than any message of ours, and than what Kubernetes keeps of one in an event. */
#define MESSAGE_MAX (64U << 10)

/* As it is compared, in place: white space of any kind and number is one space, and the \" of a
 * line of the log is a quote. */
void message_normalize(char *message);

/**
 * message_weight() - how much of a message a sentence accounts for
 * @sentence: with "…" for what differs, which may be nothing
 *
 * The sentence may stand anywhere, beginning and ending where words do: others are put before it,
 * and a log around it.
 *
 * Return: how many of its letters and digits are given; 0 if it is not in the message.
 */
size_t message_weight(const char *sentence, const char *message);

typedef struct MessageFound {
        const MessageEntry *entry; /* borrowed from the table */
        const char *sentence;
        size_t weight;
} MessageFound;

/* The sentence in @message that accounts for most of it, the first of equals. Return: false if
 * there is none. */
bool message_find(const MessageEntry *entries, const char *message, MessageFound *found);

/* Up to @n_found sentences that share words of four letters or more with @message, but at least two
 * words; those with most of them first. Return: how many. */
size_t message_near(const MessageEntry *entries, const char *message, MessageFound *found,
                    size_t n_found);

#endif
