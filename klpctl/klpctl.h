/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klpctl: what all verbs share. One file per verb (verb-NAME.c); a verb takes the context and its own words,
 * has said everything that there was to say when it returns, and returns the exit status.
 *
 * Every verb builds one JSON value first (from the bus, the journal or the planner) and then either prints
 * it or draws it: people and programs see the same facts.
 */
#pragma once

#include <json-c/json.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>

#include "terminal.h"

/* klpctl(8), "Exit status". */
enum {
        EXIT_DONE = 0, /* or there was nothing to do */
        EXIT_FAILED = 1,
        EXIT_USAGE = 2,
        EXIT_REFUSED = 3,  /* by the policy; nothing was changed */
        EXIT_DENIED = 4,   /* not authorised */
        EXIT_REVERSED = 5, /* the time was over and the kernel is as it was */
};

typedef enum JsonMode {
        JSON_OFF,
        JSON_SHORT,
        JSON_PRETTY,
} JsonMode;

/* Everything that options set. Strings are argv's own. */
typedef struct Arguments {
        JsonMode json;
        bool no_legend, full, no_ask_password, quiet;

        /* requests */
        const char *reason, *stream;
        uint32_t level;
        bool has_level, no_block, accept_irreversible, replace_foreign;
        uint64_t timeout_usec; /* 0: what the daemon is configured for */
        const char **allow_vendor;
        size_t n_allow_vendor;

        /* plan */
        const char *request, *inventory, *candidate, *patch, *repository, *policy, *profile;
        bool batch;

        /* fleet; inventory, too */
        bool summary;
        uint64_t at_usec; /* 0: now */

        /* import, remove */
        bool replace, remove;
        const char *kernel;

        bool yes; /* force */

        /* blocking, history */
        bool stacks, reverse, boot;
        const char *file;
        uint64_t since_usec, until_usec, lines; /* lines: 0 is all */
} Arguments;

typedef struct Ctl {
        Arguments args;
        Terminal terminal;
        sd_bus *bus; /* opened at first use */
        pid_t agent; /* polkit's, 0: none */
} Ctl;

/* arguments.c. *ret_words: the verb and what follows it, argv's own. Returns a negative value to go on, else
 * the exit status at which to stop (help, version, a mistake: already said). */
int arguments_parse(Ctl *c, int argc, char **argv, char ***ret_words, int *ret_n_words);

/* Standard error, a newline after it; what is printed is made printable. */
void ctl_error(const Ctl *c, const char *format, ...) _printf_(2, 3);
/* The same, for a wrong command line; returns EXIT_USAGE. */
int ctl_usage(const Ctl *c, const char *format, ...) _printf_(2, 3);
int ctl_oom(const Ctl *c);
/* Prints the value in the mode that was asked for. */
int ctl_print_json(const Ctl *c, json_object *value);
/* For a failure under --json: {"result", "error", "message"} on standard output, so that a program needs no
 * other place. */
int ctl_failure(const Ctl *c, int status, const char *error, const char *message);
static inline bool ctl_json(const Ctl *c) {
        return c->args.json != JSON_OFF;
}

typedef int (*VerbFunction)(Ctl *c, int n, char **words); /* words[0] is the verb */

/* Options that a verb takes beyond the general ones. */
enum {
        TAKES_REQUEST = 1 << 0, /* reason, timeout, no-block */
        TAKES_GOAL = 1 << 1,    /* level, stream */
        TAKES_OVERRIDE = 1 << 2,
        TAKES_PLAN = 1 << 3, /* the offline plan's */
        TAKES_BLOCKING = 1 << 4,
        TAKES_HISTORY = 1 << 5,
        TAKES_POLICY = 1 << 6, /* profile */
        TAKES_IMPORT = 1 << 7, /* reason, replace */
        TAKES_REMOVE = 1 << 8, /* reason, kernel */
        TAKES_FLEET = 1 << 9,
        TAKES_REASON = 1 << 10, /* only that */
        TAKES_RELEASE = 1 << 11, /* remove */
        TAKES_YES = 1 << 12,
};

typedef struct Verb {
        const char *name;
        int min, max; /* words after the verb; max -1: any number */
        unsigned takes;
        VerbFunction run;
        const char *words, *help;
} Verb;

const Verb *verb_find(const char *name);
const Verb *verb_table(size_t *ret_n);

int verb_accept(Ctl *c, int n, char **words);
int verb_apply(Ctl *c, int n, char **words);
int verb_blocking(Ctl *c, int n, char **words);
int verb_cancel(Ctl *c, int n, char **words);
int verb_force(Ctl *c, int n, char **words);
int verb_disable(Ctl *c, int n, char **words);
int verb_downgrade(Ctl *c, int n, char **words);
int verb_fleet(Ctl *c, int n, char **words);
int verb_history(Ctl *c, int n, char **words);
int verb_import(Ctl *c, int n, char **words);
int verb_jobs(Ctl *c, int n, char **words);
int verb_metrics(Ctl *c, int n, char **words);
int verb_list(Ctl *c, int n, char **words);
int verb_plan(Ctl *c, int n, char **words);
int verb_policy(Ctl *c, int n, char **words);
int verb_quarantine(Ctl *c, int n, char **words);
int verb_reject(Ctl *c, int n, char **words);
int verb_remove(Ctl *c, int n, char **words);
int verb_show(Ctl *c, int n, char **words);
int verb_states(Ctl *c, int n, char **words);
int verb_status(Ctl *c, int n, char **words);
int verb_verify(Ctl *c, int n, char **words);
