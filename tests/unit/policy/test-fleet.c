/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Decisions, case by case: every sentence of SEMANTICS.md section 6 that is about what a host shall run,
 * each with its neighbours on both sides. The host is web-1, kernel 6.1.0-47-amd64, level 5 of acme/base
 * unless the case says otherwise; the moment is 2026-11-21T12:00:00Z, a Saturday.
 */
#include "tests/unit/policy/fleet-util.h"

#define NOW "2026-11-21T12:00:00Z"
#define D5 "5555555555555555555555555555555555555555555555555555555555555555"
#define D6 "6666666666666666666666666666666666666666666666666666666666666666"
#define D7 "7777777777777777777777777777777777777777777777777777777777777777"

#define LEVELS                                                                                              \
        "\"levels\":["                                                                                      \
        "{\"stream\":\"acme/base\",\"kernel\":\"6.1.0-47-*\",\"level\":6,\"digest\":\"" D6 "\","            \
        "\"fixes\":[\"CVE-1\",\"CVE-2\"]},"                                                                 \
        "{\"stream\":\"acme/base\",\"kernel\":\"6.1.0-47-*\",\"level\":5,\"digest\":\"" D5 "\","            \
        "\"fixes\":[\"CVE-1\"]},"                                                                           \
        "{\"stream\":\"acme/base\",\"kernel\":\"6.1.0-47-*\",\"level\":7,\"digest\":\"" D7 "\","            \
        "\"fixes\":[\"CVE-1\",\"CVE-2\",\"CVE-3\"]},"                                                       \
        "{\"stream\":\"acme/base\",\"kernel\":\"6.12.*\",\"level\":9}],"

#define NONE (-1)    /* the goal: nothing of the stream */
#define UNKNOWN (-2) /* no goal */

typedef struct Case {
        const char *name;
        const char *document; /* members beside levels and rules, or NULL */
        const char *rule;     /* members beside name and stream; NULL: "rules" is what document says */
        const char *host;     /* members beside hostname, host_id, os, labels and inventory */
        int running;          /* level, 0: nothing; 5 by default is written out */
        FleetVerdict verdict;
        FleetReason reason;
        int goal;
        bool drift;
        uint32_t gates;
        const char *until;   /* NULL: no time will do */
        const char *windows; /* fleet_set_windows() */
        const char *now;
        const char *host_id; /* its last two digits: 08 is at 43 of 100 with the salt "r", 00 at 1 */
} Case;

#define IN_WINDOW "2026-11-21T11:00:00Z/2026-11-21T13:00:00Z,2026-11-28T11:00:00Z/2026-11-28T13:00:00Z"
#define WINDOWS "\"windows\":[{\"calendar\":\"Sat 11:00\",\"duration\":\"2h\"}]"
#define WAVES                                                                                               \
        "\"waves\":[{\"percent\":10,\"opens\":\"2026-11-20T00:00:00Z\",\"soak\":\"1d 12h\"},"               \
        "{\"percent\":50,\"soak\":\"1d\"},{\"percent\":90,\"opens\":\"2026-11-25T00:00:00Z\"}]"
#define MINUTE_SPLAY "\"splay\":\"1h\""

static const Case cases[] = {
                /* --- what a rule wants --- */
                {"a fixed level above", NULL, "\"level\":7", "", 5, FLEET_CHANGE, FLEET_REASON_READY, 7,
                 .until = NOW},
                {"a fixed level that runs", NULL, "\"level\":5", "", 5, FLEET_DONE, FLEET_REASON_AT_GOAL, 5,
                 .drift = false},
                {"a fixed level below", NULL, "\"level\":5", "", 6, FLEET_CHANGE, FLEET_REASON_READY, 5,
                 .until = NOW},
                {"nothing runs", NULL, "\"level\":5", "", 0, FLEET_CHANGE, FLEET_REASON_READY, 5,
                 .until = NOW},
                {"latest is for the kernel that runs", NULL, "\"level\":\"latest\"", "", 5, FLEET_CHANGE,
                 FLEET_REASON_READY, 7, .until = NOW},
                {"latest that runs", NULL, "\"level\":\"latest\"", "", 7, FLEET_DONE, FLEET_REASON_AT_GOAL,
                 7, .drift = false},
                {"none", NULL, "\"level\":\"none\"", "", 5, FLEET_CHANGE, FLEET_REASON_READY, NONE,
                 .until = NOW},
                {"none, and nothing runs", NULL, "\"level\":\"none\"", "", 0, FLEET_DONE,
                 FLEET_REASON_AT_GOAL, NONE, .drift = false},
                {"at least what runs", NULL, "\"at_least\":5", "", 5, FLEET_DONE, FLEET_REASON_AT_GOAL, 5,
                 .drift = false},
                {"at least less than what runs", NULL, "\"at_least\":5", "", 6, FLEET_DONE,
                 FLEET_REASON_AT_GOAL, 6, .drift = false},
                {"at least more than what runs", NULL, "\"at_least\":6", "", 5, FLEET_CHANGE,
                 FLEET_REASON_READY, 7, .until = NOW},
                {"a level that no document states for the kernel", NULL, "\"level\":9", "", 5, FLEET_STAY,
                 FLEET_REASON_NO_LEVEL, 9, .drift = true},
                {"at least more than there is", NULL, "\"at_least\":8", "", 5, FLEET_STAY,
                 FLEET_REASON_NO_LEVEL, UNKNOWN, .drift = true},
                {"a level that the repository lacks", NULL, "\"level\":7", "\"available\":[],", 5,
                 FLEET_STAY, FLEET_REASON_NO_LEVEL, 7, .drift = true},
                {"a level that the repository has", NULL, "\"level\":7",
                 "\"available\":[{\"stream\":\"acme/base\",\"level\":7,\"digest\":\"" D7 "\"}],", 5,
                 FLEET_CHANGE, FLEET_REASON_READY, 7, .until = NOW},
                {"a level that the repository has with another content", NULL, "\"level\":7",
                 "\"available\":[{\"stream\":\"acme/base\",\"level\":7,\"digest\":\"" D6 "\"}],", 5,
                 FLEET_STAY, FLEET_REASON_NO_LEVEL, 7, .drift = true},
                {"latest of what the repository has", NULL, "\"level\":\"latest\"",
                 "\"available\":[{\"stream\":\"acme/base\",\"level\":6}],", 5, FLEET_CHANGE,
                 FLEET_REASON_READY, 6, .until = NOW},
                {"a repository that was tidied up takes nothing down", NULL, "\"level\":\"latest\"",
                 "\"available\":[{\"stream\":\"acme/base\",\"level\":5}],", 6, FLEET_DONE,
                 FLEET_REASON_AT_GOAL, 6, .drift = false},
                {"the level runs with another content", NULL, "\"level\":5", "\"x\":1,", 5, FLEET_STAY,
                 FLEET_REASON_CONTENT, 5, .drift = true},

                /* --- no document, no rule --- */
                {"no rule matches", NULL, "\"match\":{\"hostname\":[\"db*\"]},\"level\":\"none\"", "", 5,
                 FLEET_UNMANAGED, FLEET_REASON_NO_RULE, UNKNOWN, .drift = false},

                /* --- precedence: klpd.mode=off > hold > manual override > quarantine, blocked > window >
                   rollout --- */
                {"off beats all", NULL, "\"level\":7,\"hold\":\"h\"",
                 "\"mode\":\"off\",\"hold\":\"x\",\"override\":true,\"quarantine\":[\"" D7 "\"],", 5,
                 FLEET_STAY, FLEET_REASON_OFF, 7, .drift = true},
                {"off, and nothing to do", NULL, "\"level\":5", "\"mode\":\"off\",", 5, FLEET_STAY,
                 FLEET_REASON_OFF, 5, .drift = false},
                {"on is not off", NULL, "\"level\":5", "\"mode\":\"on\",", 5, FLEET_DONE,
                 FLEET_REASON_AT_GOAL, 5, .drift = false},
                {"the host's hold beats the rest", NULL, "\"level\":7,\"hold\":\"h\"",
                 "\"hold\":\"x\",\"override\":true,\"quarantine\":[\"" D7 "\"],", 5, FLEET_STAY,
                 FLEET_REASON_HOLD_HOST, 7, .drift = false},
                {"a stream's hold", NULL, "\"level\":7", "\"held_streams\":[\"acme/base\"],", 5, FLEET_STAY,
                 FLEET_REASON_HOLD_HOST, 7, .drift = false},
                {"another stream's hold", NULL, "\"level\":7", "\"held_streams\":[\"acme/net\"],", 5,
                 FLEET_CHANGE, FLEET_REASON_READY, 7, .until = NOW},
                {"a rule's hold beats a manual override", NULL, "\"level\":7,\"hold\":\"h\"",
                 "\"override\":true,\"quarantine\":[\"" D7 "\"],", 5, FLEET_STAY, FLEET_REASON_HOLD_RULE, 7,
                 .drift = false},
                {"a hold alone wants nothing", NULL, "\"hold\":\"h\"", "", 5, FLEET_STAY,
                 FLEET_REASON_HOLD_RULE, UNKNOWN, .drift = false},
                {"a manual override beats quarantine", NULL, "\"level\":7",
                 "\"override\":true,\"quarantine\":[\"" D7 "\"],", 5, FLEET_STAY, FLEET_REASON_OVERRIDE, 7,
                 .drift = true},
                {"a manual override at the goal is no drift", NULL, "\"level\":5",
                 "\"override\":\"acme/base\",", 5, FLEET_STAY, FLEET_REASON_OVERRIDE, 5, .drift = false},
                {"a manual override of another stream", NULL, "\"level\":7", "\"override\":\"acme/net\",", 5,
                 FLEET_CHANGE, FLEET_REASON_READY, 7, .until = NOW},
                {"no override", NULL, "\"level\":7", "\"override\":false,", 5, FLEET_CHANGE,
                 FLEET_REASON_READY, 7, .until = NOW},
                {"quarantine beats the window", NULL, "\"level\":7," WINDOWS, "\"quarantine\":[\"" D7 "\"],",
                 5, FLEET_STAY, FLEET_REASON_QUARANTINE, 7, .drift = true},
                {"a blocked level beats the window", "\"blocked\":[{\"stream\":\"acme/base\",\"level\":7}],",
                 "\"level\":7," WINDOWS, "", 5, FLEET_STAY, FLEET_REASON_BLOCKED, 7, .drift = true},
                {"the window beats the rollout", NULL, "\"level\":7,\"rollout\":0," WINDOWS, "", 5,
                 FLEET_WAIT, FLEET_REASON_WINDOW, 7, .gates = FLEET_GATE_WINDOW | FLEET_GATE_ROLLOUT},
                {"the rollout after the window", NULL, "\"level\":7,\"rollout\":0," WINDOWS, "", 5,
                 FLEET_WAIT, FLEET_REASON_ROLLOUT, 7, .gates = FLEET_GATE_ROLLOUT, .windows = IN_WINDOW},

                /* --- latest is neither blocked nor quarantined; a fixed level that is means stay --- */
                {"latest goes past a quarantined level", NULL, "\"level\":\"latest\"",
                 "\"quarantine\":[\"" D7 "\"],", 5, FLEET_CHANGE, FLEET_REASON_READY, 6, .until = NOW},
                {"latest goes past a level that the rule blocks", NULL,
                 "\"level\":\"latest\",\"blocked\":[7]", "", 5, FLEET_CHANGE, FLEET_REASON_READY, 6,
                 .until = NOW},
                {"latest goes past a level that the document blocks",
                 "\"blocked\":[{\"stream\":\"acme/base\",\"level\":7,\"reason\":\"it is bad\"}],",
                 "\"level\":\"latest\"", "", 5, FLEET_CHANGE, FLEET_REASON_READY, 6, .until = NOW},
                {"a level that is blocked for other kernels",
                 "\"blocked\":[{\"stream\":\"acme/base\",\"level\":7,\"kernel\":\"6.12.*\"}],",
                 "\"level\":\"latest\"", "", 5, FLEET_CHANGE, FLEET_REASON_READY, 7, .until = NOW},
                {"a level that is blocked in another stream",
                 "\"blocked\":[{\"stream\":\"acme/net\",\"level\":7}],", "\"level\":\"latest\"", "", 5,
                 FLEET_CHANGE, FLEET_REASON_READY, 7, .until = NOW},
                {"latest comes down from a blocked level", NULL, "\"level\":\"latest\",\"blocked\":[7]", "",
                 7, FLEET_CHANGE, FLEET_REASON_READY, 6, .until = NOW},
                {"all are blocked: stay", NULL, "\"level\":\"latest\",\"blocked\":[5,6,7]", "", 5,
                 FLEET_STAY, FLEET_REASON_NO_LEVEL, UNKNOWN, .drift = true},
                {"a fixed level that is quarantined and runs", NULL, "\"level\":5",
                 "\"quarantine\":[\"" D5 "\"],", 5, FLEET_STAY, FLEET_REASON_QUARANTINE, 5, .drift = true},
                {"another content in quarantine", NULL, "\"level\":7", "\"quarantine\":[\"" D6 "\"],", 5,
                 FLEET_CHANGE, FLEET_REASON_READY, 7, .until = NOW},
                {"at least, and what runs is blocked", NULL, "\"at_least\":5,\"blocked\":[5]", "", 5,
                 FLEET_CHANGE, FLEET_REASON_READY, 7, .until = NOW},

                /* --- maintenance windows --- */
                {"inside of a window", NULL, "\"level\":7," WINDOWS, "", 5, FLEET_CHANGE, FLEET_REASON_READY,
                 7, .until = NOW, .windows = IN_WINDOW},
                {"its first moment is inside", NULL, "\"level\":7," WINDOWS, "", 5, FLEET_CHANGE,
                 FLEET_REASON_READY, 7, .until = "2026-11-21T11:00:00Z", .windows = IN_WINDOW,
                 .now = "2026-11-21T11:00:00Z"},
                {"its end is outside", NULL, "\"level\":7," WINDOWS, "", 5, FLEET_WAIT, FLEET_REASON_WINDOW,
                 7, .gates = FLEET_GATE_WINDOW, .until = "2026-11-28T11:00:00Z", .windows = IN_WINDOW,
                 .now = "2026-11-21T13:00:00Z"},
                {"after the last one that is known", NULL, "\"level\":7," WINDOWS, "", 5, FLEET_WAIT,
                 FLEET_REASON_WINDOW, 7, .gates = FLEET_GATE_WINDOW, .windows = IN_WINDOW,
                 .now = "2026-11-28T13:00:00Z"},
                {"a window that was not expanded is closed", NULL, "\"level\":7," WINDOWS, "", 5, FLEET_WAIT,
                 FLEET_REASON_WINDOW, 7, .gates = FLEET_GATE_WINDOW},
                {"no window is needed where nothing changes", NULL, "\"level\":5," WINDOWS, "", 5,
                 FLEET_DONE, FLEET_REASON_AT_GOAL, 5, .drift = false},
                {"a window gates a disable, too", NULL, "\"level\":\"none\"," WINDOWS, "", 5, FLEET_WAIT,
                 FLEET_REASON_WINDOW, NONE, .gates = FLEET_GATE_WINDOW},

                /* --- rollout: 08 is at 43 --- */
                {"inside of the rollout", NULL, "\"level\":7,\"rollout\":44", "", 5, FLEET_CHANGE,
                 FLEET_REASON_READY, 7, .until = NOW},
                {"outside of the rollout", NULL, "\"level\":7,\"rollout\":43", "", 5, FLEET_WAIT,
                 FLEET_REASON_ROLLOUT, 7, .gates = FLEET_GATE_ROLLOUT},
                {"0 is nobody", NULL, "\"level\":7,\"rollout\":0", "", 5, FLEET_WAIT, FLEET_REASON_ROLLOUT,
                 7, .gates = FLEET_GATE_ROLLOUT, .host_id = "00"},
                {"100 is everybody", NULL, "\"level\":7,\"rollout\":100", "", 5, FLEET_CHANGE,
                 FLEET_REASON_READY, 7, .until = NOW, .host_id = "07"},
                {"an id that isn't known is not below 100", NULL, "\"level\":7,\"rollout\":99", "", 5,
                 FLEET_WAIT, FLEET_REASON_ROLLOUT, 7, .gates = FLEET_GATE_ROLLOUT, .host_id = ""},
                {"an id that isn't known is in 100", NULL, "\"level\":7,\"rollout\":100", "", 5,
                 FLEET_CHANGE, FLEET_REASON_READY, 7, .until = NOW, .host_id = ""},

                /* --- waves: open on the 20th, on the 21st at 12:00, on the 25th --- */
                {"the first wave", NULL, "\"level\":7," WAVES, "", 5, FLEET_CHANGE, FLEET_REASON_READY, 7,
                 .until = NOW, .host_id = "00"},
                {"the second wave opens when the first has soaked", NULL, "\"level\":7," WAVES, "", 5,
                 FLEET_CHANGE, FLEET_REASON_READY, 7, .until = NOW},
                {"and not a second before", NULL, "\"level\":7," WAVES, "", 5, FLEET_WAIT, FLEET_REASON_WAVE,
                 7, .gates = FLEET_GATE_WAVE, .until = NOW, .now = "2026-11-21T11:59:59Z"},
                {"the third wave opens when it says", NULL, "\"level\":7," WAVES, "", 5, FLEET_WAIT,
                 FLEET_REASON_WAVE, 7, .gates = FLEET_GATE_WAVE, .until = "2026-11-25T00:00:00Z",
                 .host_id = "07"},
                {"a host outside of all waves never falls through", NULL, "\"level\":7," WAVES, "", 5,
                 FLEET_WAIT, FLEET_REASON_WAVE, 7, .gates = FLEET_GATE_WAVE, .host_id = ""},
                {"a wave by label", NULL,
                 "\"level\":7,\"waves\":[{\"match\":{\"labels\":{\"role\":[\"web\"]}},\"opens\":\"2026-11-"
                 "21T00:00:00Z\"},"
                 "{\"percent\":100,\"soak\":\"1d\",\"opens\":\"2026-12-01T00:00:00Z\"}]",
                 "", 5, FLEET_CHANGE, FLEET_REASON_READY, 7, .until = NOW},
                {"a wave's percentage is exclusive", NULL,
                 "\"level\":7,\"waves\":[{\"percent\":43,\"opens\":\"2026-11-21T00:00:00Z\"}]", "", 5,
                 FLEET_WAIT, FLEET_REASON_WAVE, 7, .gates = FLEET_GATE_WAVE},
                {"a wave's percentage one more", NULL,
                 "\"level\":7,\"waves\":[{\"percent\":44,\"opens\":\"2026-11-21T00:00:00Z\"}]", "", 5,
                 FLEET_CHANGE, FLEET_REASON_READY, 7, .until = NOW},
                {"a wave and a window: the first window after it opens", NULL,
                 "\"level\":7," WAVES "," WINDOWS, "", 5, FLEET_WAIT, FLEET_REASON_WAVE, 7,
                 .gates = FLEET_GATE_WAVE, .until = "2026-11-28T11:00:00Z", .windows = IN_WINDOW,
                 .host_id = "07"},

                /* --- splay: 08 comes 1594.5 s into an hour --- */
                {"before its turn in the window", NULL, "\"level\":7," MINUTE_SPLAY "," WINDOWS, "", 5,
                 FLEET_WAIT, FLEET_REASON_SPLAY, 7, .gates = FLEET_GATE_SPLAY,
                 .until = "2026-11-21T11:26:34Z", .windows = IN_WINDOW, .now = "2026-11-21T11:26:34Z"},
                {"after its turn in the window", NULL, "\"level\":7," MINUTE_SPLAY "," WINDOWS, "", 5,
                 FLEET_CHANGE, FLEET_REASON_READY, 7, .until = "2026-11-21T11:26:35Z", .windows = IN_WINDOW,
                 .now = "2026-11-21T11:26:35Z"},
                {"the next window's turn", NULL, "\"level\":7," MINUTE_SPLAY "," WINDOWS, "", 5, FLEET_WAIT,
                 FLEET_REASON_WINDOW, 7, .gates = FLEET_GATE_WINDOW | FLEET_GATE_SPLAY,
                 .until = "2026-11-28T11:26:34Z", .windows = IN_WINDOW, .now = "2026-11-21T14:00:00Z"},
                {"a splay that is longer than the window stays in it", NULL,
                 "\"level\":7,\"splay\":\"10h\"," WINDOWS, "", 5, FLEET_WAIT, FLEET_REASON_SPLAY, 7,
                 .gates = FLEET_GATE_SPLAY, .until = "2026-11-21T11:53:09Z", .windows = IN_WINDOW,
                 .now = "2026-11-21T11:30:00Z"},
                {"since when the goal is known", NULL, "\"level\":7," MINUTE_SPLAY,
                 "\"goal_since\":\"2026-11-21T11:30:00Z\",", 5, FLEET_CHANGE, FLEET_REASON_READY, 7,
                 .until = NOW},
                {"since now", NULL, "\"level\":7," MINUTE_SPLAY, "", 5, FLEET_WAIT, FLEET_REASON_SPLAY, 7,
                 .gates = FLEET_GATE_SPLAY, .until = "2026-11-21T12:26:34Z"},

                /* --- expiry: stay, never disable --- */
                {"an expired document means stay", "\"not_after\":\"2026-11-21T12:00:00Z\",", "\"level\":7",
                 "", 5, FLEET_STAY, FLEET_REASON_EXPIRED, 7, .drift = false},
                {"it is in force until then", "\"not_after\":\"2026-11-21T12:00:01Z\",", "\"level\":7", "",
                 5, FLEET_CHANGE, FLEET_REASON_READY, 7, .until = NOW},
                {"an expired document that wanted none", "\"not_after\":\"2026-11-21T11:00:00Z\",",
                 "\"level\":\"none\"", "", 5, FLEET_STAY, FLEET_REASON_EXPIRED, NONE, .drift = false},
                {"an expired rule means stay", NULL, "\"level\":7,\"not_after\":\"2026-11-21T12:00:00Z\"",
                 "", 5, FLEET_STAY, FLEET_REASON_EXPIRED, 7, .drift = false},
                {"an expiry before the window comes", NULL,
                 "\"level\":7,\"not_after\":\"2026-11-28T11:00:00Z\"," WINDOWS, "", 5, FLEET_WAIT,
                 FLEET_REASON_WINDOW, 7, .gates = FLEET_GATE_WINDOW, .windows = IN_WINDOW,
                 .now = "2026-11-21T14:00:00Z"},

                /* --- the clock --- */
                {"nothing that depends on time starts without a clock", NULL, "\"level\":7," WINDOWS,
                 "\"clock\":{\"synchronized\":false},", 5, FLEET_WAIT, FLEET_REASON_CLOCK, 7,
                 .gates = FLEET_GATE_CLOCK, .windows = IN_WINDOW},
                {"what doesn't depend on time does", NULL, "\"level\":7",
                 "\"clock\":{\"synchronized\":false},", 5, FLEET_CHANGE, FLEET_REASON_READY, 7,
                 .until = NOW},
                {"a percentage doesn't depend on time", NULL, "\"level\":7,\"rollout\":44",
                 "\"clock\":{\"synchronized\":false},", 5, FLEET_CHANGE, FLEET_REASON_READY, 7,
                 .until = NOW},
                {"waves do", NULL, "\"level\":7," WAVES, "\"clock\":{\"synchronized\":false},", 5,
                 FLEET_WAIT, FLEET_REASON_CLOCK, 7, .gates = FLEET_GATE_CLOCK, .host_id = "00"},
                {"a splay does", NULL, "\"level\":7," MINUTE_SPLAY, "\"clock\":{\"synchronized\":false},", 5,
                 FLEET_WAIT, FLEET_REASON_CLOCK, 7, .gates = FLEET_GATE_CLOCK},
                {"an expiry does", "\"not_after\":\"2026-11-21T11:00:00Z\",", "\"level\":7",
                 "\"clock\":{\"synchronized\":false},", 5, FLEET_WAIT, FLEET_REASON_CLOCK, 7,
                 .gates = FLEET_GATE_CLOCK},
                {"a clock behind the last trusted time", NULL, "\"level\":7," WINDOWS,
                 "\"clock\":{\"last_trusted\":\"2026-11-21T12:00:01Z\"},", 5, FLEET_WAIT, FLEET_REASON_CLOCK,
                 7, .gates = FLEET_GATE_CLOCK, .windows = IN_WINDOW},
                {"a clock at the last trusted time", NULL, "\"level\":7," WINDOWS,
                 "\"clock\":{\"last_trusted\":\"2026-11-21T12:00:00Z\"},", 5, FLEET_CHANGE,
                 FLEET_REASON_READY, 7, .until = NOW, .windows = IN_WINDOW},

                /* --- failed before --- */
                {"the same document and content are not tried again", NULL, "\"level\":7",
                 "\"failed\":[{\"document\":\"doc\",\"content\":\"" D7 "\"}],", 5, FLEET_STAY,
                 FLEET_REASON_FAILED, 7, .drift = true},
                {"another document is", NULL, "\"level\":7",
                 "\"failed\":[{\"document\":\"old\",\"content\":\"" D7 "\"}],", 5, FLEET_CHANGE,
                 FLEET_REASON_READY, 7, .until = NOW},
                {"another content is", NULL, "\"level\":7",
                 "\"failed\":[{\"document\":\"doc\",\"content\":\"" D6 "\"}],", 5, FLEET_CHANGE,
                 FLEET_REASON_READY, 7, .until = NOW},
                {"a content without digest goes by its level", NULL, "\"level\":\"none\"",
                 "\"failed\":[{\"document\":\"doc\",\"content\":\"acme/base=none\"}],", 5, FLEET_STAY,
                 FLEET_REASON_FAILED, NONE, .drift = true},
};

static void host_line(const Case *c, char *buf, size_t size) {
        const char *id = c->host_id ?: "08", *digest = D5;
        char patches[400] = "";
        bool other = streq(c->host, "\"x\":1,"); /* the case about the content: not a member */

        if (c->running == 6)
                digest = D6;
        if (c->running == 7 || other)
                digest = D7;
        if (c->running > 0)
                snprintf(patches, sizeof(patches),
                         "{\"name\":\"klp_acme\",\"vendor\":\"acme\",\"stream\":\"base\",\"level\":%d,"
                         "\"digest\":\"%s\",\"fixes\":[\"CVE-1\"]}",
                         c->running, digest);
        snprintf(buf, size,
                 "{\"hostname\":\"web-1\",%s%s%s\"os\":\"debian:12\",\"labels\":{\"role\":\"web\"},%s"
                 "\"inventory\":{\"kernel\":\"6.1.0-47-amd64\",\"patches\":[%s]}}",
                 *id ? "\"host_id\":\"000000000000000000000000000000" : "", id, *id ? "\"," : "",
                 other ? "" : c->host, patches);
}

static void check_goal(const Case *c, const FleetDecision *d) {
        if (c->goal == UNKNOWN)
                assert_false(d->has_goal);
        else {
                assert_true(d->has_goal);
                assert_int_equal(d->goal_none, c->goal == NONE);
                if (c->goal != NONE)
                        assert_int_equal(d->goal, c->goal);
        }
}

static void check_case(const Case *c) {
        _cleanup_fleet_document_free_ FleetDocument *document = NULL;
        _cleanup_(fleet_host_parser_freep) FleetHostParser *parser = NULL;
        _cleanup_fleet_set_free_ FleetSet *set = NULL;
        const FleetHost *host;
        PolicyError error = {};
        FleetDecision d;
        char text[4096], line[2048], sentence[512];

        snprintf(text, sizeof(text),
                 "{%s" LEVELS "\"rules\":[{\"name\":\"r\",\"stream\":\"acme/base\",%s}]}", c->document ?: "",
                 c->rule);
        document = fleet_read(text);
        document->digest = strdup("doc");
        fleet_set_windows(document, c->windows);
        set = fleet_join(&document, 1);
        assert_int_equal(fleet_host_parser_new(&parser), 0);
        host_line(c, line, sizeof(line));
        if (fleet_host_parser_line(parser, line, strlen(line), &host, &error) < 0)
                fail_msg("%s: %s: %s", error.key, error.message, line);

        fleet_decide(set, host, fleet_time(c->now ?: NOW), &d);
        fleet_decision_describe(&d, host, sentence, sizeof(sentence));
        print_message("%s: %s, %s: %s\n", c->name, fleet_verdict_to_string(d.verdict),
                      fleet_reason_to_string(d.reason), sentence);
        assert_string_equal(fleet_verdict_to_string(d.verdict), fleet_verdict_to_string(c->verdict));
        assert_string_equal(fleet_reason_to_string(d.reason), fleet_reason_to_string(c->reason));
        check_goal(c, &d);
        assert_int_equal(d.drift, c->drift);
        assert_int_equal(d.gates, c->gates);
        /* to the second: the splay is finer */
        assert_int_equal(d.until / FLEET_USEC_PER_SEC,
                         c->until ? fleet_time(c->until) / FLEET_USEC_PER_SEC : 0);
        assert_true(*sentence);
}

static void test_each_sentence_of_section_6_with_its_neighbours(void **arg) {
        for (unsigned i = 0; i < ELEMENTSOF(cases); i++)
                check_case(&cases[i]);
}

/* --- matches --- */

static void test_each_key_of_a_match_holds_and_does_not(void **arg) {
        static const char line[] = "{\"hostname\":\"Web-1.example.org\",\"machine_id\":"
                                   "\"0123456789abcdef0123456789abcdef\",\"os\":\"debian:12\","
                                   "\"labels\":{\"role\":\"web\",\"tier\":\"prod\"},\"inventory\":{"
                                   "\"kernel\":\"6.1.0-47-amd64\"}}";
        static const struct {
                const char *match, *why; /* NULL: it holds */
        } matches[] = {
                        {"{}", NULL},
                        {"{\"hostname\":[\"db-*\",\"web-*\"]}", NULL},
                        {"{\"hostname\":[\"web-1.EXAMPLE.org\"]}", NULL},
                        {"{\"hostname\":[\"db-*\",\"web-1\"]}", "hostname"},
                        {"{\"machine_id\":[\"0123456789abcdef0123456789abcdee\","
                         "\"0123456789abcdef0123456789abcdef\"]}",
                         NULL},
                        {"{\"machine_id\":[\"0123456789abcdef0123456789abcdee\"]}", "machine_id"},
                        {"{\"kernel\":[\"6.1.0-*-amd64\"]}", NULL},
                        {"{\"kernel\":[\"6.1.0-*-arm64\"]}", "kernel"},
                        {"{\"os\":[\"debian:*\"]}", NULL},
                        {"{\"os\":[\"debian\"]}", "os"},
                        {"{\"labels\":{\"role\":[\"db\",\"web\"],\"tier\":[\"prod\"]}}", NULL},
                        {"{\"labels\":{\"role\":[\"web\"],\"tier\":[\"canary\"]}}", "tier"},
                        {"{\"labels\":{\"site\":[\"*\"]}}", "site"}, /* not known fits nothing */
                        {"{\"not\":[{\"labels\":{\"site\":[\"*\"]}}]}", NULL},
                        {"{\"not\":[{\"os\":[\"x\"]},{\"os\":[\"debian:12\"]}]}", "not"},
                        {"{\"any\":[{\"os\":[\"x\"]},{\"os\":[\"debian:12\"]}]}", NULL},
                        {"{\"any\":[{\"os\":[\"x\"]},{\"os\":[\"y\"]}]}", "any"},
                        {"{\"hostname\":[\"web-*\"],\"os\":[\"x\"]}", "os"}, /* all of it must hold */
                        {"{\"any\":[{\"not\":[{\"any\":[{\"kernel\":[\"6.1*\"]}]}]}]}", "any"},
        };
        _cleanup_(fleet_host_parser_freep) FleetHostParser *parser = NULL;
        const FleetHost *host;

        assert_int_equal(fleet_host_parser_new(&parser), 0);
        assert_int_equal(fleet_host_parser_line(parser, line, strlen(line), &host, NULL), 0);
        for (unsigned i = 0; i < ELEMENTSOF(matches); i++) {
                FleetDocument *d;
                char text[512];
                const char *why;

                print_message("%s\n", matches[i].match);
                snprintf(text, sizeof(text), "{\"rules\":[{\"name\":\"r\",\"level\":1,\"match\":%s}]}",
                         matches[i].match);
                d = fleet_read(text);
                why = fleet_match_why(&d->rules[0].match, host);
                assert_string_equal(why ?: "(holds)", matches[i].why ?: "(holds)");
                assert_int_equal(fleet_match(&d->rules[0].match, host), !matches[i].why);
                assert_int_equal(fleet_match_is_everything(&d->rules[0].match), i == 0);
                fleet_document_free(d);
        }
}

/* --- several documents --- */

static void decide(FleetDocument *const *documents, size_t n, const char *line, FleetDecision *ret) {
        _cleanup_(fleet_host_parser_freep) FleetHostParser *parser = NULL;
        _cleanup_fleet_set_free_ FleetSet *set = fleet_join(documents, n);
        const FleetHost *host;

        assert_int_equal(fleet_host_parser_new(&parser), 0);
        assert_int_equal(fleet_host_parser_line(parser, line, strlen(line), &host, NULL), 0);
        fleet_decide(set, host, fleet_time(NOW), ret);
        ret->running = NULL; /* the parser's */
}

#define BARE_HOST "{\"hostname\":\"web-1\",\"inventory\":{\"kernel\":\"k\"}}"

static void test_no_document_means_stay(void **arg) {
        FleetDecision d;

        decide(NULL, 0, BARE_HOST, &d);
        assert_int_equal(d.verdict, FLEET_UNMANAGED);
        assert_int_equal(d.reason, FLEET_REASON_NO_DOCUMENT);
        assert_int_equal(d.action, FLEET_ACTION_NONE);
}

static void test_the_first_rule_wins_across_documents_in_their_order(void **arg) {
        FleetDocument *d[2] = {
                        fleet_read("{\"rules\":[{\"name\":\"a\",\"match\":{\"hostname\":[\"db*\"]},"
                                   "\"level\":1},"
                                   "{\"name\":\"b\",\"match\":{\"hostname\":[\"WEB-?\"]},\"level\":2}]}"),
                        fleet_read("{\"rules\":[{\"name\":\"c\",\"level\":3}]}"),
        };
        FleetDocument *turned[2] = {d[1], d[0]};
        FleetDecision decision;

        decide(d, 2, BARE_HOST, &decision);
        assert_string_equal(decision.rule->name, "b");
        decide(turned, 2, BARE_HOST, &decision);
        assert_string_equal(decision.rule->name, "c");
        decide(d + 1, 1, BARE_HOST, &decision);
        assert_int_equal(decision.goal, 3);
        fleet_document_free(d[0]);
        fleet_document_free(d[1]);
}

/* Each way in which the winning rule can keep a host where it is: the next rule matches too, and would act.
 */
static void test_gates_never_fall_through(void **arg) {
        static const char *const closed[] = {
                        "\"rollout\":0",
                        "\"waves\":[{\"percent\":0,\"opens\":\"2026-01-01T00:00:00Z\"}]",
                        "\"waves\":[{\"opens\":\"2030-01-01T00:00:00Z\"}]",
                        WINDOWS,
                        "\"hold\":\"h\"",
                        "\"not_after\":\"2026-01-01T00:00:00Z\"",
                        "\"splay\":\"100y\"",
        };

        for (unsigned i = 0; i < ELEMENTSOF(closed); i++) {
                char text[512];
                FleetDocument *d;
                FleetDecision decision;

                snprintf(text, sizeof(text),
                         "{\"rules\":[{\"name\":\"first\",\"level\":2,%s},{\"name\":\"second\",\"level\":3}]"
                         "}",
                         closed[i]);
                d = fleet_read(text);
                decide(&d, 1,
                       "{\"hostname\":\"web-1\",\"host_id\":\"00000000000000000000000000000008\","
                       "\"inventory\":{\"kernel\":\"k\"}}",
                       &decision);
                assert_string_equal(decision.rule->name, "first");
                assert_true(decision.verdict == FLEET_WAIT || decision.verdict == FLEET_STAY);
                fleet_document_free(d);
        }
}

static void test_levels_of_an_expired_document_are_not_started(void **arg) {
        FleetDocument *d[2] = {
                        fleet_read("{\"rules\":[{\"name\":\"a\",\"level\":\"latest\"}]}"),
                        fleet_read("{\"not_after\":\"2026-01-01T00:00:00Z\",\"levels\":[{\"kernel\":\"k\","
                                   "\"level\":4}]}"),
        };
        FleetDecision decision;

        decide(d, 2, BARE_HOST, &decision);
        assert_int_equal(decision.verdict, FLEET_STAY);
        assert_int_equal(decision.reason, FLEET_REASON_EXPIRED);
        assert_int_equal(decision.goal, 4);
        fleet_document_free(d[0]);
        fleet_document_free(d[1]);
}

static void test_a_level_stated_twice_is_the_earlier_documents(void **arg) {
        FleetDocument *d[2] = {
                        fleet_read("{\"rules\":[{\"name\":\"a\",\"level\":4}],"
                                   "\"levels\":[{\"kernel\":\"k\",\"level\":4,\"digest\":\"" D5 "\"}]}"),
                        fleet_read("{\"levels\":[{\"kernel\":\"k\",\"level\":4,\"digest\":\"" D6 "\"},"
                                   "{\"kernel\":\"l\",\"level\":4,\"digest\":\"" D6 "\"}]}"),
        };
        _cleanup_fleet_set_free_ FleetSet *set = fleet_join(d, 2);
        const FleetLevel *taken, *ignored;
        FleetDecision decision;

        decide(d, 2, BARE_HOST, &decision);
        assert_string_equal(decision.entry->digest, D5);
        assert_true(fleet_set_conflict(set, 0, &taken, &ignored));
        assert_ptr_equal(taken->document, d[0]);
        assert_ptr_equal(ignored->document, d[1]);
        assert_false(fleet_set_conflict(set, 1, &taken, &ignored));
        fleet_document_free(d[0]);
        fleet_document_free(d[1]);
}

static void test_a_serial_never_goes_backwards(void **arg) {
        PolicyError error = {};

        assert_int_equal(fleet_serial_check(0, 0, NULL), 0);
        assert_int_equal(fleet_serial_check(7, 7, NULL), 0);
        assert_int_equal(fleet_serial_check(7, 8, NULL), 0);
        assert_int_equal(fleet_serial_check(7, 6, &error), -ESTALE);
        assert_non_null(strstr(error.message, "serial 6 is older than 7"));
}

static void test_open_fixes_are_those_that_the_goal_has_and_the_host_lacks(void **arg) {
        static const Case held = {.rule = "\"level\":7,\"hold\":\"h\"", .host = "", .running = 5};
        _cleanup_(fleet_host_parser_freep) FleetHostParser *parser = NULL;
        FleetDocument *d = fleet_read("{" LEVELS "\"rules\":[{\"name\":\"r\",\"stream\":\"acme/base\","
                                      "\"level\":7,\"hold\":\"until the audit\"}]}");
        _cleanup_fleet_set_free_ FleetSet *set = fleet_join(&d, 1);
        const FleetHost *host;
        FleetDecision decision;
        char line[2048], text[128];

        host_line(&held, line, sizeof(line));
        assert_int_equal(fleet_host_parser_new(&parser), 0);
        assert_int_equal(fleet_host_parser_line(parser, line, strlen(line), &host, NULL), 0);
        fleet_decide(set, host, fleet_time(NOW), &decision);
        assert_int_equal(decision.reason, FLEET_REASON_HOLD_RULE);
        assert_int_equal(decision.action, FLEET_ACTION_APPLY);
        assert_int_equal(fleet_open_fixes(&decision, host, NULL, NULL), 2); /* CVE-2, CVE-3 */
        fleet_decision_describe(&decision, host, text, sizeof(text));
        assert_string_equal(text, "held by the rule: until the audit");
        fleet_document_free(d);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                        cmocka_unit_test(test_each_sentence_of_section_6_with_its_neighbours),
                        cmocka_unit_test(test_each_key_of_a_match_holds_and_does_not),
                        cmocka_unit_test(test_no_document_means_stay),
                        cmocka_unit_test(test_the_first_rule_wins_across_documents_in_their_order),
                        cmocka_unit_test(test_gates_never_fall_through),
                        cmocka_unit_test(test_levels_of_an_expired_document_are_not_started),
                        cmocka_unit_test(test_a_level_stated_twice_is_the_earlier_documents),
                        cmocka_unit_test(test_a_serial_never_goes_backwards),
                        cmocka_unit_test(test_open_fixes_are_those_that_the_goal_has_and_the_host_lacks),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
