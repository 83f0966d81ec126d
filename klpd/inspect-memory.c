/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See inspect-memory.h. Answers are kept as text: a tenth of what the parsed object takes. */
#include "klpd/inspect-memory.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include "klpd/patch-file.h"
#include "policy/json.h"

void inspect_memory_done(InspectMemory *m) {
        for (size_t i = 0; i < INSPECT_MEMORY_MAX; i++)
                free(m->entries[i].answer);
        *m = (InspectMemory) {};
}

int inspect_memory_key(int fd, uint8_t ret[static SHA256_SIZE]) {
        struct stat st;
        void *map;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_size < 0 || (uint64_t) st.st_size > PATCH_FILE_SIZE_MAX)
                return -EFBIG;
        if (st.st_size == 0) {
                sha256("", 0, ret);
                return 0;
        }
        map = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED)
                return -errno;
        sha256(map, (size_t) st.st_size, ret);
        munmap(map, (size_t) st.st_size);
        return 0;
}

static const char *find(const InspectMemory *m, const uint8_t key[static SHA256_SIZE]) {
        for (size_t i = 0; i < INSPECT_MEMORY_MAX; i++)
                if (m->entries[i].answer && memcmp(m->entries[i].key, key, SHA256_SIZE) == 0)
                        return m->entries[i].answer;
        return NULL;
}

struct json_object *inspect_memory_find(const InspectMemory *m, const uint8_t key[static SHA256_SIZE]) {
        const char *text = find(m, key);
        struct json_object *answer;

        return text && json_parse_strict(text, strlen(text), &answer, NULL) >= 0 ? answer : NULL;
}

void inspect_memory_keep(InspectMemory *m, const uint8_t key[static SHA256_SIZE], struct json_object *answer) {
        _cleanup_free_ char *text = NULL;

        if (find(m, key) || json_to_line(answer, &text) < 0 || strlen(text) > INSPECT_ANSWER_MAX)
                return;
        free(m->entries[m->next].answer);
        memcpy(m->entries[m->next].key, key, SHA256_SIZE);
        m->entries[m->next].answer = TAKE_PTR(text);
        m->next = (m->next + 1) % INSPECT_MEMORY_MAX;
}
