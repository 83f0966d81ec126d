/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A table that fits the terminal: cells are added row by row, columns that may shrink are cut with an
 * ellipsis, the widest first. Errors stick: adding never fails visibly, table_print() says what went wrong.
 */
#pragma once

#include "terminal.h"

typedef struct Column {
        const char *title;
        bool right;      /* numbers */
        bool shrink;     /* may be cut down to `min` columns */
        bool hide_empty; /* not shown where no row has anything in it */
        size_t min;
} Column;

typedef struct Table Table;

Table *table_new(const Terminal *t, const Column *columns, size_t n_columns);
Table *table_free(Table *t);
DEFINE_CLEANUP(Table *, table_free);

/* The next cell of the present row; a row is over when it has as many cells as there are columns. NULL is
 * "". The text is made printable here. */
void table_cell(Table *t, Colour colour, const char *text);
void table_cellf(Table *t, Colour colour, const char *format, ...) _printf_(3, 4);

/* A line of its own below the row that was finished last, indented, never cut. */
void table_note(Table *t, Colour colour, const char *text);

size_t table_rows(const Table *t);
int table_print(const Table *t, bool legend);
