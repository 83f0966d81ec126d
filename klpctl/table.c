/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tables. A table owns copies of its cells' text, in one array in the order of adding; notes hang on the row
 * before them. Widths are computed once, when it is printed.
 */
#include <stdarg.h>

#include "table.h"

typedef struct Cell {
        char *text; /* printable */
        Colour colour;
        size_t width;
} Cell;

typedef struct Note {
        char *text;
        Colour colour;
        size_t row;
} Note;

struct Table {
        const Terminal *terminal; /* the caller's */
        const Column *columns;    /* the caller's */
        size_t n_columns;
        Cell *cells;
        size_t n_cells;
        Note *notes;
        size_t n_notes;
        int error;
};

Table *table_new(const Terminal *terminal, const Column *columns, size_t n_columns) {
        Table *t = calloc(1, sizeof(Table));

        if (t) {
                t->terminal = terminal;
                t->columns = columns;
                t->n_columns = n_columns;
        }

        return t;
}

Table *table_free(Table *t) {
        if (!t)
                return NULL;

        for (size_t i = 0; i < t->n_cells; i++)
                free(t->cells[i].text);
        for (size_t i = 0; i < t->n_notes; i++)
                free(t->notes[i].text);
        free(t->cells);
        free(t->notes);
        free(t);
        return NULL;
}

/* Room for one more element: doubles at powers of two. */
static void *grow(void *array, size_t n, size_t size) {
        if (n > 0 && (n & (n - 1)) != 0)
                return array;

        return reallocarray(array, n > 0 ? n * 2 : 1, size);
}

void table_cell(Table *t, Colour colour, const char *text) {
        if (!t || t->error < 0)
                return;

        Cell *cells = grow(t->cells, t->n_cells, sizeof(Cell));
        if (cells)
                t->cells = cells;

        char *copy = text_printable(t->terminal, text ?: "");
        if (!cells || !copy) {
                free(copy);
                t->error = -ENOMEM;
                return;
        }

        t->cells[t->n_cells++] = (Cell){
                .text = copy,
                .colour = colour,
                .width = text_width(t->terminal, copy),
        };
}

void table_cellf(Table *t, Colour colour, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;
        int r;

        va_start(ap, format);
        r = vasprintf(&text, format, ap);
        va_end(ap);
        if (r < 0) {
                text = NULL;
                if (t)
                        t->error = -ENOMEM;
                return;
        }

        table_cell(t, colour, text);
}

void table_note(Table *t, Colour colour, const char *text) {
        if (!t || t->error < 0)
                return;

        Note *notes = grow(t->notes, t->n_notes, sizeof(Note));
        if (notes)
                t->notes = notes;

        char *copy = text_printable(t->terminal, text);
        if (!notes || !copy) {
                free(copy);
                t->error = -ENOMEM;
                return;
        }

        t->notes[t->n_notes++] = (Note){ .text = copy, .colour = colour, .row = table_rows(t) };
}

size_t table_rows(const Table *t) {
        return t ? t->n_cells / t->n_columns : 0;
}

/* Takes columns away, one at a time, from the widest that may still shrink. */
static void fit(const Table *t, size_t *widths) {
        size_t total = 0;

        if (t->terminal->width == 0)
                return;

        for (size_t i = 0; i < t->n_columns; i++)
                total += widths[i] > 0 ? widths[i] + 1 : 0;

        while (total > t->terminal->width + 1) {
                size_t widest = SIZE_MAX;

                for (size_t i = 0; i < t->n_columns; i++)
                        if (t->columns[i].shrink && widths[i] > t->columns[i].min && widths[i] > 1 &&
                            (widest == SIZE_MAX || widths[i] > widths[widest]))
                                widest = i;
                if (widest == SIZE_MAX)
                        return;
                widths[widest]--;
                total--;
        }
}

/* The column after which nothing needs padding. */
static size_t last_column(const Table *t, const size_t *widths) {
        size_t last = 0;

        for (size_t i = 0; i < t->n_columns; i++)
                if (widths[i] > 0)
                        last = i;

        return last;
}

static int print_cell(const Table *t, size_t column, const Cell *cell, size_t width, bool last) {
        _cleanup_free_ char *text = NULL;
        size_t w, pad;

        text = text_ellipsize(t->terminal, cell->text, width);
        if (!text)
                return -ENOMEM;
        w = text_width(t->terminal, text);
        pad = width > w ? width - w : 0;

        if (t->columns[column].right)
                printf("%*s", (int) pad, "");
        if (cell->colour != COLOUR_NORMAL && *text)
                printf("%s%s%s", terminal_on(t->terminal, cell->colour), text, terminal_off(t->terminal));
        else
                fputs(text, stdout);
        if (!last)
                printf("%*s ", t->columns[column].right ? 0 : (int) pad, "");

        return 0;
}

int table_print(const Table *t, bool legend) {
        _cleanup_free_ size_t *widths = NULL;
        size_t last, note = 0;

        if (!t)
                return -ENOMEM;
        if (t->error < 0)
                return t->error;

        widths = calloc(t->n_columns, sizeof(size_t));
        if (!widths)
                return -ENOMEM;

        for (size_t i = 0; i < t->n_cells; i++)
                if (t->cells[i].width > widths[i % t->n_columns])
                        widths[i % t->n_columns] = t->cells[i].width;
        for (size_t i = 0; i < t->n_columns; i++) {
                size_t w = strlen(t->columns[i].title);

                if (legend && w > widths[i] && !(t->columns[i].hide_empty && widths[i] == 0))
                        widths[i] = w;
        }
        fit(t, widths);
        last = last_column(t, widths);

        for (size_t i = 0; legend && i < t->n_columns; i++) {
                Cell title = { (char *) t->columns[i].title, COLOUR_BOLD, strlen(t->columns[i].title) };
                int r;

                if (widths[i] == 0)
                        continue;
                r = print_cell(t, i, &title, widths[i], i == last);
                if (r < 0)
                        return r;
                if (i == last)
                        putchar('\n');
        }

        for (size_t row = 0; row < table_rows(t); row++) {
                for (size_t i = 0; i < t->n_columns; i++) {
                        int r;

                        if (widths[i] == 0)
                                continue;
                        r = print_cell(t, i, t->cells + row * t->n_columns + i, widths[i], i == last);
                        if (r < 0)
                                return r;
                }
                putchar('\n');

                for (; note < t->n_notes && t->notes[note].row == row + 1; note++)
                        printf("    %s%s%s\n", terminal_on(t->terminal, t->notes[note].colour),
                               t->notes[note].text, terminal_off(t->terminal));
        }

        return 0;
}
