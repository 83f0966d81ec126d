/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See slot.h. */
#include <ctype.h>
#include <stdio.h>

#include "klpd/klp-fleet/slot.h"

void slot_forget(Slot *s) {
        s->known = false;
        s->wanted[0] = 0;
        s->granted[0] = 0;
        s->telling[0] = 0;
}

int slot_set_wanted(Slot *s, const char *wanted) {
        size_t n = wanted ? strlen(wanted) : 0;

        if (!wanted)
                return slot_forget(s), 0;
        for (const char *p = wanted; *p; p++)
                if (n > SLOT_TOKEN_MAX || !isgraph((unsigned char) *p))
                        return slot_forget(s), -EINVAL;
        s->known = true;
        memcpy(s->wanted, wanted, n + 1);
        return 0;
}

static SlotAction decide(const Slot *s) {
        if (s->busy != SLOT_ACTION_NONE || !s->known)
                return SLOT_ACTION_NONE;
        if (!s->wanted[0])
                return s->have != SLOT_HAVE_NO ? SLOT_ACTION_RELEASE : SLOT_ACTION_NONE;
        if (s->have != SLOT_HAVE_YES)
                return SLOT_ACTION_ACQUIRE;
        return streq(s->granted, s->wanted) ? SLOT_ACTION_NONE : SLOT_ACTION_GRANT;
}

SlotAction slot_next(Slot *s) {
        SlotAction action = decide(s);

        if (action == SLOT_ACTION_NONE)
                return action;
        if (action == SLOT_ACTION_GRANT)
                memcpy(s->telling, s->wanted, sizeof(s->telling));
        else
                s->have = SLOT_HAVE_UNKNOWN; /* until the server has said yes */
        s->busy = action;
        return action;
}

void slot_done(Slot *s, bool success) {
        SlotAction action = s->busy;

        s->busy = SLOT_ACTION_NONE;
        if (!success)
                return;
        if (action == SLOT_ACTION_ACQUIRE)
                s->have = SLOT_HAVE_YES;
        else if (action == SLOT_ACTION_RELEASE)
                s->have = SLOT_HAVE_NO;
        else if (action == SLOT_ACTION_GRANT)
                memcpy(s->granted, s->telling, sizeof(s->granted));
}
