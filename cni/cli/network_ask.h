/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_CLI_NETWORK_ASK_H
#define BERTH_CNI_CLI_NETWORK_ASK_H

/* The verbs that concern a network and no pod, asked of each of its plugins by a person. */

#include <jansson.h>
#include <stdio.h>

typedef enum QuestionVerb {
        QUESTION_STATUS,
        QUESTION_GC,
        QUESTION_GARBAGE, /* what GC would remove */
} QuestionVerb;

/* All borrowed. */
typedef struct Question {
        QuestionVerb verb;
        const char *plugins;   /* the directory of plugins */
        json_t *attachments;   /* of pods that run; NULL for STATUS */
        const char *not_asked; /* why no plugin is asked; NULL: they are */
} Question;

/**
 * network_ask() - each plugin of @list
 *
 * Return: {"network", "cniVersion", "ready", "dryRun", "isGc", "message" of the list as a whole,
 * "plugins": [{"type", "ready", "notAsked", "message", "mtu", "garbage": [...]}]}, what is not
 * known left out; freed by json_decref(). NULL without memory.
 */
json_t *network_ask(const Question *question, const json_t *list);

/* Every list of a directory in the runtime's order: {"configurationDirectory", "pluginDirectory",
 * "message", "networks": [as above, with "file" and "taken"]}. */
json_t *network_ask_all(const Question *question, const char *directory);

/* A line for each plugin. */
void network_report_print(const json_t *report, FILE *file);

/* 0: all of it is ready, or clean; 1. */
int network_report_status(const json_t *report);

#endif
