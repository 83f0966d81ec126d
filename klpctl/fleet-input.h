/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What `klpctl fleet` reads: fleet documents, as a host would read them, and inventories of hosts of any
 * length, one line at a time. All say what is wrong themselves and return an exit status, unless noted.
 */
#pragma once

#include "klpctl.h"
#include "policy/fleet.h"

typedef struct FleetInput {
        FleetDocument **documents;
        size_t n;
        FleetSet *set;
} FleetInput;

void fleet_input_done(FleetInput *f);

/* Files and directories; without any, the directories of this host. Windows are expanded from now on. */
int fleet_input_load(Ctl *c, char *const *paths, uint64_t now, FleetInput *ret);

/* CLOCK_REALTIME, or what --at says. */
uint64_t fleet_input_now(const Ctl *c);

typedef struct FleetHosts {
        const char *path;
        int fd;
        char *buf;
        size_t begin, end, room;
        uint64_t line;
        const char *text; /* of the last host, as it was read */
        size_t text_size;
        bool eof;
        FleetHostParser *parser;
        FleetHost host;
} FleetHosts;

int fleet_hosts_open(Ctl *c, const char *path, FleetHosts *ret);
void fleet_hosts_done(FleetHosts *h);
/*
 * The next host: 1, valid until the next call; 0 at the end. -EBADMSG: this line is no host, error says why
 * (its line is that of the file), and the next call goes on behind it. Other errors are final.
 */
int fleet_hosts_next(FleetHosts *h, const FleetHost **ret, PolicyError *error);
/* All of the input as one host, over as many lines as it likes. */
int fleet_hosts_only(Ctl *c, FleetHosts *h, const FleetHost **ret);
