/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* klp-fleet.conf(5). A server without an address isn't used. */
#pragma once

#include "klpd/config-file.h"
#include "klpd/klp-fleet/etcd-message.h"
#include "klpd/klp-fleet/lock-message.h"

#define CONFIG_URL_MAX 512U
#define CONFIG_ENDPOINTS_MAX 8U
#define CONFIG_NAME_MAX 64U
#define CONFIG_PASSWORD_MAX 1024U

/* [FleetLock] */
typedef struct LockConfig {
        char url[CONFIG_URL_MAX];
        char group[LOCK_GROUP_MAX + 1];
        char ca[CONFIG_PATH_MAX], certificate[CONFIG_PATH_MAX], key[CONFIG_PATH_MAX];
        uint64_t timeout_usec, retry_usec, retry_max_usec;
} LockConfig;

typedef struct Endpoints {
        char urls[CONFIG_ENDPOINTS_MAX][CONFIG_URL_MAX];
        size_t n;
} Endpoints;

/* [Etcd] */
typedef struct EtcdConfig {
        Endpoints endpoints;
        char document_key[ETCD_KEY_MAX];   /* "": no document is fetched */
        char document_name[CONFIG_NAME_MAX]; /* of the file, without ".json" */
        char status_prefix[ETCD_KEY_MAX];  /* "": nothing is published */
        char user[CONFIG_NAME_MAX], password_file[CONFIG_PATH_MAX];
        char ca[CONFIG_PATH_MAX], certificate[CONFIG_PATH_MAX], key[CONFIG_PATH_MAX];
        uint64_t timeout_usec, retry_usec, retry_max_usec, refresh_usec, lease_usec;
} EtcdConfig;

typedef struct FleetConfig {
        char id[LOCK_ID_MAX + 1]; /* [Host] Id=; "": made from the machine id */
        LockConfig lock;
        EtcdConfig etcd;
} FleetConfig;

void fleet_config_init(FleetConfig *config);
/* As config_file_load(). */
int fleet_config_load(int root_fd, ConfigReport report, void *userdata, FleetConfig *ret);
/* What can't be done as it is configured, as a sentence in buf; false: it can. */
bool fleet_config_problem(const FleetConfig *config, char *buf, size_t size);
