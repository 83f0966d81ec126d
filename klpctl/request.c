/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests on the bus: patches go by name, files by descriptor (the daemon never sees a path), everything
 * else in the options of org.klpd1.xml.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "parse.h"
#include "request.h"

static bool ends_with(const char *s, const char *suffix) {
        size_t a = strlen(s), b = strlen(suffix);

        return a > b && streq(s + a - b, suffix);
}

TargetKind target_kind(const char *word) {
        if (!word || !*word)
                return TARGET_NONE;
        if (strspn(word, "0123456789") == strlen(word))
                return TARGET_LEVEL;
        if (strchr(word, '/') || ends_with(word, ".ko") || ends_with(word, ".ko.xz") ||
            ends_with(word, ".ko.zst") || ends_with(word, ".ko.gz"))
                return TARGET_FILE;

        return TARGET_NAME;
}

static int append_bool(sd_bus_message *m, const char *key, bool value, bool unless) {
        return value == unless ? 0 : sd_bus_message_append(m, "{sv}", key, "b", (int) value);
}

static int append_allow_vendor(sd_bus_message *m, const Arguments *a) {
        int r;

        if (a->n_allow_vendor == 0)
                return 0;

        if ((r = sd_bus_message_open_container(m, SD_BUS_TYPE_DICT_ENTRY, "sv")) < 0 ||
            (r = sd_bus_message_append_basic(m, 's', "allow-vendor")) < 0 ||
            (r = sd_bus_message_open_container(m, SD_BUS_TYPE_VARIANT, "as")) < 0 ||
            (r = sd_bus_message_open_container(m, SD_BUS_TYPE_ARRAY, "s")) < 0)
                return r;

        for (size_t i = 0; i < a->n_allow_vendor; i++) {
                r = sd_bus_message_append_basic(m, 's', a->allow_vendor[i]);
                if (r < 0)
                        return r;
        }

        if ((r = sd_bus_message_close_container(m)) < 0 || (r = sd_bus_message_close_container(m)) < 0)
                return r;

        return sd_bus_message_close_container(m);
}

static int append_options(sd_bus_message *m, const Arguments *a, bool has_level, uint32_t level) {
        int r;

        r = sd_bus_message_open_container(m, SD_BUS_TYPE_ARRAY, "{sv}");
        if (r < 0)
                return r;

        if (has_level && (r = sd_bus_message_append(m, "{sv}", "level", "u", level)) < 0)
                return r;
        if (a->stream && (r = sd_bus_message_append(m, "{sv}", "stream", "s", a->stream)) < 0)
                return r;
        if (a->reason && (r = sd_bus_message_append(m, "{sv}", "reason", "s", a->reason)) < 0)
                return r;
        if (a->timeout_usec > 0 &&
            (r = sd_bus_message_append(m, "{sv}", "timeout-usec", "t", a->timeout_usec)) < 0)
                return r;
        if ((r = append_bool(m, "accept-irreversible", a->accept_irreversible, false)) < 0 ||
            (r = append_bool(m, "replace-foreign", a->replace_foreign, false)) < 0 ||
            (r = append_bool(m, "interactive", !a->no_ask_password, true)) < 0 ||
            (r = append_allow_vendor(m, a)) < 0)
                return r;

        return sd_bus_message_close_container(m);
}

/* A regular file: opening a FIFO or a terminal here would hang. */
int request_open_module(const Ctl *c, const char *path) {
        struct stat st;
        int fd;

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0) {
                fd = -errno;
                ctl_error(c, "Failed to open '%s': %s", path, strerror(errno));
                return fd;
        }

        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
                close(fd);
                ctl_error(c, "'%s' is no regular file.", path);
                return -EINVAL;
        }

        return fd;
}

int request_new_call(Ctl *c, const char *method, const char *file_method, const char *plan, const char *word,
                     sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        TargetKind kind = target_kind(word);
        uint32_t level = c->args.level;
        int r;

        if (kind != TARGET_NONE && c->args.has_level)
                return ctl_usage(c, "--level says which patch is meant; '%s' says it once more.", word);
        if (kind == TARGET_LEVEL && parse_u32(word, &level) < 0)
                return ctl_usage(c, "Level '%s' is out of range.", word);
        if (kind == TARGET_FILE && !file_method)
                return ctl_usage(c, "This verb takes the name of a patch, not a file: '%s'.", word);

        r = ctl_bus_new_call(c, kind == TARGET_FILE ? file_method : method, &m);
        if (r != EXIT_DONE)
                return r;
        if (plan && (r = sd_bus_message_append_basic(m, 's', plan)) < 0)
                return ctl_bus_error(c, NULL, r, "make a message");

        if (kind == TARGET_FILE) {
                int fd = request_open_module(c, word);

                if (fd < 0)
                        return ctl_failure(c, EXIT_FAILED, SD_BUS_ERROR_FILE_NOT_FOUND, strerror(-fd));
                r = sd_bus_message_append_basic(m, 'h', &fd); /* a duplicate */
                close(fd);
        } else
                r = sd_bus_message_append_basic(m, 's', kind == TARGET_NAME ? word : "");
        if (r < 0)
                return ctl_bus_error(c, NULL, r, "make a message");

        r = append_options(m, &c->args, c->args.has_level || kind == TARGET_LEVEL, level);
        if (r < 0)
                return ctl_bus_error(c, NULL, r, "make a message");

        *ret = TAKE_PTR(m);
        return EXIT_DONE;
}

const char *request_describe(const Ctl *c, const char *verb, const char *word, char *buf, size_t size) {
        const char *stream = c->args.stream;

        if (target_kind(word) == TARGET_LEVEL)
                snprintf(buf, size, "%s level %s%s%s", verb, word, stream ? " of " : "", stream ?: "");
        else if (word)
                snprintf(buf, size, "%s %s", verb, word);
        else if (c->args.has_level)
                snprintf(buf, size, "%s level %" PRIu32 "%s%s", verb, c->args.level, stream ? " of " : "",
                         stream ?: "");
        else
                snprintf(buf, size, "%s%s%s%s", verb, streq(verb, "downgrade") ? " by one step" : "",
                         stream ? " of " : "", stream ?: "");

        return buf;
}
