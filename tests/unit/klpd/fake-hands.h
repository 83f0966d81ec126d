/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hands (klpd/hands.h) that play a kernel with livepatch core and shim, for tests of what decides and acts
 * around them. A "module" here is a file with a PATCH in JSON; what the fake does with it is told by its
 * tags:
 *
 *   test.stall       its transition never ends by itself      test.slow      it ends after 300 ms
 *   test.fail        enabling fails with EINVAL               test.stale-N   the first N enables find
 *                    another generation
 *   test.lies        it registers another level than the file says
 *   test.mute        it doesn't register                      test.noload    loading fails with EKEYREJECTED
 *   test.late        a reversal comes after completion and begins a disable (a stall)
 *   test.toolate     ... and that disable completes at once   test.deaf      no events at all
 *   test.stuck       also a reversal never ends               test.busymod   unloading says EWOULDBLOCK
 *                    three times
 *
 * This shows what klpd does when a kernel behaves so, not that kernels do: the VM scenarios show that.
 */
#pragma once

#include "klpd/hands.h"

typedef struct FakeKernel FakeKernel;

/* Calls that changed something, in order, as "load a; enable a; …". */
const char *fake_log(const Hands *h);
void fake_log_clear(Hands *h);
/* Of these, those with settle assist: "enable a; write-0 a". */
const char *fake_assisted(const Hands *h);
/* Behind klpd's back. */
/* The helper dies on the next call (its name as in the log: "enable", "write-0"), after it was carried out or before. */
void fake_kill_helper(Hands *h, const char *call, bool carried_out);
void fake_bump_generation(Hands *h);
int fake_insmod(Hands *h, const char *json, bool enabled);
/* Everything takes so many times less long. */
void fake_hurry(Hands *h, unsigned haste);
void fake_set_shim(Hands *h, bool present);
void fake_set_livepatch(Hands *h, bool present);
bool fake_is_enabled(const Hands *h, const char *name);
bool fake_is_loaded(const Hands *h, const char *name);
bool fake_in_transition(const Hands *h);
unsigned fake_inspections(const Hands *h); /* so far */

/* fake-signature.c */
int fake_check_signature(sd_event *event, const SignatureSpec *spec, SignatureCallback callback, void *userdata,
                         HandsSignature **ret);
HandsSignature *fake_signature_free(HandsSignature *s);

int fake_hands_new(sd_event *event, const char *kernel, Hands **ret);
