/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Azure: data disks by VM size. The documents give them size by size, the names follow rules: a
 * series is the name with '#' for its number, and a series has steps "from this number on: so many
 * disks". Sizes that only Microsoft's own subscriptions see are left out.
 */

#include "csi/cloud/limits.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <ctype.h>
#include <stdio.h>

/* What upstream says of a size that it does not know. */
#define DEFAULT_DISKS 16

/* The longest name has 40 characters. */
#define NAME_MAX_BYTES 80

typedef struct AzureRule {
        const char *steps;  /* "2:4 4:8": from 2 on 4 disks, from 4 on 8 */
        const char *series; /* each with a space on both sides */
} AzureRule;

/* Where the name does not follow its series. */
static const struct {
        const char *name;
        unsigned int disks;
} exceptions[] = {
        {"E8-4DS_V5", 32},
        {"E8-4S_V5", 32},
};

/* clang-format off */
static const AzureRule rules[] = {
        {"1:2 2:4 4:8 8:16 16:32",
         " A#M_V2 A#M_V2_GEN2 A#WEB35_V2 A#_V2_GEN2 AKV#V2_G3 AKV#_G4 B#AFS_V2 B#ALS_V2 B#AS_V2 "
         "B#ATS_V2 B#FS_V2 B#HMS B#LS B#LS_V2 B#MS B#PFS_V2 B#PLS_V2 B#PS_V2 B#PTS_V2 B#S "
         "B#S_V2 B#TS_V2 D#ADS_V5 D#ADS_V6 D#ADUS_V6 D#AEDS_V6 D#AHS_V4 D#ALDS_V5 D#ALDS_V6 "
         "D#ALDUS_V6 D#ALS_V5 D#ALS_V6 D#ANDS_V7 D#ANLDS_V7 D#ANLS_V7 D#ANS_V7 D#AODS_V6 "
         "D#AS_V3 D#AS_V4 D#AS_V5 D#AS_V5_PROMO D#AS_V6 D#A_V3 D#A_V4 D#DS_V4 D#DS_V5 D#D_V4 "
         "D#D_V5 D#HS_V3 D#LDS_V5 D#LD_V5 D#LS_V5 D#L_V5 D#PDS_V5 D#PLDS_V5 D#PLS_V5 D#PS_V5 "
         "D#S_V3 D#S_V4 D#S_V5 D#_FLEX D#_FLEX_PRIME D#_V4 D#_V5 DC#ADS_CC_V5 DC#ADS_V5 "
         "DC#ADS_V6 DC#AS_CC_V5 DC#AS_CC_V6 DC#AS_V5 DC#AS_V6 DC#EDS_V5 DC#ES_V5 DX#AS_V6 "
         "E#ADS_V5 E#ADS_V6 E#ADUS_V6 E#ANDS_V7 E#ANS_V7 E#AS_V3 E#AS_V4 E#AS_V5 E#AS_V5_PROMO "
         "E#AS_V6 E#A_V3 E#A_V4 E#BDS_V5 E#BS_V5 E#DS_V4 E#DS_V4_ADHTYPE1 E#DS_V5 E#D_V4 "
         "E#D_V5 E#IAS_V4 E#IS_V3 E#I_V3 E#PDS_V5 E#PS_V5 E#S_FLEX E#S_FLEX_PRIME E#S_V3 "
         "E#S_V4 E#S_V4_ADHTYPE1 E#S_V5 E#_FLEX E#_FLEX_PRIME E#_V3 E#_V4 E#_V5 EC#ADS_CC_V5 "
         "EC#ADS_V5 EC#ADS_V6 EC#AS_CC_V5 EC#AS_CC_V6 EC#AS_V5 EC#AS_V6 EC#EDS_V5 EC#ES_V5 "
         "EC#IADS_V5 EC#IAS_V5 EC#IEDS_V5 EC#IES_V5 F#ADS_V6 F#ALDS_V6 F#ALS_V6 F#AMDS_V6 "
         "F#AMS_V6 F#AS_V6 F#FS_V2 F#HS_V2 F#IAMDS_V6 F#IAMS_V6 F#S_FLEX F#S_FLEX_PRIME F#S_V2 "
         "F#_FLEX F#_FLEX_PRIME HB#FC-144RS_V5 HB#FC-192RS_V5 HB#FC-240RS_V5 HB#FC-288RS_V5 "
         "HB#FC-336RS_V5 HB#FC-48RS_V5 HB#FC-96RS_V5 HB#FCRS_V5 HB#RS-112_V3 HB#RS-128_V3 "
         "HB#RS-224_V3 HB#RS-240_V3 HB#RS-256_V3 HB#RS-56_V3 HB#RS-64_V3 HB#RS_V2 HB#RS_V3 "
         "HB#RS_V4 HB#RS_V5 HB#S_V4 HD#RS HD#S HX#RS HX#S L#AES_V4 L#ALS_V4 L#AOS_V4 L#AOUS_V4 "
         "L#AS_V3 L#AS_V4 L#AUS_V4 L#IS_V2 L#S_V2 L#S_V3 M#DMS_V3 M#DMS_V4 M#MS_V3 M#TDS_V2 "
         "M#TDS_V3 M#TS M#TS_V2 M#TS_V3 M#TS_V4 NC#AS_T4_V3 NC#RS_V2 NC#RS_V3 ND#RS ND#S_V2 "
         "ND#S_V3 NG#ADMS_V620_V1 NV#AHS_V4 NV#AS_V4 "},
        {"1:4 2:8 4:12 8:24 16:48 32:64",
         " D#ADUS_V7 D#ALDUS_V7 D#DARM_V3 D#DS_V6 D#DUS_V6 D#DUS_V7 D#IDS_V7 D#IS_V7 D#LDS_V6 "
         "D#LDUS_V6 D#LDUS_V7 D#LS_V6 D#NDS_V6 D#NDUS_V6 D#NLDS_V6 D#NLDUS_V6 D#NLS_V6 D#NS_V6 "
         "D#PDS_V6 D#PDS_V7 D#PDUS_V6 D#PDUS_V7 D#PLDS_V6 D#PLDS_V7 D#PLDUS_V6 D#PLDUS_V7 "
         "D#PLS_V6 D#PLS_V7 D#PNDS_V6 D#PNDS_V7 D#PNDUS_V7 D#PNLDS_V6 D#PNLDS_V7 D#PNLDUS_V7 "
         "D#PNLS_V6 D#PNLS_V7 D#PNS_V6 D#PNS_V7 D#PS_V6 D#PS_V7 D#S_V6 DC#ADS_V7 DC#ALDS_V7 "
         "DC#ALS_V7 DC#AS_V7 DC#EDS_V6 DC#EDS_V7 DC#ELDS_V6 DC#ELS_V6 DC#ES_V6 DC#ES_V7 "
         "DC#IEDS_V7 DC#IES_V7 E#ADUS_V7 E#BDS_V6 E#BDUS_V6 E#BS_V6 E#DARM_V3 E#DS_V6 E#DUS_V6 "
         "E#DUS_V7 E#IADMS_V5 E#IADS_V6 E#IANDS_V7 E#IANS_V7 E#IAS_V6 E#IBDS_V5 E#IBDS_V6 "
         "E#IBDUS_V6 E#IBS_V5 E#IBS_V6 E#IDS_V4 E#IDS_V5 E#IDS_V6 E#IDS_V7 E#IDUS_V6 E#ID_V5 "
         "E#INDS_V6 E#IS_V4 E#IS_V5 E#IS_V6 E#IS_V7 E#I_V5 E#NDS_V6 E#NDUS_V6 E#NS_V6 "
         "E#PBDS_V6 E#PBDS_V7 E#PBDUS_V7 E#PBS_V6 E#PBS_V7 E#PDS_V6 E#PDS_V7 E#PDUS_V6 "
         "E#PDUS_V7 E#PNDS_V6 E#PNDS_V7 E#PNDUS_V7 E#PNS_V6 E#PNS_V7 E#PS_V6 E#PS_V7 E#S_V6 "
         "EC#ADS_V7 EC#AS_V7 EC#EDS_V6 EC#ES_V6 EC#IADS_V7 EC#IAS_V7 EC#IEDS_V6 EC#IES_V6 "
         "F#ADUS_V7 F#ALDUS_V7 F#AMDUS_V7 F#DS_V6 F#DS_V7 F#LDS_V6 F#LDS_V7 F#LS_V6 F#LS_V7 "
         "F#MDS_V6 F#MDS_V7 F#MS_V6 F#MS_V7 F#S_V6 F#S_V7 FX#MDUS_V2 L#IAOS_V5 L#IAOUS_V5 "
         "L#IAS_V3 L#IAS_V5 L#IS_V3 L#IS_V4 L#IS_V5 L#PS_V5 L#S_V4 L#US_V4 M# M#BDS_1_V3 "
         "M#BDS_1_V4 M#BDS_2_V3 M#BDS_2_V4 M#BDS_3_V3 M#BDS_3_V4 M#BDS_4_V3 M#BDS_4_V4 "
         "M#BS_1_V4 M#BS_2_V3 M#BS_2_V4 M#BS_3_V3 M#BS_3_V4 M#BS_4_V3 M#BS_4_V4 M#DMS_1_V4 "
         "M#DMS_2_V4 M#DMS_4_V4 M#DSX_5_V4 M#DSX_6_V4 M#DSX_7_V4 M#DS_10_V3 M#DS_12_V3 "
         "M#DS_16_V3 M#DS_1_V4 M#DS_2_V3 M#DS_2_V4 M#DS_3_V3 M#DS_3_V4 M#DS_4_V3 M#DS_4_V4 "
         "M#DS_5_V4 M#DS_6_V3 M#DS_6_V4 M#DS_7_V4 M#DS_8_V3 M#DS_8_V4 M#DS_9_V3 M#DS_V2 "
         "M#IDMS_V2 M#IDS_16_V3 M#IDS_2_V3 M#IDS_4_V3 M#IDS_V2 M#IMS_V2 M#IS_16_V3 M#IS_2_V3 "
         "M#IS_4_V3 M#IS_V2 M#IXDS_24_V3 M#IXDS_32_V3 M#IXDS_PRE_32_V3 M#IXS M#IXS_V2 M#M "
         "M#MDS_V4 M#MS_1_V4 M#MS_2_V4 M#MS_4_V4 M#PDS_V4 M#PDUS_V4 M#PS_V4 M#S M#S_10_V2 "
         "M#S_10_V3 M#S_12_V3 M#S_16_V3 M#S_1_V4 M#S_2_V3 M#S_2_V4 M#S_3_V3 M#S_3_V4 M#S_4_V3 "
         "M#S_4_V4 M#S_5_V4 M#S_6_V3 M#S_6_V4 M#S_7_V4 M#S_8_V2 M#S_8_V3 M#S_9_V2 M#S_9_V3 "
         "M#XDS_16_V3 M#XS_V2 NV#H NV#HS_V2 "},
        {"2:10 4:12 8:26 16:48 32:64",
         " D#ADS_V7 D#ALDS_V7 D#ALS_V7 D#AS_V7 D#DS_V7 D#LDS_V7 D#LS_V7 D#S_V7 E#ADS_V7 E#AS_V7 "
         "E#DS_V7 E#S_V7 L#ALS_V5 L#AS_V5 L#S_V5 "},
        {"2:4 4:8 8:16 16:32 112:64",
         " E#IADS_V5 E#IAS_V5 "},
        {"1:4 2:8 4:16 8:32 16:64",
         " F# F#S H# H#M H#MR H#MR_PROMO H#M_PROMO H#R H#R_PROMO H#_PROMO L#S M#BDS_V3 M#BDS_V4 "
         "M#BS_V3 M#BS_V4 M#LDS_V4 M#LS_V4 NC#R NC#R_PROMO "},
        {"1:4 2:8 3:16 4:32 5:64 11:8 12:16 13:32 14:64",
         " D# D#I_V2 D#_V2 D#_V2_NESTED D#_V2_PROMO DS# DS#I_V2 DS#_V2 DS#_V2_PROMO "},
        {"8:8 16:16 32:32 64:64",
         " DC#_V2 M#DMS_V2 M#LDS_V2 M#LS M#LS_V2 M#MDS_V2 M#MS M#MS_V2 M#S_V2 MDB#S "
         "NC#ADS_A10_V4 NG#ADS_V620L_V1 NG#ADS_V620_V1 NP# NP#S NV#ADS_V620L_V5 "},
        {"6:24 12:48 24:64",
         " NC# NC#_PROMO NV# NV#_PROMO "},
        {"6:12 12:24 24:32",
         " NC#S_V2 NC#S_V3 ND#S NV#S_V2 PB#S "},
        {"0:1 1:2 2:4 3:8 4:16 5:4 6:8 7:16 8:32 9:64 10:32 11:64",
         " A# "},
        {"16:1 64:2 128:8 132:2 256:16 264:2 320:16 324:2",
         " NC#LDS_XL_RTXPRO6000BSE_V6 "},
        {"32:1 64:2 128:8 132:2 256:16 264:2 320:16 324:2",
         " NC#DS_XL_RTXPRO6000BSE_V6 "},
        {"2:10 4:12 8:26 12:36 16:48 24:64",
         " L#AOS_V5 L#AOUS_V5 "},
        {"2:4 4:8 8:16 16:32 40:40 48:32",
         " D#_V3 "},
        {"2:4 4:8 8:16 16:32 48:48 64:32",
         " D#S_FLEX D#S_FLEX_PRIME "},
        {"2:8 4:12 8:24 16:48 48:64",
         " EC#EDS_V7 EC#ES_V7 "},
        {"2:8 4:12 8:24 12:48 32:64",
         " FX#MDS_V2 FX#MS_V2 "},
        {"4:4 10:8 18:16 30:24 36:32",
         " AKV# NM#ADS_MA35D NV#ADMS_A10_V5 NV#ADS_A10_V5 "},
        {"1:10 2:12 4:26 8:48 16:64",
         " F#ADS_V7 F#ALDS_V7 F#ALS_V7 F#AMDS_V7 F#AMS_V7 F#AS_V7 "},
        {"0:1 1:2 2:4 3:8 4:16",
         " BASIC_A# ND#AMSR_A100_V4 ND#ASR_A100_V4 "},
        {"4:2 8:4 12:6 24:12 28:14",
         " NV#ADS_V710_V5 "},
        {"1:4 2:8 4:16 8:32",
         " DC#DMS_V3 DC#DS_V3 DC#MS_V3 DC#S_V3 "},
        {"8:8 12:64 16:16 24:64",
         " M#DS_V3 M#S_V3 "},
        {"0:2 2:4 4:8 8:16",
         " A#_V2 "},
        {"1:8 2:16 3:32 4:64",
         " G# GS# M#DS_V4 M#S_V4 "},
        {"8:8 16:16 32:64",
         " M#MS_V4 "},
        {"4:8 12:24 24:32",
         " FX#MDS "},
        {"16:4 64:16 112:32",
         " AKV#V1_G3 "},
        {"2:2 4:4 8:8",
         " DC# DC#S "},
        {"1:1 2:2 4:4",
         " DC#S_V2 "},
        {"24:8 48:16 96:32",
         " NC#ADS_A100_V4 NCC#ADS_A100_V4 NCC#ADS_H100_V5 "},
        {"12:12 24:24 48:32",
         " NV#S_V3 "},
        {"1:4 8:32",
         " DC#AS_V4 "},
        {"32:32 48:64",
         " M#DS_1_V3 M#S_1_V3 "},
        {"12:1 18:2",
         " NC#DS_RTXPRO6000BSE_V6 "},
        {"24:24 32:32",
         " NV#MS_V3 "},
        {"1:2",
         " A#WEB45_V2 A#WEB_V2 "},
        {"8:4",
         " AKV#V2 HB#RS HC#RS "},
        {"5:32",
         " MSODSG# "},
        {"80:16",
         " NC#ADIS_H100_V5 NC#AS_A100_V4 ND#AMSF_A100_V4 ND#AMSRF_A100_V4 ND#AMSR_A100_FLEX_V4 "
         "ND#AMS_A100_FLEX_V4 ND#AMS_A100_V4 ND#ASR_MI200_V4 ND#ASR_V4 ND#ISFG5_GB300_V6 "
         "ND#ISF_GB200_V6 ND#ISF_GB300_V6 ND#ISF_H100_V5 ND#ISF_H200_V5 ND#ISF_MI300XHF_V5 "
         "ND#ISF_MI300X_V5 ND#ISG5_GB300_V6 ND#ISRFG5_GB300_V6 ND#ISRF_ETH_GB200_V6 "
         "ND#ISRF_GB300_V6 ND#ISRF_H100_V5 ND#ISRF_H200_V5 ND#ISRF_MI300XHF_V5 "
         "ND#ISRF_MI300X_V5 ND#ISRF_NDR_GB200_V6 ND#ISRG5_GB300_V6 ND#ISR_ETH_GB200_V6 "
         "ND#ISR_GB300_V6 ND#ISR_H100_V5 ND#ISR_H200_V5 ND#ISR_INFE_H100_V5 ND#ISR_MI300XHF_V5 "
         "ND#ISR_MI300X_V5 ND#ISR_NDR_GB200_V6 ND#IS_FLEX_H100_V5 ND#IS_GB200_V6 "
         "ND#IS_GB300_V6 ND#IS_H100_V5 ND#IS_H200_V5 ND#IS_MI300XHF_V5 ND#IS_MI300X_V5 "
         "ND#IS_NOIB_H100_V5 ND#IS_NOIB_MI300X_V5 NDC#ISF_H200_V5 NDC#ISRF_H200_V5 "
         "NDC#ISR_H200_V5 NDC#IS_H200_V5 "},
        {"40:8",
         " NC#ADS_H100_V5 ND#RS_V2 "},
        {"6:1",
         " NC#S_RTXPRO6000BSE_V6 "},
        {"24:8",
         " NCC#ACDS_A100_V4 "},
        {"28:14",
         " NV#ADMS_V710_V5 "},
        {"12:12",
         " NV#HS_V3 "},
};
/* clang-format on */

/* Upper case, without "STANDARD_". */
static bool take_name(const char *size, char name[NAME_MAX_BYTES]) {
        size_t n = strlen(size);

        if (n == 0 || n >= NAME_MAX_BYTES)
                return false;
        if (strncasecmp(size, "Standard_", 9) == 0)
                size += 9;
        for (n = 0; size[n]; n++)
                name[n] = (char)toupper((unsigned char)size[n]);
        name[n] = '\0';
        return n > 0;
}

/* "E8-4DS_V5" to " E#DS_V5 " and 8. */
static bool take_series(const char *name, char series[NAME_MAX_BYTES + 3], uint64_t *numberp) {
        size_t n_head = strcspn(name, "0123456789");
        const char *tail = name + n_head;
        size_t n_digits = strspn(tail, "0123456789");
        char digits[8];

        if (n_digits == 0 || n_digits >= sizeof(digits))
                return false;
        memcpy(digits, tail, n_digits);
        digits[n_digits] = '\0';
        tail += n_digits;
        if (*tail == '-' && isdigit((unsigned char)tail[1]))
                tail += 1 + strspn(tail + 1, "0123456789");
        snprintf(series, NAME_MAX_BYTES + 3, " %.*s#%s ", (int)n_head, name, tail);
        return str_parse_u64(digits, UINT32_MAX, numberp) == 0;
}

/* The last step that begins at or below @number; 0 if the first begins above. */
static unsigned int take_step(const char *steps, uint64_t number) {
        unsigned int disks = 0;

        while (*steps) {
                char *end;

                if (strtoul(steps, &end, 10) > number)
                        break;
                disks = (unsigned int)strtoul(end + 1, &end, 10);
                steps = end + (*end == ' ');
        }
        return disks;
}

static unsigned int find_disks(const char *size) {
        char name[NAME_MAX_BYTES], series[NAME_MAX_BYTES + 3];
        uint64_t number;

        if (!size || !take_name(size, name))
                return 0;
        for (size_t i = 0; i < N_ELEMENTS(exceptions); i++)
                if (str_equal(name, exceptions[i].name))
                        return exceptions[i].disks;
        /* " series ": a second word in it is a size that no rule knows. */
        if (!take_series(name, series, &number) || strcspn(series + 1, " ") + 2 != strlen(series))
                return 0;
        for (size_t i = 0; i < N_ELEMENTS(rules); i++)
                if (strstr(rules[i].series, series))
                        return take_step(rules[i].steps, number);
        return 0;
}

unsigned int limits_azure_disks(const char *size, bool *knownp) {
        unsigned int disks = find_disks(size);

        if (knownp)
                *knownp = disks > 0;
        return disks > 0 ? disks : DEFAULT_DISKS;
}

unsigned int limits_azure_volumes(const char *size, uint64_t reserved) {
        unsigned int disks = limits_azure_disks(size, NULL);

        return reserved >= disks ? 1 : disks - (unsigned int)reserved;
}
