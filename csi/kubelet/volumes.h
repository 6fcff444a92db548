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
 * kubelet has no such place here, or no pod at all in it: another kubelet's, or a disk is yet to be
 * mounted there, and the next start may need what nobody speaks for now; another -errno: nobody can
 * tell.
 */
int kubelet_has_volume(const char *root, KubeletPlace place, const char *volume_id);

#define KUBELET_NOTE "vol_data.json"

/* @name in @parent_fd is where a volume's filesystem is mounted, or was, or is to be. Other than 0
 * ends the walk. */
typedef int KubeletEach(int parent_fd, const char *name, void *userdata);

/**
 * kubelet_each_mount_point() - "globalmount" of each staging directory, "mount" of each pod's
 * @root: kubelet's directory for this process
 *
 * What is at those names is not touched. Return: what @each returned; 0; -errno: not all were seen.
 */
int kubelet_each_mount_point(const char *root, KubeletEach *each, void *userdata);

#endif
