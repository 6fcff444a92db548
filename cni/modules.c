/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/module.h"

/* The order of ADD; DEL goes backwards. */
const Module *const modules[] = {
        NULL,
};
