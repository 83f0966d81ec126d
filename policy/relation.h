/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What "requires" and "conflicts" of a patch may say (SEMANTICS.md section 4):
 *
 *   VENDOR/STREAM            anything of that stream
 *   VENDOR/STREAM OP LEVEL   OP: = != < <= > >=, blanks allowed around it
 *   state:ID                 decimal
 *   tag:NAME
 */
#pragma once

#include "policy/model.h"

typedef enum RelationKind {
        RELATION_STREAM,
        RELATION_STATE,
        RELATION_TAG,
} RelationKind;

typedef enum RelationOp {
        RELATION_ANY,
        RELATION_EQ,
        RELATION_NE,
        RELATION_LT,
        RELATION_LE,
        RELATION_GT,
        RELATION_GE,
} RelationOp;

/* No ownership: points into the text that it was parsed from. */
typedef struct Relation {
        RelationKind kind;
        RelationOp op;
        uint32_t level;
        uint64_t state;
        const char *vendor, *stream, *tag;
        size_t vendor_size, stream_size;
} Relation;

/* -EINVAL: not one of the forms above. */
int relation_parse(const char *s, Relation *ret);
/* Whether that patch (enabled, not an orphan) gives what the relation asks for. */
bool relation_matches(const Relation *r, const Patch *p);
