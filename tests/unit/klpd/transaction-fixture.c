/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See transaction-fixture.h. */
#include "transaction-fixture.h"

/* The value of a field, as printf() arguments for %.*s; "" if it isn't there. */
static const char *value_of(const struct iovec *fields, size_t n_fields, const char *name, int *ret_size) {
        size_t n = strlen(name);

        *ret_size = 0;
        for (size_t i = 0; i < n_fields; i++)
                if (fields[i].iov_len > n && memcmp(fields[i].iov_base, name, n) == 0) {
                        *ret_size = (int) (fields[i].iov_len - n);
                        return (const char *) fields[i].iov_base + n;
                }
        return "";
}

static void keep_words(Fixture *f, const struct iovec *fields, size_t n_fields) {
        int n_result, n_message;
        const char *result = value_of(fields, n_fields, "KLPD_RESULT=", &n_result);
        const char *message = value_of(fields, n_fields, "MESSAGE=", &n_message);
        size_t n = strlen(f->said);

        (void) snprintf(f->said + n, sizeof(f->said) - n, "[%.*s] %.*s\n", n_result, result, n_message, message);
}

static int keep_record(const struct iovec *fields, size_t n_fields, void *userdata) {
        Fixture *f = userdata;

        keep_words(f, fields, n_fields);
        for (size_t i = 0; i < n_fields; i++)
                if (fields[i].iov_len > 10 && memcmp(fields[i].iov_base, "KLPD_EDGE=", 10) == 0) {
                        size_t n = strlen(f->edges);

                        (void) snprintf(f->edges + n, sizeof(f->edges) - n, "%s%.*s", n > 0 ? " " : "",
                                        (int) fields[i].iov_len - 10,
                                        (const char *) fields[i].iov_base + 10);
                }
        return 0;
}

int setup(void **state) {
        Fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        tree_new(&f->tree);
        assert_int_equal(uname(&f->uts), 0);
        assert_true(sd_event_new(&f->event) >= 0);
        assert_int_equal(fake_hands_new(f->event, f->uts.release, &f->hands), 0);
        fake_hurry(f->hands, HASTE);
        assert_int_equal(repository_new(f->event, f->hands, f->tree.fd, f->uts.release, &f->repository), 0);
        assert_int_equal(audit_new(keep_record, f, &f->audit), 0);
        config_init(&f->config);
        f->world = (World){
                        .event = f->event,
                        .hands = f->hands,
                        .repository = f->repository,
                        .audit = f->audit,
                        .config = &f->config,
                        .haste = HASTE,
        };
        *state = f;
        return 0;
}

static void on_event(const ShimEvent *event, void *userdata) {
        Fixture *f = userdata;

        if (f->transaction)
                transaction_event(f->transaction, event);
}

int teardown(void **state) {
        Fixture *f = *state;

        if (f->transaction)
                transaction_abandon(f->transaction);
        sd_event_source_disable_unref(f->answer);
        config_done(&f->config);
        transaction_unref(f->transaction);
        repository_free(f->repository);
        hands_free(f->hands);
        audit_free(f->audit);
        wal_free(f->wal);
        sd_event_unref(f->event);
        tree_done(&f->tree);
        free(f);
        return 0;
}

void add_patch(Fixture *f, const char *name, const char *rest) {
        char path[256], text[1024];

        (void) snprintf(path, sizeof(path), "usr/lib/klpd/patches/%s/%s.ko", f->uts.release, name);
        (void) snprintf(text, sizeof(text), "{\"name\": \"%s\", \"kernel\": \"%s\"%s%s}", name,
                        f->uts.release, *rest ? ", " : "", rest);
        tree_write(&f->tree, path, text);
}

static void on_finished(Transaction *t, void *userdata) {
        Fixture *f = userdata;

        assert_false(f->finished);
        f->finished = true;
        f->result = t->result;
        (void) snprintf(f->error, sizeof(f->error), "%s", t->failure.name ?: "");
        (void) snprintf(f->message, sizeof(f->message), "%s", failure_message(&t->failure));
}

static void keep_log(Fixture *f, TransactionRecord *ret) {
        const WalRecord *last = ret ? wal_last_state(f->wal) : NULL;

        if (!ret)
                return;
        assert_non_null(last);
        assert_int_equal(transaction_record_parse(last->bytes, last->size, ret), 0);
}

static void on_remember(Transaction *t, void *userdata) {
        Fixture *f = userdata;

        assert_false(f->finished);
        f->n_remembered++;
        keep_log(f, f->log_at_end);
}

static void on_retire(Transaction *t, const char *module, void *userdata) {
        Fixture *f = userdata;
        size_t n = strlen(f->retired);

        (void) snprintf(f->retired + n, sizeof(f->retired) - n, "%s%s", n > 0 ? " " : "", module);
        keep_log(f, f->log_at_retire);
}

static int on_answer(sd_event_source *source, void *userdata) {
        Fixture *f = userdata;

        f->answer = sd_event_source_disable_unref(f->answer);
        transaction_health_done(f->transaction, f->health,
                                f->health < 0 ? "unit 'x.service' failed" : "1 check passed");
        return 0;
}

static int on_check_health(Transaction *t, void *userdata) {
        Fixture *f = userdata;

        f->n_asked++;
        return f->health == 1 ? 0 : sd_event_add_defer(f->event, &f->answer, on_answer, f);
}

static void on_stop_health(Transaction *t, void *userdata) {
        Fixture *f = userdata;

        f->answer = sd_event_source_disable_unref(f->answer);
}

static void on_condemned(Transaction *t, void *userdata) {
        Fixture *f = userdata;

        (void) snprintf(f->condemned, sizeof(f->condemned), "%s", t->name);
}

TransactionHandlers handlers_of(Fixture *f) {
        return (TransactionHandlers) {
                .remember = on_remember,
                .finished = on_finished,
                .retire = on_retire,
                .check_health = on_check_health,
                .stop_health = on_stop_health,
                .condemned = on_condemned,
                .userdata = f,
        };
}

JobSpec *spec_new(RequestKind kind, const char *patch) {
        JobSpec *s;

        assert_int_equal(job_spec_new(kind, &s), 0);
        if (patch)
                assert_int_equal(job_spec_set_patch(s, patch, NULL), 0);
        s->uid = 0;
        return s;
}

void begin(Fixture *f, JobSpec *spec) {
        const TransactionHandlers handlers = handlers_of(f);

        f->hands->vtable->listen(f->hands, &(HandsListener) { .event = on_event, .userdata = f });
        f->transaction = transaction_unref(f->transaction);
        f->finished = false;
        f->edges[0] = f->said[0] = f->retired[0] = 0;
        fake_log_clear(f->hands);
        assert_int_equal(transaction_new(&f->world, &handlers, spec, 1, &f->transaction), 0);
        assert_int_equal(transaction_start(f->transaction), 0);
}

TransactionResult finish(Fixture *f) {
        loop_until(f->event, &f->finished);
        if (f->result == TRANSACTION_FAILED)
                print_message("failed: %s\n", f->message);
        return f->result;
}

TransactionResult request(Fixture *f, RequestKind kind, const char *patch) {
        begin(f, spec_new(kind, patch));
        return finish(f);
}

void until_step(Fixture *f, const char *step) {
        for (unsigned i = 0; i < 1000 && !f->finished && !streq(transaction_step_name(f->transaction), step);
             i++)
                assert_true(sd_event_run(f->event, 10000) >= 0);
        assert_string_equal(transaction_step_name(f->transaction), step);
}

void open_wal(Fixture *f) {
        f->wal = wal_free(f->wal);
        assert_int_equal(wal_open(f->tree.fd, "log", &f->wal), 0);
        assert_null(wal_problem(f->wal));
        f->world.wal = f->wal;
        (void) snprintf(f->world.boot_id, sizeof(f->world.boot_id), "0123456789abcdef0123456789abcdef");
}

void recover_from(Fixture *f, TransactionRecord *log) {
        const TransactionHandlers handlers = handlers_of(f);

        f->transaction = transaction_unref(f->transaction);
        f->finished = false;
        f->edges[0] = f->said[0] = f->retired[0] = 0;
        fake_log_clear(f->hands);
        assert_int_equal(transaction_new_recovered(&f->world, &handlers, log, &f->transaction), 0);
        assert_int_equal(transaction_start(f->transaction), 0);
}

bool interrupt_and_recover(Fixture *f) {
        _cleanup_(transaction_record_done) TransactionRecord record = {};
        const WalRecord *last;

        transaction_abandon(f->transaction);
        f->answer = sd_event_source_disable_unref(f->answer);
        open_wal(f);
        last = wal_last_state(f->wal);
        if (!last)
                return false;
        assert_int_equal(transaction_record_parse(last->bytes, last->size, &record), 0);
        if (record.over)
                return false;
        recover_from(f, &record);
        loop_until(f->event, &f->finished);
        last = wal_last_state(f->wal);
        assert_non_null(memmem(last->bytes, last->size, "\nover=1\n", 8));
        return true;
}
