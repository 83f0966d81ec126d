// SPDX-License-Identifier: GPL-2.0-only
/* See klp_test_plain.h: one that replaces all, without a parameter. */
#define KLP_TEST_PLAIN_REPLACE	true
#include "klp_test_plain.h"
