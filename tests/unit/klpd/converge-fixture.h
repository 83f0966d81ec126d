/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the tests of convergence share: a manager with hands that play a kernel, a tree with two patches, and a clock
 * that a test sets. Documents are files in the tree; what the host does about them is what the fake kernel was told.
 */
#pragma once

#include "test-util.h"

#include <sys/utsname.h>

#include "fake-hands.h"
#include "klpd/manager.h"

#define NOW UINT64_C(1795251600000000) /* 2026-11-21T09:00:00Z */
#define HOUR (UINT64_C(3600) * 1000000)

typedef struct Fixture {
        Tree tree;
        sd_event *event;
        Hands *hands;
        Manager *m;
        struct utsname uts;
        uint64_t now;
        bool unsynchronized;
        bool slow; /* the record of a job that failed takes its time: the loop is behind */
        char results[2048]; /* KLPD_RESULT of the records of edge "fleet", each behind a blank */
} Fixture;

int setup(void **state);
int teardown(void **state);
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

void start(Fixture *f);
/* klpd ends and starts again: the fake kernel has forgotten what ran, as a rebooted one has. */
void restart(Fixture *f);
const FleetStatus *status(const Fixture *f);
bool phase_is(const Fixture *f, const char *phase);
/* Whether there is a record of edge "fleet" with that result. */
bool told(const Fixture *f, const char *result);
/* Nothing happens for a while; the only thing that can be shown by waiting. */
void idle(Fixture *f);

void add_patch(const Fixture *f, const char *name, const char *rest);
/* As people replace files: written beside, renamed. */
void document(const Fixture *f, const char *name, const char *text);
void want(const Fixture *f, const char *level);
/* With its signature (fake-signature.c) first, as klp-fleet does it. */
void network_document(const Fixture *f, const char *name, const char *signature, const char *text);
/* By hand, and waits for its end. */
void request(Fixture *f, RequestKind kind, const char *patch);

/* The loop runs until it is so; the deadline is for a machine that does much else. */
#define UNTIL(f, condition)                                                                                \
        do {                                                                                               \
                uint64_t _end = now_usec(CLOCK_MONOTONIC) + UINT64_C(120) * 1000000;                       \
                while (!(condition) && now_usec(CLOCK_MONOTONIC) < _end)                                   \
                        assert_true(sd_event_run((f)->event, 10000) >= 0);                                 \
                if (!(condition))                                                                          \
                        print_error("%s: phase %s: %s; told%s\n", #condition, status(f)->phase,            \
                                    (f)->m->converge->message ?: "", (f)->results);                        \
                assert_true(condition);                                                                    \
        } while (false)
