/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/rules.h"

/* The order of ADD; DEL goes backwards. */
const Module *const modules[] = {
        &module_rules,
        NULL,
};
