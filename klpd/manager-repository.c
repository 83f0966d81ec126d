/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Import, Remove and Verify on the bus: parse, authorise, act, reply. What needs authorisation is carried by
 * an Ask until that is there; what then takes time is a Query, so that a caller who goes, or a sandbox that
 * hangs, holds up nobody else.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <syslog.h>
#include <unistd.h>

#include "klpd/log.h"
#include "klpd/manager.h"
#include "klpd/manifest.h"
#include "klpd/module-fd.h"
#include "klpd/state-file.h"

typedef struct RepositoryAsk {
        Manager *manager;
        int file_fd; /* the caller's descriptor, not read yet; or -EBADF */
        ImportSpec spec;
        char *name, *release; /* Remove */
        bool interactive;
} RepositoryAsk;

static void ask_free(void *userdata) {
        RepositoryAsk *ask = userdata;

        if (ask->file_fd >= 0)
                close(ask->file_fd);
        import_spec_done(&ask->spec);
        free(ask->name);
        free(ask->release);
        free(ask);
}

static void ask_freep(RepositoryAsk **ask) {
        if (*ask)
                ask_free(*ask);
}

static int ask_new(Manager *m, RepositoryAsk **ret) {
        RepositoryAsk *ask = malloc(sizeof(*ask));

        if (!ask)
                return -ENOMEM;
        *ask = (RepositoryAsk) {
                .manager = m,
                .file_fd = -EBADF,
                .spec.module_fd = -EBADF,
                .interactive = true,
        };
        *ret = ask;
        return 0;
}

/* ---- options ---- */

static int option_text(sd_bus_message *m, const char *key, size_t max, char **ret, sd_bus_error *error) {
        const char *text;
        int r;

        r = sd_bus_message_read(m, "v", "s", &text);
        if (r < 0)
                return r;
        if (*ret || strlen(text) > max)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                         "Option '%s' is given twice, or longer than %zu bytes", key, max);
        *ret = strdup(text);
        return *ret ? 0 : -ENOMEM;
}

/* A detached signature. */
static int option_bytes(sd_bus_message *m, const char *key, void **ret, size_t *ret_size, sd_bus_error *error) {
        const void *bytes;
        size_t size;
        int r;

        r = sd_bus_message_enter_container(m, 'v', "ay");
        if (r >= 0)
                r = sd_bus_message_read_array(m, 'y', &bytes, &size);
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        if (r < 0)
                return r;
        if (*ret || size == 0 || size > SIGNATURE_SIZE_MAX)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                         "Option '%s' is given twice, empty, or larger than %u bytes", key,
                                         SIGNATURE_SIZE_MAX);
        *ret = malloc(size);
        if (!*ret)
                return -ENOMEM;
        memcpy(*ret, bytes, size);
        *ret_size = size;
        return 0;
}

static int option_bool(sd_bus_message *m, bool *ret) {
        int b, r;

        r = sd_bus_message_read(m, "v", "b", &b);
        if (r >= 0)
                *ret = b;
        return r;
}

static int read_option(RepositoryAsk *ask, const char *key, sd_bus_message *m, sd_bus_error *error) {
        bool import = !ask->name;

        if (streq(key, "reason")) {
                int r = option_text(m, key, JOB_REASON_MAX, &ask->spec.reason, error);

                for (const char *p = ask->spec.reason; r >= 0 && p && *p; p++)
                        if ((unsigned char) *p < ' ' || *p == 0x7f)
                                return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS,
                                                        "Option 'reason' has control characters in it");
                return r;
        }
        if (streq(key, "interactive"))
                return option_bool(m, &ask->interactive);
        if (import && streq(key, "manifest"))
                return option_text(m, key, MANIFEST_BYTES_MAX, &ask->spec.manifest, error);
        if (import && streq(key, "signature"))
                return option_bytes(m, key, &ask->spec.signature, &ask->spec.n_signature, error);
        if (import && streq(key, "manifest-signature"))
                return option_bytes(m, key, &ask->spec.manifest_signature, &ask->spec.n_manifest_signature, error);
        if (import && streq(key, "replace"))
                return option_bool(m, &ask->spec.replace);
        if (!import && streq(key, "kernel"))
                return option_text(m, key, 128, &ask->release, error);
        return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS, "Unknown option '%s'", key);
}

static int read_options(RepositoryAsk *ask, sd_bus_message *m, sd_bus_error *error) {
        const char *key;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = sd_bus_message_read_basic(m, 's', &key);
                if (r >= 0) {
                        r = read_option(ask, key, m, error);
                        if (r == -ENXIO)
                                r = sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                                      "Option '%s' has the wrong type", key);
                }
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
        }
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int ask_authorize(RepositoryAsk *ask, const char *action, AuthorizeCallback callback,
                         sd_bus_message *message, sd_bus_error *error) {
        const char *actions[] = { action, NULL };
        int r;

        r = authorize(ask->manager->authorizer, message, actions, ask->name, ask->interactive, callback, ask,
                      ask_free);
        if (r < 0) {
                ask_free(ask);
                return r == -EUSERS ? sd_bus_error_set(error, SD_BUS_ERROR_LIMITS_EXCEEDED,
                                                       "Too many requests wait for authorisation")
                                    : r;
        }
        return 1;
}

static void ask_fail(sd_bus_message *message, int r, sd_bus_error *error) {
        if (!sd_bus_error_is_set(error))
                (void) sd_bus_error_set_errno(error, r);
        (void) reply_error(message, error);
}

/* ---- Import ---- */

static void on_imported(int r, const ImportResult *result, const Failure *failure, void *userdata) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Query *q = userdata;

        if (r < 0) {
                query_finish(q, r, NULL, failure->name, failure_message(failure));
                return;
        }
        if (result->outcome != IMPORT_UNCHANGED)
                manager_mark_stale(q->manager);
        r = sd_bus_message_new_method_return(q->message, &reply);
        if (r >= 0)
                r = sd_bus_message_append(reply, "sss", result->patch->name, result->path,
                                          import_outcome_to_string(result->outcome));
        query_finish(q, r, reply, NULL, NULL);
}

static int import_begin(RepositoryAsk *ask, sd_bus_message *message, sd_bus_error *error) {
        Manager *m = ask->manager;
        Query *q;
        int r;

        r = module_fd_read(ask->file_fd, &ask->spec.module_fd, error);
        if (r < 0)
                return r;
        r = query_new(m, message, &q);
        if (r < 0)
                return query_limit(r, error);
        r = import_start(&m->world, &ask->spec, on_imported, q, &q->import);
        if (r < 0)
                query_free(q);
        return r;
}

static void on_import_authorized(sd_bus_message *message, uid_t uid, int r, const sd_bus_error *denied,
                                 void *userdata) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        RepositoryAsk *ask = userdata;

        if (r < 0) {
                (void) reply_error(message, denied);
                return;
        }
        ask->spec.uid = uid;
        r = import_begin(ask, message, &error);
        if (r < 0)
                ask_fail(message, r, &error);
        sd_bus_error_free(&error);
}

int manager_method_import(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_(ask_freep) RepositoryAsk *ask = NULL;
        int fd, r;

        r = sd_bus_message_read_basic(message, 'h', &fd);
        if (r >= 0)
                r = module_fd_check(fd, error);
        if (r >= 0)
                r = ask_new(userdata, &ask);
        if (r >= 0)
                r = read_options(ask, message, error);
        if (r < 0)
                return r;
        ask->file_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (ask->file_fd < 0)
                return -errno;
        return ask_authorize(TAKE_PTR(ask), ACTION_IMPORT, on_import_authorized, message, error);
}

/* ---- Remove ---- */

static void on_remove_refreshed(void *userdata) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Failure failure = {};
        Query *q = userdata;
        Manager *m = q->manager;
        unsigned n = 0;
        int r;

        r = import_remove(&m->world, q->name, q->release, &n, &failure);
        if (r < 0)
                query_finish(q, r, NULL, failure.name, failure_message(&failure));
        else {
                AuditRecord *record = audit_begin(KLPD_MESSAGE_REPOSITORY, "repository");

                audit_field(record, "KLPD_PATCH", q->name);
                audit_field_u64(record, "KLPD_UID", q->uid);
                audit_field(record, "KLPD_RESULT", "removed");
                audit_send(m->audit, record, LOG_NOTICE, "Patch '%s' for %s was removed from the repository",
                           q->name, q->release ?: m->uts.release);
                manager_mark_stale(m);
                r = sd_bus_message_new_method_return(q->message, &reply);
                query_finish(q, r, reply, NULL, NULL);
        }
        failure_done(&failure);
}

static void on_remove_authorized(sd_bus_message *message, uid_t uid, int r, const sd_bus_error *denied,
                                 void *userdata) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        RepositoryAsk *ask = userdata;
        Query *q;

        if (r < 0) {
                (void) reply_error(message, denied);
                return;
        }
        r = query_new(ask->manager, message, &q);
        if (r < 0)
                r = query_limit(r, &error);
        else {
                q->name = TAKE_PTR(ask->name);
                q->release = TAKE_PTR(ask->release);
                q->uid = uid;
                r = repository_refresh(ask->manager->repository, on_remove_refreshed, q, &q->wait);
                if (r < 0)
                        query_free(q);
        }
        if (r < 0)
                ask_fail(message, r, &error);
        sd_bus_error_free(&error);
}

static int read_name(sd_bus_message *message, char **ret, sd_bus_error *error) {
        const char *name;
        int r;

        r = sd_bus_message_read_basic(message, 's', &name);
        if (r < 0)
                return r;
        if (!patch_name_is_valid(name))
                return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS, "Not the name of a patch");
        *ret = strdup(name);
        return *ret ? 0 : -ENOMEM;
}

int manager_method_remove(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_(ask_freep) RepositoryAsk *ask = NULL;
        int r;

        r = ask_new(userdata, &ask);
        if (r >= 0)
                r = read_name(message, &ask->name, error);
        if (r >= 0)
                r = read_options(ask, message, error);
        return r < 0 ? r
                     : ask_authorize(TAKE_PTR(ask), ACTION_REMOVE, on_remove_authorized, message, error);
}

/* ---- Verify ---- */

static int add_problem(char ***problems, const char *format, ...) _printf_(2, 3);
static int add_problem(char ***problems, const char *format, ...) {
        char text[1024];
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        return strv_extend(problems, text);
}

/* error, text, v: as a SignatureCallback gets them; v NULL and error 0: it wasn't looked at. */
typedef struct SignedBy {
        int error;
        const char *text;
        const SignatureVerdict *verdict;
} SignedBy;

static const char *signed_by_status(const SignedBy *s) {
        if (!s->verdict)
                return "unknown";
        switch (s->verdict->status) {
        case SIGNATURE_GOOD:
                return "good";
        case SIGNATURE_WRONG:
                return "wrong";
        case SIGNATURE_MISSING:
                return "missing";
        case SIGNATURE_UNKNOWN:
                break;
        }
        return "unknown";
}

static const char *signed_by_problem(const SignedBy *s) {
        if (s->error < 0)
                return *s->text ? s->text : strerror(-s->error);
        return s->verdict ? s->verdict->reason : "";
}

static int append_findings(sd_bus_message *reply, const RepositoryEntry *e, const char *digest,
                           const SignedBy *s, char **problems) {
        int r;

        r = sd_bus_message_open_container(reply, 'a', "{sv}");
        if (r >= 0)
                r = sd_bus_message_append(reply, "{sv}{sv}{sv}{sv}{sv}", "name", "s", e->patch->name, "path",
                                          "s", e->path, "imported", "b", (int) e->imported, "digest", "s",
                                          digest, "recorded", "s", e->recorded ?: "");
        if (r >= 0)
                r = sd_bus_message_append(reply, "{sv}{sv}{sv}", "signature", "s", signed_by_status(s), "signer", "s",
                                          s->verdict ? s->verdict->signer : "", "signature-problem", "s",
                                          signed_by_problem(s));
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(reply, "s", "problems");
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'v', "as");
        if (r >= 0)
                r = sd_bus_message_append_strv(reply, problems);
        for (unsigned i = 0; r >= 0 && i < 3; i++)
                r = sd_bus_message_close_container(reply);
        return r;
}

static int collect_problems(const Manager *m, const RepositoryEntry *e, const Patch *now,
                            const char *unreadable, const SignedBy *s, char ***problems) {
        int r = 0;

        if (unreadable)
                return add_problem(problems, "%s", unreadable);
        if (e->problem)
                r = add_problem(problems, "%s", e->problem);
        if (r >= 0 && e->writable)
                r = add_problem(problems, "/%s is writable by others than root", e->writable);
        if (r >= 0 && e->recorded && !streq_ptr(e->recorded, now->digest))
                r = add_problem(problems, "its content is not what was imported (digest %.16s…, recorded %.16s…)",
                                now->digest ?: "unknown", e->recorded);
        if (r >= 0 && !patch_name_equal(now->name, e->patch->name))
                r = add_problem(problems, "it has become another patch, '%s'", now->name);
        if (r >= 0 && now->kernel && !streq(now->kernel, m->uts.release))
                r = add_problem(problems, "it was built for kernel %s", now->kernel);
        if (r >= 0 && (m->policy ?: policy_default())->require_signature &&
            (!s->verdict || s->verdict->status != SIGNATURE_GOOD))
                r = add_problem(problems, "it isn't signed as the policy requires: %s", signed_by_problem(s));
        return r;
}

static void verify_answer(Query *q, const RepositoryEntry *e, const Patch *now, const char *unreadable,
                          const SignedBy *s) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(strv_freep) char **problems = NULL;
        int r;

        r = collect_problems(q->manager, e, now, unreadable, s, &problems);
        if (r >= 0)
                r = sd_bus_message_new_method_return(q->message, &reply);
        if (r >= 0)
                r = append_findings(reply, e, now && now->digest ? now->digest : "", s, problems);
        query_finish(q, r, reply, NULL, NULL);
}

static void on_signature_verified(int error, const char *text, const SignatureVerdict *verdict, void *userdata) {
        const RepositoryEntry *e;
        Query *q = userdata;

        /* The repository may have been looked at again meanwhile. */
        e = repository_find(q->manager->repository, q->name);
        if (!e)
                query_finish(q, -ENOENT, NULL, ERROR_NO_SUCH_PATCH, "The patch was removed while it was read");
        else
                verify_answer(q, e, q->verified, NULL, &(SignedBy) { error, text, verdict });
}

static int verify_signature(Query *q, const RepositoryEntry *e, const InspectResult *result) {
        Manager *m = q->manager;
        PatchSignatureSpec spec = {
                .content_fd = result->content_fd,
                .signature = e->signature,
                .manifest_signature = e->manifest_signature,
        };
        _cleanup_free_ char *manifest = NULL;
        size_t size;
        int r;

        if (e->manifest && result->patch->kind == PATCH_PLAIN) {
                r = state_file_read(m->root_fd, e->manifest, MANIFEST_BYTES_MAX, &manifest, &size);
                if (r < 0)
                        return r;
                spec.manifest = manifest;
        }
        q->verified = patch_ref(result->patch);
        return patch_signature_new(m->hands, m->root_fd, &spec, on_signature_verified, q, &q->signature);
}

static void on_verified(int r, const char *text, const InspectResult *result, void *userdata) {
        const RepositoryEntry *e;
        Query *q = userdata;

        /* The repository may have been looked at again meanwhile. */
        e = repository_find(q->manager->repository, q->name);
        if (!e)
                query_finish(q, -ENOENT, NULL, ERROR_NO_SUCH_PATCH, "The patch was removed while it was read");
        else if (r < 0)
                verify_answer(q, e, NULL, *text ? text : strerror(-r), &(SignedBy) { .text = "" });
        else {
                r = verify_signature(q, e, result);
                if (r < 0)
                        verify_answer(q, e, result->patch, NULL, &(SignedBy) { .error = r, .text = "" });
        }
}

static void on_verify_refreshed(void *userdata) {
        Query *q = userdata;
        Manager *m = q->manager;
        const RepositoryEntry *e = repository_find(m->repository, q->name);
        char text[PATH_MAX + 128];
        int fd = -EBADF, r;

        if (!e) {
                (void) snprintf(text, sizeof(text), "No patch '%s' in the repository", q->name);
                query_finish(q, -ENOENT, NULL, ERROR_NO_SUCH_PATCH, text);
                return;
        }
        r = repository_open(m->repository, e, &fd);
        if (r >= 0) {
                r = m->hands->vtable->inspect(m->hands, fd, on_verified, q, &q->inspection);
                close(fd);
        }
        if (r < 0) {
                (void) snprintf(text, sizeof(text), "/%s can't be read: %s", e->path, strerror(-r));
                verify_answer(q, e, NULL, text, &(SignedBy) { .text = "" });
        }
}

static int verify_begin(Query *q, Failure *failure) {
        return repository_refresh(q->manager->repository, on_verify_refreshed, q, &q->wait);
}

int manager_method_verify(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *name = NULL;
        Manager *m = userdata;
        Query *q;
        int r;

        r = read_name(message, &name, error);
        if (r < 0)
                return r;
        r = query_new(m, message, &q);
        if (r < 0)
                return query_limit(r, error);
        q->name = TAKE_PTR(name);
        query_begin(q, verify_begin);
        return 1;
}
