/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See patch-file.h. Lengths and places are checked here against the size of the file before libelf is asked
 * for data, so that a truncated file is called truncated.
 */
#include "klpd/patch-file.h"

#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <sys/stat.h>
#include <unistd.h>

#include "klpd/digest.h"
#include "klpd/livepatch-sysfs.h"
#include "klpd/patch-file-modinfo.h"

#if defined(__x86_64__)
#define NATIVE_MACHINE EM_X86_64
#elif defined(__s390x__)
#define NATIVE_MACHINE EM_S390
#elif defined(__powerpc64__)
#define NATIVE_MACHINE EM_PPC64
#elif defined(__loongarch64)
#define NATIVE_MACHINE 258 /* EM_LOONGARCH */
#elif defined(__aarch64__)
#define NATIVE_MACHINE EM_AARCH64
#else
#error "livepatching isn't known to exist on this architecture"
#endif

#define KLP_RELA_PREFIX ".klp.rela."
#define MODINFO_SIZE_MAX (32U * 1024U * 1024U)

typedef struct Module {
        Elf *elf;
        size_t size; /* without an appended signature */
        PolicyError *error;
        Elf_Data *modinfo, *build_id, *symtab;
        size_t symtab_strings;    /* section index */
        size_t symtab_entry_size;
        bool this_module;
        bool has_module_relocations;
        bool registers, enables;  /* calls klp_shim_register_patch(), klp_enable_patch() */
} Module;

static void module_done(Module *m) {
        if (m->elf)
                elf_end(m->elf);
}

PatchFile *patch_file_free(PatchFile *f) {
        if (!f)
                return NULL;

        patch_unref(f->patch);
        free(f->vermagic);
        strv_free(f->depends);
        free(f);
        return NULL;
}

static int bad(Module *m, const char *what) {
        return policy_error_set(m->error, -EBADMSG, "the file is truncated or damaged: %s", what);
}

static int check_header(Module *m, const void *bytes) {
        Elf64_Ehdr h;

        if (m->size < SELFMAG || memcmp(bytes, ELFMAG, SELFMAG) != 0)
                return policy_error_set(m->error, -ENOEXEC, "the file is no kernel module (not ELF)");
        if (m->size < sizeof(h))
                return bad(m, "it ends in the ELF header");
        memcpy(&h, bytes, sizeof(h));

        if (h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_machine != NATIVE_MACHINE)
                return policy_error_set(m->error, -ENOEXEC, "the file was built for another architecture");
        if (h.e_type != ET_REL)
                return policy_error_set(m->error, -ENOEXEC,
                                        "the file is ELF, but no kernel module (not relocatable)");
        if (h.e_shentsize != sizeof(Elf64_Shdr) || h.e_shoff == 0)
                return bad(m, "it has no section headers");
        if (h.e_shoff > m->size || (m->size - h.e_shoff) / sizeof(Elf64_Shdr) < h.e_shnum)
                return bad(m, "its section headers lie behind its end");
        return 0;
}

static int take_section(Module *m, Elf_Scn *scn, const GElf_Shdr *sh, const char *name) {
        Elf_Data *data, **wanted = NULL;

        if (streq(name, ".modinfo"))
                wanted = &m->modinfo;
        else if (streq(name, ".note.gnu.build-id"))
                wanted = &m->build_id;
        else if (sh->sh_type == SHT_SYMTAB)
                wanted = &m->symtab;
        else if (streq(name, ".gnu.linkonce.this_module"))
                m->this_module = true;
        else if (strncmp(name, KLP_RELA_PREFIX, strlen(KLP_RELA_PREFIX)) == 0 &&
                 strncmp(name + strlen(KLP_RELA_PREFIX), "vmlinux.", strlen("vmlinux.")) != 0)
                m->has_module_relocations = true;
        if (!wanted)
                return 0;

        if (*wanted)
                return policy_error_set(m->error, -EBADMSG, "the file has the section %s twice", name);
        if (sh->sh_type == SHT_NOBITS || (sh->sh_flags & SHF_COMPRESSED))
                return bad(m, "a section that must have content has none");
        data = elf_getdata(scn, NULL);
        if (!data || (data->d_size > 0 && !data->d_buf) || data->d_size != sh->sh_size)
                return bad(m, "a section can't be read");
        *wanted = data;
        if (wanted == &m->symtab) {
                m->symtab_strings = sh->sh_link;
                m->symtab_entry_size = sh->sh_entsize;
        }
        return 0;
}

static int read_sections(Module *m) {
        Elf_Scn *scn = NULL;
        size_t names;
        int r;

        if (elf_getshdrstrndx(m->elf, &names) < 0)
                return bad(m, "it has no section names");

        while ((scn = elf_nextscn(m->elf, scn))) {
                const char *name;
                GElf_Shdr sh;

                if (!gelf_getshdr(scn, &sh))
                        return bad(m, "a section header can't be read");
                if (sh.sh_type != SHT_NOBITS && sh.sh_type != SHT_NULL &&
                    (sh.sh_offset > m->size || sh.sh_size > m->size - sh.sh_offset))
                        return bad(m, "a section lies behind its end");
                name = elf_strptr(m->elf, names, sh.sh_name);
                if (!name)
                        return bad(m, "a section has no name");
                r = take_section(m, scn, &sh, name);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Which of the two ways into the kernel the module takes shows in the symbols that it leaves undefined. */
static int read_symbols(Module *m) {
        size_t n;

        if (!m->symtab || m->symtab_entry_size != sizeof(Elf64_Sym))
                return bad(m, "it has no symbol table");

        n = m->symtab->d_size / sizeof(Elf64_Sym);
        for (size_t i = 1; i < n; i++) {
                const char *name;
                GElf_Sym sym;

                if (i > INT32_MAX || !gelf_getsym(m->symtab, (int) i, &sym))
                        return bad(m, "a symbol can't be read");
                if (sym.st_shndx != SHN_UNDEF)
                        continue;
                name = elf_strptr(m->elf, m->symtab_strings, sym.st_name);
                if (!name)
                        return bad(m, "a symbol has no name");
                m->registers = m->registers || streq(name, "klp_shim_register_patch");
                m->enables = m->enables || streq(name, "klp_enable_patch");
        }
        return 0;
}

static int check_kind(Module *m, const char *name) {
        if (m->registers && m->enables)
                return policy_error_set(m->error, -EBADMSG,
                                        "'%s' contradicts itself: it registers with klp_shim and enables "
                                        "itself (klp_enable_patch)",
                                        name);
        if (!m->registers && !m->enables)
                return policy_error_set(m->error, -EBADMSG,
                                        "'%s' says that it is a livepatch, but neither registers with "
                                        "klp_shim nor enables itself",
                                        name);
        return 0;
}

static int read_module(Module *m, const void *bytes, PatchFile *file) {
        int r;

        r = check_header(m, bytes);
        if (r < 0)
                return r;

        if (elf_version(EV_CURRENT) == EV_NONE)
                return policy_error_set(m->error, -ENOTSUP, "libelf is too old");
        m->elf = elf_memory((char *) bytes, m->size); /* only read */
        if (!m->elf)
                return bad(m, "it isn't readable as ELF");

        r = read_sections(m);
        if (r < 0)
                return r;
        if (!m->this_module)
                return policy_error_set(m->error, -ENOEXEC,
                                        "the file is an object file, but no kernel module");
        if (!m->modinfo)
                return bad(m, "it has no .modinfo");
        if (m->modinfo->d_size > MODINFO_SIZE_MAX)
                return policy_error_set(m->error, -E2BIG, ".modinfo is larger than %u MiB",
                                        MODINFO_SIZE_MAX >> 20);

        r = read_symbols(m);
        if (r < 0)
                return r;
        r = patch_file_parse_modinfo(m->modinfo->d_buf, m->modinfo->d_size,
                                     &(ModinfoContext){.managed = m->registers}, file, m->error);
        if (r < 0)
                return r;
        r = check_kind(m, file->patch->name);
        if (r < 0)
                return r;

        file->has_module_relocations = m->has_module_relocations;
        if (m->build_id) {
                r = notes_build_id(m->build_id->d_buf, m->build_id->d_size, &file->patch->build_id);
                if (r < 0 && r != -ENOENT)
                        return bad(m, "its build id can't be read");
        }
        return 0;
}

int patch_file_read(const void *bytes, size_t size, PatchFile **ret, PolicyError *error) {
        _cleanup_patch_file_free_ PatchFile *file = NULL;
        _cleanup_(module_done) Module m = { .error = error };
        char digest[DIGEST_HEX_LEN + 1];
        int r;

        if (size > PATCH_FILE_SIZE_MAX)
                return policy_error_set(error, -E2BIG, "the file is larger than %u MiB",
                                        PATCH_FILE_SIZE_MAX >> 20);

        file = calloc(1, sizeof(PatchFile));
        if (!file)
                return policy_error_set(error, -ENOMEM, "%s", strerror(ENOMEM));

        r = module_signature_size(bytes, size, &file->signature_size);
        if (r < 0)
                return policy_error_set(
                                error, r,
                                "the file is damaged: its appended signature has an impossible length");
        m.size = size - file->signature_size;

        r = read_module(&m, bytes, file);
        if (r < 0)
                return r;

        r = module_digest(bytes, size, digest);
        if (r < 0)
                return policy_error_set(error, r, "can't compute a SHA-256 digest");
        r = free_and_strdup(&file->patch->digest, digest);
        if (r < 0)
                return policy_error_set(error, r, "%s", strerror(-r));

        *ret = TAKE_PTR(file);
        return 0;
}

/* The whole file, which may change under us: read, not mapped. */
static int read_file(int fd, size_t size, uint8_t **ret) {
        _cleanup_free_ uint8_t *bytes = NULL;
        size_t n = 0;

        bytes = malloc(size);
        if (!bytes)
                return -ENOMEM;

        while (n < size) {
                ssize_t k = pread(fd, bytes + n, size - n, (off_t) n);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        return -EAGAIN; /* somebody has just cut it */
                n += (size_t) k;
        }

        *ret = TAKE_PTR(bytes);
        return 0;
}

int patch_file_read_fd(int fd, PatchFile **ret, PolicyError *error) {
        _cleanup_free_ uint8_t *bytes = NULL;
        _cleanup_free_ void *decompressed = NULL;
        size_t decompressed_size;
        struct stat st;
        int r;

        if (fstat(fd, &st) < 0)
                return policy_error_set(error, -errno, "can't look at the file: %s", strerror(errno));
        if (!S_ISREG(st.st_mode))
                return policy_error_set(error, -ENOEXEC, "it is no regular file");
        if (st.st_size <= 0)
                return policy_error_set(error, -ENOEXEC, "the file is empty");
        if ((uint64_t) st.st_size > PATCH_FILE_SIZE_MAX)
                return policy_error_set(error, -E2BIG, "the file is larger than %u MiB",
                                        PATCH_FILE_SIZE_MAX >> 20);

        r = read_file(fd, (size_t) st.st_size, &bytes);
        if (r < 0)
                return policy_error_set(error, r, "can't read the file: %s", strerror(-r));

        r = patch_file_decompress(bytes, (size_t) st.st_size, &decompressed, &decompressed_size, error);
        if (r == -ENODATA)
                return patch_file_read(bytes, (size_t) st.st_size, ret, error);
        if (r < 0)
                return r;
        return patch_file_read(decompressed, decompressed_size, ret, error);
}
