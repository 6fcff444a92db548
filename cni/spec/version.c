/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/spec/version.h"

#include <errno.h>
#include <string.h>

static const char *const names[_CNI_VERSION_N] = {
        [CNI_0_1_0] = "0.1.0", [CNI_0_2_0] = "0.2.0", [CNI_0_3_0] = "0.3.0", [CNI_0_3_1] = "0.3.1",
        [CNI_0_4_0] = "0.4.0", [CNI_1_0_0] = "1.0.0", [CNI_1_1_0] = "1.1.0",
};

const char *cni_version_name(CniVersion version) {
        return names[version];
}

int cni_version_parse(const char *text, CniVersion *versionp) {
        for (unsigned int i = 0; i < _CNI_VERSION_N; i++)
                if (strcmp(text, names[i]) == 0) {
                        *versionp = (CniVersion)i;
                        return 0;
                }
        return -EINVAL;
}
