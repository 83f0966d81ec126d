/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klpd-inspect as klpd runs it: the real program in its sandbox on good and bad modules, and programs in its
 * place that say nothing, say nonsense, or never end. Arguments: klpd-inspect, the directory with the
 * modules, the sandbox prober.
 */
#include "test-util.h"

#include <lzma.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "klpd/inspect-client.h"
#include "klpd/patch-file.h"

static const char *program, *directory, *prober;

typedef struct Answer {
        bool there, remembered;
        int error;
        char text[600];
        Patch *patch;
        int content_fd;
} Answer;

static void on_inspected(InspectRequest *r, int error, const char *text, const InspectResult *result,
                         void *userdata) {
        Answer *a = userdata;

        assert_false(a->there);
        a->there = true;
        a->error = error;
        snprintf(a->text, sizeof(a->text), "%s", text);
        if (result) {
                a->remembered = result->remembered;
                a->patch = patch_ref(result->patch);
                a->content_fd = dup(result->content_fd);
        }
}

static void inspect_with_spec(const InspectSpec *spec, const void *bytes, size_t size, Answer *a) {
        InspectRequest *r;
        sd_event *event;
        int fd;

        *a = (Answer) { .content_fd = -1 };
        assert_int_equal(sealed_memfd_new_from_bytes(bytes, size, "x", &fd), 0);
        assert_true(sd_event_new(&event) >= 0);
        assert_int_equal(inspect_request_new(event, fd, spec, on_inspected, a, &r), 0);
        assert_false(a->there);
        while (!a->there)
                assert_true(sd_event_run(event, 30000000) > 0);
        inspect_request_free(r);
        sd_event_unref(event);
        close(fd);
}

static void inspect_with(const char *with, uint64_t timeout_usec, const void *bytes, size_t size, Answer *a) {
        InspectSpec spec = { .program = with, .timeout_usec = timeout_usec };

        inspect_with_spec(&spec, bytes, size, a);
}

static void answer_done(Answer *a) {
        patch_unref(a->patch);
        if (a->content_fd >= 0)
                close(a->content_fd);
}

static uint8_t *load_module(const char *name, size_t *ret_size) {
        char path[512];

        snprintf(path, sizeof(path), "%s/%s.ko", directory, name);
        return read_whole_file(path, ret_size);
}

static void test_a_module_is_read_in_the_sandbox(void **state) {
        _cleanup_free_ uint8_t *bytes = NULL;
        size_t size;
        Answer a;

        bytes = load_module("managed", &size);
        inspect_with(program, 0, bytes, size, &a);
        assert_string_equal(a.text, "");
        assert_int_equal(a.error, 0);
        assert_string_equal(a.patch->name, "klp_unit");
        assert_int_equal(a.patch->n_states, 2);
        assert_int_equal(strlen(a.patch->digest), 64);
        assert_int_equal(sealed_memfd_check(a.content_fd), 0);
        answer_done(&a);
}

static void test_compressed_content_comes_back_sealed(void **state) {
        _cleanup_free_ uint8_t *bytes = NULL, *compressed = NULL, *back = NULL;
        struct stat st;
        size_t size, n = 0;
        Answer a;

        bytes = load_module("managed", &size);
        compressed = malloc(2 * size + 4096);
        assert_int_equal(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, NULL, bytes, size, compressed, &n,
                                                 2 * size + 4096),
                         LZMA_OK);
        inspect_with(program, 0, compressed, n, &a);
        assert_int_equal(a.error, 0);
        assert_int_equal(sealed_memfd_check(a.content_fd), 0);
        assert_int_equal(fstat(a.content_fd, &st), 0);
        assert_int_equal(st.st_size, size);
        back = malloc(size);
        assert_int_equal(pread(a.content_fd, back, size, 0), size);
        assert_memory_equal(back, bytes, size);
        answer_done(&a);
}

/* The second time nobody is asked: the program in the inspector's place would only fail. */
static void test_the_same_bytes_are_inspected_once(void **state) {
        InspectMemory memory = {};
        const InspectSpec real = { .program = program, .memory = &memory },
                          broken = { .program = "/bin/false", .memory = &memory };
        _cleanup_free_ uint8_t *bytes = NULL;
        size_t size;
        Answer first, again;

        bytes = load_module("managed", &size);
        inspect_with_spec(&broken, bytes, size, &first);
        assert_int_equal(first.error, -EPROTO);
        inspect_with_spec(&real, bytes, size, &first);
        assert_int_equal(first.error, 0);
        inspect_with_spec(&broken, bytes, size, &again);
        assert_int_equal(again.error, 0);
        assert_false(first.remembered);
        assert_true(again.remembered);
        assert_ptr_not_equal(first.patch, again.patch);
        assert_string_equal(first.patch->digest, again.patch->digest);
        assert_string_equal(first.patch->name, again.patch->name);
        assert_int_equal(first.patch->n_states, again.patch->n_states);
        assert_int_equal(sealed_memfd_check(again.content_fd), 0);
        answer_done(&first);
        answer_done(&again);

        /* One byte is another module. */
        bytes[size - 1] ^= 1;
        inspect_with_spec(&broken, bytes, size, &again);
        assert_int_equal(again.error, -EPROTO);
        inspect_memory_done(&memory);
}

static void test_what_was_refused_or_compressed_is_asked_again(void **state) {
        InspectMemory memory = {};
        const InspectSpec real = { .program = program, .memory = &memory },
                          broken = { .program = "/bin/false", .memory = &memory };
        _cleanup_free_ uint8_t *bytes = NULL, *compressed = NULL;
        size_t size, n = 0;
        Answer a;

        inspect_with_spec(&real, "hello, world", 12, &a);
        assert_int_equal(a.error, -ENOEXEC);
        inspect_with_spec(&broken, "hello, world", 12, &a);
        assert_int_equal(a.error, -EPROTO);

        bytes = load_module("managed", &size);
        compressed = malloc(2 * size + 4096);
        assert_int_equal(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, NULL, bytes, size, compressed, &n,
                                                 2 * size + 4096),
                         LZMA_OK);
        inspect_with_spec(&real, compressed, n, &a);
        assert_int_equal(a.error, 0);
        answer_done(&a);
        inspect_with_spec(&broken, compressed, n, &a);
        assert_int_equal(a.error, -EPROTO);
        inspect_memory_done(&memory);
}

static void test_the_memory_is_bounded(void **state) {
        struct json_object *answer = json_object_new_object(), *long_one = json_object_new_object(), *found;
        uint8_t key[SHA256_SIZE] = {};
        char text[INSPECT_ANSWER_MAX + 1];
        InspectMemory memory = {};

        memset(text, 'x', sizeof(text));
        json_object_object_add(long_one, "x", json_object_new_string_len(text, sizeof(text)));
        inspect_memory_keep(&memory, key, long_one);
        assert_null(inspect_memory_find(&memory, key));

        for (unsigned i = 0; i <= INSPECT_MEMORY_MAX; i++) {
                key[0] = (uint8_t) i;
                inspect_memory_keep(&memory, key, answer);
                found = inspect_memory_find(&memory, key);
                assert_non_null(found);
                json_object_put(found);
        }
        key[0] = 0; /* the oldest has gone */
        assert_null(inspect_memory_find(&memory, key));
        key[0] = 1;
        found = inspect_memory_find(&memory, key);
        assert_non_null(found);
        json_object_put(found);
        json_object_put(answer);
        json_object_put(long_one);
        inspect_memory_done(&memory);
}

static void test_bad_modules_are_refused_with_the_reason(void **state) {
        _cleanup_free_ uint8_t *bytes = NULL;
        size_t size;
        Answer a;

        bytes = load_module("managed", &size);
        inspect_with(program, 0, bytes, size / 2, &a);
        assert_int_equal(a.error, -EBADMSG);
        assert_contains(a.text, "truncated");
        inspect_with(program, 0, "hello, world", 12, &a);
        assert_int_equal(a.error, -ENOEXEC);
        assert_contains(a.text, "no kernel module");
        inspect_with(program, 0, "\xfd""7zXZ\0garbage", 13, &a);
        assert_int_equal(a.error, -EBADMSG);
        free(bytes);
        bytes = load_module("no-livepatch", &size);
        inspect_with(program, 0, bytes, size, &a);
        assert_int_equal(a.error, -ENOPKG);
        free(TAKE_PTR(bytes));
}

static void test_an_unsealed_file_is_not_looked_at(void **state) {
        const InspectSpec spec = { .program = program };
        int fd = memfd_create("x", MFD_CLOEXEC);
        InspectRequest *r;
        sd_event *event;
        Answer a = {};

        assert_true(sd_event_new(&event) >= 0);
        assert_int_equal(inspect_request_new(event, fd, &spec, on_inspected, &a, &r), -EPERM);
        sd_event_unref(event);
        close(fd);
}

static void test_a_child_that_says_nothing_or_nonsense_is_an_error(void **state) {
        Answer a;

        inspect_with("/bin/true", 0, "x", 1, &a);
        assert_int_equal(a.error, -EPROTO);
        inspect_with("/bin/false", 0, "x", 1, &a);
        assert_int_equal(a.error, -EPROTO);
        assert_contains(a.text, "status 1");
        /* "cat" in its place: the content is the answer, whatever a hostile module makes the child say. */
        inspect_with("/bin/cat", 0, "[1, 2", 5, &a);
        assert_int_equal(a.error, -EPROTO);
        inspect_with("/bin/cat", 0, "[]", 2, &a);
        assert_int_equal(a.error, -EPROTO);
        inspect_with("/bin/cat", 0, "{\"error\": -5, \"message\": \"x\"}", 29, &a);
        assert_int_equal(a.error, -EPROTO);
        inspect_with("/bin/cat", 0, "{\"error\": 8}", 12, &a);
        assert_int_equal(a.error, -EPROTO);
        inspect_with("/bin/cat", 0, "{\"patch\": {}}", 13, &a);
        assert_int_equal(a.error, -EPROTO);
        inspect_with("/bin/cat", 0, "{\"error\": 8, \"message\": \"no\"}", 29, &a);
        assert_int_equal(a.error, -8);
        assert_string_equal(a.text, "no");
}

static void test_the_childs_word_on_the_digest_is_not_taken(void **state) {
        static const char lie[] = "{\"patch\": {\"name\": \"x\", \"digest\": "
                "\"0000000000000000000000000000000000000000000000000000000000000000\"}, \"vermagic\": \"1\","
                " \"signature-size\": 0, \"module-relocations\": false, \"decompressed\": false}";
        Answer a;

        inspect_with("/bin/cat", 0, lie, sizeof(lie) - 1, &a);
        assert_int_equal(a.error, 0);
        assert_int_not_equal(a.patch->digest[0] + a.patch->digest[1] + a.patch->digest[2] +
                                             a.patch->digest[3],
                             4 * '0');
        answer_done(&a);
}

static void test_a_child_that_never_ends_is_killed(void **state) {
        Answer a;

        inspect_with("/usr/bin/yes", 2000000, "x", 1, &a);
        assert_true(a.error == -E2BIG || a.error == -ETIMEDOUT);
        /* ends: nothing wrong with the time limit itself */
        inspect_with("/usr/bin/tac", 100000, "x", 1, &a);
        assert_int_equal(a.error, -EPROTO);
}

static void test_the_sandbox_holds(void **state) {
        static const struct {
                const char *what;
                int r;
                const char *text;
        } cases[] = {
                        {"open", -EACCES, "open"},        {"socket", -EACCES, "socket"},
                        {"fork", -EPROTO, "signal 31"},   {"exec", -EPROTO, "signal 31"},
                        {"ptrace", -EPROTO, "signal 31"}, {"executable-memory", -EPROTO, "signal 31"},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Answer a;

                inspect_with(prober, 0, cases[i].what, strlen(cases[i].what), &a);
                if (a.error != cases[i].r || !strstr(a.text, cases[i].text))
                        fail_msg("%s: %d %s", cases[i].what, a.error, a.text);
        }
}

static void test_a_request_may_be_dropped_at_any_time(void **state) {
        const InspectSpec spec = { .program = "/usr/bin/yes" };
        InspectRequest *r;
        sd_event *event;
        Answer a = {};
        int fd;

        assert_int_equal(sealed_memfd_new_from_bytes("x", 1, "x", &fd), 0);
        assert_true(sd_event_new(&event) >= 0);
        assert_int_equal(inspect_request_new(event, fd, &spec, on_inspected, &a, &r), 0);
        assert_true(sd_event_run(event, 1000000) >= 0);
        assert_null(inspect_request_free(r));
        assert_false(a.there);
        sd_event_unref(event);
        close(fd);
}

int main(int argc, char *argv[]) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_module_is_read_in_the_sandbox),
                cmocka_unit_test(test_compressed_content_comes_back_sealed),
                cmocka_unit_test(test_the_same_bytes_are_inspected_once),
                cmocka_unit_test(test_what_was_refused_or_compressed_is_asked_again),
                cmocka_unit_test(test_the_memory_is_bounded),
                cmocka_unit_test(test_bad_modules_are_refused_with_the_reason),
                cmocka_unit_test(test_an_unsealed_file_is_not_looked_at),
                cmocka_unit_test(test_a_child_that_says_nothing_or_nonsense_is_an_error),
                cmocka_unit_test(test_the_childs_word_on_the_digest_is_not_taken),
                cmocka_unit_test(test_a_child_that_never_ends_is_killed),
                cmocka_unit_test(test_the_sandbox_holds),
                cmocka_unit_test(test_a_request_may_be_dropped_at_any_time),
        };

        if (argc != 4)
                return EXIT_FAILURE;
        program = argv[1];
        directory = argv[2];
        prober = argv[3];
        return cmocka_run_group_tests(tests, NULL, NULL);
}
