/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See import.h. One Import waits for at most three things, the inspection, the check of the signatures and the
 * repository's refresh, and owns them. What is written is written at once, from the loop: two imports of one name can't interleave.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "klpd/import-record.h"
#include "klpd/import.h"
#include "klpd/manifest.h"
#include "klpd/patch-signature.h"
#include "klpd/state-file.h"
#include "klpd/transaction.h"

static const char *const module_suffixes[] = { ".ko", ".ko.xz", ".ko.zst", ".ko.gz" };

struct Import {
        const World *world;
        ImportSpec spec;
        ImportCallback callback;
        void *userdata;
        RepositoryWait *wait;
        HandsInspection *inspection;
        PatchSignature *signature;
        char signer[SIGNATURE_SIGNER_MAX + 1]; /* "": nobody trusted */
        Patch *patch;
        char directory[PATH_MAX], path[PATH_MAX];
};

const char *import_outcome_to_string(ImportOutcome outcome) {
        switch (outcome) {
        case IMPORT_NEW:
                return "imported";
        case IMPORT_REPLACED:
                return "replaced";
        case IMPORT_UNCHANGED:
                return "unchanged";
        }
        return NULL;
}

void import_spec_done(ImportSpec *spec) {
        if (spec->module_fd >= 0)
                close(spec->module_fd);
        free(spec->manifest);
        free(spec->signature);
        free(spec->manifest_signature);
        free(spec->reason);
        *spec = (ImportSpec) { .module_fd = -EBADF };
}

/* One path component that is nobody's trick: the release becomes a directory. */
static bool release_is_valid(const char *release) {
        size_t n = release ? strlen(release) : 0;

        if (n == 0 || n > 128 || release[0] == '.')
                return false;
        for (const char *p = release; *p; p++)
                if (!((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                      strchr("._+~-", *p)))
                        return false;
        return true;
}

static bool import_has_more(const Import *i) {
        return i->spec.manifest || i->spec.signature || i->spec.manifest_signature;
}

/* The ending that the content has, told by its first bytes. */
static const char *suffix_of(int fd) {
        unsigned char magic[6] = {};

        if (pread(fd, magic, sizeof(magic), 0) < 0)
                return ".ko";
        if (memcmp(magic, "\xfd" "7zXZ", 6) == 0)
                return ".ko.xz";
        if (memcmp(magic, "\x28\xb5\x2f\xfd", 4) == 0)
                return ".ko.zst";
        return ".ko";
}

static int find_module(int root_fd, const char *directory, const char *name, char *path, size_t size) {
        struct stat st;

        for (size_t i = 0; i < ELEMENTSOF(module_suffixes); i++) {
                if (snprintf(path, size, "%s/%s%s", directory, name, module_suffixes[i]) >= (int) size)
                        return -ENAMETOOLONG;
                if (fstatat(root_fd, path, &st, AT_SYMLINK_NOFOLLOW) >= 0)
                        return 1;
        }
        return 0;
}

/* ---- what is there under that name ---- */

static int name_taken(Failure *failure, const Import *i, const char *path, const char *have, bool package) {
        return failure_set(failure, -EEXIST, ERROR_EXISTS,
                           "/%s has other content under the name '%s' (%.12s…, what is to be imported: "
                           "%.12s…): %s",
                           path, i->patch->name, have ?: "unknown", i->patch->digest ?: "unknown",
                           package ? "a package's patch can't be replaced, give the new one another name"
                                   : "give the new one another name, or import it with --replace");
}

static int compare_entry(Import *i, const RepositoryEntry *e, ImportOutcome *outcome, Failure *failure) {
        bool same = streq_ptr(e->patch->digest, i->patch->digest) && !e->problem;

        if (e->imported) {
                if (!same && !i->spec.replace)
                        return name_taken(failure, i, e->path, e->patch->digest, false);
                /* Without a record of the import, or with other metadata, it is written once more. */
                *outcome = same && e->recorded && !repository_entry_altered(e) && !import_has_more(i)
                                           ? IMPORT_UNCHANGED
                                           : IMPORT_REPLACED;
        } else {
                if (!same)
                        return name_taken(failure, i, e->path, e->patch->digest, true);
                *outcome = IMPORT_UNCHANGED;
        }
        (void) snprintf(i->path, sizeof(i->path), "%s", e->path);
        return 0;
}

/* Of the running kernel's, the repository knows the content. */
static int compare_running(Import *i, ImportOutcome *outcome, Failure *failure) {
        const RepositoryEntry *entries;
        size_t n;

        entries = repository_entries(i->world->repository, &n);
        if (n >= REPOSITORY_ENTRIES_MAX)
                return failure_set(failure, -E2BIG, ERROR_FAILED,
                                   "The repository is full: it has %zu patches for this kernel", n);
        for (size_t k = 0; k < n; k++) {
                int r;

                if (!patch_name_equal(entries[k].patch->name, i->patch->name))
                        continue;
                r = compare_entry(i, &entries[k], outcome, failure);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Of other kernels', only what the record says. */
static int compare_other(Import *i, ImportOutcome *outcome, Failure *failure) {
        int root_fd = i->world->root_fd, r;
        char directory[PATH_MAX], path[PATH_MAX];
        ImportRecord record = {};

        (void) snprintf(directory, sizeof(directory), "%s/%s", REPOSITORY_PACKAGES, i->patch->kernel);
        if (find_module(root_fd, directory, i->patch->name, path, sizeof(path)) > 0)
                return name_taken(failure, i, path, NULL, true);
        if (find_module(root_fd, i->directory, i->patch->name, path, sizeof(path)) <= 0)
                return 0;
        if (snprintf(directory, sizeof(directory), "%s/%s%s", i->directory, i->patch->name,
                     IMPORT_RECORD_SUFFIX) >= (int) sizeof(directory))
                return failure_set(failure, -ENAMETOOLONG, ERROR_FAILED, "The path is too long");
        (void) import_record_read(root_fd, directory, &record, NULL);
        if (!i->spec.replace && !streq_ptr(record.digest, i->patch->digest))
                r = name_taken(failure, i, path, record.digest, false);
        else {
                *outcome = streq_ptr(record.digest, i->patch->digest) && !import_has_more(i)
                                           ? IMPORT_UNCHANGED
                                           : IMPORT_REPLACED;
                (void) snprintf(i->path, sizeof(i->path), "%s", path);
                r = 0;
        }
        import_record_done(&record);
        return r;
}

/* ---- writing ---- */

static int import_write_record(Import *i) {
        ImportRecord record = {
                .digest = i->patch->digest,
                .time_usec = now_usec(CLOCK_REALTIME),
                .uid = i->spec.uid,
        };
        _cleanup_free_ char *text = NULL;
        char path[PATH_MAX];
        int r;

        if (!i->patch->digest)
                return -ENODATA;
        r = import_record_format(&record, &text);
        if (r < 0)
                return r;
        if (snprintf(path, sizeof(path), "%s/%s%s", i->directory, i->patch->name, IMPORT_RECORD_SUFFIX) >=
            (int) sizeof(path))
                return -ENAMETOOLONG;
        return state_file_write(i->world->root_fd, path, text, strlen(text), 0644);
}

/* Something that lies beside the module; NULL: nothing shall. */
static int import_write_companion(Import *i, const char *suffix, const void *bytes, size_t size) {
        char path[PATH_MAX];
        int r;

        if (snprintf(path, sizeof(path), "%s/%s%s", i->directory, i->patch->name, suffix) >= (int) sizeof(path))
                return -ENAMETOOLONG;
        if (bytes)
                return state_file_write(i->world->root_fd, path, bytes, size, 0644);
        r = state_file_unlink(i->world->root_fd, path); /* of another content, replaced or never finished */
        return r < 0 ? r : 0;
}

static int import_write_companions(Import *i) {
        const ImportSpec *s = &i->spec;
        int r;

        r = import_write_companion(i, ".klp.json", s->manifest, s->manifest ? strlen(s->manifest) : 0);
        if (r >= 0)
                r = import_write_companion(i, REPOSITORY_SIGNATURE_SUFFIX, s->signature, s->n_signature);
        if (r >= 0)
                r = import_write_companion(i, REPOSITORY_MANIFEST_SIGNATURE_SUFFIX, s->manifest_signature,
                                           s->n_manifest_signature);
        return r;
}

/* The module under its name; the same name with another ending goes. */
static int import_write_module(Import *i) {
        const char *suffix = suffix_of(i->spec.module_fd);
        int root_fd = i->world->root_fd, r;
        char path[PATH_MAX];

        if (snprintf(i->path, sizeof(i->path), "%s/%s%s", i->directory, i->patch->name, suffix) >=
            (int) sizeof(i->path))
                return -ENAMETOOLONG;
        r = state_file_write_fd(root_fd, i->path, i->spec.module_fd, 0644);
        for (size_t k = 0; r >= 0 && k < ELEMENTSOF(module_suffixes); k++) {
                if (streq(module_suffixes[k], suffix))
                        continue;
                if (snprintf(path, sizeof(path), "%s/%s%s", i->directory, i->patch->name,
                             module_suffixes[k]) >= (int) sizeof(path))
                        return -ENAMETOOLONG;
                r = state_file_unlink(root_fd, path);
        }
        return r < 0 ? r : state_directory_sync(root_fd, i->directory);
}

/*
 * What is new gets its record first, so that it is never there without one. What is replaced gets its module
 * first, which is what a disk has no room for: then all is as it was. In between, the record is that of other
 * content, so that it isn't applied.
 */
static int import_write(Import *i, ImportOutcome outcome) {
        int r;

        r = state_directory_make(i->world->root_fd, i->directory);
        if (r >= 0 && outcome == IMPORT_REPLACED) {
                r = import_write_module(i);
                if (r >= 0)
                        r = import_write_companions(i);
                return r < 0 ? r : import_write_record(i);
        }
        if (r >= 0)
                r = import_write_record(i);
        if (r >= 0)
                r = import_write_companions(i);
        return r < 0 ? r : import_write_module(i);
}

static void import_audit(const Import *i, ImportOutcome outcome) {
        AuditRecord *r = audit_begin(KLPD_MESSAGE_REPOSITORY, "repository");

        audit_field(r, "KLPD_PATCH", i->patch->name);
        audit_field(r, "KLPD_DIGEST", i->patch->digest);
        if (i->signer[0])
                audit_field(r, "KLPD_SIGNER", i->signer);
        audit_field_u64(r, "KLPD_UID", i->spec.uid);
        audit_field(r, "KLPD_REASON", i->spec.reason);
        audit_field(r, "KLPD_RESULT", import_outcome_to_string(outcome));
        audit_send(i->world->audit, r, LOG_NOTICE, "Patch '%s' for %s was %s, digest %s", i->patch->name,
                   i->patch->kernel, import_outcome_to_string(outcome), i->patch->digest);
}

/* ---- the way there ---- */

static int import_finish(Import *i, ImportResult *result, Failure *failure) {
        bool running = streq(i->patch->kernel, i->world->release);
        ImportOutcome outcome = IMPORT_NEW;
        int r;

        r = (running ? compare_running : compare_other)(i, &outcome, failure);
        if (r < 0)
                return r;
        if (outcome != IMPORT_UNCHANGED) {
                r = import_write(i, outcome);
                if (r < 0)
                        return failure_set(failure, r, ERROR_FAILED,
                                           "Can't write '%s' to /%s: %s; the repository is as it was",
                                           i->patch->name, i->directory, strerror(-r));
                import_audit(i, outcome);
        }
        *result = (ImportResult) { .patch = i->patch, .path = i->path, .outcome = outcome };
        return 0;
}

static void on_refreshed(void *userdata) {
        ImportResult result;
        Failure failure = {};
        Import *i = userdata;
        int r;

        r = import_finish(i, &result, &failure);
        i->callback(r, r < 0 ? NULL : &result, &failure, i->userdata);
        failure_done(&failure);
}

static int import_take(Import *i, const InspectResult *inspected, Failure *failure) {
        _cleanup_free_ char *problem = NULL;
        int r;

        if (i->spec.manifest && inspected->patch->kind != PATCH_PLAIN)
                return failure_set(failure, -EINVAL, ERROR_INVALID_ARGS,
                                   "'%s' carries its own metadata: a manifest is for plain patches",
                                   inspected->patch->name);
        if (i->spec.manifest) {
                r = manifest_merge_text("manifest", i->spec.manifest, strlen(i->spec.manifest),
                                        inspected->patch, &i->patch, &problem);
                if (r < 0)
                        return failure_set(failure, r, ERROR_NOT_MODULE, "'%s' can't be imported: %s",
                                           inspected->patch->name, problem ?: strerror(-r));
        } else
                i->patch = patch_ref(inspected->patch);
        if (!release_is_valid(i->patch->kernel))
                return failure_set(failure, -EBADMSG, ERROR_NOT_MODULE,
                                   "'%s' says that it is for kernel '%s', which is no name of a release",
                                   i->patch->name, i->patch->kernel ?: "");
        if (snprintf(i->directory, sizeof(i->directory), "%s/%s", REPOSITORY_IMPORTED, i->patch->kernel) >=
            (int) sizeof(i->directory))
                return failure_set(failure, -ENAMETOOLONG, ERROR_FAILED, "The path is too long");
        return 0;
}

static void import_refresh(Import *i) {
        Failure failure = {};
        int r;

        r = repository_refresh(i->world->repository, on_refreshed, i, &i->wait);
        if (r >= 0)
                return;
        (void) failure_set(&failure, r, ERROR_FAILED, "Can't read the repository: %s", strerror(-r));
        i->callback(r, NULL, &failure, i->userdata);
        failure_done(&failure);
}

/* Refused only where the policy wants to know: elsewhere a signature that can't be trusted is as good as none. */
static void on_signature_checked(int error, const char *text, const SignatureVerdict *v, void *userdata) {
        Import *i = userdata;
        bool required = (i->world->policy ?: policy_default())->require_signature;
        Failure failure = {};

        if (error >= 0 && v->status == SIGNATURE_GOOD)
                (void) snprintf(i->signer, sizeof(i->signer), "%s", v->signer);
        else if (required) {
                int r = failure_set(&failure, -EKEYREJECTED, ERROR_REFUSED,
                                    "'%s' isn't imported, since the policy requires signatures (integrity): %s",
                                    i->patch->name,
                                    error >= 0 ? v->reason : *text ? text : strerror(-error));

                i->callback(r, NULL, &failure, i->userdata);
                failure_done(&failure);
                return;
        }
        import_refresh(i);
}

static int import_check_signature(Import *i, const InspectResult *inspected, Failure *failure) {
        PatchSignatureSpec spec = {
                .content_fd = inspected->content_fd,
                .signature_bytes = i->spec.signature,
                .n_signature_bytes = i->spec.n_signature,
                .manifest = i->spec.manifest,
                .manifest_signature_bytes = i->spec.manifest_signature,
                .n_manifest_signature_bytes = i->spec.n_manifest_signature,
        };
        int r;

        r = patch_signature_new(i->world->hands, i->world->root_fd, &spec, on_signature_checked, i, &i->signature);
        return r < 0 ? failure_set(failure, r, ERROR_FAILED, "Can't have its signature checked: %s", strerror(-r))
                     : 0;
}

static void on_inspected(int r, const char *text, const InspectResult *result, void *userdata) {
        Failure failure = {};
        Import *i = userdata;

        if (r < 0)
                (void) failure_set(&failure, r, ERROR_NOT_MODULE, "It can't be imported: %s",
                                   *text ? text : strerror(-r));
        else
                r = import_take(i, result, &failure);
        if (r >= 0)
                r = import_check_signature(i, result, &failure);
        if (r < 0)
                i->callback(r, NULL, &failure, i->userdata);
        failure_done(&failure);
}

int import_start(const World *w, ImportSpec *spec, ImportCallback callback, void *userdata, Import **ret) {
        _cleanup_(import_freep) Import *i = NULL;
        int r;

        i = calloc(1, sizeof(*i));
        if (!i) {
                import_spec_done(spec);
                return -ENOMEM;
        }
        i->world = w;
        i->spec = *spec;
        *spec = (ImportSpec) { .module_fd = -EBADF };
        i->callback = callback;
        i->userdata = userdata;
        r = w->hands->vtable->inspect(w->hands, i->spec.module_fd, on_inspected, i, &i->inspection);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(i);
        return 0;
}

Import *import_free(Import *i) {
        if (!i)
                return NULL;
        repository_wait_free(i->wait);
        i->world->hands->vtable->inspect_free(i->inspection);
        patch_signature_free(i->signature);
        patch_unref(i->patch);
        import_spec_done(&i->spec);
        free(i);
        return NULL;
}

/* ---- removal ---- */

/* "…/NAME" of "…/NAME.ko.xz". */
static void cut_suffix(char *path) {
        for (size_t k = 0; k < ELEMENTSOF(module_suffixes); k++) {
                size_t n = strlen(path), m = strlen(module_suffixes[k]);

                if (n > m && streq(path + n - m, module_suffixes[k])) {
                        path[n - m] = 0;
                        return;
                }
        }
}

/* The module first: what it leaves behind, if we are killed here, is nothing that anybody looks at. */
static int remove_files(const World *w, const char *path, unsigned *n) {
        static const char *const companions[] = { ".klp.json", IMPORT_RECORD_SUFFIX, REPOSITORY_SIGNATURE_SUFFIX,
                                                  REPOSITORY_MANIFEST_SIGNATURE_SUFFIX };
        char stem[PATH_MAX], companion[PATH_MAX];
        int r;

        r = state_file_unlink(w->root_fd, path);
        if (r <= 0)
                return r;
        (*n)++;
        (void) snprintf(stem, sizeof(stem), "%s", path);
        cut_suffix(stem);
        for (size_t k = 0; k < ELEMENTSOF(companions); k++) {
                if (snprintf(companion, sizeof(companion), "%s%s", stem, companions[k]) >=
                    (int) sizeof(companion))
                        return -ENAMETOOLONG;
                r = state_file_unlink(w->root_fd, companion);
                if (r < 0)
                        return r;
        }
        *strrchr(stem, '/') = 0;
        return state_directory_sync(w->root_fd, stem);
}

static int remove_running(const World *w, const char *name, unsigned *n, Failure *failure) {
        _cleanup_inventory_free_ Inventory *inventory = NULL;
        const RepositoryEntry *entries, *package = NULL;
        size_t n_entries;
        int r;

        r = w->hands->vtable->read_inventory(w->hands, &inventory);
        if (r < 0)
                return failure_set(failure, r, ERROR_FAILED, "Can't read from the kernel what runs: %s",
                                   strerror(-r));
        entries = repository_entries(w->repository, &n_entries);
        for (size_t i = 0; i < n_entries; i++) {
                const RepositoryEntry *e = &entries[i];

                if (!patch_name_equal(e->patch->name, name))
                        continue;
                if (!e->imported) {
                        package = e;
                        continue;
                }
                if (!e->shadowed && inventory_find(inventory, name))
                        return failure_set(failure, -EBUSY, ERROR_IN_USE,
                                           "'%s' is enabled: disable it first, or replace it", name);
                r = remove_files(w, e->path, n);
                if (r < 0)
                        return failure_set(failure, r, ERROR_FAILED, "Can't remove /%s: %s", e->path,
                                           strerror(-r));
        }
        if (*n == 0 && package)
                return failure_set(failure, -EROFS, ERROR_FAILED,
                                   "/%s belongs to a package: remove that", package->path);
        return 0;
}

int import_remove(const World *w, const char *name, const char *release, unsigned *ret_n, Failure *failure) {
        char directory[PATH_MAX], path[PATH_MAX];
        unsigned n = 0;
        int r;

        if (release && !release_is_valid(release))
                return failure_set(failure, -EINVAL, ERROR_INVALID_ARGS, "'%s' is no name of a release",
                                   release);
        if (!release || streq(release, w->release))
                r = remove_running(w, name, &n, failure);
        else {
                (void) snprintf(directory, sizeof(directory), "%s/%s", REPOSITORY_IMPORTED, release);
                r = 0;
                while (r >= 0 && find_module(w->root_fd, directory, name, path, sizeof(path)) > 0)
                        r = remove_files(w, path, &n);
                if (r < 0)
                        (void) failure_set(failure, r, ERROR_FAILED, "Can't remove /%s: %s", path,
                                           strerror(-r));
        }
        if (r < 0)
                return r;
        if (n == 0)
                return failure_set(failure, -ENOENT, ERROR_NO_SUCH_PATCH,
                                   "No patch '%s' was imported for %s", name, release ?: w->release);
        *ret_n = n;
        return 0;
}
