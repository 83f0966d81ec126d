/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A transaction with hands that play a kernel (fake-hands.h): a tree of its own, a repository, an audit that keeps the
 * edges, and a health check that answers as it is told. For the tests klpd-transaction*; a failed step ends the test.
 */
#pragma once

#include "test-util.h"

#include <sys/utsname.h>

#include "fake-hands.h"
#include "klpd/transaction.h"

#define MAX_RECORDS 64U
#define HASTE 20U /* of the kernel that is played, and of what waits for it */

typedef struct Fixture {
        Tree tree;
        sd_event *event;
        Hands *hands;
        Repository *repository;
        Audit *audit;
        Config config;
        World world;
        Transaction *transaction;
        bool finished;
        TransactionResult result;
        Wal *wal;
        char error[64], message[2048];
        char edges[MAX_RECORDS * 24]; /* in order: "job-started loaded preparing …" */
        char said[MAX_RECORDS * 160];  /* their messages, a line each; the result of each before it in brackets */
        char retired[512];
        unsigned n_remembered;
        TransactionRecord *log_at_end;    /* NULL, or where to put what the log says when the end is to be remembered */
        TransactionRecord *log_at_retire; /* NULL, or where to put what the log says in that moment */
        struct utsname uts;
        /* health: what it is answered with, from the event loop; 0 well, 1 never answered */
        int health;
        unsigned n_asked;
        char condemned[128];
        sd_event_source *answer;
} Fixture;

int setup(void **state); /* state: a Fixture */
int teardown(void **state);

/* A patch of the repository; rest: more members of its JSON. */
void add_patch(Fixture *f, const char *name, const char *rest);
TransactionHandlers handlers_of(Fixture *f);

/* A request: begin() takes the spec, finish() runs the loop until it is over, request() is both. */
JobSpec *spec_new(RequestKind kind, const char *patch);
void begin(Fixture *f, JobSpec *spec);
TransactionResult finish(Fixture *f);
TransactionResult request(Fixture *f, RequestKind kind, const char *patch);
/* Runs the loop until the transaction is at that step. */
void until_step(Fixture *f, const char *step);

/* From now on (or again) with a write-ahead log. */
void open_wal(Fixture *f);
/* klpd is gone in this very moment, whatever was under way in the kernel goes on; a new one reads the log.
 * False: it had nothing to take up. */
bool interrupt_and_recover(Fixture *f);

/* A klpd that was killed when the log said that. */
void recover_from(Fixture *f, TransactionRecord *log);

#define assert_result(f, kind, patch, want)                                                                 \
        assert_string_equal(transaction_result_to_string(request(f, kind, patch)),                          \
                            transaction_result_to_string(want))

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
