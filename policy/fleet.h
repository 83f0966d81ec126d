/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fleet files: which patch level each host shall have, declared once, and what that means for one host now
 * (SEMANTICS.md section 6, klpd-fleet.json(5)).
 *
 *   bytes ── fleet_document_parse() ──> FleetDocument ┐
 *   calendar windows, expanded by systemd-analyze ────┤ (the caller's part: fleet_window_set_intervals())
 *                                                     ├─ fleet_set_new() ──> FleetSet
 *   bytes ── fleet_host_parser_line() ──> FleetHost ──┴─ fleet_decide(set, host, now) ──> FleetDecision
 *
 * fleet_decide() is pure: documents, facts, what runs, quarantine, overrides, mode and time are arguments,
 * it allocates nothing and keeps nothing. The daemon and `klpctl fleet plan` run this same function.
 *
 * Ownership: a FleetDocument owns all that it points to. A FleetSet borrows its documents, which must live
 * as long, and may be used for any number of hosts. A FleetHost is made of slices into memory of whoever
 * filled it (the parser: the line, and buffers of its own until the next line). A FleetDecision points into
 * set and host.
 *
 * Times are microseconds since 1970 in UTC; 0 is "none" or "not known".
 */
#pragma once

#include "policy/error.h"
#include "policy/util.h"

#define FLEET_LIST_MAX 1048576U /* elements of one list: rules, levels, patterns … */
#define FLEET_PATTERN_MAX 255U
#define FLEET_MATCH_DEPTH_MAX 8U
#define FLEET_USEC_PER_SEC UINT64_C(1000000)
#define FLEET_TIME_MAX (UINT64_C(253402300799) * FLEET_USEC_PER_SEC) /* the end of the year 9999 */

typedef struct FleetSlice {
        const char *s; /* NULL: not known */
        size_t n;
} FleetSlice;

#define FLEET_SLICE(text)                               \
        ({                                              \
                const char *_s_ = (text);               \
                (FleetSlice){ _s_, _s_ ? strlen(_s_) : 0 };     \
        })

/* --- documents --- */

/* What a fact must be: one of these. Exact ones are sorted, so that a list of 100,000 ids costs 17
 * comparisons; the others have '*', '?' or '[…]'. */
typedef struct FleetPatterns {
        FleetSlice *exact, *globs;
        size_t n_exact, n_globs;
        bool ignore_case; /* names of hosts */
} FleetPatterns;

typedef struct FleetLabelMatch {
        FleetSlice key;
        FleetPatterns values;
} FleetLabelMatch;

/* All of it must hold; what is empty always does. A fact that isn't known matches no pattern. */
typedef struct FleetMatch {
        FleetPatterns hostname, machine_id, kernel, os;
        FleetLabelMatch *labels;
        size_t n_labels;
        struct FleetMatch *any, *not; /* at least one of any; none of not */
        size_t n_any, n_not;
} FleetMatch;

typedef struct FleetInterval {
        uint64_t begin, end; /* begin belongs to it, end doesn't */
} FleetInterval;

/* A maintenance window as it is declared, and the intervals that it was expanded to. */
typedef struct FleetWindow {
        const char *calendar, *timezone; /* systemd.time(7); "UTC" by default */
        uint64_t duration;
        FleetInterval *intervals; /* ascending, not overlapping; malloc'ed */
        size_t n_intervals;
        bool more; /* it opens again after these: they are only those that were looked up */
} FleetWindow;

typedef struct FleetWave {
        const char *name; /* or NULL */
        bool has_percent;
        uint32_t percent; /* of all hosts of the rule, earlier waves included */
        FleetMatch *match; /* or NULL: any host */
        uint64_t opens;    /* absolute; worked out from the soak times before it where it isn't stated */
        uint64_t soak;
} FleetWave;

typedef enum FleetGoal {
        FLEET_GOAL_UNSAID, /* a rule that only holds */
        FLEET_GOAL_LEVEL,
        FLEET_GOAL_AT_LEAST,
        FLEET_GOAL_LATEST,
        FLEET_GOAL_NONE,
} FleetGoal;

typedef struct FleetDocument FleetDocument;

typedef struct FleetRule {
        const FleetDocument *document;
        const char *name;
        FleetMatch match;
        const char *vendor, *stream;
        FleetGoal goal;
        uint32_t level;
        const char *hold; /* the reason, or NULL */
        uint32_t *blocked;
        size_t n_blocked;
        bool has_rollout;
        uint32_t percent;
        const char *salt; /* by default the rule's name */
        FleetWave *waves;
        size_t n_waves;
        FleetWindow *windows;
        size_t n_windows;
        uint64_t splay, not_after;
        bool accept_irreversible;
        bool slot; /* a change waits until it is the host's turn (FleetSlot= of klpd.conf(5) does it for all) */
        char **intermediates; /* names of patches, NULL-terminated, or NULL */
} FleetRule;

/* A level that there is, for the kernels of the pattern. */
typedef struct FleetLevel {
        const FleetDocument *document;
        const char *vendor, *stream;
        FleetSlice kernel; /* a pattern */
        uint32_t level;
        const char *patch, *digest; /* or NULL */
        const char **fixes;
        size_t n_fixes;
} FleetLevel;

typedef struct FleetBlock {
        const FleetDocument *document;
        const char *vendor, *stream;
        FleetSlice kernel; /* a pattern; NULL: any */
        uint32_t level;
        const char *reason; /* or NULL */
} FleetBlock;

struct FleetDocument {
        struct Arena *arena; /* of all that follows, but intervals, source and digest */
        char *source;        /* for messages: the file, or NULL; the caller's to set, malloc'ed */
        char *digest;        /* of its bytes: what FleetHost.failed names; the same */
        const char *name;    /* that `serial` counts for; NULL: the file's */
        uint64_t serial;
        uint64_t not_after;
        uint64_t signed_until; /* when the first of its signature's certificates ends; 0: none does. The caller's to
                                  set; counts as not_after does */
        FleetRule *rules;
        FleetLevel *levels;
        FleetBlock *blocked;
        size_t n_rules, n_levels, n_blocked;
};

/* -EBADMSG (error says where and why), -E2BIG, -ENOMEM. */
int fleet_document_parse(const char *text, size_t size, FleetDocument **ret, PolicyError *error);
FleetDocument *fleet_document_free(FleetDocument *d); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(FleetDocument *, fleet_document_free);
#define _cleanup_fleet_document_free_ _cleanup_(fleet_document_freep)

/* Copies them, sorts, joins what overlaps; what was there before goes. */
int fleet_window_set_intervals(FleetWindow *w, const FleetInterval *intervals, size_t n);

/*
 * Whether a signed document may take the place of what its signer published under its name before (serial 0:
 * nothing). -ESTALE: it is older, that is, a replay. The daemon keeps the last serial per signer and name.
 */
int fleet_serial_check(uint64_t last, uint64_t serial, PolicyError *error);

/* --- many documents --- */

typedef struct FleetSet FleetSet;

/*
 * Documents in the order in which they count: files of all directories sorted by name (a name in /etc hides
 * the same in /run, and that one in /usr/lib), after them those from the network, in the same order. Rules
 * are tried in that order. Levels and blocked levels of all documents count together; a level that two
 * documents state differently is the earlier one's.
 */
int fleet_set_new(FleetDocument *const *documents, size_t n, FleetSet **ret);
FleetSet *fleet_set_free(FleetSet *s); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(FleetSet *, fleet_set_free);
#define _cleanup_fleet_set_free_ _cleanup_(fleet_set_freep)

size_t fleet_set_n_rules(const FleetSet *s);
const FleetRule *fleet_set_rule(const FleetSet *s, size_t i);
size_t fleet_set_rule_index(const FleetSet *s, const FleetRule *rule);

/* The i-th level that is stated twice, and differently. False: there are not so many. */
bool fleet_set_conflict(const FleetSet *s, size_t i, const FleetLevel **ret_taken,
                        const FleetLevel **ret_ignored);

/* --- a host --- */

typedef struct FleetLabel {
        FleetSlice key, value;
} FleetLabel;

typedef struct FleetRunning {
        FleetSlice name, vendor, stream, digest, build_id;
        uint32_t level;
        size_t first_fix, n_fixes; /* in FleetHost.fixes */
} FleetRunning;

typedef struct FleetAvailable {
        FleetSlice vendor, stream, digest;
        uint32_t level;
} FleetAvailable;

typedef struct FleetFailure {
        FleetSlice document; /* FleetDocument.digest */
        FleetSlice content;  /* fleet_decision_content() */
} FleetFailure;

typedef struct FleetHost {
        FleetSlice hostname, machine_id, kernel, os /* "ID:VERSION_ID" of os-release(5) */;
        uint8_t host_id[16]; /* application-specific machine id: rollout and splay, nothing else */
        bool has_host_id;
        FleetLabel *labels;
        FleetRunning *running; /* enabled patches */
        FleetSlice *fixes;     /* of running */
        FleetAvailable *available;
        FleetSlice *quarantine;   /* digests and build ids */
        FleetSlice *held_streams; /* "vendor/stream" */
        FleetFailure *failed;
        size_t n_labels, n_running, n_fixes, n_available, n_quarantine, n_held_streams, n_failed;
        bool knows_available; /* what the repository has is known */
        bool mode_off;        /* klpd.mode=off */
        bool held;
        FleetSlice hold_reason;
        bool overridden; /* by hand; override_stream: only that one, if known */
        FleetSlice override_stream;
        bool clock_unsynchronized;
        uint64_t last_trusted; /* time that was certain once; earlier than that can't be now */
        uint64_t goal_since;   /* when the goal became this one, for the splay; 0: now */
} FleetHost;

/* Reads one host per call (klpd-fleet-host(5)); what it has allocated it keeps for the next. */
typedef struct FleetHostParser FleetHostParser;

int fleet_host_parser_new(FleetHostParser **ret);
FleetHostParser *fleet_host_parser_free(FleetHostParser *p); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(FleetHostParser *, fleet_host_parser_free);
/* *ret is valid until the next call and as long as line is. -EBADMSG, -ENOMEM. */
int fleet_host_parser_line(FleetHostParser *p, const char *line, size_t size, const FleetHost **ret,
                           PolicyError *error);

/* --- the decision --- */

typedef enum FleetVerdict {
        FLEET_UNMANAGED, /* no document says anything: stays as it is */
        FLEET_DONE,
        FLEET_CHANGE, /* now */
        FLEET_WAIT,   /* for a gate */
        FLEET_STAY,   /* until somebody does something */
        _FLEET_VERDICT_MAX,
} FleetVerdict;

/* In the order of SEMANTICS.md section 6, "precedence". */
typedef enum FleetReason {
        FLEET_REASON_OFF,
        FLEET_REASON_HOLD_HOST,
        FLEET_REASON_HOLD_RULE,
        FLEET_REASON_OVERRIDE,
        FLEET_REASON_NO_DOCUMENT,
        FLEET_REASON_NO_RULE,
        FLEET_REASON_EXPIRED,
        FLEET_REASON_QUARANTINE,
        FLEET_REASON_BLOCKED,
        FLEET_REASON_NO_LEVEL,
        FLEET_REASON_CONTENT, /* the level runs, but not the content that is pinned */
        FLEET_REASON_AT_GOAL,
        FLEET_REASON_FAILED,
        FLEET_REASON_CLOCK,
        FLEET_REASON_WINDOW,
        FLEET_REASON_ROLLOUT,
        FLEET_REASON_WAVE,
        FLEET_REASON_SPLAY,
        FLEET_REASON_READY,
        _FLEET_REASON_MAX,
} FleetReason;

typedef enum FleetAction {
        FLEET_ACTION_NONE,
        FLEET_ACTION_APPLY,
        FLEET_ACTION_DOWNGRADE,
        FLEET_ACTION_DISABLE,
        _FLEET_ACTION_MAX,
} FleetAction;

enum { /* FleetDecision.gates: all that are closed, not only the one that is the reason */
        FLEET_GATE_CLOCK = 1 << 0,
        FLEET_GATE_WINDOW = 1 << 1,
        FLEET_GATE_ROLLOUT = 1 << 2,
        FLEET_GATE_WAVE = 1 << 3,
        FLEET_GATE_SPLAY = 1 << 4,
};

typedef struct FleetDecision {
        FleetVerdict verdict;
        FleetReason reason;
        FleetAction action;    /* what is, or would be, done */
        const FleetRule *rule; /* that won, or NULL */
        const FleetRunning *running; /* highest of the rule's stream, or NULL: nothing of it runs */
        bool has_goal;
        bool goal_none;   /* nothing of the stream shall run */
        uint32_t goal;    /* level; also of a change that is held back */
        const FleetLevel *entry;  /* what a document says of the goal, or NULL */
        const FleetBlock *block;  /* for FLEET_REASON_BLOCKED; NULL: the rule itself blocks it */
        const FleetWave *wave;    /* the host's, or NULL */
        bool drift;       /* the host is not where it shall be, and no gate or hold of the document is why */
        uint32_t gates;
        uint64_t until;   /* when it can begin if nothing changes; 0: no time will do it */
        uint64_t window_end; /* of the window that is open, 0: no windows */
        uint64_t again;   /* when time by itself makes it another decision; 0: never */
} FleetDecision;

void fleet_decide(const FleetSet *set, const FleetHost *host, uint64_t now, FleetDecision *ret);

/* Fixes (CVE) that the goal has and the host lacks. Calls fn for each; returns their number. fn may be
 * NULL. */
size_t fleet_open_fixes(const FleetDecision *d, const FleetHost *host,
                        void (*fn)(const char *fix, void *userdata), void *userdata);

/* What a failed convergence is remembered by, beside the document's digest: the pinned digest, or
 * "VENDOR/STREAM=LEVEL" where there is none. Returns buf. */
char *fleet_decision_content(const FleetDecision *d, char *buf, size_t size);

const char *fleet_verdict_to_string(FleetVerdict v);
const char *fleet_reason_to_string(FleetReason r);
const char *fleet_action_to_string(FleetAction a);
/* One sentence without a full stop, cut where it doesn't fit; may contain text of documents. Returns buf. */
char *fleet_decision_describe(const FleetDecision *d, const FleetHost *host, char *buf, size_t size);
/* The decision as members of an object that is open in the writer (klpctl(8), "fleet plan"). */
typedef struct JsonWriter JsonWriter;
void fleet_decision_write(const FleetDecision *d, const FleetHost *host, JsonWriter *w);
/* "7", "7 or higher", "latest", "none", "-". Returns buf. */
char *fleet_rule_goal(const FleetRule *rule, char *buf, size_t size);

/* --- parts, for tests and for the programs --- */

bool fleet_glob_match(FleetSlice pattern, FleetSlice text, bool ignore_case);
bool fleet_patterns_match(const FleetPatterns *p, FleetSlice text);
bool fleet_match(const FleetMatch *m, const FleetHost *host);
/* NULL if it matches, else what doesn't: "hostname", "machine_id", "kernel", "os", "any", "not", or a
 * label. */
const char *fleet_match_why(const FleetMatch *m, const FleetHost *host);
/* It has no condition at all. */
bool fleet_match_is_everything(const FleetMatch *m);

/* Where in 0…99 a host is: it is inside a rollout of P percent if that is less than P. SipHash-2-4 of the
 * salt, keyed with the application-specific machine id. */
uint32_t fleet_rollout_position(const uint8_t host_id[16], const char *salt);
/* 0 to span-1. */
uint64_t fleet_splay_offset(const uint8_t host_id[16], const char *salt, uint64_t span);
uint64_t fleet_siphash(const uint8_t key[16], const void *data, size_t size);

/* "2026-11-21T06:00:00Z". -EINVAL. */
int fleet_parse_timestamp(const char *s, uint64_t *ret);
/* The same form, or "never" for 0. Returns buf. */
char *fleet_format_timestamp(uint64_t t, char *buf, size_t size);
#define FLEET_FORMAT_TIMESTAMP(t) fleet_format_timestamp((t), (char[40]){}, 40)
/* systemd.time(7): "2h 30min", "90", "1.5h". -EINVAL, -ERANGE. */
int fleet_parse_span(const char *s, uint64_t *ret);

/* What `systemd-analyze calendar --iterations=N` printed with TZ=UTC, as begins of windows, ascending, at
 * most max. -EBADMSG: not its output. */
int fleet_calendar_parse(const char *text, size_t size, uint64_t *begins, size_t max, size_t *ret_n);
/* A calendar expression and a time zone that may be handed to it. */
bool fleet_calendar_is_valid(const char *s);
bool fleet_timezone_is_valid(const char *s);
