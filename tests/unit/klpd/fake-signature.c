/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The part of the fake hands that says who signed. A detached signature is a text: "good SIGNER" is one by that
 * signer, whoever's content it stands beside; "error" can't be checked; all else is wrong. The key is the SHA-256 of
 * the signer's name.
 */
#include "fake-hands.h"

#include <stdio.h>
#include <unistd.h>

#include "klpd/digest.h"

struct HandsSignature {
        sd_event_source *source;
        SignatureCallback callback;
        void *userdata;
        SignatureVerdict verdict;
        int error;
};

static int on_checked(sd_event_source *source, uint64_t usec, void *userdata) {
        HandsSignature *s = userdata;

        s->callback(s->error, s->error < 0 ? "it can't be checked (fake)" : "", s->error < 0 ? NULL : &s->verdict,
                    s->userdata);
        return 0;
}

static void judge(HandsSignature *s, int fd) {
        char text[128] = "";
        ssize_t n = fd >= 0 ? pread(fd, text, sizeof(text) - 1, 0) : 0;

        text[n > 0 ? n : 0] = 0;
        text[strcspn(text, "\n")] = 0;
        s->error = streq(text, "error") ? -EPROTO : 0;
        s->verdict.status = n <= 0 ? SIGNATURE_MISSING : SIGNATURE_WRONG;
        if (strncmp(text, "good ", 5) != 0) {
                (void) snprintf(s->verdict.reason, sizeof(s->verdict.reason), "%s",
                                n <= 0 ? "it has no signature" : "its signer isn't trusted");
                return;
        }
        s->verdict.status = SIGNATURE_GOOD;
        s->verdict.valid_until_usec = INT64_MAX;
        (void) snprintf(s->verdict.signer, sizeof(s->verdict.signer), "%s", text + 5);
        (void) module_digest(text + 5, strlen(text + 5), s->verdict.key);
}

int fake_check_signature(sd_event *event, const SignatureSpec *spec, SignatureCallback callback, void *userdata,
                         HandsSignature **ret) {
        HandsSignature *s = calloc(1, sizeof(*s));

        if (!s)
                abort();
        s->callback = callback;
        s->userdata = userdata;
        judge(s, spec->signature_fd);
        if (sd_event_add_time_relative(event, &s->source, CLOCK_MONOTONIC, 1000, 1, on_checked, s) < 0)
                abort();
        *ret = s;
        return 0;
}

HandsSignature *fake_signature_free(HandsSignature *s) {
        if (!s)
                return NULL;
        sd_event_source_disable_unref(s->source);
        free(s);
        return NULL;
}
