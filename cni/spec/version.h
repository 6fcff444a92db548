/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_SPEC_VERSION_H
#define BERTH_CNI_SPEC_VERSION_H

/* Versions of the CNI specification, oldest first, so that < and >= tell. */

typedef enum CniVersion {
        CNI_0_1_0,
        CNI_0_2_0,
        CNI_0_3_0, /* interfaces and lists of addresses */
        CNI_0_3_1,
        CNI_0_4_0, /* CHECK; prevResult on DEL */
        CNI_1_0_0, /* no "version" in ips */
        CNI_1_1_0, /* GC, STATUS; mtu and more in interfaces and routes */
        _CNI_VERSION_N,
} CniVersion;

/* "1.1.0". Static. */
const char *cni_version_name(CniVersion version);

/* Return: 0; -EINVAL when @text is no version that we speak. */
int cni_version_parse(const char *text, CniVersion *versionp);

#endif
