/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where klpd finds what came over the network: NAME.json and its signature NAME.json.p7s in
 * /run/klp-fleet/fleet.d (klpd/fleet-slot.h). What is in them is klpd's to judge.
 */
#pragma once

#include "policy/util.h"

/*
 * Puts both there, each at once and whole, the signature first, unless they are there already. 1: written,
 * 0: nothing new. A directory that isn't there is made. What can't be written leaves what was there.
 */
int document_store(int root_fd, const char *name, const char *document, size_t document_size,
                   const char *signature, size_t signature_size);
