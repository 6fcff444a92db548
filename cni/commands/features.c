/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/rules/rules.h"

/* The order of ADD; DEL goes backwards. */
const Module *const modules[] = {
        &module_tuning, /* before rules: the MAC check wants the address that it sets */
        &module_bandwidth,
        &module_rules,
        NULL,
};
