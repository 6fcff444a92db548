/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Which Kubernetes distribution this node runs, and where it keeps things. Pure; the tables are the
 * knowledge. A container sees only what is mounted into it, so there "no sign of it" stays unknown.
 */

#include "common/platform/classify_internal.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <stdio.h>

#define CNI_BIN  "/opt/cni/bin"
#define CNI_CONF "/etc/cni/net.d"

typedef struct KubernetesRule {
        const char *distribution;
        Match matches[MATCHES_MAX];
        FactId roots[2]; /* where its kubelet keeps volumes: the first that exists; the second is an
                            older place, or the same */
        const char *cni_bin, *cni_conf;
        const char *note;
} KubernetesRule;

#define ROOT_DEFAULT                                                                               \
        { FACT_ROOT_DEFAULT, FACT_ROOT_DEFAULT }
#define K3S_CONF    "/var/lib/rancher/k3s/agent/etc/cni/net.d"
#define K3S_BIN     "/var/lib/rancher/k3s/data/cni"
#define K3S_BIN_OLD "/var/lib/rancher/k3s/data/current/bin"

/* The more special first: k3d is k3s in a container, minikube's node image is kind's, a GKE node
 * has kubelet's own files as well. */
/* clang-format off */
static const KubernetesRule rules[] = {
        {"microk8s", {{MATCH_EXISTS, FACT_MICROK8S, NULL}}, {FACT_ROOT_MICROK8S, FACT_ROOT_MICROK8S},
         "/var/snap/microk8s/current/opt/cni/bin", "/var/snap/microk8s/current/args/cni-network",
         "the kubelet root differs from the usual one: set it in the DaemonSet"},
        {"k8s-snap", {{MATCH_EXISTS, FACT_K8S_SNAP, NULL}}, {FACT_ROOT_DEFAULT, FACT_ROOT_K8S_SNAP},
         CNI_BIN, CNI_CONF, ""},
        {"minikube", {{MATCH_EXISTS, FACT_MINIKUBE, NULL}}, ROOT_DEFAULT, CNI_BIN, CNI_CONF, ""},
        {"kind", {{MATCH_EXISTS, FACT_KIND, NULL}}, ROOT_DEFAULT, CNI_BIN, CNI_CONF, ""},
        {"k3d", {{MATCH_EXISTS, FACT_K3D, NULL}, {MATCH_EXISTS, FACT_K3S_CNI, NULL}}, ROOT_DEFAULT, K3S_BIN, K3S_CONF,
         "k3d nodes need the kubelet root mounted shared: k3d cluster create --volume ...:shared"},
        {"k3d", {{MATCH_EXISTS, FACT_K3D, NULL}}, ROOT_DEFAULT, "/bin", K3S_CONF,
         "k3d nodes need the kubelet root mounted shared: k3d cluster create --volume ...:shared"},
        {"rke2", {{MATCH_EXISTS, FACT_RKE2, NULL}}, ROOT_DEFAULT, CNI_BIN, CNI_CONF, ""},
        {"k3s", {{MATCH_EXISTS, FACT_K3S, NULL}, {MATCH_EXISTS, FACT_K3S_CNI, NULL}},
         {FACT_ROOT_DEFAULT, FACT_ROOT_K3S_OLD}, K3S_BIN, K3S_CONF, ""},
        {"k3s", {{MATCH_EXISTS, FACT_K3S, NULL}, {MATCH_EXISTS, FACT_K3S_CNI_OLD, NULL}},
         {FACT_ROOT_DEFAULT, FACT_ROOT_K3S_OLD}, K3S_BIN_OLD, K3S_CONF, ""},
        {"k3s", {{MATCH_EXISTS, FACT_K3S, NULL}},
         {FACT_ROOT_DEFAULT, FACT_ROOT_K3S_OLD}, K3S_BIN, K3S_CONF, ""},
        {"k0s", {{MATCH_EXISTS, FACT_K0S, NULL}}, {FACT_ROOT_K0S, FACT_ROOT_DEFAULT}, CNI_BIN, CNI_CONF,
         "the kubelet root differs from the usual one: set it in the DaemonSet"},
        {"openshift", {{MATCH_OS_RELEASE, FACT_OS_RELEASE, "ID=rhcos"}}, ROOT_DEFAULT,
         "/var/lib/cni/bin", "/etc/kubernetes/cni/net.d", "/usr is read-only; Multus runs the other plugins"},
        {"openshift", {{MATCH_EXISTS, FACT_MACHINE_CONFIG, NULL}}, ROOT_DEFAULT,
         "/var/lib/cni/bin", "/etc/kubernetes/cni/net.d", "/usr is read-only; Multus runs the other plugins"},
        {"openshift-3", {{MATCH_EXISTS, FACT_ROOT_OPENSHIFT3, NULL}}, {FACT_ROOT_OPENSHIFT3, FACT_ROOT_OPENSHIFT3},
         CNI_BIN, CNI_CONF, ""},
        {"microshift", {{MATCH_EXISTS, FACT_MICROSHIFT, NULL}}, ROOT_DEFAULT, CNI_BIN, CNI_CONF, ""},
        {"talos", {{MATCH_OS_RELEASE, FACT_OS_RELEASE, "ID=talos"}}, ROOT_DEFAULT, CNI_BIN, CNI_CONF,
         "no shell and no libraries on the host: only static plugins run"},
        {"bottlerocket", {{MATCH_OS_RELEASE, FACT_OS_RELEASE, "ID=bottlerocket"}}, ROOT_DEFAULT, CNI_BIN, CNI_CONF,
         "no shell on the host; SELinux forbids plugins to mount"},
        {"gke", {{MATCH_EXISTS, FACT_GKE_BIN, NULL}}, ROOT_DEFAULT, "/home/kubernetes/bin", CNI_CONF,
         "/opt is read-only and most of / is noexec: plugins go to /home/kubernetes/bin"},
        {"eks", {{MATCH_EXISTS, FACT_EKS, NULL}}, ROOT_DEFAULT, CNI_BIN, CNI_CONF, ""},
        {"aks", {{MATCH_EXISTS, FACT_AKS, NULL}}, ROOT_DEFAULT, CNI_BIN, CNI_CONF, ""},
        {"rke1", {{MATCH_EXISTS, FACT_RKE1, NULL}}, {FACT_ROOT_RKE1, FACT_ROOT_DEFAULT}, CNI_BIN, CNI_CONF, ""},
        {"kops", {{MATCH_EXISTS, FACT_KOPS, NULL}}, ROOT_DEFAULT, CNI_BIN, CNI_CONF, ""},
        {"kubeadm", {{MATCH_EXISTS, FACT_KUBEADM, NULL}}, ROOT_DEFAULT, CNI_BIN, CNI_CONF, ""},
        {"kubelet", {{MATCH_EXISTS, FACT_KUBELET_CONF, NULL}}, ROOT_DEFAULT, CNI_BIN, CNI_CONF, ""},
        {"kubelet", {{MATCH_EXISTS, FACT_KUBELET_PROCESS, NULL}}, ROOT_DEFAULT, CNI_BIN, CNI_CONF, ""},
};

static const struct {
        const char *name;
        FactId socket;
} runtimes[PLATFORM_RUNTIMES_MAX] = {
        {"containerd", FACT_SOCKET_CONTAINERD},
        {"containerd", FACT_SOCKET_K3S},
        {"containerd", FACT_SOCKET_MICROK8S},
        {"containerd", FACT_SOCKET_K0S},
        {"cri-o", FACT_SOCKET_CRIO},
        {"docker", FACT_SOCKET_DOCKER},
        {"cri-dockerd", FACT_SOCKET_CRI_DOCKERD},
        {"dockershim", FACT_SOCKET_DOCKERSHIM},
};

/* Every known place of a kubelet root, the usual one first. */
static const FactId all_roots[] = {
        FACT_ROOT_DEFAULT, FACT_ROOT_K0S, FACT_ROOT_MICROK8S, FACT_ROOT_K8S_SNAP,
        FACT_ROOT_K3S_OLD, FACT_ROOT_RKE1, FACT_ROOT_OPENSHIFT3, FACT_ROOT_BCM,
};
/* clang-format on */

/* What is not mounted into a container may still be on its host. */
static bool is_blind(const Platform *platform) {
        return platform->is_container != PLATFORM_NO && platform->facts->is_live;
}

static PlatformTri does_exist(const Platform *platform, FactId path) {
        switch (platform->facts->facts[path].state) {
        case FACT_ABSENT:
                return is_blind(platform) ? PLATFORM_UNKNOWN : PLATFORM_NO;
        case FACT_PRESENT:
                return PLATFORM_YES;
        case FACT_UNKNOWN:
                break;
        }
        return PLATFORM_UNKNOWN;
}

static void find_runtimes(Platform *platform) {
        for (size_t i = 0; i < N_ELEMENTS(runtimes); i++)
                if (platform->facts->facts[runtimes[i].socket].state == FACT_PRESENT)
                        platform->runtimes[platform->n_runtimes++] = (PlatformRuntime){
                                .name = runtimes[i].name,
                                .socket = facts_path(platform->facts, runtimes[i].socket),
                        };
}

static void set_root(Platform *platform, FactId root) {
        const char *path = facts_path(platform->facts, root);

        snprintf(platform->kubernetes.kubelet_root, sizeof(platform->kubernetes.kubelet_root), "%s",
                 path);
        platform->kubernetes.kubelet_root_exists = does_exist(platform, root);
}

/* --root-dir=PATH or --root-dir PATH of the kubelet that runs; its arguments are one a line. */
static bool root_from_process(Platform *platform) {
        const char *text = facts_text(platform->facts, FACT_KUBELET_PROCESS);
        const char *flag = strstr(text, "--root-dir");
        size_t n;

        if (!flag || (flag != text && flag[-1] != '\n'))
                return false;
        flag += strlen("--root-dir");
        if (*flag != '=' && *flag != '\n')
                return false;
        n = strcspn(++flag, "\n");
        while (n > 1 && flag[n - 1] == '/')
                n--;
        if (*flag != '/' || n >= sizeof(platform->kubernetes.kubelet_root))
                return false;
        memcpy(platform->kubernetes.kubelet_root, flag, n);
        platform->kubernetes.kubelet_root[n] = '\0';
        str_make_utf8(platform->kubernetes.kubelet_root);
        platform->kubernetes.kubelet_root_exists = PLATFORM_YES; /* it runs there */
        snprintf(platform->kubernetes.kubelet_evidence,
                 sizeof(platform->kubernetes.kubelet_evidence), "kubelet runs with --root-dir");
        return true;
}

static void root_from_rule(Platform *platform, const KubernetesRule *rule) {
        FactId root = rule->roots[0];

        if (platform->facts->facts[root].state != FACT_PRESENT &&
            platform->facts->facts[rule->roots[1]].state == FACT_PRESENT)
                root = rule->roots[1];
        set_root(platform, root);
        snprintf(platform->kubernetes.kubelet_evidence,
                 sizeof(platform->kubernetes.kubelet_evidence), "where %s keeps it",
                 rule->distribution);
}

/* Without a distribution: a known place that exists. Of two nobody can say which one it is. */
static void root_from_places(Platform *platform) {
        size_t n = 0;

        for (size_t i = 0; i < N_ELEMENTS(all_roots); i++) {
                if (platform->facts->facts[all_roots[i]].state != FACT_PRESENT)
                        continue;
                if (n++ == 0)
                        set_root(platform, all_roots[i]);
        }
        if (n == 1) {
                snprintf(platform->kubernetes.kubelet_evidence,
                         sizeof(platform->kubernetes.kubelet_evidence), "the directory exists");
        } else if (n > 1) {
                platform->kubernetes.kubelet_root[0] = '\0';
                platform->kubernetes.kubelet_root_exists = PLATFORM_UNKNOWN;
                snprintf(platform->kubernetes.kubelet_evidence,
                         sizeof(platform->kubernetes.kubelet_evidence),
                         "%zu known places of it exist", n);
        }
}

static void find_propagation(Platform *platform) {
        const Facts *facts = platform->facts;
        bool is_shared;

        if (str_is_empty(platform->kubernetes.kubelet_root) ||
            platform->kubernetes.kubelet_root_exists != PLATFORM_YES ||
            facts->facts[FACT_MOUNTINFO].state != FACT_PRESENT)
                return;
        if (mounts_covering(facts_text(facts, FACT_MOUNTINFO), platform->kubernetes.kubelet_root,
                            &is_shared, NULL, 0))
                platform->kubernetes.kubelet_root_shared = is_shared ? PLATFORM_YES : PLATFORM_NO;
}

static const KubernetesRule *find_rule(Platform *platform) {
        FactId fact = FACT_KUBELET_CONF;

        platform->kubernetes.distribution = platform->kubernetes.note = "";
        platform->kubernetes.cni_bin = platform->kubernetes.cni_conf = "";
        for (size_t i = 0; i < N_ELEMENTS(rules); i++) {
                PlatformTri result = match_all(platform->facts, rules[i].matches, &fact);

                if (result == PLATFORM_YES) {
                        match_evidence(platform->facts, &rules[i].matches[0],
                                       platform->kubernetes.evidence,
                                       sizeof(platform->kubernetes.evidence));
                        return &rules[i];
                }
                if (result == PLATFORM_UNKNOWN && !platform->kubernetes.evidence[0])
                        snprintf(platform->kubernetes.evidence,
                                 sizeof(platform->kubernetes.evidence), "%s could not be read",
                                 facts_path(platform->facts, fact));
        }
        if (is_blind(platform))
                snprintf(platform->kubernetes.evidence, sizeof(platform->kubernetes.evidence),
                         "a container sees only what is mounted into it");
        else if (!platform->kubernetes.evidence[0])
                platform->kubernetes.is_present = PLATFORM_NO;
        return NULL;
}

void classify_kubernetes(Platform *platform) {
        const KubernetesRule *rule = find_rule(platform);

        find_runtimes(platform);
        if (rule) {
                platform->kubernetes.is_present = PLATFORM_YES;
                platform->kubernetes.distribution = rule->distribution;
                platform->kubernetes.note = rule->note;
                platform->kubernetes.cni_bin = rule->cni_bin;
                platform->kubernetes.cni_conf = rule->cni_conf;
        }
        if (!root_from_process(platform)) {
                if (rule)
                        root_from_rule(platform, rule);
                else
                        root_from_places(platform);
        }
        find_propagation(platform);
}
