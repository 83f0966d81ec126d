/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See shim-client-message.h. */
#include "klpd/shim-client-message.h"

#include <linux/genetlink.h>
#include <netlink/attr.h>

/* The attributes of one level, by type; repeated ones are visited with FOREACH_ATTR instead. */
typedef struct Attrs {
        const struct nlattr *first;
        int size;
        const struct nlattr *by_type[32];
} Attrs;

#define FOREACH_ATTR(a, attrs, rem)                                                                         \
        for ((a) = (attrs)->first, (rem) = (attrs)->size; (rem) > 0 && nla_ok((a), (rem));                  \
             (a) = nla_next((a), &(rem)))

static int attrs_parse(const void *bytes, size_t size, Attrs *ret) {
        const struct nlattr *a;
        Attrs attrs = { .first = bytes, .size = (int) size };
        int rem;

        FOREACH_ATTR(a, &attrs, rem)
                if ((size_t) nla_type(a) < ELEMENTSOF(attrs.by_type))
                        attrs.by_type[nla_type(a)] = a;
        if (rem != 0)
                return -EBADMSG;

        *ret = attrs;
        return 0;
}

static int attrs_parse_nested(const struct nlattr *nest, Attrs *ret) {
        if (!nest)
                return -EBADMSG;
        return attrs_parse(nla_data(nest), (size_t) nla_len(nest), ret);
}

static int message_attrs(const struct nlmsghdr *h, Attrs *ret) {
        size_t size;

        if (h->nlmsg_len < NLMSG_LENGTH(GENL_HDRLEN))
                return -EBADMSG;
        size = h->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN);
        return attrs_parse((const uint8_t *) h + NLMSG_LENGTH(GENL_HDRLEN), size, ret);
}

static int get_u32(const struct nlattr *a, uint32_t *ret) {
        if (!a || nla_len(a) != sizeof(*ret))
                return -EBADMSG;
        memcpy(ret, nla_data(a), sizeof(*ret));
        return 0;
}

static int get_u64(const struct nlattr *a, uint64_t *ret) {
        if (!a || nla_len(a) != sizeof(*ret))
                return -EBADMSG;
        memcpy(ret, nla_data(a), sizeof(*ret)); /* not aligned in a message */
        return 0;
}

/* A NUL-terminated string that fills the attribute; buf NULL: only the check. */
static int get_string(const struct nlattr *a, char *buf, size_t size) {
        const char *s;
        size_t n;

        if (!a || nla_len(a) <= 0)
                return -EBADMSG;
        s = nla_data(a);
        n = (size_t) nla_len(a);
        if (strnlen(s, n) != n - 1 || n > size)
                return -EBADMSG;
        memcpy(buf, s, n);
        return 0;
}

static int get_optional_u32(const struct nlattr *a, uint32_t *ret) {
        return a ? get_u32(a, ret) : 0;
}

static int get_optional_u64(const struct nlattr *a, uint64_t *ret) {
        return a ? get_u64(a, ret) : 0;
}

static int get_optional_string(const struct nlattr *a, char *buf, size_t size) {
        return a ? get_string(a, buf, size) : 0;
}

/* A string that names a patch, object or function, borrowed from the message. */
static int borrow_string(const struct nlattr *a, size_t max, const char **ret) {
        size_t n;

        if (!a || nla_len(a) <= 0)
                return -EBADMSG;
        n = (size_t) nla_len(a);
        if (n > max || strnlen(nla_data(a), n) != n - 1)
                return -EBADMSG;
        *ret = nla_data(a);
        return 0;
}

const struct nlmsghdr *shim_message_next(const void **p, size_t *size, bool *ret_broken) {
        const struct nlmsghdr *h = *p;
        size_t step;

        *ret_broken = false;
        if (*size == 0)
                return NULL;
        if (*size < sizeof(*h) || h->nlmsg_len < sizeof(*h) || h->nlmsg_len > *size) {
                *ret_broken = true;
                return NULL;
        }

        step = NLMSG_ALIGN((size_t) h->nlmsg_len);
        if (step > *size)
                step = *size;
        *p = (const uint8_t *) h + step;
        *size -= step;
        return h;
}

int shim_message_command(const struct nlmsghdr *h, uint8_t *ret_command) {
        struct genlmsghdr g;

        if (h->nlmsg_len < NLMSG_LENGTH(GENL_HDRLEN))
                return -EBADMSG;
        memcpy(&g, NLMSG_DATA(h), sizeof(g));
        *ret_command = g.cmd;
        return 0;
}

int shim_message_info(const struct nlmsghdr *h, ShimInfo *ret) {
        ShimInfo info = {};
        Attrs attrs;
        int r;

        r = message_attrs(h, &attrs);
        if (r < 0)
                return r;

        r = get_u32(attrs.by_type[KLP_SHIM_A_ABI], &info.abi);
        if (r < 0)
                return r;
        if (info.abi != KLP_SHIM_ABI) { /* the rest may mean anything */
                *ret = info;
                return 0;
        }

        r = get_string(attrs.by_type[KLP_SHIM_A_KERNEL], info.kernel, sizeof(info.kernel));
        if (r < 0)
                return r;
        r = get_u64(attrs.by_type[KLP_SHIM_A_GENERATION], &info.generation);
        if (r < 0)
                return r;
        r = get_u64(attrs.by_type[KLP_SHIM_A_SEQ], &info.seq);
        if (r < 0)
                return r;
        r = get_optional_string(attrs.by_type[KLP_SHIM_A_TRANSITION], info.transition,
                                sizeof(info.transition));
        if (r < 0)
                return r;

        *ret = info;
        return 0;
}

static int event_state(const struct nlattr *nest, ShimEvent *e) {
        const struct nlattr *previous;
        Attrs attrs;
        int r;

        if (!nest)
                return 0;

        r = attrs_parse_nested(nest, &attrs);
        if (r < 0)
                return r;
        r = get_u64(attrs.by_type[KLP_SHIM_STATE_A_ID], &e->state_id);
        if (r < 0)
                return r;
        r = get_optional_u32(attrs.by_type[KLP_SHIM_STATE_A_VERSION], &e->state_version);
        if (r < 0)
                return r;
        r = get_optional_u32(attrs.by_type[KLP_SHIM_STATE_A_FLAGS], &e->state_flags);
        if (r < 0)
                return r;
        r = get_optional_string(attrs.by_type[KLP_SHIM_STATE_A_NAME], e->state_name, sizeof(e->state_name));
        if (r < 0)
                return r;
        r = get_optional_u64(attrs.by_type[KLP_SHIM_STATE_A_SHADOW_COUNT], &e->shadow_count);
        if (r < 0)
                return r;
        r = get_optional_u64(attrs.by_type[KLP_SHIM_STATE_A_SHADOW_BYTES], &e->shadow_bytes);
        if (r < 0)
                return r;

        previous = attrs.by_type[KLP_SHIM_STATE_A_PREV_VERSION];
        e->has_previous_version = previous;
        return get_optional_u32(previous, &e->previous_version);
}

int shim_message_event(const struct nlmsghdr *h, ShimEvent *ret) {
        uint32_t kind, operation = 0, end = 0, error = 0;
        ShimEvent e = {};
        Attrs attrs;
        int r;

        r = message_attrs(h, &attrs);
        if (r < 0)
                return r;

        r = get_u32(attrs.by_type[KLP_SHIM_A_EVENT], &kind);
        if (r < 0)
                return r;
        r = get_u64(attrs.by_type[KLP_SHIM_A_SEQ], &e.seq);
        if (r < 0)
                return r;
        r = get_u64(attrs.by_type[KLP_SHIM_A_GENERATION], &e.generation);
        if (r < 0)
                return r;
        r = get_u64(attrs.by_type[KLP_SHIM_A_TIME], &e.time_nsec);
        if (r < 0)
                return r;
        r = get_optional_string(attrs.by_type[KLP_SHIM_A_NAME], e.name, sizeof(e.name));
        if (r < 0)
                return r;
        r = get_optional_u32(attrs.by_type[KLP_SHIM_A_OPERATION], &operation);
        if (r < 0)
                return r;
        r = get_optional_u32(attrs.by_type[KLP_SHIM_A_END], &end);
        if (r < 0)
                return r;
        r = get_optional_u32(attrs.by_type[KLP_SHIM_A_ERROR], &error);
        if (r < 0)
                return r;
        r = event_state(attrs.by_type[KLP_SHIM_A_STATE], &e);
        if (r < 0)
                return r;

        if (operation > KLP_SHIM_OP_DISABLE || end > KLP_SHIM_END_REVERSED)
                return -EBADMSG;
        if (kind == KLP_SHIM_EVENT_ENDED && (operation == 0 || end == 0))
                return -EBADMSG;
        if (kind == KLP_SHIM_EVENT_PREPARING && operation == 0)
                return -EBADMSG;

        e.kind = (enum klp_shim_event) kind; /* may be one that we don't know: the caller's to skip */
        e.operation = (enum klp_shim_operation) operation;
        e.end = (enum klp_shim_end) end;
        e.error = (int32_t) error;
        if (e.error > 0 || e.error < -4095)
                return -EBADMSG;
        e.forced = attrs.by_type[KLP_SHIM_A_FORCED];
        e.unasked = attrs.by_type[KLP_SHIM_A_UNASKED];

        *ret = e;
        return 0;
}

int shim_message_task(const struct nlmsghdr *h, ShimTask *ret) {
        ShimTask task = {};
        Attrs attrs, nested;
        int r;

        r = message_attrs(h, &attrs);
        if (r < 0)
                return r;
        r = attrs_parse_nested(attrs.by_type[KLP_SHIM_A_TASK], &nested);
        if (r < 0)
                return r;

        r = get_u32(nested.by_type[KLP_SHIM_TASK_A_PID], &task.pid);
        if (r < 0)
                return r;
        r = get_u32(nested.by_type[KLP_SHIM_TASK_A_TID], &task.tid);
        if (r < 0)
                return r;
        r = get_string(nested.by_type[KLP_SHIM_TASK_A_COMM], task.comm, sizeof(task.comm));
        if (r < 0)
                return r;
        task.kthread = nested.by_type[KLP_SHIM_TASK_A_KTHREAD];
        if (task.pid == 0 || task.tid == 0)
                return -EBADMSG;

        *ret = task;
        return 0;
}

/* What the model refuses of a patch (names, duplicates) breaks the protocol; its bounds and want of memory
 * don't. */
static int model_error(int r) {
        return r == -EINVAL || r == -EEXIST ? -EBADMSG : r;
}

static int patch_add_attr(Patch *patch, const struct nlattr *a) {
        const char *object = NULL, *function = NULL, *name = NULL;
        uint32_t version, flags = 0, sympos = 0;
        uint64_t id;
        Attrs attrs;
        int r;

        if (nla_type(a) != KLP_SHIM_PATCH_A_STATE && nla_type(a) != KLP_SHIM_PATCH_A_FUNC)
                return 0;
        r = attrs_parse_nested(a, &attrs);
        if (r < 0)
                return r;

        if (nla_type(a) == KLP_SHIM_PATCH_A_STATE) {
                const struct nlattr *n = attrs.by_type[KLP_SHIM_STATE_A_NAME];

                r = get_u64(attrs.by_type[KLP_SHIM_STATE_A_ID], &id);
                if (r < 0)
                        return r;
                r = get_u32(attrs.by_type[KLP_SHIM_STATE_A_VERSION], &version);
                if (r < 0)
                        return r;
                r = get_optional_u32(attrs.by_type[KLP_SHIM_STATE_A_FLAGS], &flags);
                if (r < 0)
                        return r;
                r = n ? borrow_string(n, KLP_SHIM_NAME_LEN, &name) : 0;
                if (r < 0)
                        return r;
                return model_error(
                                patch_add_state(patch, id, version, flags, name && name[0] ? name : NULL));
        }

        r = borrow_string(attrs.by_type[KLP_SHIM_FUNC_A_OBJECT], PATCH_STRING_MAX, &object);
        if (r < 0)
                return r;
        r = borrow_string(attrs.by_type[KLP_SHIM_FUNC_A_FUNCTION], PATCH_STRING_MAX, &function);
        if (r < 0)
                return r;
        r = get_optional_u32(attrs.by_type[KLP_SHIM_FUNC_A_SYMPOS], &sympos);
        if (r < 0)
                return r;
        return model_error(patch_add_function(patch, object, function, sympos));
}

static int patch_header(const Attrs *attrs, const char *name, ShimPatch *ret) {
        _cleanup_patch_unref_ Patch *patch = NULL;
        const struct nlattr *position = attrs->by_type[KLP_SHIM_PATCH_A_POSITION];
        const char *vendor, *stream, *summary = NULL;
        ShimPatch p = {};
        int r;

        r = borrow_string(attrs->by_type[KLP_SHIM_PATCH_A_VENDOR], KLP_SHIM_NAME_LEN, &vendor);
        if (r < 0)
                return r;
        r = borrow_string(attrs->by_type[KLP_SHIM_PATCH_A_STREAM], KLP_SHIM_NAME_LEN, &stream);
        if (r < 0)
                return r;
        if (attrs->by_type[KLP_SHIM_PATCH_A_SUMMARY]) {
                r = borrow_string(attrs->by_type[KLP_SHIM_PATCH_A_SUMMARY], PATCH_STRING_MAX, &summary);
                if (r < 0)
                        return r;
        }

        r = patch_new(name, &patch);
        if (r < 0)
                return model_error(r);
        r = free_and_strdup(&patch->vendor, vendor);
        if (r < 0)
                return r;
        r = free_and_strdup(&patch->stream, stream);
        if (r < 0)
                return r;
        r = free_and_strdup(&patch->summary, summary && summary[0] ? summary : NULL);
        if (r < 0)
                return r;
        if (!patch_name_is_valid(vendor) || !patch_name_is_valid(stream))
                return -EBADMSG;

        r = get_u32(attrs->by_type[KLP_SHIM_PATCH_A_LEVEL], &patch->level);
        if (r < 0)
                return r;
        r = get_u32(attrs->by_type[KLP_SHIM_PATCH_A_FLAGS], &p.flags);
        if (r < 0)
                return r;
        r = get_optional_u32(position, &p.position);
        if (r < 0)
                return r;

        p.on_stack = position;
        patch->kind = PATCH_MANAGED;
        patch->cumulative = attrs->by_type[KLP_SHIM_PATCH_A_CUMULATIVE];
        patch->forced = p.flags & KLP_SHIM_PATCH_FORCED;
        p.patch = TAKE_PTR(patch);
        *ret = p;
        return 0;
}

static int add_header(const Attrs *attrs, const char *name, ShimSnapshot *s) {
        ShimPatch *array;
        int r;

        if (s->n_patches >= INVENTORY_PATCHES_MAX)
                return -E2BIG;
        for (size_t i = 0; i < s->n_patches; i++)
                if (streq(s->patches[i].patch->name, name))
                        return -EBADMSG;

        array = reallocarray(s->patches, s->n_patches + 1, sizeof(ShimPatch));
        if (!array)
                return -ENOMEM;
        s->patches = array;

        r = patch_header(attrs, name, array + s->n_patches);
        if (r < 0)
                return r;
        s->n_patches++;
        return 0;
}

static int check_generation(const Attrs *attrs, const ShimSnapshot *s) {
        uint64_t generation;
        int r;

        r = get_u64(attrs->by_type[KLP_SHIM_A_GENERATION], &generation);
        if (r < 0)
                return r;
        return generation == s->info.generation ? 0 : -EAGAIN;
}

int shim_message_add_patch(const struct nlmsghdr *h, ShimDump *dump) {
        ShimSnapshot *s = dump->snapshot;
        const struct nlattr *a;
        Attrs attrs, nested;
        const char *name;
        uint32_t part;
        int r, rem;

        r = message_attrs(h, &attrs);
        if (r < 0)
                return r;
        r = check_generation(&attrs, s);
        if (r < 0)
                return r;
        r = attrs_parse_nested(attrs.by_type[KLP_SHIM_A_PATCH], &nested);
        if (r < 0)
                return r;

        r = borrow_string(nested.by_type[KLP_SHIM_PATCH_A_NAME], KLP_SHIM_NAME_LEN, &name);
        if (r < 0)
                return r;
        r = get_u32(nested.by_type[KLP_SHIM_PATCH_A_PART], &part);
        if (r < 0)
                return r;

        if (part == 0) {
                r = add_header(&nested, name, s);
                if (r < 0)
                        return r;
                dump->next_part = 0;
        } else if (s->n_patches == 0 || part != dump->next_part ||
                   !streq(s->patches[s->n_patches - 1].patch->name, name))
                return -EBADMSG;
        dump->next_part++;

        FOREACH_ATTR(a, &nested, rem) {
                r = patch_add_attr(s->patches[s->n_patches - 1].patch, a);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int state_fields(const Attrs *attrs, ShimState *state) {
        const struct nlattr *a;
        int r, rem;
        size_t n = 0;

        r = get_u64(attrs->by_type[KLP_SHIM_STATE_A_ID], &state->id);
        if (r < 0)
                return r;
        r = get_u32(attrs->by_type[KLP_SHIM_STATE_A_VERSION], &state->version);
        if (r < 0)
                return r;
        r = get_optional_u32(attrs->by_type[KLP_SHIM_STATE_A_FLAGS], &state->flags);
        if (r < 0)
                return r;
        r = get_optional_string(attrs->by_type[KLP_SHIM_STATE_A_NAME], state->name, sizeof(state->name));
        if (r < 0)
                return r;
        r = get_string(attrs->by_type[KLP_SHIM_STATE_A_HOLDER], state->holder, sizeof(state->holder));
        if (r < 0)
                return r;
        r = get_optional_u64(attrs->by_type[KLP_SHIM_STATE_A_SHADOW_COUNT], &state->shadow_count);
        if (r < 0)
                return r;
        r = get_optional_u64(attrs->by_type[KLP_SHIM_STATE_A_SHADOW_BYTES], &state->shadow_bytes);
        if (r < 0)
                return r;
        state->orphan = attrs->by_type[KLP_SHIM_STATE_A_ORPHAN];

        FOREACH_ATTR(a, attrs, rem) {
                const char *owner;

                if (nla_type(a) != KLP_SHIM_STATE_A_OWNER)
                        continue;
                if (n++ >= SHIM_OWNERS_MAX)
                        return -E2BIG;
                r = borrow_string(a, KLP_SHIM_NAME_LEN, &owner);
                if (r < 0)
                        return r;
                r = strv_extend(&state->owners, owner);
                if (r < 0)
                        return r;
        }
        return 0;
}

int shim_message_add_state(const struct nlmsghdr *h, ShimDump *dump) {
        ShimSnapshot *s = dump->snapshot;
        Attrs attrs, nested;
        ShimState *state;
        int r;

        r = message_attrs(h, &attrs);
        if (r < 0)
                return r;
        r = check_generation(&attrs, s);
        if (r < 0)
                return r;
        r = attrs_parse_nested(attrs.by_type[KLP_SHIM_A_STATE], &nested);
        if (r < 0)
                return r;

        if (s->n_states >= SHIM_STATES_MAX)
                return -E2BIG;
        if ((s->n_states & (s->n_states - 1)) == 0) {
                state = reallocarray(s->states, s->n_states ? s->n_states * 2 : 1, sizeof(ShimState));
                if (!state)
                        return -ENOMEM;
                s->states = state;
        }

        /* counted at once: the snapshot's destructor frees a half-read one too */
        state = s->states + s->n_states++;
        *state = (ShimState) {};
        return state_fields(&nested, state);
}

int shim_message_error(const struct nlmsghdr *h, int *ret_error, char *text, size_t size) {
        const uint8_t *tlvs;
        struct nlmsgerr e;
        size_t skip;
        Attrs attrs;

        if (h->nlmsg_len < NLMSG_LENGTH(sizeof(e)))
                return -EBADMSG;
        memcpy(&e, NLMSG_DATA(h), sizeof(e));
        if (e.error > 0 || e.error < -4095)
                return -EBADMSG;

        text[0] = 0;
        *ret_error = e.error;
        if (!(h->nlmsg_flags & NLM_F_ACK_TLVS))
                return 0;

        /* The request's own payload stands before the attributes, unless it was cut. */
        skip = NLMSG_LENGTH(sizeof(e));
        if (!(h->nlmsg_flags & NLM_F_CAPPED)) {
                if (e.msg.nlmsg_len < sizeof(e.msg) || e.msg.nlmsg_len > h->nlmsg_len)
                        return -EBADMSG;
                skip += NLMSG_ALIGN((size_t) e.msg.nlmsg_len - sizeof(e.msg));
        }
        if (skip > h->nlmsg_len)
                return -EBADMSG;

        tlvs = (const uint8_t *) h + skip;
        if (attrs_parse(tlvs, h->nlmsg_len - skip, &attrs) < 0)
                return -EBADMSG;
        if (attrs.by_type[NLMSGERR_ATTR_MSG]) {
                const char *s;

                if (borrow_string(attrs.by_type[NLMSGERR_ATTR_MSG], 4096, &s) < 0)
                        return -EBADMSG;
                strncpy(text, s, size - 1);
                text[size - 1] = 0;
        }
        return 0;
}

int shim_message_family(const struct nlmsghdr *h) {
        const char *name;
        uint8_t command;
        Attrs attrs;

        if (shim_message_command(h, &command) < 0 || message_attrs(h, &attrs) < 0)
                return 0;
        if (command != CTRL_CMD_NEWFAMILY && command != CTRL_CMD_DELFAMILY)
                return 0;
        if (borrow_string(attrs.by_type[CTRL_ATTR_FAMILY_NAME], GENL_NAMSIZ, &name) < 0)
                return 0;
        if (!streq(name, KLP_SHIM_GENL_NAME))
                return 0;
        return command == CTRL_CMD_NEWFAMILY ? 1 : -ENODEV;
}
