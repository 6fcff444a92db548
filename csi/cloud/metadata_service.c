/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Each cloud's metadata service: where it answers, how it wants to be asked, and where in its
 * answers the fields are. All knowledge, no code. Sources: the upstream drivers' own clients and
 * the clouds' documents.
 */

#include "csi/cloud/metadata_internal.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#define REQUIRED METADATA_ROW_REQUIRED
#define LAST     METADATA_ROW_LAST_ELEMENT

#define LINK_LOCAL "http://169.254.169.254"
#define ALIBABA    "/latest/dynamic/instance-identity/document"
#define GCE        "/computeMetadata/v1/"
#define HETZNER    "/hetzner/v1/metadata/"
#define ORACLE     "/opc/v2/instance/"
#define SCALEWAY   "/conf?format=json"
#define EXOSCALE   "/latest/meta-data/"
#define CLOUDSCALE "/openstack/2017-02-22/meta_data.json"

/* clang-format off */
const MetadataService metadata_services[] = {
        {
                .name = "aws",
                .bases = {LINK_LOCAL, "http://[fd00:ec2::254]"},
                .token_path = "/latest/api/token",
                .token_request_header = "X-aws-ec2-metadata-token-ttl-seconds",
                .token_header = "X-aws-ec2-metadata-token",
                .token_seconds = 21600,
                .token_is_optional = true, /* IMDSv1 is all that some have, and all that a pod gets
                                              through when the hop limit is 1 */
                .rows = {
                        {METADATA_FIELD_INSTANCE_ID, REQUIRED, METADATA_PATH_AWS_DOCUMENT, "instanceId"},
                        {METADATA_FIELD_REGION, REQUIRED, METADATA_PATH_AWS_DOCUMENT, "region"},
                        {METADATA_FIELD_ZONE, REQUIRED, METADATA_PATH_AWS_DOCUMENT, "availabilityZone"},
                        {METADATA_FIELD_INSTANCE_TYPE, REQUIRED, METADATA_PATH_AWS_DOCUMENT, "instanceType"},
                        {METADATA_FIELD_PROJECT, 0, METADATA_PATH_AWS_DOCUMENT, "accountId"},
                },
        },
        {
                .name = "azure",
                .bases = {LINK_LOCAL},
                .headers = {"Metadata: true"},
                .rows = {
                        {METADATA_FIELD_INSTANCE_ID, 0, METADATA_PATH_AZURE_INSTANCE, "compute.vmId"},
                        {METADATA_FIELD_NAME, REQUIRED, METADATA_PATH_AZURE_INSTANCE, "compute.name"},
                        {METADATA_FIELD_REGION, REQUIRED, METADATA_PATH_AZURE_INSTANCE, "compute.location"},
                        {METADATA_FIELD_ZONE, 0, METADATA_PATH_AZURE_INSTANCE, "compute.zone"},
                        {METADATA_FIELD_INSTANCE_TYPE, REQUIRED, METADATA_PATH_AZURE_INSTANCE, "compute.vmSize"},
                        {METADATA_FIELD_PROJECT, 0, METADATA_PATH_AZURE_INSTANCE, "compute.subscriptionId"},
                },
        },
        {
                .name = "gce",
                .bases = {LINK_LOCAL},
                .headers = {"Metadata-Flavor: Google"},
                .answer_header = "Metadata-Flavor",
                .answer_value = "Google",
                .rows = {
                        {METADATA_FIELD_INSTANCE_ID, 0, GCE "instance/id", NULL},
                        {METADATA_FIELD_NAME, REQUIRED, GCE "instance/name", NULL},
                        {METADATA_FIELD_ZONE, REQUIRED | LAST, GCE "instance/zone", NULL},
                        {METADATA_FIELD_INSTANCE_TYPE, REQUIRED | LAST, GCE "instance/machine-type", NULL},
                        {METADATA_FIELD_PROJECT, REQUIRED, GCE "project/project-id", NULL},
                },
        },
        {
                .name = "openstack",
                .bases = {LINK_LOCAL},
                .rows = {
                        {METADATA_FIELD_INSTANCE_ID, REQUIRED, METADATA_PATH_OPENSTACK, "uuid"},
                        {METADATA_FIELD_NAME, 0, METADATA_PATH_OPENSTACK, "name"},
                        {METADATA_FIELD_ZONE, 0, METADATA_PATH_OPENSTACK, "availability_zone"},
                        {METADATA_FIELD_PROJECT, 0, METADATA_PATH_OPENSTACK, "project_id"},
                },
        },
        {
                .name = "alibaba",
                .bases = {"http://100.100.100.200"},
                .token_path = "/latest/api/token",
                .token_request_header = "X-aliyun-ecs-metadata-token-ttl-seconds",
                .token_header = "X-aliyun-ecs-metadata-token",
                .token_seconds = 3600,
                .token_is_optional = true,
                .rows = {
                        {METADATA_FIELD_INSTANCE_ID, REQUIRED, ALIBABA, "instance-id"},
                        {METADATA_FIELD_REGION, REQUIRED, ALIBABA, "region-id"},
                        {METADATA_FIELD_ZONE, REQUIRED, ALIBABA, "zone-id"},
                        {METADATA_FIELD_INSTANCE_TYPE, 0, ALIBABA, "instance-type"},
                        {METADATA_FIELD_PROJECT, 0, ALIBABA, "owner-account-id"},
                },
        },
        {
                .name = "digitalocean",
                .bases = {LINK_LOCAL},
                .rows = {
                        {METADATA_FIELD_INSTANCE_ID, REQUIRED, "/metadata/v1.json", "droplet_id"},
                        {METADATA_FIELD_NAME, 0, "/metadata/v1.json", "hostname"},
                        {METADATA_FIELD_REGION, REQUIRED, "/metadata/v1.json", "region"},
                },
        },
        {
                .name = "hetzner",
                .bases = {LINK_LOCAL},
                .rows = {
                        {METADATA_FIELD_INSTANCE_ID, REQUIRED, HETZNER "instance-id", NULL},
                        {METADATA_FIELD_NAME, 0, HETZNER "hostname", NULL},
                        {METADATA_FIELD_REGION, 0, HETZNER "region", NULL},
                        {METADATA_FIELD_ZONE, REQUIRED, HETZNER "availability-zone", NULL},
                },
        },
        {
                .name = "linode",
                .bases = {LINK_LOCAL, "http://[fd00:a9fe:a9fe::1]"},
                .token_path = "/v1/token",
                .token_request_header = "Metadata-Token-Expiry-Seconds",
                .token_header = "Metadata-Token",
                .token_seconds = 3600,
                .headers = {"Accept: application/json"}, /* else plain text */
                .rows = {
                        {METADATA_FIELD_INSTANCE_ID, REQUIRED, METADATA_PATH_LINODE_INSTANCE, "id"},
                        {METADATA_FIELD_NAME, 0, METADATA_PATH_LINODE_INSTANCE, "label"},
                        {METADATA_FIELD_REGION, REQUIRED, METADATA_PATH_LINODE_INSTANCE, "region"},
                        {METADATA_FIELD_INSTANCE_TYPE, 0, METADATA_PATH_LINODE_INSTANCE, "type"},
                },
        },
        {
                .name = "oracle",
                .bases = {LINK_LOCAL, "http://[fd00:c1::a9fe:a9fe]"},
                .headers = {"Authorization: Bearer Oracle"},
                .rows = {
                        {METADATA_FIELD_INSTANCE_ID, REQUIRED, ORACLE, "id"},
                        {METADATA_FIELD_NAME, 0, ORACLE, "displayName"},
                        {METADATA_FIELD_REGION, 0, ORACLE, "canonicalRegionName"},
                        {METADATA_FIELD_ZONE, 0, ORACLE, "availabilityDomain"},
                        {METADATA_FIELD_INSTANCE_TYPE, 0, ORACLE, "shape"},
                },
        },
        {
                .name = "scaleway",
                .bases = {"http://169.254.42.42", "http://[fd00:42::42]"},
                .rows = {
                        {METADATA_FIELD_INSTANCE_ID, REQUIRED, SCALEWAY, "id"},
                        {METADATA_FIELD_NAME, 0, SCALEWAY, "hostname"},
                        {METADATA_FIELD_ZONE, REQUIRED, SCALEWAY, "location.zone_id"},
                        {METADATA_FIELD_INSTANCE_TYPE, 0, SCALEWAY, "commercial_type"},
                        {METADATA_FIELD_PROJECT, 0, SCALEWAY, "project"},
                },
        },
        {
                .name = "vultr",
                .bases = {LINK_LOCAL},
                .rows = {
                        {METADATA_FIELD_INSTANCE_ID, REQUIRED, "/v1.json", "instance-v2-id"},
                        {METADATA_FIELD_NAME, 0, "/v1.json", "hostname"},
                        {METADATA_FIELD_REGION, REQUIRED, "/v1.json", "region.regioncode"},
                },
        },
        {
                .name = "upcloud",
                .bases = {LINK_LOCAL},
                .rows = {
                        {METADATA_FIELD_INSTANCE_ID, REQUIRED, "/metadata/v1.json", "instance_id"},
                        {METADATA_FIELD_NAME, 0, "/metadata/v1.json", "hostname"},
                        {METADATA_FIELD_REGION, REQUIRED, "/metadata/v1.json", "region"},
                },
        },
        {
                .name = "exoscale",
                .bases = {LINK_LOCAL},
                .rows = {
                        {METADATA_FIELD_INSTANCE_ID, REQUIRED, EXOSCALE "instance-id", NULL},
                        {METADATA_FIELD_NAME, 0, EXOSCALE "local-hostname", NULL},
                        {METADATA_FIELD_ZONE, REQUIRED, EXOSCALE "availability-zone", NULL},
                        {METADATA_FIELD_INSTANCE_TYPE, 0, EXOSCALE "service-offering", NULL},
                },
        },
        {
                .name = "cloudscale",
                .bases = {LINK_LOCAL},
                .rows = {
                        {METADATA_FIELD_INSTANCE_ID, REQUIRED, CLOUDSCALE, "meta.cloudscale_uuid"},
                        {METADATA_FIELD_NAME, 0, CLOUDSCALE, "name"},
                        {METADATA_FIELD_ZONE, REQUIRED, CLOUDSCALE, "availability_zone"},
                },
        },
};
/* clang-format on */

const size_t n_metadata_services = N_ELEMENTS(metadata_services);

const MetadataService *metadata_service_find(const char *name) {
        for (size_t i = 0; i < n_metadata_services; i++)
                if (str_equal(metadata_services[i].name, name))
                        return &metadata_services[i];
        return NULL;
}
