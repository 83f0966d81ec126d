/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See authorize.h. A question is a list of asynchronous calls made one after the other: first to the bus
 * driver, for the caller's user id (which the kernel knows of a connection without a bus), then to polkit, once for
 * each action. The authorizer owns the open
 * questions; a question owns its message reference, its slot and its userdata.
 */
#include <stdio.h>

#include "klpd/authorize.h"

/* With a person to be asked for a password. */
#define POLKIT_TIMEOUT_USEC (UINT64_C(180) * 1000000)

typedef struct Question Question;

struct Question {
        Authorizer *authorizer;
        Question *next, **link;
        sd_bus_message *message;
        sd_bus_slot *slot;
        sd_event_source *later; /* instead of the bus driver's answer */
        const char *actions[AUTHORIZE_ACTIONS_MAX];
        size_t n_actions, at;
        char *patch;
        bool interactive;
        bool pending; /* at polkit */
        uid_t uid;
        AuthorizeCallback callback;
        void *userdata;
        void (*destroy)(void *userdata);
};

struct Authorizer {
        Question *questions;
        unsigned n_questions;
};

static Question *question_free(Question *q) {
        if (!q)
                return NULL;
        if (q->link) {
                *q->link = q->next;
                if (q->next)
                        q->next->link = q->link;
                q->authorizer->n_questions--;
        }
        sd_bus_slot_unref(q->slot);
        sd_event_source_disable_unref(q->later);
        sd_bus_message_unref(q->message);
        if (q->destroy)
                q->destroy(q->userdata);
        free(q->patch);
        free(q);
        return NULL;
}
DEFINE_CLEANUP(Question *, question_free);

int authorizer_new(Authorizer **ret) {
        Authorizer *a;

        a = calloc(1, sizeof(*a));
        if (!a)
                return -ENOMEM;
        *ret = a;
        return 0;
}

void authorizer_clear(Authorizer *a, const sd_bus *bus) {
        Question *next;

        for (Question *q = a->questions; q; q = next) {
                next = q->next;
                if (!bus || sd_bus_message_get_bus(q->message) == bus)
                        question_free(q);
        }
}

Authorizer *authorizer_free(Authorizer *a) {
        if (!a)
                return NULL;
        authorizer_clear(a, NULL);
        free(a);
        return NULL;
}

static int question_answer(Question *q, int r, const sd_bus_error *error) {
        q->callback(q->message, q->uid, r, error, q->userdata);
        question_free(q);
        return 1;
}

/* reason and detail may be NULL. */
static int question_deny(Question *q, const char *name, const char *reason, const char *detail) {
        sd_bus_error error = SD_BUS_ERROR_NULL;

        (void) sd_bus_error_setf(&error, name, "Not authorized for %s%s%s%s%s",
                                 q->at < q->n_actions ? q->actions[q->at] : "this request",
                                 reason ? ": " : "", reason ?: "", detail ? ": " : "", detail ?: "");
        (void) question_answer(q, -EACCES, &error);
        sd_bus_error_free(&error);
        return 1;
}

static int question_ask(Question *q);

static int on_polkit(sd_bus_message *reply, void *userdata, sd_bus_error *unused) {
        const sd_bus_error *e = sd_bus_message_get_error(reply);
        Question *q = userdata;
        int authorized, challenge, r;

        if (e) {
                if (sd_bus_error_has_name(e, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
                    sd_bus_error_has_name(e, SD_BUS_ERROR_NAME_HAS_NO_OWNER) ||
                    strncmp(e->name ?: "", "org.freedesktop.DBus.Error.Spawn.",
                            strlen("org.freedesktop.DBus.Error.Spawn.")) == 0)
                        return question_deny(q, SD_BUS_ERROR_ACCESS_DENIED,
                                             "polkit isn't there to ask, so only root may", NULL);
                return question_deny(q, SD_BUS_ERROR_ACCESS_DENIED, "polkit failed", e->message ?: e->name);
        }

        r = sd_bus_message_enter_container(reply, 'r', "bba{ss}");
        if (r > 0)
                r = sd_bus_message_read(reply, "bb", &authorized, &challenge);
        if (r <= 0)
                return question_deny(q, SD_BUS_ERROR_ACCESS_DENIED, "polkit's answer makes no sense", NULL);
        if (!authorized && challenge && !q->interactive)
                return question_deny(q, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED,
                                     "it needs authentication, and the caller wants no questions", NULL);
        if (!authorized)
                return question_deny(q, SD_BUS_ERROR_ACCESS_DENIED, NULL, NULL);

        q->at++;
        return question_ask(q);
}

static bool question_may_be_asked(const Question *q) {
        unsigned n = 0, n_uid = 0;

        for (const Question *other = q->authorizer->questions; other; other = other->next)
                if (other != q && other->pending) {
                        n++;
                        n_uid += other->uid == q->uid;
                }
        return n < AUTHORIZE_PENDING_MAX && n_uid < AUTHORIZE_PENDING_UID_MAX;
}

static int question_call_polkit(Question *q) {
        sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(sd_bus_message_get_bus(q->message), &m,
                                           "org.freedesktop.PolicyKit1",
                                           "/org/freedesktop/PolicyKit1/Authority",
                                           "org.freedesktop.PolicyKit1.Authority", "CheckAuthorization");
        if (r >= 0)
                r = sd_bus_message_append(m, "(sa{sv})s", "system-bus-name", 1, "name", "s",
                                          sd_bus_message_get_sender(q->message), q->actions[q->at]);
        if (r >= 0) {
                if (q->patch && *q->patch)
                        r = sd_bus_message_append(m, "a{ss}", 1, "patch", q->patch);
                else
                        r = sd_bus_message_append(m, "a{ss}", 0);
        }
        if (r >= 0)
                r = sd_bus_message_append(m, "us", (uint32_t) q->interactive, "");
        if (r >= 0)
                r = sd_bus_call_async(sd_bus_message_get_bus(q->message), &q->slot, m, on_polkit, q,
                                      POLKIT_TIMEOUT_USEC);
        sd_bus_message_unref(m);
        return r;
}

/* Asks for the next action, or answers if there is none left. Always consumes q or leaves a call under
 * way. */
static int question_ask(Question *q) {
        int r;

        q->slot = sd_bus_slot_unref(q->slot);
        q->pending = false;
        if (q->uid == 0 || q->at >= q->n_actions)
                return question_answer(q, 0, NULL);
        if (!question_may_be_asked(q))
                return question_deny(q, SD_BUS_ERROR_LIMITS_EXCEEDED,
                                     "too many requests wait for polkit's answer already", NULL);
        r = question_call_polkit(q);
        if (r < 0)
                return question_deny(q, SD_BUS_ERROR_ACCESS_DENIED, "can't ask polkit", strerror(-r));
        q->pending = true;
        return 1;
}

static int on_user(sd_bus_message *reply, void *userdata, sd_bus_error *unused) {
        Question *q = userdata;
        uint32_t uid;

        if (sd_bus_message_get_error(reply) || sd_bus_message_read(reply, "u", &uid) < 0)
                return question_deny(q, SD_BUS_ERROR_ACCESS_DENIED, "the caller has left the bus", NULL);
        q->uid = (uid_t) uid;
        return question_ask(q);
}

bool same_caller(sd_bus_message *a, sd_bus_message *b) {
        return sd_bus_message_get_bus(a) == sd_bus_message_get_bus(b) &&
               streq_ptr(sd_bus_message_get_sender(a), sd_bus_message_get_sender(b));
}

static unsigned questions_of(const Authorizer *a, sd_bus_message *message) {
        unsigned n = 0;

        for (const Question *q = a->questions; q; q = q->next)
                n += same_caller(q->message, message);
        return n;
}

static int on_known(sd_event_source *source, void *userdata) {
        (void) question_ask(userdata);
        return 0;
}

static int question_identify_peer(Question *q, sd_bus *bus) {
        _cleanup_(sd_bus_creds_unrefp) sd_bus_creds *creds = NULL;
        int r;

        r = sd_bus_get_owner_creds(bus, SD_BUS_CREDS_EUID, &creds);
        if (r >= 0)
                r = sd_bus_creds_get_euid(creds, &q->uid);
        if (r < 0)
                return r;
        if (q->uid != 0)
                return -EACCES; /* nobody else gets there; and polkit knows only who is on the bus */
        return sd_event_add_defer(sd_bus_get_event(bus), &q->later, on_known, q);
}

static int question_identify(Question *q) {
        sd_bus *bus = sd_bus_message_get_bus(q->message);
        const char *sender = sd_bus_message_get_sender(q->message);

        if (sd_bus_is_bus_client(bus) <= 0)
                return question_identify_peer(q, bus);
        if (!sender)
                return -EACCES; /* nobody says who that is */
        return sd_bus_call_method_async(bus, &q->slot, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                        "org.freedesktop.DBus", "GetConnectionUnixUser", on_user, q, "s", sender);
}

int authorize(Authorizer *a, sd_bus_message *message, const char *const *actions, const char *patch,
              bool interactive, AuthorizeCallback callback, void *userdata,
              void (*destroy)(void *userdata)) {
        _cleanup_(question_freep) Question *q = NULL;
        int r;

        if (a->n_questions >= AUTHORIZE_QUESTIONS_MAX ||
            questions_of(a, message) >= AUTHORIZE_QUESTIONS_SENDER_MAX)
                return -EUSERS;

        q = calloc(1, sizeof(*q));
        if (!q)
                return -ENOMEM;
        for (; actions && actions[q->n_actions]; q->n_actions++) {
                if (q->n_actions >= AUTHORIZE_ACTIONS_MAX)
                        return -E2BIG;
                q->actions[q->n_actions] = actions[q->n_actions];
        }
        if (patch) {
                q->patch = strdup(patch);
                if (!q->patch)
                        return -ENOMEM;
        }
        q->uid = (uid_t) -1;
        q->interactive = interactive;
        q->callback = callback;
        q->message = sd_bus_message_ref(message);

        r = question_identify(q);
        if (r < 0)
                return r;

        q->userdata = userdata;
        q->destroy = destroy;
        q->authorizer = a;
        q->link = &a->questions;
        q->next = a->questions;
        if (q->next)
                q->next->link = &q->next;
        a->questions = q;
        a->n_questions++;
        TAKE_PTR(q);
        return 0;
}
