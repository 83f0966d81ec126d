// SPDX-License-Identifier: GPL-2.0-only
/* See klp_demo_plain.h: klp_demo_1, but beside whatever else is enabled. */
#include "klp_demo_plain.h"
