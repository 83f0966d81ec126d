/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Raw generic netlink to klp_shim, for the tools of scenarios: one socket, no library, so that it runs in an
 * initramfs.  Everything that arrives is checked for its length before it is read.  Each tool is one program and
 * includes this once.
 */
#ifndef SHIM_NL_H
#define SHIM_NL_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/genetlink.h>
#include <linux/netlink.h>

#include "klp_shim_abi.h"

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

#define BUFFER_SIZE 65536

static int sock = -1;
static uint16_t family_id;
static uint32_t group_id;
static uint32_t next_seq = 1;

static _Noreturn __attribute__((format(printf, 2, 3))) void die(int status, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        vfprintf(stderr, format, ap);
        va_end(ap);
        fputc('\n', stderr);
        exit(status);
}

/* ---- Messages ---- */

typedef struct Message {
        union {
                struct nlmsghdr header;
                uint8_t bytes[BUFFER_SIZE];
        };
} Message;

static void message_init(Message *m, uint16_t type, uint16_t flags, uint8_t cmd) {
        struct genlmsghdr *g = NLMSG_DATA(&m->header);

        memset(m->bytes, 0, NLMSG_LENGTH(GENL_HDRLEN));
        m->header.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
        m->header.nlmsg_type = type;
        m->header.nlmsg_flags = NLM_F_REQUEST | flags;
        m->header.nlmsg_seq = next_seq++;
        g->cmd = cmd;
        g->version = 1;
}

static void message_append(Message *m, const void *data, size_t size) {
        if (m->header.nlmsg_len + size + NLA_ALIGNTO > sizeof(m->bytes))
                die(125, "message too long");
        memcpy(m->bytes + m->header.nlmsg_len, data, size);
        m->header.nlmsg_len += size;
}

static void message_attr(Message *m, uint16_t type, const void *data, size_t size) {
        static const uint8_t zeros[NLA_ALIGNTO];
        struct nlattr attr = { .nla_len = NLA_HDRLEN + size, .nla_type = type };

        message_append(m, &attr, sizeof(attr));
        message_append(m, data, size);
        message_append(m, zeros, NLA_ALIGN(size) - size);
}

static void message_send(const Message *m) {
        struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

        if (sendto(sock, m->bytes, m->header.nlmsg_len, 0, (struct sockaddr *) &kernel, sizeof(kernel)) < 0)
                die(errno, "sendto: %s", strerror(errno));
}

/* ---- Attributes ---- */

typedef struct Attrs {
        const struct nlattr *a[64];
} Attrs;

static size_t attr_size(const struct nlattr *attr) {
        return attr->nla_len - NLA_HDRLEN;
}

static const void *attr_data(const struct nlattr *attr) {
        return (const uint8_t *) attr + NLA_HDRLEN;
}

/* Steps through the attributes in [*p, *p + *left); NULL at the end or at the first malformed one. */
static const struct nlattr *attr_next(const void **p, size_t *left) {
        const struct nlattr *attr = *p;
        size_t step;

        if (*left < NLA_HDRLEN || attr->nla_len < NLA_HDRLEN || attr->nla_len > *left)
                return NULL;
        step = NLA_ALIGN(attr->nla_len);
        if (step > *left)
                step = *left;
        *p = (const uint8_t *) *p + step;
        *left -= step;
        return attr;
}

static unsigned attr_type(const struct nlattr *attr) {
        return attr->nla_type & NLA_TYPE_MASK;
}

static void attrs_parse(const void *data, size_t size, Attrs *ret) {
        const struct nlattr *attr;

        memset(ret, 0, sizeof(*ret));
        while ((attr = attr_next(&data, &size)))
                if (attr_type(attr) < 64 && !ret->a[attr_type(attr)])
                        ret->a[attr_type(attr)] = attr;
}

static uint64_t get_u(const Attrs *t, unsigned type) {
        uint64_t u64 = 0;
        uint32_t u32 = 0;

        if (!t->a[type])
                return 0;
        if (attr_size(t->a[type]) == sizeof(u64)) {
                memcpy(&u64, attr_data(t->a[type]), sizeof(u64));
                return u64;
        }
        if (attr_size(t->a[type]) == sizeof(u32))
                memcpy(&u32, attr_data(t->a[type]), sizeof(u32));
        return u32;
}

static const char *get_s(const Attrs *t, unsigned type) {
        if (!t->a[type] || attr_size(t->a[type]) == 0 ||
            ((const char *) attr_data(t->a[type]))[attr_size(t->a[type]) - 1] != '\0')
                return "";
        return attr_data(t->a[type]);
}

static void get_nest(const Attrs *t, unsigned type, Attrs *ret) {
        if (t->a[type])
                attrs_parse(attr_data(t->a[type]), attr_size(t->a[type]), ret);
        else
                memset(ret, 0, sizeof(*ret));
}

/* ---- Answers ---- */

typedef void (*answer_fn)(const void *attrs, size_t size);

static bool dump_interrupted;

static int error_of(const struct nlmsghdr *h, bool show) {
        const struct nlmsgerr *e = NLMSG_DATA(h);
        size_t skip = sizeof(*e);
        Attrs t;

        if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*e)))
                die(EPROTO, "short error message");
        if (e->error == 0)
                return 0;
        if (!(h->nlmsg_flags & NLM_F_CAPPED))
                skip += e->msg.nlmsg_len - sizeof(e->msg);
        if (show && (h->nlmsg_flags & NLM_F_ACK_TLVS) && h->nlmsg_len >= NLMSG_LENGTH(skip)) {
                attrs_parse((const uint8_t *) e + NLMSG_ALIGN(skip), h->nlmsg_len - NLMSG_LENGTH(skip), &t);
                fprintf(stderr, "%s: %s", strerror(-e->error), get_s(&t, NLMSGERR_ATTR_MSG));
                if (t.a[NLMSGERR_ATTR_OFFS])
                        fprintf(stderr, " (attribute at %llu)",
                                (unsigned long long) get_u(&t, NLMSGERR_ATTR_OFFS));
                fputc('\n', stderr);
        } else if (show)
                fprintf(stderr, "%s\n", strerror(-e->error));
        return -e->error;
}

/*
 * How much is asked for at once.  The kernel makes the messages of a dump as large as its reader has read before; so the
 * family's answer is read into little, and a dump's first message has the room that the shim has asked for, no more.
 */
static size_t receive_room = 2048;

/* Receives until an acknowledgement, an error or the end of a dump. */
static int receive(uint32_t seq, answer_fn fn, bool show) {
        static uint8_t buffer[BUFFER_SIZE] __attribute__((aligned(8)));

        for (;;) {
                ssize_t n = recv(sock, buffer, receive_room, 0);
                const struct nlmsghdr *h = (void *) buffer;
                size_t left;

                if (n < 0)
                        die(errno, "recv: %s", strerror(errno));
                for (left = n; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
                        const struct genlmsghdr *g = NLMSG_DATA(h);

                        if (h->nlmsg_seq != seq)
                                continue;
                        if (h->nlmsg_flags & NLM_F_DUMP_INTR)
                                dump_interrupted = true;
                        if (h->nlmsg_type == NLMSG_ERROR)
                                return error_of(h, show);
                        if (h->nlmsg_type == NLMSG_DONE) {
                                int32_t error = 0;

                                if (h->nlmsg_len >= NLMSG_LENGTH(sizeof(error)))
                                        memcpy(&error, NLMSG_DATA(h), sizeof(error));
                                return -error;
                        }
                        if (h->nlmsg_len < NLMSG_LENGTH(GENL_HDRLEN))
                                die(EPROTO, "short message");
                        if (fn)
                                fn((const uint8_t *) g + GENL_HDRLEN,
                                   h->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN));
                }
        }
}

static int request(Message *m, answer_fn fn) {
        message_send(m);
        return receive(m->header.nlmsg_seq, fn, true);
}

/* ---- The family ---- */

static void on_family(const void *data, size_t size) {
        const void *groups;
        const struct nlattr *group;
        size_t left;
        Attrs t, g;

        attrs_parse(data, size, &t);
        if (t.a[CTRL_ATTR_FAMILY_ID] && attr_size(t.a[CTRL_ATTR_FAMILY_ID]) == sizeof(family_id))
                memcpy(&family_id, attr_data(t.a[CTRL_ATTR_FAMILY_ID]), sizeof(family_id));
        if (!t.a[CTRL_ATTR_MCAST_GROUPS])
                return;
        groups = attr_data(t.a[CTRL_ATTR_MCAST_GROUPS]);
        left = attr_size(t.a[CTRL_ATTR_MCAST_GROUPS]);
        while ((group = attr_next(&groups, &left))) {
                attrs_parse(attr_data(group), attr_size(group), &g);
                if (strcmp(get_s(&g, CTRL_ATTR_MCAST_GRP_NAME), KLP_SHIM_MCGRP_EVENTS) == 0)
                        group_id = get_u(&g, CTRL_ATTR_MCAST_GRP_ID);
        }
}

static void open_socket(void) {
        struct sockaddr_nl self = { .nl_family = AF_NETLINK };
        static Message m;
        int one = 1, size = 4 * 1024 * 1024, r;

        sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
        if (sock < 0 || bind(sock, (struct sockaddr *) &self, sizeof(self)) < 0)
                die(errno, "netlink socket: %s", strerror(errno));
        (void) setsockopt(sock, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
        (void) setsockopt(sock, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
        (void) setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));

        message_init(&m, GENL_ID_CTRL, NLM_F_ACK, CTRL_CMD_GETFAMILY);
        message_attr(&m, CTRL_ATTR_FAMILY_NAME, KLP_SHIM_GENL_NAME, sizeof(KLP_SHIM_GENL_NAME));
        r = request(&m, on_family);
        if (r != 0)
                die(r, "family %s isn't there", KLP_SHIM_GENL_NAME);
        receive_room = BUFFER_SIZE;
        /* The acknowledgement follows the answer. */
        if (family_id == 0)
                die(EPROTO, "family %s has no id", KLP_SHIM_GENL_NAME);
}

#endif
