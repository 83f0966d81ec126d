// SPDX-License-Identifier: GPL-2.0-only
/* See klp_test_plain.h. */
#include "klp_test_plain.h"
