/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_KUBELET_VOLUMES_H
#define BERTH_CSI_KUBELET_VOLUMES_H

/*
 * Whether kubelet still has a directory for a volume. It notes each in a vol_data.json before its
 * first call about it and removes that after the last one (Kubernetes pkg/volume/csi).
 */

typedef enum KubeletPlace {
        KUBELET_PODS,    /* <root>/pods/<uid>/volumes/kubernetes.io~csi/<name>/ */
        KUBELET_STAGING, /* <root>/plugins/kubernetes.io/csi/{<driver>/<hash>,pv/<name>,
                            volumeDevices/<name>/data}/ */
} KubeletPlace;

/**
 * kubelet_has_volume() - look through kubelet's notes
 * @root: kubelet's directory for this process
 *
 * Return: 1: one names the volume, or, of a pod's, cannot be understood; 0: none does; -ENOENT:
 * kubelet has no such place here; another -errno: nobody can tell.
 */
int kubelet_has_volume(const char *root, KubeletPlace place, const char *volume_id);

#define KUBELET_NOTE "vol_data.json"

#endif
