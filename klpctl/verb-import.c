/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klpctl import FILE…: patches into the repository. Each file is opened here, with the caller's rights, and
 * goes as a descriptor; the manifest of a plain patch is what lies beside it (NAME.klp.json), and so are detached
 * signatures of both (NAME.ko.p7s, NAME.klp.json.p7s). One file that can't be imported doesn't keep the others from it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "klpd/manifest.h"
#include "klpd/repository.h"
#include "klpd/signature.h"
#include "klpd/state-file.h"
#include "request.h"

/* What lies beside the module. */
typedef struct Companions {
        char *manifest, *signature, *manifest_signature; /* NULL: it isn't there */
        size_t n_manifest, n_signature, n_manifest_signature;
} Companions;

static void companions_done(Companions *c) {
        free(c->manifest);
        free(c->signature);
        free(c->manifest_signature);
}

/* "…/NAME.klp.json" beside "…/NAME.ko.xz", and so on. */
static int companion_path(const char *file, const char *suffix, char **ret) {
        static const char *const endings[] = { ".ko", ".ko.xz", ".ko.zst", ".ko.gz" };
        size_t n = strlen(file);

        for (size_t i = 0; i < ELEMENTSOF(endings); i++) {
                size_t k = strlen(endings[i]);

                if (n > k && streq(file + n - k, endings[i]))
                        n -= k;
        }
        return asprintf(ret, "%.*s%s", (int) n, file, suffix) < 0 ? -ENOMEM : 0;
}

static int companion_read(Ctl *c, const char *file, const char *suffix, const char *what, size_t max, char **ret,
                          size_t *ret_size) {
        _cleanup_free_ char *path = NULL;
        int r;

        if (companion_path(file, suffix, &path) < 0)
                return ctl_oom(c);
        r = state_file_read(AT_FDCWD, path, max, ret, ret_size);
        if (r >= 0 || r == -ENOENT)
                return EXIT_DONE;
        ctl_error(c, "Failed to read the %s '%s': %s", what, path, strerror(-r));
        return ctl_failure(c, EXIT_FAILED, KLPD_ERROR "Failed", strerror(-r));
}

static int companions_read(Ctl *c, const char *file, Companions *o) {
        int r;

        r = companion_read(c, file, ".klp.json", "manifest", MANIFEST_BYTES_MAX, &o->manifest, &o->n_manifest);
        if (r == EXIT_DONE && o->manifest && strlen(o->manifest) != o->n_manifest) {
                ctl_error(c, "The manifest of '%s' has a NUL byte in it", file);
                return ctl_failure(c, EXIT_FAILED, KLPD_ERROR "Failed", strerror(EBADMSG));
        }
        if (r == EXIT_DONE)
                r = companion_read(c, file, REPOSITORY_SIGNATURE_SUFFIX, "signature", SIGNATURE_SIZE_MAX, &o->signature,
                                   &o->n_signature);
        if (r == EXIT_DONE)
                r = companion_read(c, file, REPOSITORY_MANIFEST_SIGNATURE_SUFFIX, "signature", SIGNATURE_SIZE_MAX,
                                   &o->manifest_signature, &o->n_manifest_signature);
        return r;
}

static int append_bytes(sd_bus_message *m, const char *key, const void *bytes, size_t size) {
        int r;

        if (!bytes)
                return 0;
        r = sd_bus_message_open_container(m, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append_basic(m, 's', key);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "ay");
        if (r >= 0)
                r = sd_bus_message_append_array(m, 'y', bytes, size);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_options(Ctl *c, sd_bus_message *m, const Companions *o) {
        const Arguments *a = &c->args;
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0 && o->manifest)
                r = sd_bus_message_append(m, "{sv}", "manifest", "s", o->manifest);
        if (r >= 0)
                r = append_bytes(m, "signature", o->signature, o->n_signature);
        if (r >= 0)
                r = append_bytes(m, "manifest-signature", o->manifest_signature, o->n_manifest_signature);
        if (r >= 0 && a->replace)
                r = sd_bus_message_append(m, "{sv}", "replace", "b", 1);
        if (r >= 0 && a->reason)
                r = sd_bus_message_append(m, "{sv}", "reason", "s", a->reason);
        if (r >= 0 && a->no_ask_password)
                r = sd_bus_message_append(m, "{sv}", "interactive", "b", 0);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int import_call(Ctl *c, int fd, const char *file, sd_bus_message **ret_reply) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_(companions_done) Companions companions = {};
        _cleanup_free_ char *what = NULL;
        int r;

        if (asprintf(&what, "import '%s'", file) < 0)
                return ctl_oom(c);
        r = companions_read(c, file, &companions);
        if (r != EXIT_DONE)
                return r;
        r = ctl_bus_new_call(c, "Import", &m);
        if (r != EXIT_DONE)
                return r;
        r = sd_bus_message_append_basic(m, 'h', &fd);
        if (r >= 0)
                r = append_options(c, m, &companions);
        if (r < 0)
                return ctl_bus_error(c, NULL, r, "make a message");
        ctl_agent(c);
        return ctl_bus_send(c, m, what, ret_reply);
}

static int import_file(Ctl *c, const char *file, json_object *list) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *patch, *path, *outcome;
        _cleanup_json_ json_object *o = NULL;
        int fd, r;

        fd = request_open_module(c, file);
        if (fd < 0)
                return ctl_failure(c, EXIT_FAILED, SD_BUS_ERROR_FILE_NOT_FOUND, strerror(-fd));
        r = import_call(c, fd, file, &reply);
        close(fd);
        if (r != EXIT_DONE)
                return r;
        r = sd_bus_message_read(reply, "sss", &patch, &path, &outcome);
        if (r < 0)
                return ctl_bus_error(c, NULL, r, "read the answer");
        if (!ctl_json(c)) {
                if (!c->args.quiet)
                        printf("%s: %s, /%s\n", patch, outcome, path);
                return EXIT_DONE;
        }
        o = json_object_new_object();
        if (!o || json_set_member(o, "file", json_object_new_string(file)) < 0 ||
            json_set_member(o, "patch", json_object_new_string(patch)) < 0 ||
            json_set_member(o, "path", json_object_new_string(path)) < 0 ||
            json_set_member(o, "outcome", json_object_new_string(outcome)) < 0 ||
            json_array_push(list, TAKE_PTR(o)) < 0)
                return ctl_oom(c);
        return EXIT_DONE;
}

int verb_import(Ctl *c, int n, char **words) {
        _cleanup_json_ json_object *list = json_object_new_array();
        int status = EXIT_DONE;

        if (!list)
                return ctl_oom(c);
        for (int i = 1; i < n; i++) {
                int r = import_file(c, words[i], list);

                if (status == EXIT_DONE)
                        status = r;
        }
        if (ctl_json(c) && (status == EXIT_DONE || json_length(list) > 0)) {
                int r = ctl_print_json(c, list);

                return status == EXIT_DONE ? r : status;
        }
        return status;
}
