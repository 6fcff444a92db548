/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/cli/look_after.h"

#include "cni/cli/install.h"
#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* Names of plugins that are kept in mind; one more is looked at for each pod. */
#define NAMES_MAX 32

/* Of a plugin by this name pods were made. */
typedef struct Name {
        char type[64];
        bool is_ours;
        size_t n_alone; /* pods that are left alone; this is the first plugin of their list */
} Name;

typedef struct Look {
        const LookAfter *asked;
        int plugins_fd; /* owned; negative: there is no such directory */
        Name names[NAMES_MAX];
        size_t n_names, n_compared, n_alone;
        StrBuf of_node;      /* lines of what pods share, each after a newline */
        json_t *differences; /* owned */
} Look;

static void look_deinit(Look *look) {
        closep(&look->plugins_fd);
        strbuf_deinit(&look->of_node);
        json_decref(look->differences);
}

/* --- whose plugins ------------------------------------------------------------------------ */

static bool look_at_name(const Look *look, const char *type) {
        return strcmp(type, "berth-cni") == 0 ||
               (role_from_path(type) != ROLE_BERTH && look->plugins_fd >= 0 &&
                install_name_state(look->plugins_fd, type) == INSTALLED_OURS);
}

/* NULL: there are too many. */
static Name *find_name(Look *look, const char *type) {
        Name *name;

        for (size_t i = 0; i < look->n_names; i++)
                if (strcmp(look->names[i].type, type) == 0)
                        return &look->names[i];
        if (look->n_names == NAMES_MAX || strlen(type) >= sizeof(name->type))
                return NULL;
        name = &look->names[look->n_names++];
        *name = (Name){.is_ours = look_at_name(look, type)};
        snprintf(name->type, sizeof(name->type), "%s", type);
        return name;
}

/* Is the plugin of @type, in the runtime's directory, this program? */
static bool is_ours(const char *type, void *userdata) {
        const Name *name = find_name(userdata, type);

        return name ? name->is_ours : look_at_name(userdata, type);
}

static void count_alone(Look *look, const char *type) {
        Name *name = find_name(look, type);

        look->n_alone++;
        if (name)
                name->n_alone++;
}

/* --- what is said ------------------------------------------------------------------------- */

static void tell(Look *look, const PodNote *note, const char *line, size_t n) {
        json_t *one;

        if (!look->asked->json) {
                if (note)
                        printf("%s: %.12s/%s: ", note->network, note->container, note->ifname);
                printf("%.*s\n", (int)n, line);
                return;
        }
        one = json_pack("{s:s*, s:s*, s:s*, s:s%}", "network", note ? note->network : NULL,
                        "containerID", note ? note->container : NULL, "ifname",
                        note ? note->ifname : NULL, "difference", line, n);
        (void)json_array_append_new(look->differences, one);
}

/* What pods share comes with each of them, and is told once. */
static void tell_node(Look *look, const char *line, size_t n) {
        cleanup(freep) char *mark = str_printf("\n%.*s\n", (int)n, line);

        if (mark && look->of_node.n > 0 && strstr(strbuf_text(&look->of_node), mark))
                return;
        strbuf_append(&look->of_node, mark ? mark : "");
        tell(look, NULL, line, n);
}

static void tell_lines(Look *look, const PodNote *note, const char *text) {
        while (text && *text) {
                size_t n = strcspn(text, "\n");

                if (!note || str_has_prefix(text, REPAIR_OF_NODE))
                        tell_node(look, text, n);
                else
                        tell(look, note, text, n);
                text += n + (text[n] == '\n');
        }
}

static void tell_counts_json(Look *look) {
        cleanup(json_decrefp) json_t *alone = json_array(), *report = NULL;

        for (size_t i = 0; i < look->n_names; i++)
                if (look->names[i].n_alone > 0)
                        (void)json_array_append_new(
                                alone, json_pack("{s:s, s:I}", "plugin", look->names[i].type,
                                                 "pods", (json_int_t)look->names[i].n_alone));
        report = json_pack("{s:I, s:I, s:O, s:O}", "compared", (json_int_t)look->n_compared,
                           "leftAlone", (json_int_t)look->n_alone, "otherPrograms", alone,
                           "differences", look->differences);
        (void)json_dumpf(report, stdout, JSON_INDENT(2));
        putchar('\n');
}

static const char *plural(size_t n) {
        return n == 1 ? "" : "s";
}

static void tell_counts(const Look *look) {
        if (look->asked->mode == REPAIR_CHECK)
                fprintf(stderr, "berth-cni: %zu pod%s compared\n", look->n_compared,
                        plural(look->n_compared));
        for (size_t i = 0; i < look->n_names; i++)
                if (look->names[i].n_alone > 0)
                        fprintf(stderr,
                                "berth-cni: %zu pod%s left alone: %s in %s is another program\n",
                                look->names[i].n_alone, plural(look->names[i].n_alone),
                                look->names[i].type, look->asked->plugins);
}

/* --- all of them -------------------------------------------------------------------------- */

/* Return: 1 when something is missing that is not put back. */
static int look_after(Look *look, const PodNote *note) {
        cleanup(strbuf_deinit) StrBuf done = {0};
        const char *other = NULL;
        Error err = {0};
        int r = repair_pod(note, is_ours, look, look->asked->mode, &done, &other, &err);

        tell_lines(look, note, strbuf_text(&done));
        if (r < 0)
                tell(look, note, err.message, strlen(err.message));
        if (r == 0 && other)
                count_alone(look, other);
        else
                look->n_compared++;
        return r < 0 || (look->asked->mode == REPAIR_CHECK && done.n > 0);
}

int look_after_pods(const LookAfter *asked, const PodNotes *notes, Error *err) {
        cleanup(look_deinit)
                Look look = {.asked = asked,
                             .plugins_fd = open(asked->plugins, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                             .differences = json_array()};
        cleanup(strbuf_deinit) StrBuf done = {0};
        int status, r = repair_node(asked->mode, &done, err);

        if (r < 0)
                return r;
        tell_lines(&look, NULL, strbuf_text(&done));
        status = asked->mode == REPAIR_CHECK && done.n > 0;
        for (size_t i = 0; i < notes->n; i++)
                if (notes->items[i].lives)
                        status |= look_after(&look, &notes->items[i]);
        if (asked->json)
                tell_counts_json(&look);
        else
                tell_counts(&look);
        return status;
}
