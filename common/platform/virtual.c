/* SPDX-License-Identifier: Apache-2.0 */

/* Virtual machine or not. Pure. Source for the firmware's names: systemd-detect-virt(1)'s table. */

#include "common/platform/classify_internal.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <stdio.h>

typedef struct VirtualRule {
        PlatformTri is_virtual;
        const char *kind;
        Match matches[MATCHES_MAX];
} VirtualRule;

/* clang-format off */
static const VirtualRule rules[] = {
        {PLATFORM_NO, "", {{MATCH_EQUAL, FACT_SYS_VENDOR, "Amazon EC2"}, {MATCH_CONTAINS, FACT_PRODUCT_NAME, ".metal"}}},
        {PLATFORM_YES, "nitro", {{MATCH_EQUAL, FACT_SYS_VENDOR, "Amazon EC2"}}},
        {PLATFORM_YES, "xen", {{MATCH_EQUAL, FACT_HYPERVISOR_TYPE, "xen"}}},
        {PLATFORM_YES, "xen", {{MATCH_EQUAL, FACT_SYS_VENDOR, "Xen"}}},
        {PLATFORM_YES, "xen", {{MATCH_PREFIX, FACT_CPUID_HYPERVISOR, "XenVMM"}}},
        {PLATFORM_YES, "hyper-v", {{MATCH_EQUAL, FACT_SYS_VENDOR, "Microsoft Corporation"},
                                   {MATCH_EQUAL, FACT_PRODUCT_NAME, "Virtual Machine"}}},
        {PLATFORM_YES, "vmware", {{MATCH_PREFIX, FACT_SYS_VENDOR, "VMware"}}},
        {PLATFORM_YES, "virtualbox", {{MATCH_EQUAL, FACT_SYS_VENDOR, "innotek GmbH"}}},
        {PLATFORM_YES, "virtualbox", {{MATCH_EQUAL, FACT_PRODUCT_NAME, "VirtualBox"}}},
        {PLATFORM_YES, "parallels", {{MATCH_PREFIX, FACT_SYS_VENDOR, "Parallels"}}},
        {PLATFORM_YES, "apple", {{MATCH_PREFIX, FACT_PRODUCT_NAME, "Apple Virtualization"}}},
        {PLATFORM_YES, "bhyve", {{MATCH_EQUAL, FACT_BIOS_VENDOR, "BHYVE"}}},
        {PLATFORM_YES, "kvm", {{MATCH_EQUAL, FACT_PRODUCT_NAME, "Google Compute Engine"}}},
        {PLATFORM_YES, "kvm", {{MATCH_EQUAL, FACT_PRODUCT_NAME, "KVM"}}},
        {PLATFORM_YES, "kvm", {{MATCH_EQUAL, FACT_SYS_VENDOR, "KubeVirt"}}},
        {PLATFORM_YES, "kvm", {{MATCH_PREFIX, FACT_PRODUCT_NAME, "OpenStack "}}},
        {PLATFORM_YES, "hyper-v", {{MATCH_PREFIX, FACT_CPUID_HYPERVISOR, "Microsoft Hv"}}},
        {PLATFORM_YES, "vmware", {{MATCH_PREFIX, FACT_CPUID_HYPERVISOR, "VMwareVMware"}}},
        {PLATFORM_YES, "kvm", {{MATCH_PREFIX, FACT_CPUID_HYPERVISOR, "KVMKVMKVM"}}},
        {PLATFORM_YES, "kvm", {{MATCH_PREFIX, FACT_CPUID_HYPERVISOR, "Linux KVM Hv"}}},
        {PLATFORM_YES, "qemu", {{MATCH_PREFIX, FACT_CPUID_HYPERVISOR, "TCGTCGTCG"}}},
        {PLATFORM_YES, "kvm", {{MATCH_EQUAL, FACT_DEVICE_TREE_HYPERVISOR, "linux,kvm"}}},
        {PLATFORM_YES, "xen", {{MATCH_PREFIX, FACT_DEVICE_TREE_HYPERVISOR, "xen"}}},
        {PLATFORM_YES, "powervm", {{MATCH_EXISTS, FACT_DEVICE_TREE_PARTITION, NULL}}},
        {PLATFORM_YES, "kvm", {{MATCH_CONTAINS, FACT_S390_SYSINFO, "Control Program: KVM/Linux"}}},
        {PLATFORM_YES, "zvm", {{MATCH_CONTAINS, FACT_S390_SYSINFO, "Control Program: z/VM"}}},
        {PLATFORM_NO, "lpar", {{MATCH_CONTAINS, FACT_S390_SYSINFO, "LPAR Number:"}}},
        {PLATFORM_YES, "qemu", {{MATCH_EQUAL, FACT_SYS_VENDOR, "QEMU"}}},
        {PLATFORM_YES, "qemu", {{MATCH_PREFIX, FACT_DEVICE_TREE_MODEL, "linux,dummy-virt"}}},
        /* The clouds' own names, whose hypervisor is KVM as far as anybody knows. */
        {PLATFORM_YES, "kvm", {{MATCH_EQUAL, FACT_SYS_VENDOR, "DigitalOcean"}}},
        {PLATFORM_YES, "kvm", {{MATCH_EQUAL, FACT_SYS_VENDOR, "Alibaba Cloud"}}},
        /* x86 processors say that there is one, not which. */
        {PLATFORM_YES, "", {{MATCH_WORD, FACT_CPUINFO, "hypervisor"}}},
};
/* clang-format on */

void classify_virtual(Platform *platform) {
        const Facts *facts = platform->facts;
        const char *goarch = platform->goarch;

        platform->virtual_kind = "";
        if (!str_is_empty(platform->desktop)) {
                platform->is_virtual = PLATFORM_YES;
                platform->virtual_kind = str_equal(platform->desktop, "wsl2") ? "hyper-v" : "";
                snprintf(platform->virtual_evidence, sizeof(platform->virtual_evidence),
                         "the kernel is that of %s", platform->desktop);
                return;
        }
        for (size_t i = 0; i < N_ELEMENTS(rules); i++) {
                if (match_all(facts, rules[i].matches, NULL) != PLATFORM_YES)
                        continue;
                platform->is_virtual = rules[i].is_virtual;
                platform->virtual_kind = rules[i].kind;
                match_evidence(facts, &rules[i].matches[0], platform->virtual_evidence,
                               sizeof(platform->virtual_evidence));
                return;
        }
        /* Only x86 has a flag whose absence means something; a board's device tree would have a
         * "hypervisor" node. */
        if ((str_equal(goarch, "amd64") || str_equal(goarch, "386")) &&
            facts->facts[FACT_CPUINFO].state == FACT_PRESENT) {
                platform->is_virtual = PLATFORM_NO;
                snprintf(platform->virtual_evidence, sizeof(platform->virtual_evidence),
                         "the processor sees no hypervisor");
        } else if (facts->facts[FACT_DEVICE_TREE_MODEL].state == FACT_PRESENT &&
                   facts->facts[FACT_DEVICE_TREE_HYPERVISOR].state == FACT_ABSENT) {
                platform->is_virtual = PLATFORM_NO;
                snprintf(platform->virtual_evidence, sizeof(platform->virtual_evidence),
                         "the device tree has no hypervisor");
        }
}
