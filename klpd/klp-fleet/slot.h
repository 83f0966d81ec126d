/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What to do next about the host's slot (klpd/fleet-slot.h). Pure: told what klpd wants and how a request ended,
 * it says what the next request is. Nothing of it is kept on disk: what klpd wants is the one truth, and until a
 * server has said yes to one of the two requests nobody here knows whether this host has a slot, so it asks.
 */
#pragma once

#include "klpd/fleet-slot.h"

typedef enum SlotAction {
        SLOT_ACTION_NONE,
        SLOT_ACTION_ACQUIRE, /* pre-reboot; who has the slot gets it again */
        SLOT_ACTION_RELEASE, /* steady-state; harmless for who has none */
        SLOT_ACTION_GRANT,   /* tell klpd */
} SlotAction;

typedef enum SlotHave {
        SLOT_HAVE_UNKNOWN,
        SLOT_HAVE_YES,
        SLOT_HAVE_NO,
} SlotHave;

typedef struct Slot {
        bool known; /* klpd is there, and wanted is what it wants */
        char wanted[SLOT_TOKEN_MAX + 1];
        char granted[SLOT_TOKEN_MAX + 1]; /* what this klpd has been told */
        char telling[SLOT_TOKEN_MAX + 1]; /* what it is being told */
        SlotHave have;
        SlotAction busy; /* the request that is under way */
} Slot;

/* wanted: "" or a token; NULL: klpd isn't there. -EINVAL: no token, nothing is known any more then. */
int slot_set_wanted(Slot *s, const char *wanted);
/* Another klpd than before: it hasn't been told anything. */
void slot_forget(Slot *s);
/* The request to start now; it counts as under way from here on. */
SlotAction slot_next(Slot *s);
/* How it ended. A request that failed may yet have had its effect. */
void slot_done(Slot *s, bool success);
