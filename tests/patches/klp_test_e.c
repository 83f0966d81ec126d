// SPDX-License-Identifier: GPL-2.0-only
/* See klp_test.h. */
#include "klp_test.h"
