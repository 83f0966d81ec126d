/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ko-edit: a module of another name, or one with livepatch relocations, made from one that the kernel's own build made.
 *
 *   ko-edit rename IN OUT NAME
 *       The module calls itself NAME, so that one file serves for as many patches as wanted, and for names at their bound.
 *   ko-edit relocate IN OUT SYMBOL OBJECT REAL[,POSITION]
 *       What IN wants of the undefined (weak) SYMBOL becomes livepatch relocations (Documentation/livepatch/
 *       module-elf-format.rst): the core resolves them to the local symbol REAL of the module OBJECT, when that is loaded.
 *
 * Model: the file is read whole and only appended to, but for header fields, so every offset in it stays right.  All offsets
 * are checked.  Exit status 0, or 125 with a reason.
 */
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODULE_NAME_MAX 55 /* MODULE_NAME_LEN - 1 of 64-bit kernels */
#define SHN_LIVEPATCH 0xff20
#define SHF_RELA_LIVEPATCH 0x00100000

static uint8_t *image;
static size_t image_size;
static Elf64_Shdr *sections; /* a copy; appended to and written at the end */
static size_t n_sections;

static _Noreturn __attribute__((format(printf, 1, 2))) void die(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        fputs("ko-edit: ", stderr);
        vfprintf(stderr, format, ap);
        va_end(ap);
        fputc('\n', stderr);
        exit(125);
}

static Elf64_Ehdr *header(void) {
        return (Elf64_Ehdr *) image;
}

static void *grow(void *p, size_t size) {
        p = realloc(p, size);
        if (!p)
                die("out of memory");
        return p;
}

static void read_image(const char *path) {
        FILE *f = fopen(path, "re");
        size_t n;

        if (!f)
                die("%s: %s", path, strerror(errno));
        do {
                image = grow(image, image_size + 65536);
                n = fread(image + image_size, 1, 65536, f);
                image_size += n;
        } while (n > 0);
        fclose(f);

        if (image_size < sizeof(Elf64_Ehdr) || memcmp(image, ELFMAG, SELFMAG) != 0 ||
            image[EI_CLASS] != ELFCLASS64 || header()->e_shentsize != sizeof(Elf64_Shdr))
                die("%s is no 64-bit module", path);
        n_sections = header()->e_shnum;
        if (header()->e_shoff > image_size || n_sections * sizeof(Elf64_Shdr) > image_size - header()->e_shoff)
                die("%s: sections outside of the file", path);
        sections = grow(NULL, n_sections * sizeof(Elf64_Shdr));
        memcpy(sections, image + header()->e_shoff, n_sections * sizeof(Elf64_Shdr));
        for (size_t i = 0; i < n_sections; i++)
                if (sections[i].sh_type != SHT_NOBITS &&
                    (sections[i].sh_offset > image_size || sections[i].sh_size > image_size - sections[i].sh_offset))
                        die("%s: section %zu outside of the file", path, i);
        if (header()->e_shstrndx >= n_sections)
                die("%s: no names of sections", path);
}

static size_t append(const void *data, size_t size) {
        size_t at = (image_size + 15) & ~(size_t) 15;

        image = grow(image, at + size);
        memset(image + image_size, 0, at - image_size);
        memcpy(image + at, data, size);
        image_size = at + size;
        return at;
}

static void write_image(const char *path) {
        size_t at = append(sections, n_sections * sizeof(Elf64_Shdr));
        FILE *f = fopen(path, "we");

        header()->e_shoff = at;
        header()->e_shnum = n_sections;
        if (!f || fwrite(image, 1, image_size, f) != image_size || fclose(f) != 0)
                die("%s: %s", path, strerror(errno));
}

/* A string of section table, bounded; "" if it is outside. */
static const char *string_of(size_t table, size_t offset) {
        const Elf64_Shdr *s = &sections[table];

        if (offset >= s->sh_size || !memchr(image + s->sh_offset + offset, 0, s->sh_size - offset))
                return "";
        return (const char *) image + s->sh_offset + offset;
}

static const char *section_name(size_t i) {
        return string_of(header()->e_shstrndx, sections[i].sh_name);
}

/* Moves the string table to the end of the file with one more string; its offset there. */
static size_t add_string(size_t table, const char *string) {
        Elf64_Shdr *s = &sections[table];
        size_t offset = s->sh_size, size = offset + strlen(string) + 1;
        uint8_t *copy = grow(NULL, size);

        memcpy(copy, image + s->sh_offset, offset);
        memcpy(copy + offset, string, size - offset);
        s->sh_offset = append(copy, size);
        s->sh_size = size;
        free(copy);
        return offset;
}

static size_t find_section(const char *name, uint32_t type) {
        for (size_t i = 1; i < n_sections; i++)
                if ((!name || strcmp(section_name(i), name) == 0) && (!type || sections[i].sh_type == type))
                        return i;
        die("no section %s", name ? name : "with symbols");
}

/* ---- rename ---- */

static const char *module_name(void) {
        const Elf64_Shdr *s = &sections[find_section(".modinfo", 0)];
        const char *p = (const char *) image + s->sh_offset, *end = p + s->sh_size;

        for (; p < end && memchr(p, 0, end - p); p += strlen(p) + 1)
                if (strncmp(p, "name=", 5) == 0)
                        return p + 5;
        die("the module has no name");
}

/* The name is an array in struct module; what the loader goes by. */
static void rename_module(const char *name) {
        const Elf64_Shdr *s = &sections[find_section(".gnu.linkonce.this_module", 0)];
        const char *old = module_name();
        size_t length = strlen(old) + 1;
        uint8_t *start = image + s->sh_offset, *p;

        if (!*name || strlen(name) > MODULE_NAME_MAX)
                die("a name has 1 to %d characters: %s", MODULE_NAME_MAX, name);
        p = memmem(start, s->sh_size, old, length);
        if (!p || s->sh_size - (p - start) < MODULE_NAME_MAX + 1)
                die("the name %s is not where it should be", old);
        memset(p, 0, MODULE_NAME_MAX + 1);
        memcpy(p, name, strlen(name));
}

/* ---- relocate ---- */

static size_t find_undefined(size_t table, const char *name) {
        const Elf64_Sym *symbols = (const Elf64_Sym *) (image + sections[table].sh_offset);

        for (size_t i = 1; i < sections[table].sh_size / sizeof(*symbols); i++)
                if (symbols[i].st_shndx == SHN_UNDEF && strcmp(string_of(sections[table].sh_link, symbols[i].st_name), name) == 0)
                        return i;
        die("no undefined symbol %s", name);
}

/* Splits those for the symbol off the section of relocations, as a section of their own. */
static void split(size_t section, size_t symbol, const char *object) {
        Elf64_Rela *from = (Elf64_Rela *) (image + sections[section].sh_offset), *taken;
        size_t n = sections[section].sh_size / sizeof(*from), n_left = 0, n_taken = 0;
        char name[256];
        Elf64_Shdr new;

        taken = grow(NULL, (n + 1) * sizeof(*taken));
        for (size_t i = 0; i < n; i++)
                if (ELF64_R_SYM(from[i].r_info) == symbol)
                        taken[n_taken++] = from[i];
                else
                        from[n_left++] = from[i];
        if (n_taken > 0) {
                sections[section].sh_size = n_left * sizeof(*from);
                new = sections[section];
                snprintf(name, sizeof(name), ".klp.rela.%s.%s", object, section_name(new.sh_info));
                new.sh_name = add_string(header()->e_shstrndx, name);
                new.sh_flags |= SHF_ALLOC | SHF_INFO_LINK | SHF_RELA_LIVEPATCH;
                new.sh_size = n_taken * sizeof(*taken);
                new.sh_offset = append(taken, new.sh_size);
                sections = grow(sections, (n_sections + 1) * sizeof(*sections));
                sections[n_sections++] = new;
        }
        free(taken);
}

static void relocate(const char *name, const char *object, const char *real) {
        size_t table = find_section(NULL, SHT_SYMTAB), symbol = find_undefined(table, name), n = n_sections;
        char resolved[512];
        Elf64_Sym *s;

        for (size_t i = 1; i < n; i++)
                if (sections[i].sh_type == SHT_RELA && sections[i].sh_link == table && sections[i].sh_info < n)
                        split(i, symbol, object);
        if (n_sections == n)
                die("nothing refers to %s", name);
        snprintf(resolved, sizeof(resolved), ".klp.sym.%s.%s%s", object, real, strchr(real, ',') ? "" : ",0");
        n = add_string(sections[table].sh_link, resolved);
        s = (Elf64_Sym *) (image + sections[table].sh_offset) + symbol;
        s->st_name = n;
        s->st_shndx = SHN_LIVEPATCH;
}

int main(int argc, char *argv[]) {
        if (argc == 5 && strcmp(argv[1], "rename") == 0) {
                read_image(argv[2]);
                rename_module(argv[4]);
        } else if (argc == 7 && strcmp(argv[1], "relocate") == 0) {
                read_image(argv[2]);
                relocate(argv[4], argv[5], argv[6]);
        } else
                die("usage: ko-edit rename IN OUT NAME | ko-edit relocate IN OUT SYMBOL OBJECT REAL[,POSITION]");
        write_image(argv[3]);
        return 0;
}
