/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From what shim and sysfs say to the stack: order, kinds, what is merely loaded, orphans. */
#include "test-util.h"

#include "klpd/hands.h"
#include "klpd/held-modules.h"
#include "klpd/inventory.h"

static SysfsPatch sysfs_patches[8];
static SysfsModule sysfs_modules[8];
static ShimPatch shim_patches[8];
static ShimState shim_states[8];
static SysfsPatches sysfs;
static SysfsModules modules;
static ShimSnapshot shim;
static InventorySources sources;
static uint64_t births[8];
static Patch *known;

static int setup(void **state) {
        memset(sysfs_patches, 0, sizeof(sysfs_patches));
        memset(births, 0, sizeof(births));
        sysfs = (SysfsPatches) { .patches = sysfs_patches };
        modules = (SysfsModules) { .modules = sysfs_modules };
        shim = (ShimSnapshot) { .info.generation = 7, .patches = shim_patches, .states = shim_states };
        sources = (InventorySources){.kernel = "6.1", .shim = &shim, .sysfs = &sysfs, .modules = &modules};
        known = NULL;
        return 0;
}

static int teardown(void **state) {
        for (size_t i = 0; i < shim.n_patches; i++)
                patch_unref(shim_patches[i].patch);
        patch_unref(known);
        return 0;
}

static void add_module(const char *name, const char *build_id) {
        sysfs_modules[modules.n_modules] = (SysfsModule){
                        .name = (char *) name,
                        .load_order = (unsigned) modules.n_modules,
                        .live = true,
                        .livepatch = true,
                        .build_id = (char *) build_id,
        };
        modules.n_modules++;
}

static void add_sysfs(const char *name, bool enabled, bool transition, int replace) {
        sysfs_patches[sysfs.n_patches++] = (SysfsPatch){
                        .name = (char *) name,
                        .enabled = enabled,
                        .transition = transition,
                        .replace = replace,
                        .stack_order = -1,
        };
}

static Patch *add_shim(const char *name, bool on_stack, uint32_t position, uint32_t flags) {
        Patch *p;

        assert_int_equal(patch_new(name, &p), 0);
        shim_patches[shim.n_patches++] =
                        (ShimPatch){.patch = p, .on_stack = on_stack, .position = position, .flags = flags};
        return p;
}

static Inventory *build(void) {
        Inventory *inventory;

        assert_int_equal(inventory_build(&sources, &inventory), 0);
        return inventory;
}

/* "a b c", bottom first. */
static void assert_stack(const Inventory *inventory, const char *want) {
        char have[512] = "";

        for (size_t i = 0; i < inventory->n_patches; i++) {
                size_t n = strlen(have);

                (void) snprintf(have + n, sizeof(have) - n, "%s%s", n > 0 ? " " : "",
                                inventory->patches[i]->name);
        }
        assert_string_equal(have, want);
}

static uint64_t on_birth(const char *name, void *userdata) {
        for (size_t i = 0; i < sysfs.n_patches; i++)
                if (streq(sysfs_patches[i].name, name))
                        return births[i];
        return 0;
}

static Patch *on_lookup(const char *name, const char *build_id, void *userdata) {
        return known && streq(known->name, name) && streq_ptr(known->build_id, build_id) ? known : NULL;
}

static void test_managed_patches_stand_as_the_shim_says_not_as_they_were_loaded(void **state) {
        Inventory *inventory;

        add_module("a", "aa");
        add_module("b", "bb");
        add_sysfs("a", true, false, -1);
        add_sysfs("b", true, false, -1);
        add_shim("a", true, 1, KLP_SHIM_PATCH_ENABLED);
        add_shim("b", true, 0, KLP_SHIM_PATCH_ENABLED);
        inventory = build();
        assert_stack(inventory, "b a");
        assert_string_equal(inventory->patches[0]->build_id, "bb");
        assert_int_equal(inventory->generation, 7);
        assert_null(inventory->transition);
        inventory_free(inventory);
}

static void test_a_foreign_patch_stands_where_its_directory_was_made(void **state) {
        Inventory *inventory;

        add_module("old", NULL);
        add_module("foreign", "ff");
        add_module("new", NULL);
        add_sysfs("old", true, false, -1);
        add_sysfs("foreign", true, false, 1);
        add_sysfs("new", true, false, -1);
        add_shim("old", true, 1, KLP_SHIM_PATCH_ENABLED);
        add_shim("new", true, 0, KLP_SHIM_PATCH_ENABLED);
        births[0] = 30; /* old was enabled again, after foreign */
        births[1] = 20;
        births[2] = 10;
        sources.birth = on_birth;
        inventory = build();
        assert_stack(inventory, "new foreign old");
        assert_int_equal(inventory->patches[1]->kind, PATCH_FOREIGN);
        assert_string_equal(inventory->patches[1]->vendor, "");
        assert_true(inventory->patches[1]->cumulative);
        inventory_free(inventory);
}

static void test_births_that_contradict_the_shim_are_not_believed(void **state) {
        Inventory *inventory;

        add_module("a", NULL);
        add_module("b", NULL);
        add_module("foreign", NULL);
        add_sysfs("a", true, false, -1);
        add_sysfs("b", true, false, -1);
        add_sysfs("foreign", true, false, -1);
        add_shim("a", true, 0, KLP_SHIM_PATCH_ENABLED);
        add_shim("b", true, 1, KLP_SHIM_PATCH_ENABLED);
        births[0] = 30;
        births[1] = 20;
        births[2] = 10;
        sources.birth = on_birth;
        inventory = build();
        assert_stack(inventory, "a b foreign"); /* by the order of loading */
        inventory_free(inventory);
}

static void test_the_cores_own_order_counts_where_it_is_said(void **state) {
        Inventory *inventory;

        sysfs.exact_order = true;
        add_sysfs("foreign", true, false, 0);
        add_sysfs("a", true, false, 0);
        add_shim("a", true, 0, KLP_SHIM_PATCH_ENABLED);
        inventory = build();
        assert_stack(inventory, "foreign a");
        inventory_free(inventory);
}

static void test_a_plain_patch_that_the_repository_knows_has_its_metadata(void **state) {
        Inventory *inventory;

        assert_int_equal(patch_new("plain", &known), 0);
        known->kind = PATCH_PLAIN;
        known->level = 3;
        assert_int_equal(free_and_strdup(&known->vendor, "acme"), 0);
        assert_int_equal(free_and_strdup(&known->build_id, "1234"), 0);
        assert_int_equal(patch_add_state(known, 5, 1, 0, "s"), 0);
        add_module("plain", "1234");
        add_sysfs("plain", true, false, -1);
        sources.lookup = on_lookup;
        inventory = build();
        assert_int_equal(inventory->patches[0]->kind, PATCH_PLAIN);
        assert_string_equal(inventory->patches[0]->vendor, "acme");
        assert_int_equal(inventory->patches[0]->n_states, 1);
        inventory_free(inventory);

        /* The same name with other content is foreign. */
        sysfs_modules[0].build_id = (char *) "9999";
        inventory = build();
        assert_int_equal(inventory->patches[0]->kind, PATCH_FOREIGN);
        inventory_free(inventory);
}

static void test_what_is_not_on_the_stack_is_loaded(void **state) {
        Inventory *inventory;

        add_module("idle", "11");
        add_module("going", "22");
        add_module("forced", "33");
        add_sysfs("going", false, false, -1);
        add_shim("idle", false, 0, 0);
        add_shim("forced", false, 0, KLP_SHIM_PATCH_FORCED);
        inventory = build();
        assert_stack(inventory, "");
        assert_int_equal(inventory->n_loaded, 3);
        assert_string_equal(inventory->loaded[0].build_id, "11");
        assert_false(inventory->loaded[0].forced);
        assert_true(inventory->loaded[2].forced);
        inventory_free(inventory);
}

/* One reading of a kernel with these sysfs_patches and sysfs_modules, at that second. */
static void look(HeldModules *held, unsigned second) {
        for (size_t i = 0; i < modules.n_modules; i++)
                sysfs_modules[i].pinned = false;
        assert_int_equal(held_modules_update(held, &sysfs, &modules, second * UINT64_C(1000000)), 0);
}

static void test_a_plain_patch_that_is_gone_but_held_was_forced(void **state) {
        _cleanup_(held_modules_done) HeldModules held = {};
        Inventory *inventory;

        add_module("forced", "11");
        add_module("used", "22");
        add_module("enabled", "33");
        add_module("loading", "44");
        add_module("free", "55");
        for (unsigned i = 0; i < 4; i++)
                sysfs_modules[i].refcount = 1;
        sysfs_modules[1].n_users = 1;
        sysfs_modules[3].live = false;
        add_sysfs("enabled", true, false, -1);

        look(&held, 100); /* it may have been disabled a moment ago */
        assert_false(sysfs_modules[0].pinned);
        look(&held, 102);
        assert_true(sysfs_modules[0].pinned);
        for (unsigned i = 1; i < 5; i++)
                assert_false(sysfs_modules[i].pinned);
        inventory = build();
        for (size_t i = 0; i < inventory->n_loaded; i++)
                assert_int_equal(inventory->loaded[i].forced, streq(inventory->loaded[i].name, "forced"));
        inventory_free(inventory);

        sysfs_modules[0].refcount = 0; /* let go: what is seen later is something new */
        look(&held, 103);
        assert_int_equal(held.n, 0);
        sysfs_modules[0].refcount = 1;
        look(&held, 104);
        assert_false(sysfs_modules[0].pinned);
}

static void test_a_patch_on_its_way_out_is_still_on_the_stack_and_in_transition(void **state) {
        Inventory *inventory;

        add_sysfs("leaving", false, true, -1);
        inventory = build();
        assert_stack(inventory, "leaving");
        assert_string_equal(inventory->transition, "leaving");
        inventory_free(inventory);
}

static void test_an_orphan_stands_for_its_orphaned_states_only(void **state) {
        Inventory *inventory;
        Patch *p;

        p = add_shim("gone", false, 0, KLP_SHIM_PATCH_ORPHAN);
        assert_int_equal(patch_add_state(p, 1, 1, 0, NULL), 0);
        assert_int_equal(patch_add_state(p, 2, 4, PATCH_STATE_BLOCK_DISABLE, "stays"), 0);
        shim_states[shim.n_states++] = (ShimState){.id = 2,
                                                   .version = 4,
                                                   .flags = PATCH_STATE_BLOCK_DISABLE,
                                                   .name = "stays",
                                                   .holder = "gone",
                                                   .orphan = true};
        add_sysfs("other", true, false, -1);
        inventory = build();
        assert_stack(inventory, "gone other");
        assert_true(inventory->patches[0]->orphan);
        assert_int_equal(inventory->patches[0]->n_states, 1);
        assert_int_equal(inventory->patches[0]->states[0].id, 2);
        assert_null(inventory_find(inventory, "gone"));
        inventory_free(inventory);
}

static void test_without_shim_and_livepatch_the_inventory_is_empty(void **state) {
        Inventory *inventory;

        sources = (InventorySources) { .kernel = "6.1", .kernel_build_id = "abcd" };
        inventory = build();
        assert_int_equal(inventory->n_patches, 0);
        assert_int_equal(inventory->generation, 0);
        assert_string_equal(inventory->kernel_build_id, "abcd");
        inventory_free(inventory);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(test_managed_patches_stand_as_the_shim_says_not_as_they_were_loaded),
                T(test_a_foreign_patch_stands_where_its_directory_was_made),
                T(test_births_that_contradict_the_shim_are_not_believed),
                T(test_the_cores_own_order_counts_where_it_is_said),
                T(test_a_plain_patch_that_the_repository_knows_has_its_metadata),
                T(test_what_is_not_on_the_stack_is_loaded),
                T(test_a_plain_patch_that_is_gone_but_held_was_forced),
                T(test_a_patch_on_its_way_out_is_still_on_the_stack_and_in_transition),
                T(test_an_orphan_stands_for_its_orphaned_states_only),
                T(test_without_shim_and_livepatch_the_inventory_is_empty),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
