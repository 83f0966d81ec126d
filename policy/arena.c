/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdalign.h>
#include <stdio.h>

#include "policy/arena.h"

#define ARENA_BLOCK_MIN 4096U
/* An arena that once planned something huge doesn't keep that much for good. */
#define ARENA_KEEP_MAX (1024U * 1024U)

typedef struct Block Block;

struct Block {
        Block *next;
        size_t size, used;
        alignas(max_align_t) char data[];
};

struct Arena {
        Block *blocks; /* the newest first */
        bool failed;
};

int arena_new(Arena **ret) {
        Arena *a = calloc(1, sizeof(*a));

        if (!a)
                return -ENOMEM;
        *ret = a;
        return 0;
}

static void free_blocks(Block *b) {
        while (b) {
                Block *next = b->next;

                free(b);
                b = next;
        }
}

Arena *arena_free(Arena *a) {
        if (!a)
                return NULL;
        free_blocks(a->blocks);
        free(a);
        return NULL;
}

static Block *block_new(size_t size) {
        Block *b;

        if (size > SIZE_MAX - sizeof(Block))
                return NULL;
        b = malloc(sizeof(Block) + size);
        if (!b)
                return NULL;
        b->next = NULL;
        b->size = size;
        b->used = 0;
        return b;
}

void arena_reset(Arena *a) {
        a->failed = false;
        if (!a->blocks)
                return;

        if (a->blocks->next) {
                size_t total = 0;

                for (const Block *b = a->blocks; b; b = b->next)
                        total += b->size;
                free_blocks(a->blocks);
                a->blocks = total <= ARENA_KEEP_MAX ? block_new(total) : NULL;
        }
        if (a->blocks)
                a->blocks->used = 0;
}

bool arena_failed(const Arena *a) {
        return a->failed;
}

void *arena_alloc(Arena *a, size_t n, size_t size) {
        const size_t align = alignof(max_align_t);
        size_t bytes;
        Block *b;
        void *p;

        if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX / 2) {
                a->failed = true;
                return NULL;
        }
        bytes = (bytes + align - 1) & ~(align - 1);

        b = a->blocks;
        if (!b || b->size - b->used < bytes) {
                size_t want = b ? 2 * b->size : ARENA_BLOCK_MIN;

                b = block_new(want > bytes ? want : bytes);
                if (!b) {
                        a->failed = true;
                        return NULL;
                }
                b->next = a->blocks;
                a->blocks = b;
        }
        p = b->data + b->used;
        b->used += bytes;
        return p;
}

const char *arena_vprintf(Arena *a, const char *format, va_list ap) {
        va_list again;
        char *p;
        int n;

        va_copy(again, ap);
        n = vsnprintf(NULL, 0, format, again);
        va_end(again);
        if (n < 0) {
                a->failed = true;
                return NULL;
        }
        p = arena_alloc(a, (size_t) n + 1, 1);
        if (p)
                (void) vsnprintf(p, (size_t) n + 1, format, ap);
        return p;
}

const char *arena_printf(Arena *a, const char *format, ...) {
        const char *s;
        va_list ap;

        va_start(ap, format);
        s = arena_vprintf(a, format, ap);
        va_end(ap);
        return s;
}

const char *arena_strdup(Arena *a, const char *s) {
        size_t n = strlen(s) + 1;
        char *p = arena_alloc(a, n, 1);

        return p ? memcpy(p, s, n) : NULL;
}
