/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* livepatch-sysfs: made trees of /sys and /proc, as the three kernels write them, and broken ones. */
#include "klpd/livepatch-sysfs-read.h"
#include "klpd/livepatch-sysfs.h"
#include "test-util.h"

#include <stdio.h>

static const uint8_t note[] = { 4, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 'G', 'N', 'U', 0, 0xab, 0xcd, 0x01, 0 };

static int setup(void **state) {
        Tree *t = calloc(1, sizeof(Tree));

        tree_init(t);
        *state = t;
        return 0;
}

static int teardown(void **state) {
        tree_done(*state);
        free(*state);
        return 0;
}

static void add_patch(Tree *t, const char *name, const char *enabled, const char *transition) {
        char path[256];

        snprintf(path, sizeof(path), "sys/kernel/livepatch/%s/enabled", name);
        tree_write(t, path, enabled);
        snprintf(path, sizeof(path), "sys/kernel/livepatch/%s/transition", name);
        tree_write(t, path, transition);
        snprintf(path, sizeof(path), "sys/kernel/livepatch/%s/vmlinux/patched", name);
        tree_write(t, path, "1\n");
        snprintf(path, sizeof(path), "sys/kernel/livepatch/%s/vmlinux/ip_options_get,1", name);
        tree_mkdir(t, path);
}

static void test_kernel_without_livepatch_is_named_so(void **state) {
        Tree *t = *state;
        SysfsPatches *p;

        assert_int_equal(livepatch_sysfs_read(t->fd, &p, NULL), -EOPNOTSUPP);
}

static void test_patches_come_in_order_of_loading(void **state) {
        _cleanup_sysfs_patches_free_ SysfsPatches *p = NULL;
        Tree *t = *state;

        add_patch(t, "a_young", "1\n", "1\n");
        add_patch(t, "b_old", "1\n", "0\n");
        tree_write(t, "proc/modules",
                   "a_young 16384 1 - Live 0x0000000000000000 (OEK)\n"
                   "klp_shim 20480 2 a_young,b_old, Live 0x0000000000000000 (OE)\n"
                   "b_old 16384 1 - Live 0x0000000000000000 (OEK)\n");

        assert_int_equal(livepatch_sysfs_read(t->fd, &p, NULL), 0);
        assert_int_equal(p->n_patches, 2);
        assert_false(p->exact_order);
        assert_string_equal(p->patches[0].name, "b_old");
        assert_string_equal(p->patches[1].name, "a_young");
        assert_true(p->patches[1].transition);
        assert_false(p->patches[0].transition);
        assert_int_equal(p->patches[0].n_functions, 1);
        assert_string_equal(p->patches[0].functions[0].object, "vmlinux");
        assert_string_equal(p->patches[0].functions[0].function, "ip_options_get");
        assert_int_equal(p->patches[0].functions[0].sympos, 1);
        assert_int_equal(p->patches[0].replace, -1);
        assert_true(strv_contains(p->patches[0].objects_patched, "vmlinux"));
}

static void test_stack_order_wins_where_the_kernel_says_it(void **state) {
        _cleanup_sysfs_patches_free_ SysfsPatches *p = NULL;
        Tree *t = *state;

        add_patch(t, "a_young", "1\n", "0\n");
        add_patch(t, "b_old", "1\n", "0\n");
        tree_write(t, "sys/kernel/livepatch/a_young/stack_order", "1\n");
        tree_write(t, "sys/kernel/livepatch/b_old/stack_order", "2\n");
        tree_write(t, "sys/kernel/livepatch/b_old/replace", "1\n");
        tree_write(t, "proc/modules",
                   "a_young 16384 1 - Live 0x0000000000000000 (OEK)\n"
                   "b_old 16384 1 - Live 0x0000000000000000 (OEK)\n");

        assert_int_equal(livepatch_sysfs_read(t->fd, &p, NULL), 0);
        assert_true(p->exact_order);
        assert_string_equal(p->patches[0].name, "a_young");
        assert_int_equal(p->patches[1].replace, 1);
}

static void test_what_the_kernel_would_not_write_is_refused(void **state) {
        static const char *const bad[] = { "", "2\n", "yes\n", "1 \n", "-1\n", "11\n" };
        Tree *t = *state;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                SysfsPatches *p;

                add_patch(t, "x", bad[i], "0\n");
                assert_int_equal(livepatch_sysfs_read(t->fd, &p, NULL), -EBADMSG);
        }
}

static void test_functions_need_a_symbol_position(void **state) {
        SysfsPatches *p;
        Tree *t = *state;

        add_patch(t, "x", "1\n", "0\n");
        tree_mkdir(t, "sys/kernel/livepatch/x/vmlinux/broken");
        assert_int_equal(livepatch_sysfs_read(t->fd, &p, NULL), -EBADMSG);
}

static void test_a_patch_that_is_half_gone_is_left_out(void **state) {
        _cleanup_sysfs_patches_free_ SysfsPatches *p = NULL;
        Tree *t = *state;

        add_patch(t, "x", "1\n", "0\n");
        tree_mkdir(t, "sys/kernel/livepatch/going");
        tree_write(t, "proc/modules", "x 16384 1 - Live 0x0 (K)\n");
        assert_int_equal(livepatch_sysfs_read(t->fd, &p, NULL), 0);
        assert_int_equal(p->n_patches, 1);
}

static void test_one_patch_by_name(void **state) {
        Tree *t = *state;
        bool enabled, transition;

        add_patch(t, "x", "0\n", "1\n");
        assert_int_equal(livepatch_sysfs_read_patch(t->fd, "x", &enabled, &transition), 0);
        assert_false(enabled);
        assert_true(transition);
        assert_int_equal(livepatch_sysfs_read_patch(t->fd, "y", &enabled, &transition), -ENOENT);
        assert_int_equal(livepatch_sysfs_read_patch(t->fd, "../x", &enabled, &transition), -ENOENT);
        assert_int_equal(livepatch_sysfs_read_patch(t->fd, "..", &enabled, &transition), -ENOENT);
}

static void test_modules_have_count_taint_and_build_id(void **state) {
        _cleanup_sysfs_modules_free_ SysfsModules *m = NULL;
        _cleanup_sysfs_module_free_ SysfsModule *one = NULL;
        Tree *t = *state;

        tree_write(t, "proc/modules",
                   "klp_b 16384 0 - Loading 0x0000000000000000 (OEK+)\n"
                   "klp_going 16384 -1 - Unloading 0x0000000000000000 (OEK-)\n"
                   "ext4 983040 1 - Live 0x0000000000000000\n"
                   "klp_a 16384 3 klp_b,[permanent], Live 0x0000000000000000 (K)\n"
                   "fixed 4096 - - Live 0x0000000000000000 (K)\n");
        tree_write_bytes(t, "sys/module/klp_a/notes/.note.gnu.build-id", note, sizeof(note));
        tree_write(t, "sys/module/klp_b/srcversion", "1234ABCD\n");

        assert_int_equal(livepatch_sysfs_read_modules(t->fd, &m), 0);
        assert_int_equal(m->n_modules, 4);
        assert_string_equal(m->modules[0].name, "fixed");
        assert_int_equal(m->modules[0].refcount, -1);
        assert_string_equal(m->modules[1].name, "klp_a");
        assert_int_equal(m->modules[1].load_order, 1);
        assert_int_equal(m->modules[1].refcount, 3);
        assert_string_equal(m->modules[1].build_id, "abcd01");
        assert_null(m->modules[1].srcversion);
        assert_string_equal(m->modules[2].name, "klp_going");
        assert_false(m->modules[2].live);
        assert_int_equal(m->modules[2].refcount, -1);
        assert_string_equal(m->modules[3].name, "klp_b");
        assert_false(m->modules[3].live);
        assert_string_equal(m->modules[3].srcversion, "1234ABCD");

        assert_int_equal(livepatch_sysfs_read_module(t->fd, "ext4", &one), 0);
        assert_false(one->livepatch);
        one = sysfs_module_free(one);
        assert_int_equal(livepatch_sysfs_read_module(t->fd, "klp-a", &one), 0);
        one = sysfs_module_free(one);
        assert_int_equal(livepatch_sysfs_read_module(t->fd, "none", &one), -ENOENT);
}

static void test_a_reference_count_is_the_module_s_own_file_or_the_list_s(void **state) {
        int n = 42;
        Tree *t = *state;

        tree_write(t, "proc/modules",
                   "klp_listed 16384 2 - Live 0x0000000000000000 (K)\n"
                   "klp_going 16384 -1 - Unloading 0x0000000000000000 (OEK-)\n"
                   "klp_fixed 4096 - - Live 0x0000000000000000 (K)\n");
        tree_write(t, "sys/module/klp_own/refcnt", "3\n");
        tree_write(t, "sys/module/klp_going/refcnt", "-1\n");
        tree_mkdir(t, "sys/module/built_in");

        assert_int_equal(livepatch_sysfs_read_refcount(t->fd, "klp_own", &n), 0);
        assert_int_equal(n, 3);
        assert_int_equal(livepatch_sysfs_read_refcount(t->fd, "klp_listed", &n), 0);
        assert_int_equal(n, 2);
        assert_int_equal(livepatch_sysfs_read_refcount(t->fd, "klp-listed", &n), 0);
        assert_int_equal(livepatch_sysfs_read_refcount(t->fd, "klp_going", &n), 0);
        assert_int_equal(n, -1);
        n = 42;
        assert_int_equal(livepatch_sysfs_read_refcount(t->fd, "built_in", &n), -ENOENT);
        assert_int_equal(livepatch_sysfs_read_refcount(t->fd, "../module/klp_own", &n), -ENOENT);
        assert_int_equal(n, 42);
        assert_int_equal(livepatch_sysfs_read_refcount(t->fd, "klp_fixed", &n), 0);
        assert_int_equal(n, -1);
}

static void test_broken_module_lists_are_refused(void **state) {
        static const char *const bad[] = {"x\n",
                                          "x 1\n",
                                          "x 1 y - Live 0x0\n",
                                          "x 1 2 - Live\n",
                                          "x 1 99999999999 - Live 0x0\n",
                                          "a/b 1 0 - Live 0x0 (K)\n"};
        Tree *t = *state;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                SysfsModules *m;

                tree_write(t, "proc/modules", bad[i]);
                assert_int_equal(livepatch_sysfs_read_modules(t->fd, &m), -EBADMSG);
        }
}

static void test_host_facts(void **state) {
        Tree *t = *state;
        char *build_id = NULL;
        SysfsHost h;

        tree_mkdir(t, "sys/kernel/livepatch");
        tree_write(t, "proc/sys/kernel/ftrace_enabled", "1\n");
        tree_write(t, "proc/sys/kernel/modules_disabled", "0\n");
        tree_write(t, "sys/module/module/parameters/sig_enforce", "Y\n");
        tree_write(t, "sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
        tree_write_bytes(t, "sys/kernel/notes", note, sizeof(note));
        tree_write(t, "sys/kernel/debug/kprobes/list",
                   "ffffffff81a4e0f0  k  ip_options_get+0x0    [FTRACE]\n"
                   "ffffffff81a4e0f1  k  ip_forward+0x0    [DISABLED][FTRACE]\n"
                   "ffffffff81a4e0f2  r  do_exit+0x0    [FTRACE]\n"
                   "ffffffff81a4e0f3  k  tcp_sendmsg+0x42    [OPTIMIZED]\n"
                   "ffffffffc0a4e0f3  k  ext4_sync+0x0  ext4 [FTRACE]\n");

        assert_int_equal(livepatch_sysfs_read_host(t->fd, &h), 0);
        assert_true(h.livepatch);
        assert_true(h.ftrace_enabled);
        assert_false(h.modules_disabled);
        assert_true(h.sig_enforce);
        assert_string_equal(h.lockdown, "integrity");
        assert_int_equal(livepatch_sysfs_read_build_id(t->fd, &build_id), 0);
        assert_string_equal(build_id, "abcd01");
        free(build_id);
        assert_true(h.kprobes_known);
        assert_int_equal(h.n_kprobes, 2);
        assert_string_equal(h.kprobes[0].function, "ip_options_get");
        assert_string_equal(h.kprobes[0].object, "vmlinux");
        assert_string_equal(h.kprobes[1].function, "ext4_sync");
        assert_string_equal(h.kprobes[1].object, "ext4");
        sysfs_host_done(&h);
}

static void test_a_bare_host_has_nothing(void **state) {
        Tree *t = *state;
        char *build_id = NULL;
        SysfsHost h;

        assert_int_equal(livepatch_sysfs_read_host(t->fd, &h), 0);
        assert_false(h.livepatch);
        assert_false(h.ftrace_enabled);
        assert_null(h.lockdown);
        assert_int_equal(livepatch_sysfs_read_build_id(t->fd, &build_id), -ENOENT);
        assert_false(h.kprobes_known);
        sysfs_host_done(&h);
}

static void test_notes_are_read_within_their_bounds(void **state) {
        char *id;

        assert_int_equal(notes_build_id(note, sizeof(note), &id), 0);
        assert_string_equal(id, "abcd01");
        free(id);
        assert_int_equal(notes_build_id(note, 0, &id), -ENOENT);

        /* Without the padding at the end it is whole, shorter it isn't. */
        for (size_t n = 1; n < sizeof(note) - 1; n++) {
                uint8_t *copy = malloc(n);

                memcpy(copy, note, n);
                assert_int_equal(notes_build_id(copy, n, &id), -EBADMSG);
                free(copy);
        }
}

static void test_long_files_are_refused_and_not_cut(void **state) {
        Tree *t = *state;
        char buf[8];
        bool b;

        tree_write(t, "sys/long", "1234567\n");
        assert_int_equal(sysfs_read_text(t->fd, "sys/long", buf, sizeof(buf)), -E2BIG);
        tree_write(t, "sys/fits", "123456\n");
        assert_int_equal(sysfs_read_text(t->fd, "sys/fits", buf, sizeof(buf)), 0);
        assert_string_equal(buf, "123456");
        tree_write_bytes(t, "sys/nul", "1\0002", 3);
        assert_int_equal(sysfs_read_text(t->fd, "sys/nul", buf, sizeof(buf)), -EBADMSG);
        assert_int_equal(sysfs_read_bool(t->fd, "sys/none", &b), -ENOENT);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
        static const struct CMUnitTest tests[] = {
                T(test_kernel_without_livepatch_is_named_so),
                T(test_patches_come_in_order_of_loading),
                T(test_stack_order_wins_where_the_kernel_says_it),
                T(test_what_the_kernel_would_not_write_is_refused),
                T(test_functions_need_a_symbol_position),
                T(test_a_patch_that_is_half_gone_is_left_out),
                T(test_one_patch_by_name),
                T(test_modules_have_count_taint_and_build_id),
                T(test_a_reference_count_is_the_module_s_own_file_or_the_list_s),
                T(test_broken_module_lists_are_refused),
                T(test_host_facts),
                T(test_a_bare_host_has_nothing),
                T(test_notes_are_read_within_their_bounds),
                T(test_long_files_are_refused_and_not_cut),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
