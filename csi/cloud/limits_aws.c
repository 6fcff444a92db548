/* SPDX-License-Identifier: Apache-2.0 */

/*
 * AWS: attachments by instance type. The order is upstream's: types before Nitro, then the table,
 * then 27 shared. In the table a row is a set of families times a set of sizes; sizes are written
 * m l x 2x for medium large xlarge 2xlarge, and "*" for all.
 */

#include "csi/cloud/limits.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <stdio.h>

#define DEFAULT_ATTACHMENTS   27
#define NON_NITRO_ATTACHMENTS 39

/* "u7in-24tb.224xlarge" has 19 characters. */
#define TYPE_MAX_BYTES 48

typedef struct AwsRule {
        unsigned int attachments;
        const char *families, *sizes; /* words with a space on both sides */
} AwsRule;

/* clang-format off */

/* Types before Nitro: the API calls them shared, upstream takes them as dedicated. Families all of
 * whose types are. */
static const char non_nitro[] =
        " c1 c3 c4 d2 h1 i2 i3 m1 m2 m3 m4 r3 r4 t1 t2 x1 x1e ";

/* Attachments of their own for volumes: exceptions first, then by size. */
static const AwsRule dedicated_exceptions[] = {
        {27, " hpc7a hpc8a ", " * "},
        {28, " p4d p4de ", " 24x "},
        {64, " p5 p5e p5en p6-b200 p6-b300 trn2 ", " 48x "},
        {64, " m8azn x8aedz ", " 12x "},
        {128, " m8azn x8aedz ", " 24x "},
        {79, " m8azn x8aedz ", " metal-24xl "},
        {64, " c8a m8a r8a ", " metal-24xl "},
        {78, " c8gb c8gn m8gb m8gn r8gb r8gn ", " metal-48xl "},
        {64, " c8i c8ib c8id c8in m8i m8ib m8id m8idb m8idn m8in r8i r8ib r8id r8idb r8idn r8in x8i ",
         " metal-48xl "},
        {78, " c8ib c8in m8ib m8idb m8idn m8in r8ib r8idb r8idn r8in ", " metal-96xl "},
};

static const char dedicated_families[] =
        " c7a c7i c7i-flex c8a c8g c8gb c8gd c8gn c8i c8i-flex c8ib c8id c8in c8ine c9g c9gd f2 g6 g6e"
        " g6f g7 g7e gr6 gr6f hpc7a hpc8a i7i i7ie i8g i8ge m7a m7i m7i-flex m8a m8azn m8g m8gb m8gd"
        " m8gn m8i m8i-flex m8ib m8id m8idb m8idn m8in m8ine m9g m9gd p4d p4de p5 p5e p5en p6-b200"
        " p6-b300 r7a r7i r7iz r8a r8g r8gb r8gd r8gn r8i r8i-flex r8ib r8id r8idb r8idn r8in trn2"
        " u7i-6tb u7i-8tb u7i-12tb u7in-16tb u7in-24tb u7in-32tb x8aedz x8g x8i ";

static const AwsRule dedicated_sizes[] = {
        {32, NULL, " m l x 2x 3x 4x 6x 8x 9x 12x "},
        {48, NULL, " 16x 18x "},
        {64, NULL, " 24x metal-12xl "},
        {88, NULL, " 32x "},
        {128, NULL, " 48x 64x 96x 112x 224x "},
        {39, NULL, " metal-16xl metal-24xl "},
        {79, NULL, " metal-32xl metal-48xl metal-96xl "},
};

/* One pool for volumes and network interfaces. */
static const AwsRule shared[] = {
        {31, " a1 c5 c5d c5n c6a c6g c6gd c6i c6id c6in c7g c7gd c7gn g4dn g5g i3en i4i m5 m5d m5dn m5n m5zn"
             " m6a m6g m6gd m6i m6id m6idn m6in m7g m7gd mac-m4 mac-m4pro r5 r5b r5d r5dn r5n r6a r6g r6gd"
             " r6i r6id r6idn r6in r7g r7gd x2gd x2idn x2iedn x2iezn z1d ", " metal "},
        {28, " inf2 ", " 24x 48x "},
        {28, " trn1 trn1n ", " 32x "},
        {26, " c5ad m5ad m5d m5dn r5ad r5d r5dn ", " l x 2x "},
        {26, " c5d ", " l x 2x 4x 9x "},
        {26, " c6gd c7gd m6gd m7gd r6gd r7gd x2gd ", " m l x 2x 4x 8x "},
        {26, " c6id m6id m6idn r6id r6idn ", " l x 2x 4x 8x "},
        {26, " g5g ", " x 2x 4x 8x "},
        {26, " i3en ", " l x 3x "},
        {26, " i4g i4i im4gn ", " l x 2x 4x "},
        {26, " inf1 ", " x 2x "},
        {26, " inf2 ", " x 8x "},
        {26, " is4gen ", " m l x 2x "},
        {26, " x2idn ", " 16x "},
        {26, " x2iedn ", " x 2x 4x 8x 16x "},
        {26, " z1d ", " l x 2x 3x 6x "},
        {25, " c5ad ", " 4x 8x 12x 16x 24x "},
        {25, " c5d ", " 12x 18x "},
        {25, " c6gd c6id c7gd m6gd m6id m6idn m7gd r6gd r6id r6idn r7gd x2gd ", " 12x 16x "},
        {25, " d3en ", " x "},
        {25, " g4ad ", " x 2x 4x "},
        {25, " g4dn g5 ", " x 2x 4x 8x 16x "},
        {25, " g5g ", " 16x "},
        {25, " i3en ", " 2x 6x "},
        {25, " i4g i4i im4gn ", " 8x "},
        {25, " is4gen ", " 4x "},
        {25, " m5ad m5d m5dn r5ad r5d r5dn ", " 4x 8x 12x "},
        {25, " trn1 ", " 2x "},
        {25, " vt1 ", " 3x "},
        {25, " x2idn x2iedn ", " 24x 32x "},
        {25, " z1d ", " 12x "},
        {24, " d3 ", " x "},
        {24, " g4ad ", " 8x "},
        {24, " i4i ", " 12x "},
        {23, " c5d ", " 24x "},
        {23, " c6id m6id m6idn r6id r6idn ", " 24x 32x "},
        {23, " d3en ", " 2x "},
        {23, " hpc6id ", " 32x "},
        {23, " i3en ", " 12x "},
        {23, " i4g i4i im4gn ", " 16x "},
        {23, " inf1 vt1 ", " 6x "},
        {23, " is4gen ", " 8x "},
        {23, " m5ad m5d m5dn r5ad r5d r5dn ", " 16x 24x "},
        {22, " g4dn g5 ", " 12x 24x "},
        {21, " d3 ", " 2x "},
        {21, " g4ad ", " 16x "},
        {21, " i4i ", " 24x "},
        {19, " d3en ", " 4x "},
        {19, " dl2q i3en ", " 24x "},
        {19, " i4i ", " 32x "},
        {17, " p3dn ", " 24x "},
        {16, " mac1 ", " metal "},
        {15, " d3 ", " 4x "},
        {15, " d3en ", " 6x "},
        {11, " d3en ", " 8x "},
        {11, " inf1 ", " 24x "},
        {10, " mac2 mac2-m1ultra mac2-m2 mac2-m2pro mac-m3ultra mac-m4max ", " metal "},
        {9, " g5 ", " 48x "},
        {3, " d3 ", " 8x "},
        {3, " d3en ", " 12x "},
};

/* Two EBS cards. */
static const AwsRule cards[] = {
        {2, " c8gb c8gn g7 m8gb m8gn r8gb r8gn ", " 48x metal-48xl "},
        {2, " c8ib c8in m8ib m8idb m8idn m8in r8ib r8idb r8idn r8in ", " 96x metal-96xl "},
};
/* clang-format on */

/* "c6id.2xlarge" to " c6id " and " 2x ". */
static bool split_type(const char *type, char family[TYPE_MAX_BYTES], char size[TYPE_MAX_BYTES]) {
        const char *dot = strchr(type, '.');
        size_t n = strlen(type);

        if (!dot || dot == type || n + 3 >= TYPE_MAX_BYTES || strchr(type, ' '))
                return false;
        snprintf(family, TYPE_MAX_BYTES, " %.*s ", (int)(dot - type), type);
        if (str_equal(dot, ".medium"))
                snprintf(size, TYPE_MAX_BYTES, " m ");
        else if (str_equal(dot, ".large"))
                snprintf(size, TYPE_MAX_BYTES, " l ");
        else if (str_has_suffix(dot, "xlarge"))
                snprintf(size, TYPE_MAX_BYTES, " %.*sx ", (int)(strlen(dot + 1) - 6), dot + 1);
        else
                snprintf(size, TYPE_MAX_BYTES, " %s ", dot + 1);
        return true;
}

/* 0 if no row has it. */
static unsigned int find_rule(const AwsRule *rules, size_t n_rules, const char *family,
                              const char *size) {
        for (size_t i = 0; i < n_rules; i++)
                if ((!rules[i].families || strstr(rules[i].families, family)) &&
                    (str_equal(rules[i].sizes, " * ") || strstr(rules[i].sizes, size)))
                        return rules[i].attachments;
        return 0;
}

static unsigned int find_dedicated(const char *family, const char *size) {
        unsigned int n;

        if (!strstr(dedicated_families, family))
                return 0;
        n = find_rule(dedicated_exceptions, N_ELEMENTS(dedicated_exceptions), family, size);
        return n ?: find_rule(dedicated_sizes, N_ELEMENTS(dedicated_sizes), family, size);
}

LimitsAws limits_aws_type(const char *type) {
        LimitsAws limits = {.attachments = DEFAULT_ATTACHMENTS, .is_shared = true, .cards = 1};
        char family[TYPE_MAX_BYTES], size[TYPE_MAX_BYTES];
        unsigned int n;

        if (!type || !split_type(type, family, size))
                return limits;
        limits.cards = find_rule(cards, N_ELEMENTS(cards), family, size) ?: 1;
        if (strstr(non_nitro, family))
                return (LimitsAws){NON_NITRO_ATTACHMENTS, false, limits.cards, true};
        n = find_dedicated(family, size);
        if (n)
                return (LimitsAws){n, false, limits.cards, true};
        n = find_rule(shared, N_ELEMENTS(shared), family, size);
        if (n)
                return (LimitsAws){n, true, limits.cards, true};
        return limits;
}

unsigned int limits_aws_volumes(const char *type, const LimitsAwsUse *use) {
        LimitsAws limits = limits_aws_type(type);
        int64_t left = limits.attachments;

        /* A wish for more than there is must not wrap. */
        if (use->reserved >= left)
                return 1;
        left -= use->reserved < 0 ? (int64_t)use->n_block_devices + 1 : use->reserved;
        if (limits.is_shared && use->n_interfaces > 1)
                left -= (int64_t)use->n_interfaces - 1;
        return left < 1 ? 1 : (unsigned int)left;
}
