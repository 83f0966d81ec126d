/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See inspect-client.h. What the child says is a claim about the bytes: name, states and so on are compared with
 * what the kernel says after loading; digest and content are this side's own.
 */
#include "klpd/inspect-client.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "klpd/digest.h"
#include "klpd/inspect-child.h"
#include "klpd/livepatch-sysfs-read.h"
#include "klpd/patch-file.h"
#include "policy/json.h"

struct InspectRequest {
        InspectChild *child; /* either the child reads it, */
        struct json_object *known; /* or the answer is known, and comes from the event loop */
        sd_event_source *known_source;
        InspectMemory *memory;
        uint8_t key[SHA256_SIZE];
        InspectCallback callback;
        void *userdata;
        int module_fd;  /* what the child reads */
        int content_fd; /* what it decompresses to */
};

InspectRequest *inspect_request_free(InspectRequest *r) {
        if (!r)
                return NULL;

        inspect_child_free(r->child);
        sd_event_source_disable_unref(r->known_source);
        json_object_put(r->known);
        closep(&r->module_fd);
        closep(&r->content_fd);
        free(r);
        return NULL;
}

static int read_patch(struct json_object *object, InspectResult *result) {
        struct json_object *patch = inspect_answer_member(object, "patch", json_type_object);
        _cleanup_free_ char *line = NULL;
        int r;

        if (!patch)
                return -EPROTO;
        r = json_to_line(patch, &line);
        if (r < 0)
                return r;
        r = patch_parse(line, strlen(line), &result->patch, NULL);
        return r == -EBADMSG ? -EPROTO : r;
}

static int read_result(struct json_object *object, InspectResult *result, bool *ret_decompressed) {
        struct json_object *vermagic = inspect_answer_member(object, "vermagic", json_type_string);
        struct json_object *signature_size = inspect_answer_member(object, "signature-size", json_type_int);
        struct json_object *relocations = inspect_answer_member(object, "module-relocations", json_type_boolean);
        struct json_object *decompressed = inspect_answer_member(object, "decompressed", json_type_boolean);
        int r;

        if (!vermagic || !signature_size || !relocations || !decompressed ||
            json_object_get_string_len(vermagic) > 1024 || json_object_get_int64(signature_size) < 0)
                return -EPROTO;

        r = read_patch(object, result);
        if (r < 0)
                return r;

        result->vermagic = strdup(json_object_get_string(vermagic));
        if (!result->vermagic)
                return -ENOMEM;
        result->signature_size = (size_t) json_object_get_int64(signature_size);
        result->has_module_relocations = json_object_get_boolean(relocations);
        *ret_decompressed = json_object_get_boolean(decompressed);
        return 0;
}

/* Content and digest, by our own means. */
static int take_content(InspectRequest *q, bool decompressed, InspectResult *result) {
        char digest[DIGEST_HEX_LEN + 1];
        int fd = decompressed ? q->content_fd : q->module_fd, r;

        if (decompressed) {
                r = sealed_memfd_seal(fd); /* the child has ended: nobody maps it */
                if (r < 0)
                        return r;
        }
        r = sealed_memfd_check(fd);
        if (r < 0)
                return r;
        r = module_digest_fd(fd, PATCH_FILE_SIZE_MAX, digest);
        if (r < 0)
                return r;

        result->content_fd = fd;
        return free_and_strdup(&result->patch->digest, digest);
}

static void result_done(InspectResult *result) {
        patch_unref(result->patch);
        free(result->vermagic);
}

/* The caller may free the request in the callback. */
static void on_answer(int error, const char *text, struct json_object *answer, void *userdata) {
        InspectRequest *q = userdata;
        InspectResult result = { .content_fd = -EBADF, .remembered = !q->child };
        bool decompressed = false;
        int r = error;

        if (r >= 0) {
                text = "klpd-inspect printed what is no answer";
                r = read_result(answer, &result, &decompressed);
        }
        if (r >= 0) {
                text = "can't seal and measure the module's content";
                r = take_content(q, decompressed, &result);
        }
        if (r >= 0 && q->memory && !decompressed)
                inspect_memory_keep(q->memory, q->key, answer);
        q->callback(q, r, r < 0 ? text : "", r < 0 ? NULL : &result, q->userdata);
        result_done(&result);
}

static int on_known(sd_event_source *source, void *userdata) {
        InspectRequest *q = userdata;
        struct json_object *answer = TAKE_PTR(q->known); /* the callback may free q */

        on_answer(0, "", answer, q);
        json_object_put(answer);
        return 0;
}

static int start_child(InspectRequest *q, sd_event *event, const InspectSpec *spec) {
        InspectChildSpec child = {
                .program = spec->program,
                .n_fds = 2,
                .timeout_usec = spec->timeout_usec,
                .what = "the module",
        };

        q->content_fd = memfd_create("klpd-content", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (q->content_fd < 0)
                return -errno;
        child.fds[0] = q->module_fd;
        child.fds[1] = q->content_fd;
        return inspect_child_new(event, &child, on_answer, q, &q->child);
}

static int start(InspectRequest *q, sd_event *event, int fd, const InspectSpec *spec) {
        int r;

        q->module_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (q->module_fd < 0)
                return -errno;
        if (!spec->memory)
                return start_child(q, event, spec);
        q->memory = spec->memory;
        r = inspect_memory_key(fd, q->key);
        if (r < 0)
                return r;
        q->known = inspect_memory_find(q->memory, q->key);
        if (!q->known)
                return start_child(q, event, spec);
        r = sd_event_add_defer(event, &q->known_source, on_known, q);
        return r < 0 ? r : 0;
}

int inspect_request_new(sd_event *event, int fd, const InspectSpec *spec, InspectCallback callback, void *userdata,
                        InspectRequest **ret) {
        _cleanup_inspect_request_free_ InspectRequest *q = NULL;
        int r;

        r = sealed_memfd_check(fd);
        if (r < 0)
                return r;

        q = calloc(1, sizeof(InspectRequest));
        if (!q)
                return -ENOMEM;
        q->module_fd = q->content_fd = -EBADF;
        q->callback = callback;
        q->userdata = userdata;
        r = start(q, event, fd, spec);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(q);
        return 0;
}
