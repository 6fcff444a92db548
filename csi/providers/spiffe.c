/* SPDX-License-Identifier: Apache-2.0 */

/*
 * csi.spiffe.io: shows a pod the directory that the SPIFFE Workload API's socket is in. Nothing is
 * stored, nothing is a disk. Source: spiffe/spiffe-csi, pkg/driver/driver.go.
 */

#include "csi/providers/list.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <fcntl.h>

/* Where SPIRE's manifests put it on the node. */
#define DEFAULT_DIRECTORY "/run/spire/agent-sockets"

typedef struct Spiffe {
        const char *directory; /* borrowed */
} Spiffe;

static int spiffe_open(const ProviderConfig *config, void **selfp, Error *err) {
        const char *directory = config->workload_api_dir;
        Spiffe *self;

        if (str_is_empty(directory))
                directory = DEFAULT_DIRECTORY;
        if (directory[0] != '/')
                return error_set(err, ERROR_INVALID,
                                 "--workload-api-socket-dir: \"%.128s\", expected an absolute path",
                                 directory);
        self = calloc(1, sizeof(*self));
        if (!self)
                return error_set_errno(err, ENOMEM, "provider spiffe");
        self->directory = directory;
        *selfp = self;
        return 0;
}

static int spiffe_ready(void *self, const Call *call, Error *err) {
        const Spiffe *spiffe = self;
        cleanup(closep) int fd = open(spiffe->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);

        if (fd >= 0)
                return 0;
        return error_set(err, ERROR_UNAVAILABLE,
                         "the directory %s of the Workload API's socket is not there yet "
                         "(--workload-api-socket-dir)",
                         spiffe->directory);
}

static int refuse(const char *field, const char *expected, Error *err) {
        return error_set(err, ERROR_INVALID, "%s: expected %s", field, expected);
}

static int spiffe_find_share(void *self, const Call *call, const NodePublishRequest *request,
                             Share *share, Error *err) {
        const Spiffe *spiffe = self;
        const VolumeCapability *capability = &request->capability;
        const char *ephemeral =
                string_map_get(&request->volume_context, "csi.storage.k8s.io/ephemeral");

        if (!str_equal(ephemeral, "true"))
                return refuse("volume_context[csi.storage.k8s.io/ephemeral]",
                              "true: only inline volumes are supported", err);
        if (!request->readonly)
                return refuse("readonly",
                              "true: set readOnly: true for the volume in the pod (csi)", err);
        if (capability->fs_type[0] != '\0' || capability->n_mount_flags > 0)
                return refuse("volume_capability", "no filesystem type and no mount flags", err);
        if (capability->access_mode == ACCESS_MODE_SINGLE_NODE_READER_ONLY)
                return refuse("volume_capability.access_mode",
                              "SINGLE_NODE_WRITER, which kubelet sends for inline volumes", err);
        *share = (Share){.directory = spiffe->directory, .is_read_only = true};
        return 0;
}

const Provider provider_spiffe = {
        .name = "spiffe",
        .driver_name = "csi.spiffe.io",
        .flags = PROVIDER_EPHEMERAL | PROVIDER_NO_EXPAND | PROVIDER_NO_CONTROLLER,
        .open = spiffe_open,
        .close = free,
        .ready = spiffe_ready,
        .find_share = spiffe_find_share,
};
