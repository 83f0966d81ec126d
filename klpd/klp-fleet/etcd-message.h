/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The messages of etcd's v3 JSON gateway that klp-fleet needs: requests as text, replies as structs. Pure. Keys
 * and values are base64 in it, 64-bit numbers are strings; members that aren't needed are skipped, whatever they
 * are. A reply may be anything: readers return -EBADMSG (error says why), -E2BIG or -ENOMEM and write nothing then.
 */
#pragma once

#include "policy/error.h"

#define ETCD_KEY_MAX 512U
#define ETCD_DOCUMENT_MAX (8U * 1024U * 1024U)
#define ETCD_SIGNATURE_MAX (64U * 1024U)
#define ETCD_TOKEN_MAX 4096U
#define ETCD_REPLY_MAX 65536U
/* Document and signature in base64, and what stands around them. */
#define ETCD_READ_MAX ((ETCD_DOCUMENT_MAX + ETCD_SIGNATURE_MAX) / 3 * 4 + ETCD_REPLY_MAX)
#define ETCD_TTL_MAX 86400U
#define ETCD_STATUS_MAX 65536U

/* What is at the two keys, in one revision. Without such a key: NULL. */
typedef struct EtcdRead {
        uint64_t revision; /* of the whole store */
        char *document, *signature;
        size_t document_size, signature_size;
} EtcdRead;

void etcd_read_done(EtcdRead *r);
#define _cleanup_etcd_read_ _cleanup_(etcd_read_done)

typedef enum EtcdWatch {
        ETCD_WATCH_NOTHING, /* it has begun, or it lives */
        ETCD_WATCH_CHANGED,
        ETCD_WATCH_ENDED,   /* cancelled: revisions are gone, or another reason, in error */
} EtcdWatch;

/* Requests: malloc'ed, -ENOMEM. */
int etcd_request_authenticate(const char *user, const char *password, char **ret);
int etcd_request_read(const char *document_key, const char *signature_key, char **ret);
/* Both keys, and what is between them; from is the first revision that is of interest. */
int etcd_request_watch(const char *document_key, const char *signature_key, uint64_t from, char **ret);
int etcd_request_lease_grant(uint64_t ttl, char **ret);
int etcd_request_lease(uint64_t lease, char **ret); /* keepalive, revoke */
int etcd_request_put(const char *key, const char *value, uint64_t lease, char **ret);

/* Replies. */
int etcd_parse_token(const char *text, size_t size, char ret[static ETCD_TOKEN_MAX + 1], PolicyError *error);
int etcd_parse_read(const char *text, size_t size, EtcdRead *ret, PolicyError *error);
int etcd_parse_watch(const char *text, size_t size, EtcdWatch *ret, PolicyError *error);
/* A lease and how long it lasts, in seconds, at most ETCD_TTL_MAX; 0: it is gone (keepalive). */
int etcd_parse_lease(const char *text, size_t size, uint64_t *ret_lease, uint64_t *ret_ttl, PolicyError *error);

/* gRPC's codes as far as they make a difference. */
#define ETCD_CODE_INVALID_ARGUMENT 3U
#define ETCD_CODE_NOT_FOUND 5U
#define ETCD_CODE_UNAUTHENTICATED 16U
/* What a reply with another status than 200 says; returns gRPC's code, or 0. buf gets one line. */
unsigned etcd_describe_error(long status, const char *text, size_t text_size, char *buf, size_t size);
