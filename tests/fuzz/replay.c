/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs a fuzz target once for each file of the directories given, and for each of their beginnings up to 64
 * bytes. */
#include <dirent.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

static void run(const uint8_t *data, size_t size) {
        uint8_t *exact = malloc(size > 0 ? size : 1);

        /* an allocation of exactly that size, for the sanitizer */
        must(exact);
        if (size > 0)
                memcpy(exact, data, size);
        (void) LLVMFuzzerTestOneInput(exact, size);
        free(exact);
}

static void run_file(const char *path) {
        struct stat st;
        uint8_t *data;
        FILE *f;

        f = fopen(path, "re");
        must(f);
        must(fstat(fileno(f), &st) == 0);
        data = malloc((size_t) st.st_size + 1);
        must(data);
        must(fread(data, 1, (size_t) st.st_size, f) == (size_t) st.st_size);
        fclose(f);
        for (size_t n = 0; n < 64 && n < (size_t) st.st_size; n++)
                run(data, n);
        run(data, (size_t) st.st_size);
        free(data);
}

int main(int argc, char *argv[]) {
        unsigned n = 0;

        for (int i = 1; i < argc; i++) {
                DIR *d = opendir(argv[i]);

                must(d);
                for (struct dirent *e; (e = readdir(d));) {
                        char path[4096];

                        if (e->d_name[0] == '.')
                                continue;
                        must(snprintf(path, sizeof(path), "%s/%s", argv[i], e->d_name) < (int) sizeof(path));
                        run_file(path);
                        n++;
                }
                closedir(d);
        }
        printf("%u inputs\n", n);
        return n > 0 ? 0 : 1;
}
