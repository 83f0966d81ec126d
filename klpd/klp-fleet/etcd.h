/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The session with etcd: reads the document and its signature, watches for changes, and publishes this host's
 * status under a lease. Whatever etcd does, it only ever means: read again, later.
 */
#pragma once

#include "klpd/klp-fleet/fleet-config.h"
#include "klpd/klp-fleet/http.h"

typedef struct Etcd Etcd;

typedef struct EtcdHandlers {
        /* What is at the keys now; nothing there is told, too. Negative: couldn't be taken, try again later. */
        int (*on_document)(const EtcdRead *read, void *userdata);
        void *userdata;
} EtcdHandlers;

/* config, http, id and password are borrowed. It begins with the event loop. */
int etcd_new(sd_event *event, Http *http, const EtcdConfig *config, const char *id, const char *password,
             const EtcdHandlers *handlers, Etcd **ret);
Etcd *etcd_free(Etcd *e);

/* What to publish from now on. */
int etcd_set_status(Etcd *e, const char *text);
/* For people. */
const char *etcd_status(const Etcd *e);
