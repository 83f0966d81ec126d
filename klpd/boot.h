/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klpd --boot and klpd --shutdown (klpd-boot.service): accepted patches are applied early, without the bus,
 * with the same manager and the same transactions as ever; and the end of a boot is written down as orderly.
 * SEMANTICS.md section 6.
 */
#pragma once

#include "klpd/manager.h"

/* Called once with an exit status, never from within boot_start(). */
typedef void (*BootCallback)(int status, void *userdata);

typedef struct Boot Boot;

/* The manager is started here, as boot's. */
int boot_start(Manager *m, BootCallback callback, void *userdata, Boot **ret);
Boot *boot_free(Boot *b);
DEFINE_CLEANUP(Boot *, boot_free);

/* Whether systemd is shutting the system down; false also if it can't be asked. */
bool boot_is_stopping(void);
/* Writes it down, unless the record can't be trusted or is of another boot. */
int boot_shutdown(int root_fd);
