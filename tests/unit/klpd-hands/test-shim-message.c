/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* shim-client-message: messages as the shim sends them, and every way of cutting and bending them. */
#include "test-util.h"

#include <linux/genetlink.h>
#include <stdio.h>

#include "klpd/shim-client-message.h"

typedef struct Message {
        union {
                struct nlmsghdr h;
                uint8_t bytes[4096];
        };
        size_t nest[4];
        unsigned depth;
} Message;

static void begin(Message *m, uint8_t command) {
        struct genlmsghdr g = { .cmd = command, .version = 1 };

        memset(m, 0, sizeof(*m));
        m->h.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
        m->h.nlmsg_type = 30;
        memcpy(NLMSG_DATA(&m->h), &g, sizeof(g));
}

static void put(Message *m, uint16_t type, const void *data, size_t size) {
        struct nlattr a = { .nla_type = type, .nla_len = (uint16_t) (NLA_HDRLEN + size) };
        size_t at = m->h.nlmsg_len;

        assert_true(at + a.nla_len <= sizeof(m->bytes));
        memcpy(m->bytes + at, &a, sizeof(a));
        if (size > 0)
                memcpy(m->bytes + at + NLA_HDRLEN, data, size);
        m->h.nlmsg_len += (uint32_t) NLA_ALIGN(a.nla_len);
}

static void put_u32(Message *m, uint16_t type, uint32_t v) {
        put(m, type, &v, sizeof(v));
}

static void put_u64(Message *m, uint16_t type, uint64_t v) {
        put(m, type, &v, sizeof(v));
}

static void put_string(Message *m, uint16_t type, const char *s) {
        put(m, type, s, strlen(s) + 1);
}

static void open_nest(Message *m, uint16_t type) {
        m->nest[m->depth++] = m->h.nlmsg_len;
        put(m, type | NLA_F_NESTED, NULL, 0);
}

static void close_nest(Message *m) {
        size_t at = m->nest[--m->depth];
        uint16_t len = (uint16_t) (m->h.nlmsg_len - at);

        memcpy(m->bytes + at, &len, sizeof(len));
}

static void make_info(Message *m) {
        begin(m, KLP_SHIM_CMD_INFO);
        put_u32(m, KLP_SHIM_A_ABI, KLP_SHIM_ABI);
        put_string(m, KLP_SHIM_A_KERNEL, "6.1.0-47-amd64");
        put_u64(m, KLP_SHIM_A_GENERATION, 7);
        put_u64(m, KLP_SHIM_A_SEQ, 41);
        put_string(m, KLP_SHIM_A_TRANSITION, "klp_a");
}

static void put_state(Message *m, uint16_t type, uint64_t id) {
        open_nest(m, type);
        put_u64(m, KLP_SHIM_STATE_A_ID, id);
        put_u32(m, KLP_SHIM_STATE_A_VERSION, 3);
        put_u32(m, KLP_SHIM_STATE_A_FLAGS, KLP_SHIM_STATE_SHADOW);
        put_string(m, KLP_SHIM_STATE_A_NAME, "feature");
        close_nest(m);
}

static void put_func(Message *m, const char *function) {
        open_nest(m, KLP_SHIM_PATCH_A_FUNC);
        put_string(m, KLP_SHIM_FUNC_A_OBJECT, "vmlinux");
        put_string(m, KLP_SHIM_FUNC_A_FUNCTION, function);
        put_u32(m, KLP_SHIM_FUNC_A_SYMPOS, 1);
        close_nest(m);
}

static void make_patch(Message *m, const char *name) {
        begin(m, KLP_SHIM_CMD_PATCH_GET);
        put_u64(m, KLP_SHIM_A_GENERATION, 7);
        open_nest(m, KLP_SHIM_A_PATCH);
        put_string(m, KLP_SHIM_PATCH_A_NAME, name);
        put_u32(m, KLP_SHIM_PATCH_A_PART, 0);
        put_string(m, KLP_SHIM_PATCH_A_VENDOR, "acme");
        put_string(m, KLP_SHIM_PATCH_A_STREAM, "base");
        put_u32(m, KLP_SHIM_PATCH_A_LEVEL, 4);
        put(m, KLP_SHIM_PATCH_A_CUMULATIVE, NULL, 0);
        put_u32(m, KLP_SHIM_PATCH_A_FLAGS, KLP_SHIM_PATCH_ENABLED);
        put_u32(m, KLP_SHIM_PATCH_A_POSITION, 0);
        put_string(m, KLP_SHIM_PATCH_A_SUMMARY, "does things");
        put_state(m, KLP_SHIM_PATCH_A_STATE, 17);
        put_func(m, "ip_options_get");
        close_nest(m);
}

static void make_part(Message *m, const char *name, uint32_t part) {
        begin(m, KLP_SHIM_CMD_PATCH_GET);
        put_u64(m, KLP_SHIM_A_GENERATION, 7);
        open_nest(m, KLP_SHIM_A_PATCH);
        put_string(m, KLP_SHIM_PATCH_A_NAME, name);
        put_u32(m, KLP_SHIM_PATCH_A_PART, part);
        put_func(m, part == 1 ? "second" : "third");
        close_nest(m);
}

static void make_live_state(Message *m) {
        begin(m, KLP_SHIM_CMD_STATE_GET);
        put_u64(m, KLP_SHIM_A_GENERATION, 7);
        open_nest(m, KLP_SHIM_A_STATE);
        put_u64(m, KLP_SHIM_STATE_A_ID, 17);
        put_u32(m, KLP_SHIM_STATE_A_VERSION, 3);
        put_u32(m, KLP_SHIM_STATE_A_FLAGS, 0);
        put_string(m, KLP_SHIM_STATE_A_NAME, "feature");
        put_string(m, KLP_SHIM_STATE_A_HOLDER, "klp_a");
        put_string(m, KLP_SHIM_STATE_A_OWNER, "klp_a");
        put_string(m, KLP_SHIM_STATE_A_OWNER, "klp_b");
        put(m, KLP_SHIM_STATE_A_ORPHAN, NULL, 0);
        put_u64(m, KLP_SHIM_STATE_A_SHADOW_COUNT, 5);
        put_u64(m, KLP_SHIM_STATE_A_SHADOW_BYTES, 160);
        close_nest(m);
}

static void make_event(Message *m) {
        begin(m, KLP_SHIM_CMD_EVENT);
        put_u32(m, KLP_SHIM_A_EVENT, KLP_SHIM_EVENT_ENDED);
        put_u64(m, KLP_SHIM_A_SEQ, 9);
        put_u64(m, KLP_SHIM_A_GENERATION, 8);
        put_u64(m, KLP_SHIM_A_TIME, 123456789);
        put_string(m, KLP_SHIM_A_NAME, "klp_a");
        put_u32(m, KLP_SHIM_A_OPERATION, KLP_SHIM_OP_REPLACE);
        put_u32(m, KLP_SHIM_A_END, KLP_SHIM_END_CANCELLED);
        put_u32(m, KLP_SHIM_A_ERROR, (uint32_t) -EBUSY);
        put(m, KLP_SHIM_A_UNASKED, NULL, 0);
}

static void make_task(Message *m) {
        begin(m, KLP_SHIM_CMD_TASK_GET);
        open_nest(m, KLP_SHIM_A_TASK);
        put_u32(m, KLP_SHIM_TASK_A_PID, 10);
        put_u32(m, KLP_SHIM_TASK_A_TID, 11);
        put_string(m, KLP_SHIM_TASK_A_COMM, "kworker/0:1");
        put(m, KLP_SHIM_TASK_A_KTHREAD, NULL, 0);
        close_nest(m);
}

static ShimSnapshot *snapshot_new(void) {
        ShimSnapshot *s = calloc(1, sizeof(ShimSnapshot));

        s->info.generation = 7;
        return s;
}

static void test_info_is_read(void **state) {
        ShimInfo info;
        Message m;

        make_info(&m);
        assert_int_equal(shim_message_info(&m.h, &info), 0);
        assert_int_equal(info.abi, KLP_SHIM_ABI);
        assert_string_equal(info.kernel, "6.1.0-47-amd64");
        assert_int_equal(info.generation, 7);
        assert_int_equal(info.seq, 41);
        assert_string_equal(info.transition, "klp_a");
}

static void test_info_of_another_abi_needs_only_its_number(void **state) {
        ShimInfo info;
        Message m;

        begin(&m, KLP_SHIM_CMD_INFO);
        put_u32(&m, KLP_SHIM_A_ABI, KLP_SHIM_ABI + 1);
        assert_int_equal(shim_message_info(&m.h, &info), 0);
        assert_int_equal(info.abi, KLP_SHIM_ABI + 1);
}

static void test_a_patch_in_parts_is_one_patch(void **state) {
        _cleanup_shim_snapshot_free_ ShimSnapshot *s = snapshot_new();
        ShimDump dump = { .snapshot = s };
        Message m;

        make_patch(&m, "klp_a");
        assert_int_equal(shim_message_add_patch(&m.h, &dump), 0);
        make_part(&m, "klp_a", 1);
        assert_int_equal(shim_message_add_patch(&m.h, &dump), 0);
        make_part(&m, "klp_a", 2);
        assert_int_equal(shim_message_add_patch(&m.h, &dump), 0);
        make_patch(&m, "klp_b");
        assert_int_equal(shim_message_add_patch(&m.h, &dump), 0);

        assert_int_equal(s->n_patches, 2);
        assert_string_equal(s->patches[0].patch->name, "klp_a");
        assert_string_equal(s->patches[0].patch->vendor, "acme");
        assert_int_equal(s->patches[0].patch->level, 4);
        assert_true(s->patches[0].patch->cumulative);
        assert_int_equal(s->patches[0].patch->kind, PATCH_MANAGED);
        assert_true(s->patches[0].on_stack);
        assert_int_equal(s->patches[0].patch->n_states, 1);
        assert_int_equal(s->patches[0].patch->n_functions, 3);
        assert_string_equal(s->patches[0].patch->functions[2].function, "third");
        assert_int_equal(s->patches[1].patch->n_functions, 1);
}

static void test_parts_out_of_order_are_refused(void **state) {
        _cleanup_shim_snapshot_free_ ShimSnapshot *s = snapshot_new();
        ShimDump dump = { .snapshot = s };
        Message m;

        make_part(&m, "klp_a", 1);
        assert_int_equal(shim_message_add_patch(&m.h, &dump), -EBADMSG);
        make_patch(&m, "klp_a");
        assert_int_equal(shim_message_add_patch(&m.h, &dump), 0);
        make_part(&m, "klp_a", 2);
        assert_int_equal(shim_message_add_patch(&m.h, &dump), -EBADMSG);
        make_part(&m, "klp_b", 1);
        assert_int_equal(shim_message_add_patch(&m.h, &dump), -EBADMSG);
        make_patch(&m, "klp_a");
        assert_int_equal(shim_message_add_patch(&m.h, &dump), -EBADMSG);
}

static void test_another_generation_means_to_read_again(void **state) {
        _cleanup_shim_snapshot_free_ ShimSnapshot *s = snapshot_new();
        ShimDump dump = { .snapshot = s };
        Message m;

        s->info.generation = 6;
        make_patch(&m, "klp_a");
        assert_int_equal(shim_message_add_patch(&m.h, &dump), -EAGAIN);
        make_live_state(&m);
        assert_int_equal(shim_message_add_state(&m.h, &dump), -EAGAIN);
}

static void test_live_states_have_all_their_owners(void **state) {
        _cleanup_shim_snapshot_free_ ShimSnapshot *s = snapshot_new();
        ShimDump dump = { .snapshot = s };
        Message m;

        make_live_state(&m);
        assert_int_equal(shim_message_add_state(&m.h, &dump), 0);
        assert_int_equal(s->n_states, 1);
        assert_int_equal(s->states[0].id, 17);
        assert_string_equal(s->states[0].holder, "klp_a");
        assert_int_equal(strv_length(s->states[0].owners), 2);
        assert_true(s->states[0].orphan);
        assert_int_equal(s->states[0].shadow_bytes, 160);
}

static void test_events_are_read(void **state) {
        ShimEvent e;
        Message m;

        make_event(&m);
        assert_int_equal(shim_message_event(&m.h, &e), 0);
        assert_int_equal(e.kind, KLP_SHIM_EVENT_ENDED);
        assert_int_equal(e.seq, 9);
        assert_int_equal(e.operation, KLP_SHIM_OP_REPLACE);
        assert_int_equal(e.end, KLP_SHIM_END_CANCELLED);
        assert_int_equal(e.error, -EBUSY);
        assert_true(e.unasked);
        assert_false(e.forced);
}

static void test_an_end_without_what_ended_is_refused(void **state) {
        ShimEvent e;
        Message m;

        begin(&m, KLP_SHIM_CMD_EVENT);
        put_u32(&m, KLP_SHIM_A_EVENT, KLP_SHIM_EVENT_ENDED);
        put_u64(&m, KLP_SHIM_A_SEQ, 9);
        put_u64(&m, KLP_SHIM_A_GENERATION, 8);
        put_u64(&m, KLP_SHIM_A_TIME, 1);
        assert_int_equal(shim_message_event(&m.h, &e), -EBADMSG);
}

static void test_tasks_are_read(void **state) {
        ShimTask t;
        Message m;

        make_task(&m);
        assert_int_equal(shim_message_task(&m.h, &t), 0);
        assert_int_equal(t.tid, 11);
        assert_true(t.kthread);
        assert_string_equal(t.comm, "kworker/0:1");
}

static int parse_as(unsigned kind, const struct nlmsghdr *h) {
        ShimSnapshot *s = snapshot_new();
        ShimDump dump = { .snapshot = s };
        char text[32];
        ShimInfo info;
        ShimEvent e;
        ShimTask t;
        int r, error;

        switch (kind) {
        case 0:
                r = shim_message_info(h, &info);
                break;
        case 1:
                r = shim_message_add_patch(h, &dump);
                break;
        case 2:
                r = shim_message_add_state(h, &dump);
                break;
        case 3:
                r = shim_message_event(h, &e);
                break;
        case 4:
                r = shim_message_task(h, &t);
                break;
        default:
                r = shim_message_error(h, &error, text, sizeof(text));
                break;
        }
        shim_snapshot_free(s);
        return r;
}

static void make(unsigned kind, Message *m) {
        switch (kind) {
        case 0:
                make_info(m);
                break;
        case 1:
                make_patch(m, "klp_a");
                break;
        case 2:
                make_live_state(m);
                break;
        case 3:
                make_event(m);
                break;
        default:
                make_task(m);
                break;
        }
}

/* In memory of exactly that size, so that the sanitizers see what is read beyond it. */
static int parse_cut(unsigned kind, const Message *m, size_t size) {
        struct nlmsghdr *copy = malloc(size);
        int r;

        memcpy(copy, m->bytes, size);
        copy->nlmsg_len = (uint32_t) size;
        r = parse_as(kind, copy);
        free(copy);
        return r;
}

static void test_cut_messages_are_never_read_beyond_their_end(void **state) {
        Message m;

        for (unsigned kind = 0; kind < 5; kind++) {
                make(kind, &m);
                for (size_t size = sizeof(struct nlmsghdr); size < m.h.nlmsg_len; size++) {
                        int r = parse_cut(kind, &m, size);

                        /* A cut between two attributes may leave what is whole without the optional ones. */
                        assert_true(r == -EBADMSG || (r == 0 && size % 4 == 0));
                }
        }
}

static void test_bent_messages_are_refused_or_read_safely(void **state) {
        Message m, bent;

        for (unsigned kind = 0; kind < 5; kind++) {
                make(kind, &m);
                for (size_t i = sizeof(struct nlmsghdr); i < m.h.nlmsg_len; i++)
                        for (unsigned bit = 0; bit < 8; bit++) {
                                int r;

                                bent = m;
                                bent.bytes[i] ^= (uint8_t) (1U << bit);
                                r = parse_cut(kind, &bent, m.h.nlmsg_len);
                                assert_true(r == 0 || r == -EBADMSG || r == -EAGAIN || r == -E2BIG);
                        }
        }
}

static void test_strings_must_end_with_their_attribute(void **state) {
        static const struct {
                const char *bytes;
                size_t size;
        } bad[] = { { "klp_a", 5 }, { "klp\0a", 6 }, { "", 0 } };
        ShimEvent e;
        Message m;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                begin(&m, KLP_SHIM_CMD_EVENT);
                put_u32(&m, KLP_SHIM_A_EVENT, KLP_SHIM_EVENT_REGISTERED);
                put_u64(&m, KLP_SHIM_A_SEQ, 9);
                put_u64(&m, KLP_SHIM_A_GENERATION, 8);
                put_u64(&m, KLP_SHIM_A_TIME, 1);
                put(&m, KLP_SHIM_A_NAME, bad[i].bytes, bad[i].size);
                assert_int_equal(shim_message_event(&m.h, &e), -EBADMSG);
        }
}

static void test_extended_ack_text_is_found(void **state) {
        struct nlmsgerr e = { .error = -ESTALE };
        char text[64];
        int error;
        Message m;

        memset(&m, 0, sizeof(m));
        m.h.nlmsg_type = NLMSG_ERROR;
        m.h.nlmsg_flags = NLM_F_CAPPED | NLM_F_ACK_TLVS;
        m.h.nlmsg_len = NLMSG_LENGTH(sizeof(e));
        memcpy(NLMSG_DATA(&m.h), &e, sizeof(e));
        put_string(&m, NLMSGERR_ATTR_MSG, "the generation has changed");
        assert_int_equal(shim_message_error(&m.h, &error, text, sizeof(text)), 0);
        assert_int_equal(error, -ESTALE);
        assert_string_equal(text, "the generation has changed");

        /* A request echoed in front whose length is a lie. */
        m.h.nlmsg_flags = NLM_F_ACK_TLVS;
        e.msg.nlmsg_len = 100000;
        memcpy(NLMSG_DATA(&m.h), &e, sizeof(e));
        assert_int_equal(shim_message_error(&m.h, &error, text, sizeof(text)), -EBADMSG);

        for (size_t size = sizeof(struct nlmsghdr); size < NLMSG_LENGTH(sizeof(e)); size++)
                assert_int_equal(parse_cut(5, &m, size), -EBADMSG);
}

static void test_a_buffer_is_walked_by_whole_messages(void **state) {
        union {
                struct nlmsghdr h[2];
                uint8_t bytes[2 * sizeof(struct nlmsghdr)];
        } b = {.h = {{.nlmsg_len = sizeof(struct nlmsghdr)}, {.nlmsg_len = sizeof(struct nlmsghdr)}}};
        const void *p = &b;
        size_t n = sizeof(b);
        bool broken;

        assert_ptr_equal(shim_message_next(&p, &n, &broken), b.h);
        assert_ptr_equal(shim_message_next(&p, &n, &broken), b.h + 1);
        assert_null(shim_message_next(&p, &n, &broken));
        assert_false(broken);

        b.h[0].nlmsg_len = 3;
        p = &b, n = sizeof(b);
        assert_null(shim_message_next(&p, &n, &broken));
        assert_true(broken);
        b.h[0].nlmsg_len = sizeof(b) + 1;
        assert_null(shim_message_next(&p, &n, &broken));
        assert_true(broken);
        n = 7;
        assert_null(shim_message_next(&p, &n, &broken));
        assert_true(broken);
}

static void test_families_that_come_and_go_are_told_apart(void **state) {
        Message m;

        begin(&m, CTRL_CMD_NEWFAMILY);
        put_string(&m, CTRL_ATTR_FAMILY_NAME, "klp_shim");
        assert_int_equal(shim_message_family(&m.h), 1);
        begin(&m, CTRL_CMD_DELFAMILY);
        put_string(&m, CTRL_ATTR_FAMILY_NAME, "klp_shim");
        assert_int_equal(shim_message_family(&m.h), -ENODEV);
        begin(&m, CTRL_CMD_NEWFAMILY);
        put_string(&m, CTRL_ATTR_FAMILY_NAME, "nl80211");
        assert_int_equal(shim_message_family(&m.h), 0);
        begin(&m, CTRL_CMD_NEWMCAST_GRP);
        put_string(&m, CTRL_ATTR_FAMILY_NAME, "klp_shim");
        assert_int_equal(shim_message_family(&m.h), 0);
}

static void test_every_number_of_the_abi_has_a_word(void **state) {
        for (int i = KLP_SHIM_EVENT_MODULE_LOADED; i <= KLP_SHIM_EVENT_SHADOW_FREED; i++)
                assert_non_null(shim_event_to_string((enum klp_shim_event) i));
        assert_null(shim_event_to_string((enum klp_shim_event) 1000));
        assert_string_equal(shim_operation_to_string(KLP_SHIM_OP_REPLACE), "replace");
        assert_string_equal(shim_end_to_string(KLP_SHIM_END_REVERSED), "reversed");
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_info_is_read),
                cmocka_unit_test(test_info_of_another_abi_needs_only_its_number),
                cmocka_unit_test(test_a_patch_in_parts_is_one_patch),
                cmocka_unit_test(test_parts_out_of_order_are_refused),
                cmocka_unit_test(test_another_generation_means_to_read_again),
                cmocka_unit_test(test_live_states_have_all_their_owners),
                cmocka_unit_test(test_events_are_read),
                cmocka_unit_test(test_an_end_without_what_ended_is_refused),
                cmocka_unit_test(test_tasks_are_read),
                cmocka_unit_test(test_cut_messages_are_never_read_beyond_their_end),
                cmocka_unit_test(test_bent_messages_are_refused_or_read_safely),
                cmocka_unit_test(test_strings_must_end_with_their_attribute),
                cmocka_unit_test(test_extended_ack_text_is_found),
                cmocka_unit_test(test_a_buffer_is_walked_by_whole_messages),
                cmocka_unit_test(test_families_that_come_and_go_are_told_apart),
                cmocka_unit_test(test_every_number_of_the_abi_has_a_word),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
