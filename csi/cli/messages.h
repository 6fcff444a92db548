/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_CLI_MESSAGES_H
#define BERTH_CSI_CLI_MESSAGES_H

/* What the programs print as errors, and what to do: csi/cli/messages.md as tables that
 * messages.py writes at build time. */

typedef struct MessageEntry {
        const char *place;            /* "Volumes (berth-csi): Provider local" */
        const char *const *sentences; /* UTF-8, with "…" for what differs; ended by NULL */
        const char *text;             /* paragraphs of lines, without the last newline */
} MessageEntry;

typedef struct MessageWords {
        const char *words; /* as they stand in a message */
        const char *text;  /* "\"words\": what they mean." */
} MessageWords;

/* Both end with an entry of NULLs. */
extern const MessageEntry message_entries[];
extern const MessageWords message_words[];

#endif
