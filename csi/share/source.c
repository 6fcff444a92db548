/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/share/source.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

/* As df(1) tells servers from disks, for those that a volume may come from. */
bool share_is_remote(const char *fs_type) {
        static const char *const types[] = {"nfs",       "nfs4",   "cifs", "smb3", "ceph",
                                            "glusterfs", "lustre", "9p",   "afs"};

        if (!fs_type)
                return false;
        for (size_t i = 0; i < N_ELEMENTS(types); i++)
                if (str_equal(fs_type, types[i]))
                        return true;
        return str_has_prefix(fs_type, "fuse.");
}

/* What follows the server: "[fe80::1]:/a". NULL: it has none. */
static const char *export_of(const char *source) {
        const char *server_end = source[0] == '[' ? strchr(source, ']') : source;
        const char *colon = server_end ? strchr(server_end, ':') : NULL;

        return colon ? colon + 1 : NULL;
}

/* The next component of a path, @np bytes, without "." and empty ones. NULL: its end. */
static const char *next_component(const char **atp, size_t *np) {
        do {
                *atp += strspn(*atp, "/");
                *np = strcspn(*atp, "/");
                *atp += *np;
        } while (*np == 1 && (*atp)[-1] == '.');
        return *np > 0 ? *atp - *np : NULL;
}

bool share_is_same_source(const char *a, const char *b) {
        const char *at = export_of(a), *bt = export_of(b), *one, *other;
        size_t n_one, n_other;

        /* Of another kind, as SMB's: as they are written. */
        if (!at || !bt)
                return str_equal(a, b);
        if (at - a != bt - b || memcmp(a, b, (size_t)(at - a)) != 0)
                return false;
        do {
                one = next_component(&at, &n_one);
                other = next_component(&bt, &n_other);
                if (n_one != n_other || (one && other && memcmp(one, other, n_one) != 0))
                        return false;
        } while (one);
        return true;
}
