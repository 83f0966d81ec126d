/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who may: the one file that knows polkit. Subject is the caller's bus name (never a pid, which can be
 * reused). The super user needs no asking; without polkit everyone else is denied. Each override is an
 * action of its own, all of them must be granted, and no answer is kept. Nothing waits: the caller of
 * authorize() gets a callback later.
 *
 * A call that came by no bus is its sender's own connection's (private-bus.h): the kernel said who that is when it was
 * made, and it must be root.
 */
#pragma once

#include <systemd/sd-bus.h>

#include "policy/util.h"

#define ACTION_APPLY "org.klpd1.apply"
#define ACTION_APPLY_FILE "org.klpd1.apply-file"
#define ACTION_DOWNGRADE "org.klpd1.downgrade"
#define ACTION_DISABLE "org.klpd1.disable"
#define ACTION_ACCEPT_IRREVERSIBLE "org.klpd1.accept-irreversible"
#define ACTION_REPLACE_FOREIGN "org.klpd1.replace-foreign"
#define ACTION_ALLOW_VENDOR "org.klpd1.allow-vendor"
#define ACTION_IMPORT "org.klpd1.import"
#define ACTION_REMOVE "org.klpd1.remove"
#define ACTION_ACCEPT "org.klpd1.accept"
#define ACTION_QUARANTINE "org.klpd1.quarantine"
#define ACTION_FLEET_RESUME "org.klpd1.fleet-resume"
#define ACTION_FLEET_RESET_SERIAL "org.klpd1.fleet-reset-serial"
#define ACTION_FORCE "org.klpd1.force"
#define ACTION_INSPECT_STACKS "org.klpd1.inspect-stacks"

#define AUTHORIZE_ACTIONS_MAX 8U
/* Questions that may be open at once. The bus driver answers at once who somebody is; polkit may be waiting for
 * a person behind each, or not answer at all, so of its questions each user has a share: nobody else's requests,
 * and above all not root's, wait behind them. */
#define AUTHORIZE_QUESTIONS_MAX 512U
#define AUTHORIZE_QUESTIONS_SENDER_MAX 64U
#define AUTHORIZE_PENDING_MAX 64U
#define AUTHORIZE_PENDING_UID_MAX 16U

typedef struct Authorizer Authorizer;

/*
 * r == 0: granted, uid says who asked. r < 0: denied or failed, and error is set as it shall be sent.
 * message is the call that asked. Whoever gives a negative answer replies to the message himself.
 */
typedef void (*AuthorizeCallback)(sd_bus_message *message, uid_t uid, int r, const sd_bus_error *error,
                                  void *userdata);

int authorizer_new(Authorizer **ret);
Authorizer *authorizer_free(Authorizer *a); /* NULL is fine */
/* Drops what is pending without calling back: what came by that bus, or, if it is NULL, everything. */
void authorizer_clear(Authorizer *a, const sd_bus *bus);
DEFINE_CLEANUP(Authorizer *, authorizer_free);

/* The same connection, and on a bus the same name. */
bool same_caller(sd_bus_message *a, sd_bus_message *b);

/*
 * Finds out who sent message and whether he may do all of actions (static strings; NULL ends the list; an
 * empty list only finds out who it is). The callback is called exactly once, always later, unless this
 * returns a negative errno; then userdata is still the caller's. After it was called, userdata is destroyed
 * with destroy, as it is when the authorizer goes.
 */
int authorize(Authorizer *a, sd_bus_message *message, const char *const *actions, const char *patch,
              bool interactive, AuthorizeCallback callback, void *userdata, void (*destroy)(void *userdata));
