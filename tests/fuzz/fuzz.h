/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What every fuzz target shares. A target is a file with LLVMFuzzerTestOneInput(); with -Dfuzz=true and
 * clang it becomes a libFuzzer program, otherwise replay.c's main() runs it over the files of its corpus, as
 * a test.
 */
#pragma once

#include <stdio.h>

#include "policy/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold for every input. */
#define must(condition)                                                                        \
        do {                                                                                   \
                if (!(condition)) {                                                            \
                        fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);        \
                        abort();                                                               \
                }                                                                              \
        } while (0)
