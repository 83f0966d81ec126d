/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The slot: a change that klpd makes because of a fleet document may have to wait until somebody who sees
 * more than this host says that it is this host's turn (SEMANTICS.md section 6, DESIGN.md "Fleet"). That is
 * klp-fleet, which asks a FleetLock server; klpd itself opens no network socket. This header is the contract
 * between the two.
 *
 * When a slot is needed: FleetSlot=yes in klpd.conf(5), or "slot": true in the rule that has won. Only what converges needs one; requests by hand,
 * trials that are resumed and what is applied at boot don't.
 *
 * D-Bus, object /org/klpd1 of org.klpd1, interface org.klpd1.Slot:
 *
 *   property Wanted s   the token of the slot that klpd wants or has; "" when it wants none: what was had
 *                       is given back. PropertiesChanged tells (with State).
 *   property State s    "none"    Wanted is ""
 *                       "wanted"  klpd waits; the change hasn't begun
 *                       "held"    granted; the change is under way, or its probation is
 *                       "failed"  the convergence failed, or klpd can't tell how it ended: the slot is kept,
 *                                 so that a roll stops here, until an operator says `klpctl fleet resume`
 *   method Grant(s token)   the slot is there. Only the user klp-fleet may call it (bus policy, and klpd
 *                       looks at the caller's uid itself). Any number of times for one token.
 *                       org.klpd1.Error.NoSuchSlot: klpd doesn't want that one (any more): look at Wanted
 *                       again. org.freedesktop.DBus.Error.AccessDenied: somebody else.
 *
 * What klp-fleet does, at its start, whenever klpd appears on the bus, and whenever Wanted changes:
 *
 *   klpd not on the bus   nothing: a slot that may be in use is not given back
 *   Wanted = ""           gives back the host's slot (harmless if it has none)
 *   Wanted = T            acquires the host's slot (FleetLock is recursive: who has it gets it again), trying
 *                         again with back-off until it is there or Wanted has changed; then Grant(T)
 *
 * So the one thing that decides is Wanted, and it is the same before and after a crash of either side:
 * a token that stands for a change that has begun is on disk before the change begins (fleet-record.h), and
 * is Wanted again, as "held" or "failed", by the next klpd, also after a reboot. A token that was only wanted
 * may change with a restart. A grant isn't remembered by klpd beyond its own life unless the change has
 * begun; Grant() is simply called again then. Without klp-fleet a change that needs a slot waits forever.
 *
 * Nothing that comes through here says what to do: a grant opens one gate more, after all others.
 *
 * Documents from the network: klp-fleet writes NAME.json and its detached signature NAME.json.p7s (CMS,
 * DER, as klpd/signature.h checks) into /run/klp-fleet/fleet.d/, each atomically (written beside, renamed),
 * the signature first; a name beginning with '.' is not looked at. klpd watches the directory, takes only
 * what is signed by a certificate that it trusts for fleet documents, whatever the policy says, and keeps
 * the last good one of a name in force when it is replaced by something else or vanishes.
 *
 * What klp-fleet publishes of this host are properties of org.klpd1.Fleet (org.klpd1.xml).
 */
#pragma once

#include <systemd/sd-bus.h>

#include "policy/util.h"

#define FLEET_INTERFACE "org.klpd1.Fleet"
#define SLOT_INTERFACE "org.klpd1.Slot"
#define SLOT_USER "klp-fleet"
#define SLOT_TOKEN_MAX 64U
#define ERROR_NO_SUCH_SLOT "org.klpd1.Error.NoSuchSlot"

#define FLEET_NETWORK_DIRECTORY "/run/klp-fleet/fleet.d"
#define FLEET_SIGNATURE_SUFFIX ".p7s"

typedef enum SlotState {
        SLOT_NONE,
        SLOT_WANTED,
        SLOT_HELD,
        SLOT_FAILED,
        _SLOT_STATE_MAX,
} SlotState;
