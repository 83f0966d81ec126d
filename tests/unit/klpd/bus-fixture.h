/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A bus of one's own (dbus-daemon), fake-klpd on it, and a client: what the bus tests share. One daemon for
 * all tests of a program; each test gets a fresh connection.
 */
#pragma once

#include "test-util.h"

#include <signal.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>

#define DESTINATION "org.klpd1"
#define PATH "/org/klpd1"
#define INTERFACE "org.klpd1.Manager"
#define INVALID "org.freedesktop.DBus.Error.InvalidArgs"

typedef struct Removed {
        char path[64], result[32], error[64];
        char message[2048], plan[8192];
        bool seen;
} Removed;

extern Tree bus_tree;
extern struct utsname bus_uts;

void bus_start_daemon(void); /* without fake-klpd */
void bus_stop_daemon(void);
void bus_kill_daemon(void); /* in the middle of a test; bus_stop() is still to be called */
int bus_start(const char *fake_klpd);  /* group setup */
void bus_kill_and_restart(const char *fake_klpd);
int bus_stop(void);
/* A module file of the repository: PATCH in JSON, rest after name and kernel. */
void bus_add_patch(const char *name, const char *rest);
sd_bus *bus_connect(void);
/* Waits for JobRemoved of that job; subscribe before. */
void bus_watch(sd_bus *bus, Removed *removed);
void bus_wait_removed(sd_bus *bus, Removed *removed, const char *path);
/* Error name of a call that has to fail; static buffer. */
const char *bus_error_of(int r, sd_bus_error *error);

/* A request; path gets its job's object. */
int bus_apply(sd_bus *bus, const char *patch, char *path, size_t size, sd_bus_error *error);
int bus_request(sd_bus *bus, const char *method, const char *patch, char *path, size_t size);
int bus_cancel(sd_bus *bus, const char *path, sd_bus_error *error);
/* Runs to its end; the result is in removed, which watches. */
void bus_complete(sd_bus *bus, const char *method, const char *patch, Removed *removed);
