/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Netlink messages, as klpd takes them from recv(): a buffer of any number of them. The first byte chooses
 * what they are read as; ELF notes and the helper's messages, which are as binary, have a number too.
 */
#include "klpd/helper-protocol.h"
#include "klpd/livepatch-sysfs.h"
#include "klpd/shim-client-message.h"
#include "tests/fuzz/fuzz.h"

static void read_message(unsigned kind, const struct nlmsghdr *h, ShimDump *dump) {
        char text[64];
        ShimInfo info;
        ShimEvent e;
        ShimTask t;
        int error;

        switch (kind) {
        case 0:
                (void) shim_message_info(h, &info);
                break;
        case 1:
                (void) shim_message_add_patch(h, dump);
                break;
        case 2:
                (void) shim_message_add_state(h, dump);
                break;
        case 3:
                if (shim_message_event(h, &e) >= 0)
                        must(e.error <= 0 && strnlen(e.name, sizeof(e.name)) < sizeof(e.name));
                break;
        case 4:
                if (shim_message_task(h, &t) >= 0)
                        must(t.pid > 0 && strnlen(t.comm, sizeof(t.comm)) < sizeof(t.comm));
                break;
        case 5:
                if (shim_message_error(h, &error, text, sizeof(text)) >= 0)
                        must(error <= 0 && strnlen(text, sizeof(text)) < sizeof(text));
                break;
        default:
                (void) shim_message_family(h);
                break;
        }
}

static void read_buffer(unsigned kind, const uint8_t *data, size_t size) {
        ShimSnapshot *snapshot = calloc(1, sizeof(ShimSnapshot));
        ShimDump dump = { .snapshot = snapshot };
        const struct nlmsghdr *h;
        const void *p = data;
        bool broken;

        must(snapshot);
        while ((h = shim_message_next(&p, &size, &broken)))
                read_message(kind, h, &dump);
        for (size_t i = 0; i < snapshot->n_patches; i++)
                must(patch_name_is_valid(snapshot->patches[i].patch->name));
        shim_snapshot_free(snapshot);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ uint8_t *aligned = NULL;
        _cleanup_free_ char *id = NULL;
        HelperRequest q = { .n_tasks = 1, .cookie = 1 };

        if (size == 0)
                return 0;
        aligned = malloc(size > 1 ? size - 1 : 1); /* the kernel's buffer is aligned too */
        must(aligned);
        memcpy(aligned, data + 1, size - 1);

        switch (data[0] % 10) {
        case 7:
                if (notes_build_id(aligned, size - 1, &id) >= 0)
                        must(strlen(id) >= 2);
                break;
        case 8:
                (void) helper_request_check(aligned, size - 1, data[0] & 128);
                break;
        case 9:
                (void) helper_reply_check(aligned, size - 1, &q);
                break;
        default:
                read_buffer(data[0] % 10, aligned, size - 1);
                break;
        }
        return 0;
}
