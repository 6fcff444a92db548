/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Whose machine this is, by what its firmware says. Pure; the table is the knowledge. Sources:
 * facts of cloud-init's ds-identify and of the providers' own documents. Who imitates EC2 is
 * asked for before AWS, and a UUID alone never makes a machine AWS's.
 */

#include "common/platform/classify_internal.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <errno.h>
#include <stdio.h>

typedef struct CloudRule {
        PlatformCloud cloud;
        const char *variant;
        Match matches[MATCHES_MAX];
} CloudRule;

/* clang-format off */
static const CloudRule rules[] = {
        {PLATFORM_CLOUD_AZURE, "",
         {{MATCH_EQUAL, FACT_CHASSIS_ASSET_TAG, "7783-7084-3265-9085-8269-3286-77"}}},
        {PLATFORM_CLOUD_GCE, "", {{MATCH_EQUAL, FACT_PRODUCT_NAME, "Google Compute Engine"}}},
        {PLATFORM_CLOUD_GCE, "", {{MATCH_PREFIX, FACT_PRODUCT_SERIAL, "GoogleCloud-"}}},
        {PLATFORM_CLOUD_ALIBABA, "", {{MATCH_EQUAL, FACT_PRODUCT_NAME, "Alibaba Cloud ECS"}}},
        {PLATFORM_CLOUD_ORACLE, "", {{MATCH_EQUAL, FACT_CHASSIS_ASSET_TAG, "OracleCloud.com"}}},

        {PLATFORM_CLOUD_EC2_COMPATIBLE, "outscale",
         {{MATCH_EQUAL, FACT_SYS_VENDOR, "3DS Outscale"}, {MATCH_EQUAL, FACT_PRODUCT_NAME, "3DS Outscale VM"}}},
        {PLATFORM_CLOUD_EC2_COMPATIBLE, "brightbox", {{MATCH_SUFFIX, FACT_PRODUCT_SERIAL, ".brightbox.com"}}},
        {PLATFORM_CLOUD_EC2_COMPATIBLE, "zstack", {{MATCH_SUFFIX, FACT_CHASSIS_ASSET_TAG, ".zstack.io"}}},
        {PLATFORM_CLOUD_EC2_COMPATIBLE, "e24cloud", {{MATCH_EQUAL, FACT_SYS_VENDOR, "e24cloud"}}},
        {PLATFORM_CLOUD_EC2_COMPATIBLE, "tilaa", {{MATCH_EQUAL, FACT_SYS_VENDOR, "Tilaa"}}},

        {PLATFORM_CLOUD_DIGITALOCEAN, "", {{MATCH_EQUAL, FACT_SYS_VENDOR, "DigitalOcean"}}},
        {PLATFORM_CLOUD_HETZNER, "", {{MATCH_EQUAL, FACT_SYS_VENDOR, "Hetzner"}}},
        {PLATFORM_CLOUD_LINODE, "", {{MATCH_EQUAL, FACT_SYS_VENDOR, "Linode"}}},
        {PLATFORM_CLOUD_LINODE, "", {{MATCH_EQUAL, FACT_SYS_VENDOR, "Akamai"}}},
        {PLATFORM_CLOUD_SCALEWAY, "", {{MATCH_EQUAL, FACT_SYS_VENDOR, "Scaleway"}}},
        {PLATFORM_CLOUD_VULTR, "", {{MATCH_EQUAL, FACT_SYS_VENDOR, "Vultr"}}},
        {PLATFORM_CLOUD_UPCLOUD, "", {{MATCH_EQUAL, FACT_SYS_VENDOR, "UpCloud"}}},
        {PLATFORM_CLOUD_EXOSCALE, "", {{MATCH_PREFIX, FACT_PRODUCT_NAME, "Exoscale"}}},

        {PLATFORM_CLOUD_OPENSTACK, "nova", {{MATCH_EQUAL, FACT_PRODUCT_NAME, "OpenStack Nova"}}},
        {PLATFORM_CLOUD_OPENSTACK, "compute", {{MATCH_EQUAL, FACT_PRODUCT_NAME, "OpenStack Compute"}}},
        {PLATFORM_CLOUD_OPENSTACK, "open-telekom-cloud",
         {{MATCH_EQUAL, FACT_CHASSIS_ASSET_TAG, "OpenTelekomCloud"}}},
        {PLATFORM_CLOUD_OPENSTACK, "sap-converged-cloud",
         {{MATCH_EQUAL, FACT_CHASSIS_ASSET_TAG, "SAP CCloud VM"}}},
        {PLATFORM_CLOUD_OPENSTACK, "huawei", {{MATCH_EQUAL, FACT_CHASSIS_ASSET_TAG, "HUAWEICLOUD"}}},
        {PLATFORM_CLOUD_OPENSTACK, "samsung",
         {{MATCH_EQUAL, FACT_CHASSIS_ASSET_TAG, "Samsung Cloud Platform"}}},
        {PLATFORM_CLOUD_OPENSTACK, "nova", {{MATCH_EQUAL, FACT_CHASSIS_ASSET_TAG, "OpenStack Nova"}}},
        {PLATFORM_CLOUD_OPENSTACK, "compute", {{MATCH_EQUAL, FACT_CHASSIS_ASSET_TAG, "OpenStack Compute"}}},

        {PLATFORM_CLOUD_AWS, "", {{MATCH_EQUAL, FACT_SYS_VENDOR, "Amazon EC2"}}},
        {PLATFORM_CLOUD_AWS, "",
         {{MATCH_EC2_UUID, FACT_HYPERVISOR_UUID, NULL}, {MATCH_EQUAL, FACT_HYPERVISOR_TYPE, "xen"}}},
        {PLATFORM_CLOUD_AWS, "",
         {{MATCH_EC2_UUID, FACT_PRODUCT_UUID, NULL}, {MATCH_CONTAINS, FACT_BIOS_VERSION, "amazon"}}},
        {PLATFORM_CLOUD_AWS, "",
         {{MATCH_EC2_UUID, FACT_PRODUCT_UUID, NULL}, {MATCH_EQUAL, FACT_BIOS_VENDOR, "Amazon EC2"}}},

        {PLATFORM_CLOUD_CLOUDSTACK, "", {{MATCH_PREFIX, FACT_PRODUCT_NAME, "CloudStack"}}},
        {PLATFORM_CLOUD_VMWARE, "",
         {{MATCH_PREFIX, FACT_SYS_VENDOR, "VMware"}, {MATCH_PREFIX, FACT_PRODUCT_SERIAL, "VMware-"}}},

        /* Without firmware tables: what the image or the boot loader left. */
        {PLATFORM_CLOUD_SCALEWAY, "", {{MATCH_WORD, FACT_CMDLINE, "scaleway"}}},
        {PLATFORM_CLOUD_SCALEWAY, "", {{MATCH_EXISTS, FACT_SCALEWAY_RUN, NULL}}},
        {PLATFORM_CLOUD_VULTR, "", {{MATCH_WORD, FACT_CMDLINE, "vultr"}}},
        {PLATFORM_CLOUD_VULTR, "", {{MATCH_EXISTS, FACT_VULTR_ETC, NULL}}},
};
/* clang-format on */

static const char *const names[_PLATFORM_CLOUD_N] = {
        [PLATFORM_CLOUD_UNKNOWN] = "unknown", [PLATFORM_CLOUD_NONE] = "none",
        [PLATFORM_CLOUD_AWS] = "aws",         [PLATFORM_CLOUD_AZURE] = "azure",
        [PLATFORM_CLOUD_GCE] = "gce",         [PLATFORM_CLOUD_OPENSTACK] = "openstack",
        [PLATFORM_CLOUD_ALIBABA] = "alibaba", [PLATFORM_CLOUD_DIGITALOCEAN] = "digitalocean",
        [PLATFORM_CLOUD_HETZNER] = "hetzner", [PLATFORM_CLOUD_LINODE] = "linode",
        [PLATFORM_CLOUD_ORACLE] = "oracle",   [PLATFORM_CLOUD_SCALEWAY] = "scaleway",
        [PLATFORM_CLOUD_VULTR] = "vultr",     [PLATFORM_CLOUD_EXOSCALE] = "exoscale",
        [PLATFORM_CLOUD_UPCLOUD] = "upcloud", [PLATFORM_CLOUD_CLOUDSTACK] = "cloudstack",
        [PLATFORM_CLOUD_VMWARE] = "vmware",   [PLATFORM_CLOUD_EC2_COMPATIBLE] = "ec2-compatible",
};

const char *platform_cloud_name(PlatformCloud cloud) {
        return names[cloud];
}

/* The best hint when a rule could not be decided: which file, and why. */
static void say_unread(Platform *platform, FactId fact) {
        int os_errno = platform->facts->facts[fact].os_errno;

        if (platform->facts->facts[FACT_SYS_CLASS].state != FACT_PRESENT) {
                snprintf(platform->cloud_evidence, sizeof(platform->cloud_evidence),
                         "/sys is not there to read");
                return;
        }
        errno = os_errno; /* strerror() is not thread-safe, %m is */
        snprintf(platform->cloud_evidence, sizeof(platform->cloud_evidence), "%s: %m%s",
                 facts_path(platform->facts, fact), os_errno == EACCES ? "; run as root" : "");
}

static void say_no_match(Platform *platform) {
        const Facts *facts = platform->facts;

        if (!str_is_empty(platform->desktop)) {
                platform->cloud = PLATFORM_CLOUD_NONE;
                snprintf(platform->cloud_evidence, sizeof(platform->cloud_evidence),
                         "%s runs on somebody's own computer", platform->desktop);
        } else if (facts->facts[FACT_DMI].state == FACT_PRESENT) {
                platform->cloud = PLATFORM_CLOUD_NONE;
                snprintf(platform->cloud_evidence, sizeof(platform->cloud_evidence),
                         "the firmware names none: vendor \"%.60s\", product \"%.60s\"",
                         facts_text(facts, FACT_SYS_VENDOR), facts_text(facts, FACT_PRODUCT_NAME));
        } else if (!str_is_empty(platform->board) && platform->is_virtual == PLATFORM_NO) {
                platform->cloud = PLATFORM_CLOUD_NONE;
                snprintf(platform->cloud_evidence, sizeof(platform->cloud_evidence),
                         "a board of its own: %.95s", platform->board);
        } else {
                snprintf(platform->cloud_evidence, sizeof(platform->cloud_evidence),
                         "the firmware tells nothing: %s is not there",
                         facts_path(facts, FACT_DMI));
        }
}

/* Nitro's firmware tells the type as the product and the instance as the board's tag (AWS guide,
 * "Detect whether a host is an EC2 instance"). */
static void take_nitro(Platform *platform) {
        const Facts *facts = platform->facts;
        const char *type = facts_text(facts, FACT_PRODUCT_NAME);
        const char *id = facts_text(facts, FACT_BOARD_ASSET_TAG);

        if (!str_equal(facts_text(facts, FACT_SYS_VENDOR), "Amazon EC2"))
                return;
        if (strchr(type, '.') && !strchr(type, ' '))
                snprintf(platform->cloud_instance_type, sizeof(platform->cloud_instance_type),
                         "%.63s", type);
        if (str_has_prefix(id, "i-") && strspn(id + 2, "0123456789abcdef") == strlen(id + 2))
                snprintf(platform->cloud_instance_id, sizeof(platform->cloud_instance_id), "%.63s",
                         id);
}

void classify_cloud(Platform *platform) {
        const Facts *facts = platform->facts;
        FactId unread = FACT_DMI, fact = FACT_DMI;
        bool is_doubtful = false;

        platform->cloud_variant = "";
        for (size_t i = 0; i < N_ELEMENTS(rules); i++) {
                PlatformTri result = match_all(facts, rules[i].matches, &fact);

                if (result == PLATFORM_YES) {
                        platform->cloud = rules[i].cloud;
                        platform->cloud_variant = rules[i].variant;
                        match_evidence(facts, &rules[i].matches[0], platform->cloud_evidence,
                                       sizeof(platform->cloud_evidence));
                        if (platform->cloud == PLATFORM_CLOUD_AWS)
                                take_nitro(platform);
                        return;
                }
                if (result == PLATFORM_UNKNOWN && !is_doubtful) {
                        is_doubtful = true;
                        unread = fact;
                }
        }
        if (is_doubtful)
                say_unread(platform, unread);
        else
                say_no_match(platform);
}
