/* SPDX-License-Identifier: Apache-2.0 */

/*
 * nfs.csi.k8s.io, the node half: a directory of an NFS server, mounted by mount.nfs. The server,
 * the export and the rest come with the volume. Source: kubernetes-csi/csi-driver-nfs, pkg/nfs.
 */

#include "csi/providers/list.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <strings.h>

/* What the kernel and mount.nfs take for a source. */
#define SOURCE_MAX 1024

/* The volume's context; keys are written in any case. */
typedef struct NfsVolume {
        const char *server, *share, *subdir, *options, *permissions;
        const char *pvc_name, *pvc_namespace, *pv_name;
} NfsVolume;

static const struct {
        const char *key;
        size_t offset;
} keys[] = {
        {"server", offsetof(NfsVolume, server)},
        {"share", offsetof(NfsVolume, share)},
        {"subdir", offsetof(NfsVolume, subdir)},
        {"mountoptions", offsetof(NfsVolume, options)},
        {"mountpermissions", offsetof(NfsVolume, permissions)},
        {"csi.storage.k8s.io/pvc/name", offsetof(NfsVolume, pvc_name)},
        {"csi.storage.k8s.io/pvc/namespace", offsetof(NfsVolume, pvc_namespace)},
        {"csi.storage.k8s.io/pv/name", offsetof(NfsVolume, pv_name)},
};

static void read_context(const StringMap *context, NfsVolume *volume) {
        for (size_t i = 0; i < context->n_pairs; i++)
                for (size_t j = 0; j < N_ELEMENTS(keys); j++)
                        if (strcasecmp(context->pairs[i].key, keys[j].key) == 0)
                                memcpy((char *)volume + keys[j].offset, &context->pairs[i].value,
                                       sizeof(const char *));
}

/* "a/${pvc.metadata.name}" with what provisioner and kubelet told; what nobody told stays. */
static void put_subdir(StrBuf *source, const NfsVolume *volume) {
        const struct {
                const char *name, *value;
        } names[] = {
                {"${pvc.metadata.name}", volume->pvc_name},
                {"${pvc.metadata.namespace}", volume->pvc_namespace},
                {"${pv.metadata.name}", volume->pv_name},
        };

        for (const char *at = volume->subdir; *at;) {
                size_t n = 1;

                for (size_t i = 0; i < N_ELEMENTS(names); i++)
                        if (names[i].value && str_has_prefix(at, names[i].name)) {
                                strbuf_append(source, names[i].value);
                                n = strlen(names[i].name);
                                break;
                        }
                if (n == 1)
                        strbuf_append_n(source, at, 1);
                at += n;
        }
}

static bool has_dots(const char *path) {
        while (*path) {
                size_t n = strcspn(path, "/");

                if (n == 2 && path[0] == '.' && path[1] == '.')
                        return true;
                path += n;
                path += strspn(path, "/");
        }
        return false;
}

/* Of "server:/export": nothing that is an option to a program, or more than one word. @path: what
 * follows the server in @source. */
static int check_source(const char *source, const char *server, const char *path, Error *err) {
        for (const char *at = source; *at; at++)
                if ((unsigned char)*at < ' ' || *at == 0x7f)
                        return error_set(err, ERROR_INVALID,
                                         "volume_context: a control character in server, share or "
                                         "subdir");
        if (server[0] == '-' || strpbrk(server, "/, "))
                return error_set(err, ERROR_INVALID,
                                 "volume_context[server]: \"%.64s\", expected a name or an address",
                                 server);
        if (has_dots(path))
                return error_set(err, ERROR_INVALID,
                                 "volume_context[share], [subdir]: \"%.128s\", expected a path "
                                 "without \"..\"",
                                 source);
        if (strlen(source) > SOURCE_MAX)
                return error_set(err, ERROR_INVALID,
                                 "volume_context: server, share and subdir have more than %d bytes",
                                 SOURCE_MAX);
        return 0;
}

static int make_source(const Call *call, const NfsVolume *volume, Share *share, Error *err) {
        cleanup(strbuf_deinit) StrBuf source = {0};
        bool is_address6 = strchr(volume->server, ':') && volume->server[0] != '[';
        size_t n_server;

        strbuf_printf(&source, is_address6 ? "[%s]:" : "%s:", volume->server);
        n_server = source.n;
        strbuf_append(&source, volume->share);
        if (!str_is_empty(volume->subdir)) {
                while (source.n > 0 && source.text[source.n - 1] == '/')
                        source.text[--source.n] = '\0';
                strbuf_append(&source, "/");
                put_subdir(&source, volume);
        }
        share->source = source.failed ? NULL : arena_strdup(call->arena, strbuf_text(&source));
        if (!share->source)
                return error_set_errno(err, ENOMEM, "source");
        return check_source(share->source, volume->server, share->source + n_server, err);
}

/* "0777"; "0" is "as the server has it". */
static int parse_mode(const char *text, unsigned int *modep, Error *err) {
        unsigned int mode = 0;

        if (str_is_empty(text))
                return 0;
        for (const char *at = text; *at; at++) {
                if (*at < '0' || *at > '7' || mode > 07777U >> 3)
                        return error_set(err, ERROR_INVALID,
                                         "volume_context[mountPermissions]: \"%.32s\", expected "
                                         "octal digits up to 7777",
                                         text);
                mode = mode << 3 | (unsigned int)(*at - '0');
        }
        *modep = mode;
        return 0;
}

static int nfs_find_share(void *self, const Call *call, const NodePublishRequest *request,
                          Share *share, Error *err) {
        NfsVolume volume = {0};
        int r;

        read_context(&request->volume_context, &volume);
        if (str_is_empty(volume.server))
                return error_set(err, ERROR_INVALID, "volume_context[server]: missing");
        if (str_is_empty(volume.share))
                return error_set(err, ERROR_INVALID, "volume_context[share]: missing");
        *share = (Share){
                .fs_type = "nfs",
                .server = volume.server,
                .options = volume.options,
                .helper = "mount.nfs",
        };
        r = make_source(call, &volume, share, err);
        return r < 0 ? r : parse_mode(volume.permissions, &share->mode, err);
}

const Provider provider_nfs = {
        .name = "nfs",
        .driver_name = "nfs.csi.k8s.io",
        .flags = PROVIDER_SHARED | PROVIDER_SINGLE_NODE_MULTI_WRITER | PROVIDER_NO_EXPAND,
        .find_share = nfs_find_share,
};
