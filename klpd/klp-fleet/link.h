/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klp-fleet's side of the bus: what klpd wants (klpd/fleet-slot.h), telling it that it has its slot, and what of
 * the host is published. klpd is never started by it, and is asked for nothing that changes something but Grant.
 */
#pragma once

#include <systemd/sd-event.h>

#include "policy/util.h"

typedef struct Link Link;

typedef struct LinkHandlers {
        /* The token, or "": none. NULL: klpd isn't there, or doesn't say. */
        void (*on_wanted)(const char *token, void *userdata);
        /* How link_grant() ended. */
        void (*on_granted)(bool success, void *userdata);
        /* What there is to say of this host, a JSON object in one line. */
        void (*on_status)(const char *text, void *userdata);
        void *userdata;
} LinkHandlers;

/* Connects now and whenever the bus is lost. id goes into the status. */
int link_new(sd_event *event, const char *id, const LinkHandlers *handlers, Link **ret);
Link *link_free(Link *l);
int link_grant(Link *l, const char *token);
