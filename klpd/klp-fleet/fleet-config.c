/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See fleet-config.h. */
#include <ctype.h>
#include <stdio.h>

#include "klpd/klp-fleet/fleet-config.h"
#include "klpd/klp-fleet/http.h"

#define SECONDS(n) (UINT64_C(n) * 1000000)

void fleet_config_init(FleetConfig *config) {
        *config = (FleetConfig) {
                .lock = {
                        .group = "default",
                        .timeout_usec = SECONDS(30),
                        .retry_usec = SECONDS(5),
                        .retry_max_usec = SECONDS(300),
                },
                .etcd = {
                        .document_key = "/klpd/fleet.json",
                        .document_name = "etcd",
                        .status_prefix = "/klpd/hosts/",
                        .timeout_usec = SECONDS(30),
                        .retry_usec = SECONDS(1),
                        .retry_max_usec = SECONDS(300),
                        .refresh_usec = SECONDS(600),
                        .lease_usec = SECONDS(60),
                },
        };
}

static int copy(const char *value, char *field, size_t size) {
        if (strlen(value) >= size)
                return -ERANGE;
        (void) strcpy(field, value);
        return 0;
}

static int parse_url(const char *value, void *field) {
        bool plain;

        if (*value && !http_url_is_valid(value, &plain))
                return -EINVAL;
        return copy(value, field, CONFIG_URL_MAX);
}

static int parse_endpoints(const char *value, void *field) {
        Endpoints e = {};

        for (const char *p = value; *p; p += strspn(p, " \t")) {
                size_t n = strcspn(p, " \t");
                char url[CONFIG_URL_MAX];
                bool plain;

                if (n >= sizeof(url) || e.n >= CONFIG_ENDPOINTS_MAX)
                        return -ERANGE;
                memcpy(url, p, n);
                url[n] = 0;
                if (!http_url_is_valid(url, &plain))
                        return -EINVAL;
                while (n > 0 && url[n - 1] == '/')
                        url[--n] = 0;
                (void) strcpy(e.urls[e.n++], url);
                p += strcspn(p, " \t");
        }
        *(Endpoints *) field = e;
        return 0;
}

static int parse_group(const char *value, void *field) {
        return lock_group_is_valid(value) ? copy(value, field, LOCK_GROUP_MAX + 1) : -EINVAL;
}

static int parse_id(const char *value, void *field) {
        return !*value || lock_id_is_valid(value) ? copy(value, field, LOCK_ID_MAX + 1) : -EINVAL;
}

/* A key of etcd's: anything that can be seen. */
static int parse_key(const char *value, void *field) {
        for (const char *p = value; *p; p++)
                if (!isgraph((unsigned char) *p))
                        return -EINVAL;
        /* What is put behind it has to fit, too. */
        return strlen(value) + LOCK_ID_MAX + 8 >= ETCD_KEY_MAX ? -ERANGE : copy(value, field, ETCD_KEY_MAX);
}

static int parse_name(const char *value, void *field) {
        return *value != '.' && lock_id_is_valid(value) ? copy(value, field, CONFIG_NAME_MAX) : -EINVAL;
}

static int parse_user(const char *value, void *field) {
        for (const char *p = value; *p; p++)
                if (!isgraph((unsigned char) *p))
                        return -EINVAL;
        return copy(value, field, CONFIG_NAME_MAX);
}

/* etcd counts in seconds, and two renewals may fail. */
static int parse_lease(const char *value, void *field) {
        uint64_t usec;
        int r = config_parse_timespan(value, &usec);

        if (r < 0)
                return r;
        if (usec < SECONDS(3) || usec > SECONDS(1) * ETCD_TTL_MAX)
                return -ERANGE;
        *(uint64_t *) field = usec;
        return 0;
}

static const ConfigKey host_keys[] = {
        { "Id", parse_id, offsetof(FleetConfig, id) },
};

static const ConfigKey lock_keys[] = {
        { "Url", parse_url, offsetof(FleetConfig, lock.url) },
        { "Group", parse_group, offsetof(FleetConfig, lock.group) },
        { "CAFile", parse_path, offsetof(FleetConfig, lock.ca) },
        { "CertificateFile", parse_path, offsetof(FleetConfig, lock.certificate) },
        { "KeyFile", parse_path, offsetof(FleetConfig, lock.key) },
        { "TimeoutSec", parse_positive_timespan, offsetof(FleetConfig, lock.timeout_usec) },
        { "RetrySec", parse_positive_timespan, offsetof(FleetConfig, lock.retry_usec) },
        { "RetryMaxSec", parse_positive_timespan, offsetof(FleetConfig, lock.retry_max_usec) },
};

static const ConfigKey etcd_keys[] = {
        { "Endpoints", parse_endpoints, offsetof(FleetConfig, etcd.endpoints) },
        { "DocumentKey", parse_key, offsetof(FleetConfig, etcd.document_key) },
        { "DocumentName", parse_name, offsetof(FleetConfig, etcd.document_name) },
        { "StatusPrefix", parse_key, offsetof(FleetConfig, etcd.status_prefix) },
        { "User", parse_user, offsetof(FleetConfig, etcd.user) },
        { "PasswordFile", parse_path, offsetof(FleetConfig, etcd.password_file) },
        { "CAFile", parse_path, offsetof(FleetConfig, etcd.ca) },
        { "CertificateFile", parse_path, offsetof(FleetConfig, etcd.certificate) },
        { "KeyFile", parse_path, offsetof(FleetConfig, etcd.key) },
        { "TimeoutSec", parse_positive_timespan, offsetof(FleetConfig, etcd.timeout_usec) },
        { "RetrySec", parse_positive_timespan, offsetof(FleetConfig, etcd.retry_usec) },
        { "RetryMaxSec", parse_positive_timespan, offsetof(FleetConfig, etcd.retry_max_usec) },
        { "RefreshSec", parse_positive_timespan, offsetof(FleetConfig, etcd.refresh_usec) },
        { "LeaseSec", parse_lease, offsetof(FleetConfig, etcd.lease_usec) },
};

int fleet_config_load(int root_fd, ConfigReport report, void *userdata, FleetConfig *ret) {
        static const ConfigSection sections[] = {
                { "Host", host_keys, ELEMENTSOF(host_keys) },
                { "FleetLock", lock_keys, ELEMENTSOF(lock_keys) },
                { "Etcd", etcd_keys, ELEMENTSOF(etcd_keys) },
        };
        FleetConfig config;
        int r;

        fleet_config_init(&config);
        r = config_file_load(root_fd, "klp-fleet.conf", sections, ELEMENTSOF(sections), &config, report,
                             userdata);
        if (r < 0)
                return r;
        if (config.lock.retry_max_usec < config.lock.retry_usec)
                config.lock.retry_max_usec = config.lock.retry_usec;
        if (config.etcd.retry_max_usec < config.etcd.retry_usec)
                config.etcd.retry_max_usec = config.etcd.retry_usec;
        *ret = config;
        return 0;
}

bool fleet_config_problem(const FleetConfig *config, char *buf, size_t size) {
        const EtcdConfig *e = &config->etcd;

        for (size_t i = 0; i < e->endpoints.n && *e->user; i++) {
                bool plain = true;

                if (http_url_is_valid(e->endpoints.urls[i], &plain) && !plain)
                        continue;
                (void) snprintf(buf, size, "[Etcd] User= needs https: a password doesn't go over the network "
                                           "to %s",
                                e->endpoints.urls[i]);
                return true;
        }
        if (*e->user && !*e->password_file) {
                (void) snprintf(buf, size, "[Etcd] User= needs PasswordFile=");
                return true;
        }
        return false;
}
