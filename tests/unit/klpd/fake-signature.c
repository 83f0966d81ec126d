/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The part of the fake hands that says who signed. A detached signature is a text: "good SIGNER" is one by that
 * signer, whoever's content it stands beside; "from USEC SIGNER" and "until USEC SIGNER" are by one whose certificate
 * is valid from, or until, then; "error" can't be checked; all else is wrong. The key is the SHA-256 of the signer's
 * name.
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

/* True: it depends on a time, and this isn't the one. */
static bool judge_time(HandsSignature *s, const char *text, uint64_t now, const char **ret_signer) {
        bool from = strncmp(text, "from ", 5) == 0;
        uint64_t usec;
        char *end;

        if (!from && strncmp(text, "until ", 6) != 0)
                return false;
        usec = strtoull(text + (from ? 5 : 6), &end, 10);
        *ret_signer = end + 1;
        s->verdict.valid_from_usec = from ? usec : 1;
        s->verdict.valid_until_usec = from ? INT64_MAX : usec;
        return now < s->verdict.valid_from_usec || now >= s->verdict.valid_until_usec;
}

static void judge(HandsSignature *s, int fd, uint64_t now) {
        char text[128] = "";
        ssize_t n = fd >= 0 ? pread(fd, text, sizeof(text) - 1, 0) : 0;
        const char *signer = strncmp(text, "good ", 5) == 0 ? text + 5 : NULL;

        text[n > 0 ? n : 0] = 0;
        text[strcspn(text, "\n")] = 0;
        s->error = streq(text, "error") ? -EPROTO : 0;
        s->verdict.valid_until_usec = signer ? INT64_MAX : 0;
        s->verdict.status = n <= 0 ? SIGNATURE_MISSING : SIGNATURE_WRONG;
        if (judge_time(s, text, now, &signer) || !signer) {
                (void) snprintf(s->verdict.reason, sizeof(s->verdict.reason), "%s",
                                n <= 0     ? "it has no signature"
                                : signer ? "the certificate isn't valid now (fake)"
                                         : "its signer isn't trusted");
                return;
        }
        s->verdict.status = SIGNATURE_GOOD;
        s->verdict.valid_from_usec = 0;
        (void) snprintf(s->verdict.signer, sizeof(s->verdict.signer), "%s", signer);
        (void) module_digest(signer, strlen(signer), s->verdict.key);
}

int fake_check_signature(sd_event *event, const SignatureSpec *spec, SignatureCallback callback, void *userdata,
                         HandsSignature **ret) {
        HandsSignature *s = calloc(1, sizeof(*s));

        if (!s)
                abort();
        s->callback = callback;
        s->userdata = userdata;
        judge(s, spec->signature_fd, spec->now_usec);
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
