/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * MESSAGE_IDs of klpd's journal records; each has an entry in units/klpd.catalog (held together by a unit test).
 *
 * Fields, next to MESSAGE, PRIORITY and MESSAGE_ID; absent where they mean nothing:
 *   KLPD_RECORD      number of the record, random: one that is there twice was sent again after a restart, and is one
 *   KLPD_REALTIME_USEC  when it happened             KLPD_RESENT      1: sent by a later klpd than the one that made it
 *   KLPD_MISSING     of a record that was sent again: number of fields that were too long for klpd's log
 *   KLPD_EDGE        job-started, refused, failed, loaded, preparing, completed, reversed, stalled, unloaded, state, foreign, daemon, repository, recovered, standing, nudged, fleet, health, forced, kept
 *   KLPD_JOB         number of the job                   KLPD_REQUEST     apply, downgrade, disable
 *   KLPD_PATCH       name                                KLPD_LEVEL       vendor/stream level as KLPD_STREAM= and KLPD_LEVEL=
 *   KLPD_REPLACED    patches that it replaces, one field each
 *   KLPD_UID         who asked                           KLPD_REASON      why, as the caller said
 *   KLPD_OVERRIDE    accept-irreversible ..., one field each
 *   KLPD_RULE        rules that fired, one field each    KLPD_RESULT      as in JobRemoved; health: passed, failed; kept: later, for-good; stalled: reversing
 *   KLPD_ERRNO       positive number                     KLPD_GENERATION  of the shim
 *   KLPD_DURATION_USEC  completed, reversed, failed: since the job started;  KLPD_TRANSITION_USEC  of these, in transition
 *   KLPD_STATE_ID, KLPD_STATE_NAME, KLPD_FATE, KLPD_FROM, KLPD_TO   edge "state"
 *   KLPD_BLOCKER     stalled: "PID/TID COMM, unit UNIT, patch state N, in FUNCTION", one field each
 *   KLPD_STACK       stalled: "PID/TID COMM" and a line for each frame of its kernel stack, one field each
 *   KLPD_DIGEST      repository, standing: of the content, SHA-256
 *   KLPD_SIGNER      repository: who signed what was imported, if he is trusted (subject of the certificate)
 *   KLPD_STEP        recovered: at which klpd was interrupted
 *   KLPD_RECOVERY    recovered: nothing, finish, follow, reverse, again, undo, back
 *   KLPD_BACK        why it is taken back, in every record of a job from when that is decided
 *   KLPD_UNIT        nudged: units that were frozen for a moment, one field each
 *   KLPD_DOCUMENT    fleet: file of the document         KLPD_FLEET_RULE  fleet: name of the rule that has won
 *   KLPD_RESULT      fleet: reason of a decision (klpctl(8), "fleet plan"), or broken, refused, policy, retry, failed,
 *                    converged, override, resumed, serial-reset
 *   KLPD_PLAN        JSON (klpctl(1)), job-started and refused
 *
 * Readers trust only records with _SYSTEMD_UNIT=klpd.service (SEMANTICS.md 5.6).
 */
#pragma once

#define KLPD_MESSAGE_JOB_STARTED  "95352d8a14804b779dae6cac7539fdad" /* a request was accepted and planned */
#define KLPD_MESSAGE_REFUSED      "a7ba25af223e44a9b9c7706cf11d6096" /* policy refused a request, nothing changed */
#define KLPD_MESSAGE_FAILED       "81ee08283e0b4b889902f03b2f1d69d9" /* a request failed */
#define KLPD_MESSAGE_LOADED       "e4b993d724f7481e93d9e08b9087472f" /* a livepatch module was loaded */
#define KLPD_MESSAGE_PREPARING    "269844bac3a947719d9382d03c2cf8e8" /* the kernel began a change (shim event) */
#define KLPD_MESSAGE_COMPLETED    "f2869283e36944ab88bbd7f8b065a3d3" /* a transition completed */
#define KLPD_MESSAGE_REVERSED     "58662cf4c4e441a0bca47b70dbc20e88" /* a transition was reversed */
#define KLPD_MESSAGE_STALLED      "0a6ffdd28f1a422e9b6402c1a84ba47c" /* a transition waits for tasks */
#define KLPD_MESSAGE_UNLOADED     "36f13c464b5c4a1cbd1af77e86bbacf0" /* a livepatch module was removed */
#define KLPD_MESSAGE_STATE        "2a1482419ab44513bcd8b855714052db" /* the fate of one state */
#define KLPD_MESSAGE_FOREIGN      "5a8025d4aca8452b9f1991164ec23d37" /* something changed that klpd had not asked for */
#define KLPD_MESSAGE_REPOSITORY   "a2eb3dfeb9ea4ff0b95e2f3aa11c3f2a" /* a patch was imported or removed from the repository */
#define KLPD_MESSAGE_STANDING     "c49f9183a9714d6a8ee0dfd0d0f3c1b5" /* a content was put on trial, accepted, dropped, put into quarantine or released */
#define KLPD_MESSAGE_DAEMON       "31806d6938ed4ae4af23808740d58e56" /* klpd started or stopped: what it found */
#define KLPD_MESSAGE_RECOVERED    "c4ceff54a73140328520b8334f8890fa" /* what was interrupted by the end of klpd or of the host */
#define KLPD_MESSAGE_NUDGED       "9f363135570946a89ccb5d76bc680456" /* units were frozen for a moment */
#define KLPD_MESSAGE_FLEET        "15e181f8a23e4ea4acec84aed65aff02" /* what a fleet document wants of this host, and what came of it */
#define KLPD_MESSAGE_HEALTH      "e64aeccce5164f76a966a8b67d1617e3" /* the checks of the host's health with a livepatch have passed or failed */
#define KLPD_MESSAGE_FORCED      "8ea89b9c18474766a7ef77868832d0db" /* somebody has a transition finished by force */
#define KLPD_MESSAGE_KEPT        "9d791d458e074e5a8d78cced9bb102e3" /* a module that is no longer used can't be removed */
