/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One file of a load: read, its signature checked, parsed, its serial compared; and where the file is no good and
 * klpd has only just started, the same with what was kept of it. What comes out is in the FleetNext: a document, or
 * a problem, or both (the document then is what was kept).
 */
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "klpd/fleet-files.h"
#include "klpd/fleet-load-internal.h"
#include "klpd/fleet-slot.h"
#include "klpd/livepatch-sysfs-read.h"
#include "klpd/sealed-memfd.h"
#include "policy/json.h"

void fleet_next_problem(FleetNext *n, bool refused, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;

        free(n->source.problem);
        va_start(ap, format);
        if (vasprintf(&text, format, ap) < 0)
                text = NULL;
        va_end(ap);
        if (!n->why) {
                n->refused = refused;
                n->source.problem = TAKE_PTR(text);
        } else if (asprintf(&n->source.problem, "%s; nor can the earlier version be used that klpd has kept: %s",
                            n->why, text ?: "out of memory") < 0)
                n->source.problem = NULL;
        if (!n->source.problem)
                n->source.problem = strdup("out of memory");
        n->source.document = fleet_document_free(n->source.document);
        n->source.kept = false;
}

static bool same_file(const struct stat *a, const struct stat *b) {
        return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
               a->st_mode == b->st_mode && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
               a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
               a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void next_path(const FleetLoader *l, const FleetNext *n, const char *suffix, char *buf) {
        (void) snprintf(buf, PATH_MAX, "%s%s%s", l->prefix, n->source.path, suffix);
}

/* The same file as before has the same outcome as before. */
static bool take_same(FleetLoader *l, FleetNext *n) {
        const FleetSource *old = n->keep > 0 ? &l->sources[n->keep - 1] : NULL;

        if (l->afresh || !old || (l->look_again && old->untimely) || !streq(old->path, n->source.path) ||
            !same_file(&old->st, &n->source.st) || !same_file(&old->st_signature, &n->source.st_signature))
                return false;
        n->same = true;
        n->source.untimely = old->untimely;
        n->source.timely_usec = old->timely_usec;
        return free_and_strdup(&n->source.problem, old->problem) >= 0;
}

/* Signed, by the key that is signer, or not at all (NULL). */
static int next_parse(FleetLoader *l, FleetNext *n, const char *signer) {
        _cleanup_fleet_document_free_ FleetDocument *d = NULL;
        PolicyError error = {};
        char words[700];
        int r;

        r = fleet_file_parse(n->source.path, n->bytes.text, n->bytes.size, &d, &error);
        if (r < 0) {
                fleet_next_problem(n, false, "%s",
                                   *error.message ? policy_error_format(&error, NULL, words, sizeof(words))
                                                  : strerror(-r));
                return 0;
        }
        if (signer) {
                const char *name = d->name ?: n->source.name;
                uint64_t last;

                /* It has to come out of the record as it went in. */
                for (const unsigned char *p = (const unsigned char *) name; *p; p++)
                        if (*p < ' ' || *p >= 0x7f) {
                                fleet_next_problem(n, true, "a signed document needs a name of plain letters");
                                return 0;
                        }
                last = l->handlers.last_serial(signer, name, l->handlers.userdata);

                if (fleet_serial_check(last, d->serial, &error) < 0) {
                        fleet_next_problem(n, true, "%s", error.message);
                        return 0;
                }
                n->source.signer = strdup(signer);
                if (!n->source.signer)
                        return -ENOMEM;
        }
        n->source.document = TAKE_PTR(d);
        n->source.kept = n->why;
        return 0;
}

static bool next_judge(FleetLoader *l, FleetNext *n);

/* Since klpd has started, the file was never good: what was kept of it before is looked at in its place. True: it
 * is done with, or there is nothing kept; false: an answer comes later. */
bool fleet_next_take_kept(FleetLoader *l, FleetNext *n) {
        FleetKept kept = {};
        int r;

        if (n->source.document || n->source.network || n->keep > 0 || n->same || n->why)
                return true;
        r = fleet_kept_read(l->world->root_fd, n->source.name, &kept);
        if (r == -ENOENT)
                return true;
        n->why = TAKE_PTR(n->source.problem);
        if (r < 0) {
                fleet_next_problem(n, n->refused, "%s", strerror(-r));
                return true;
        }
        fleet_kept_done(&n->bytes);
        n->bytes = kept;
        return next_judge(l, n);
}

/* A certificate that isn't valid now, but may be at another time. */
static void note_untimely(const FleetLoader *l, FleetNext *n, const SignatureVerdict *v) {
        uint64_t *when = &n->source.timely_usec;

        if (v->valid_from_usec == 0 && v->valid_until_usec == 0)
                return;
        n->source.untimely = true;
        if (v->valid_from_usec > fleet_loader_now(l) && (*when == 0 || v->valid_from_usec < *when))
                *when = v->valid_from_usec;
}

static void on_signature(int r, const char *text, const SignatureVerdict *verdict, void *userdata) {
        FleetLoader *l = userdata;
        FleetNext *n = &l->next[l->at];

        if (r < 0)
                fleet_next_problem(n, false, "its signature can't be checked: %s", *text ? text : strerror(-r));
        else if (verdict->status != SIGNATURE_GOOD) {
                note_untimely(l, n, verdict);
                fleet_next_problem(n, true, "it has %s: %s",
                            verdict->status == SIGNATURE_MISSING ? "no signature" : "no signature that counts",
                            verdict->reason);
        } else {
                if (next_parse(l, n, verdict->key) < 0)
                        fleet_next_problem(n, false, "out of memory");
                /* RFC 5280, 4.1.2.5: a certificate of that very second has no end. */
                else if (n->source.document && verdict->valid_until_usec < FLEET_TIME_MAX)
                        n->source.document->signed_until = verdict->valid_until_usec;
        }
        l->check = l->world->hands->vtable->signature_free(l->check);
        fleet_loader_file_done(l);
}

/* 0: the answer comes later. */
static int next_check(FleetLoader *l, const FleetNext *n) {
        _cleanup_close_ int fd = -EBADF, signature_fd = -EBADF;
        Hands *hands = l->world->hands;
        int r;

        r = sealed_memfd_new_from_bytes(n->bytes.text, n->bytes.size, "fleet-document", &fd);
        if (r >= 0 && n->bytes.signature)
                r = sealed_memfd_new_from_bytes(n->bytes.signature, n->bytes.signature_size, "fleet-signature",
                                                &signature_fd);
        if (r < 0)
                return r;
        return hands->vtable->check_signature(hands,
                                              &(SignatureSpec) {
                                                      .use = SIGNATURE_USE_DOCUMENT,
                                                      .content_fd = fd,
                                                      .signature_fd = signature_fd,
                                                      .now_usec = fleet_loader_now(l),
                                              },
                                              on_signature, l, &l->check);
}

static bool signature_required(const FleetLoader *l, const FleetNext *n) {
        const Policy *policy = l->world->policy ?: policy_default();

        return n->source.network || policy->require_signature || l->world->policy_problem;
}

/* True: it is done with; false: an answer comes later. */
static bool next_judge(FleetLoader *l, FleetNext *n) {
        int r;

        if (n->bytes.signature || signature_required(l, n)) {
                r = next_check(l, n);
                if (r >= 0)
                        return false;
                fleet_next_problem(n, false, "its signature can't be checked: %s", strerror(-r));
                return true;
        }
        r = next_parse(l, n, NULL);
        if (r < 0)
                fleet_next_problem(n, false, "%s", strerror(-r));
        return true;
}

/* As next_judge(). */
bool fleet_next_read(FleetLoader *l, FleetNext *n) {
        char path[PATH_MAX], signature[PATH_MAX];
        int r;

        next_path(l, n, "", path);
        next_path(l, n, FLEET_SIGNATURE_SUFFIX, signature);
        if (n->same) /* vanished */
                return true;
        if (stat(path, &n->source.st) < 0) {
                fleet_next_problem(n, false, "can't be read: %s", strerror(errno));
                return true;
        }
        if (stat(signature, &n->source.st_signature) < 0)
                n->source.st_signature = (struct stat) {};
        if (take_same(l, n))
                return true;
        /* What comes over the network needs a signature anyway. */
        if (!n->source.network && n->source.st.st_mode & (S_IWGRP | S_IWOTH)) {
                fleet_next_problem(n, true, "it may be written by others than its owner (chmod go-w)");
                return true;
        }
        r = fleet_file_read(path, JSON_SIZE_MAX, &n->bytes.text, &n->bytes.size);
        if (r >= 0) {
                r = fleet_file_read(signature, SIGNATURE_SIZE_MAX, &n->bytes.signature, &n->bytes.signature_size);
                if (r == -ENOENT)
                        r = 0;
        }
        if (r < 0) {
                fleet_next_problem(n, false, "can't be read: %s", strerror(-r));
                return true;
        }
        return next_judge(l, n);
}
