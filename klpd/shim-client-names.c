/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Words for the numbers of klp_shim_abi.h. */
#include "klpd/shim-client.h"

const char *shim_event_to_string(enum klp_shim_event kind) {
        switch (kind) {
        case KLP_SHIM_EVENT_MODULE_LOADED:
                return "module-loaded";
        case KLP_SHIM_EVENT_MODULE_UNLOADED:
                return "module-unloaded";
        case KLP_SHIM_EVENT_REGISTERED:
                return "registered";
        case KLP_SHIM_EVENT_UNREGISTERED:
                return "unregistered";
        case KLP_SHIM_EVENT_PREPARING:
                return "preparing";
        case KLP_SHIM_EVENT_ENDED:
                return "ended";
        case KLP_SHIM_EVENT_STATE_INTRODUCED:
                return "state-introduced";
        case KLP_SHIM_EVENT_STATE_KEPT:
                return "state-kept";
        case KLP_SHIM_EVENT_STATE_TAKEN_OVER:
                return "state-taken-over";
        case KLP_SHIM_EVENT_STATE_EXCHANGED:
                return "state-exchanged";
        case KLP_SHIM_EVENT_STATE_REMOVED:
                return "state-removed";
        case KLP_SHIM_EVENT_STATE_ORPHANED:
                return "state-orphaned";
        case KLP_SHIM_EVENT_SHADOW_FREED:
                return "shadow-freed";
        }
        return NULL;
}

const char *shim_operation_to_string(enum klp_shim_operation op) {
        switch (op) {
        case KLP_SHIM_OP_ENABLE:
                return "enable";
        case KLP_SHIM_OP_REPLACE:
                return "replace";
        case KLP_SHIM_OP_DISABLE:
                return "disable";
        }
        return NULL;
}

const char *shim_end_to_string(enum klp_shim_end end) {
        switch (end) {
        case KLP_SHIM_END_PATCHED:
                return "patched";
        case KLP_SHIM_END_UNPATCHED:
                return "unpatched";
        case KLP_SHIM_END_CANCELLED:
                return "cancelled";
        case KLP_SHIM_END_REVERSED:
                return "reversed";
        }
        return NULL;
}
