// SPDX-License-Identifier: GPL-2.0-only
/* klp_demo_1 for tools that know only plain patches: see klp_demo_plain.h. */
#define KLP_DEMO_PLAIN_REPLACE	true
#include "klp_demo_plain.h"
