/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the output device can do, found once at start: colours, UTF-8, width. And text made fit for it: what
 * comes from elsewhere (names of tasks, reasons of callers, free text of patches) is never written to a
 * terminal as it is.
 */
#pragma once

#include <stdio.h>

#include "policy/util.h"

typedef enum Colour {
        COLOUR_NORMAL,
        COLOUR_BOLD,
        COLOUR_RED,
        COLOUR_YELLOW,
        COLOUR_GREEN,
        COLOUR_BLUE,
        COLOUR_GREY,
        _COLOUR_MAX,
} Colour;

typedef enum Glyph {
        GLYPH_ELLIPSIS,
        GLYPH_DOT,
        GLYPH_CIRCLE,
        GLYPH_CROSS,
        GLYPH_CHECK,
        GLYPH_WARNING,
        GLYPH_ARROW,
        GLYPH_BULLET,
        GLYPH_NONE, /* a value that is not there */
        _GLYPH_MAX,
} Glyph;

typedef struct Terminal {
        bool colour;     /* standard output: escape sequences wanted */
        bool colour_err; /* the same for standard error */
        int utf8;        /* SYSTEMD_UTF8=; -1: as the locale has it */
        bool tty_err;    /* a progress line makes sense */
        size_t width;    /* columns of standard output; 0: as many as it takes */
} Terminal;

/* NO_COLOR, SYSTEMD_COLORS, SYSTEMD_UTF8, COLUMNS and TERM count. */
void terminal_init(Terminal *t);
/* Sets the locale for character types, which the first text would otherwise: for when there is nothing else to do. */
void terminal_set_locale(const Terminal *t);

/* Escape sequences, or "" where colours are off. */
const char *terminal_on(const Terminal *t, Colour c);
const char *terminal_off(const Terminal *t);
const char *terminal_glyph(const Terminal *t, Glyph g);

/* The same text with control characters, invalid sequences and direction overrides as \xNN, and what an
 * ASCII terminal can't show as '?'. NULL: out of memory. */
char *text_printable(const Terminal *t, const char *s);

/* Columns that printable text takes. */
size_t text_width(const Terminal *t, const char *s);

/* Cuts printable text to at most `width` columns, the last of which then is an ellipsis. NULL: out of
 * memory. */
char *text_ellipsize(const Terminal *t, const char *s, size_t width);

/* Writes printable text in lines of the terminal's width, each after `indent` blanks (the first one: already
 * there). */
void text_wrap(const Terminal *t, FILE *f, Colour colour, const char *s, size_t indent);
