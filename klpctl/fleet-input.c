/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See fleet-input.h. Memory for hosts is one buffer, as large as the longest line needs. */
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "fleet-input.h"
#include "klpd/fleet-calendar.h"
#include "klpd/fleet-files.h"
#include "parse.h"

#define BUFFER (256U * 1024U)
#define LINE_MAX_BYTES (64U * 1024U * 1024U)

uint64_t fleet_input_now(const Ctl *c) {
        struct timespec ts;

        if (c->args.at_usec > 0)
                return c->args.at_usec;
        (void) clock_gettime(CLOCK_REALTIME, &ts);
        return (uint64_t) ts.tv_sec * USEC_PER_SEC + (uint64_t) ts.tv_nsec / 1000;
}

void fleet_input_done(FleetInput *f) {
        fleet_set_free(f->set);
        for (size_t i = 0; i < f->n; i++)
                fleet_document_free(f->documents[i]);
        free(f->documents);
        *f = (FleetInput){};
}

static int say(Ctl *c, const char *path, int r, const PolicyError *error) {
        char text[1024];

        if (error && *error->message)
                policy_error_format(error, path, text, sizeof(text));
        else
                snprintf(text, sizeof(text), "%s: %s", path, strerror(-r));
        ctl_error(c, "%s", text);
        return ctl_failure(c, EXIT_FAILED, "", text);
}

static int load_one(Ctl *c, const char *path, uint64_t now, FleetDocument **ret) {
        _cleanup_fleet_document_free_ FleetDocument *d = NULL;
        PolicyError error = {};
        int r;

        r = fleet_file_load(path, &d, &error);
        if (r >= 0)
                r = fleet_calendar_expand(d, now, &error);
        if (r < 0)
                return say(c, path, r, &error);
        *ret = TAKE_PTR(d);
        return EXIT_DONE;
}

static int load_files(Ctl *c, const FleetFiles *files, uint64_t now, FleetInput *f) {
        f->documents = calloc(files->n + 1, sizeof(*f->documents));
        if (!f->documents)
                return ctl_oom(c);
        for (size_t i = 0; i < files->n; i++) {
                int r = load_one(c, files->list[i].path, now, &f->documents[f->n]);

                if (r != EXIT_DONE)
                        return r;
                f->n++;
        }
        return EXIT_DONE;
}

int fleet_input_load(Ctl *c, char *const *paths, uint64_t now, FleetInput *ret) {
        static const char *const directories[] = {FLEET_DIRECTORIES, NULL};
        _cleanup_(fleet_files_done) FleetFiles files = {};
        _cleanup_(fleet_input_done) FleetInput f = {};
        _cleanup_free_ char *failed = NULL;
        bool own = !paths || !*paths;
        int r;

        /* of its own directories a host may lack some */
        r = fleet_files_find(own ? (char *const *) directories : paths, !own, &files, &failed);
        if (r < 0)
                return say(c, failed ?: "fleet.d", r, NULL);
        if (files.n == 0)
                ctl_error(c, "There is no fleet document%s.", own ? " in the directories of this host" : "");
        r = load_files(c, &files, now, &f);
        if (r != EXIT_DONE)
                return r;
        if (fleet_set_new(f.documents, f.n, &f.set) < 0)
                return ctl_oom(c);
        *ret = f;
        f = (FleetInput){};
        return EXIT_DONE;
}

/* --- hosts --- */

int fleet_hosts_open(Ctl *c, const char *path, FleetHosts *ret) {
        FleetHosts h = {.path = streq(path, "-") ? "standard input" : path, .room = BUFFER};

        if (fleet_host_parser_new(&h.parser) < 0)
                return ctl_oom(c);
        h.buf = malloc(h.room);
        h.fd = streq(path, "-") ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (!h.buf || h.fd < 0) {
                int r = h.buf ? -errno : -ENOMEM;

                fleet_hosts_done(&h);
                return say(c, path, r, NULL);
        }
        *ret = h;
        return EXIT_DONE;
}

void fleet_hosts_done(FleetHosts *h) {
        if (h->fd > STDIN_FILENO)
                close(h->fd);
        free(h->buf);
        fleet_host_parser_free(h->parser);
        *h = (FleetHosts){.fd = -EBADF};
}

/* Reads more behind what is left, which goes to the buffer's beginning. */
static int fill(FleetHosts *h) {
        ssize_t n;

        if (h->begin > 0) {
                memmove(h->buf, h->buf + h->begin, h->end - h->begin);
                h->end -= h->begin;
                h->begin = 0;
        }
        if (h->end == h->room) {
                char *bigger;

                if (h->room >= LINE_MAX_BYTES)
                        return -EMSGSIZE;
                bigger = realloc(h->buf, 2 * h->room);
                if (!bigger)
                        return -ENOMEM;
                h->buf = bigger;
                h->room *= 2;
        }
        do
                n = read(h->fd, h->buf + h->end, h->room - h->end);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        h->eof = n == 0;
        h->end += (size_t) n;
        return 0;
}

/* The next line without its newline; 0 at the end. */
static int next_line(FleetHosts *h, const char **ret, size_t *ret_size) {
        size_t searched = 0;

        for (;;) {
                char *start = h->buf + h->begin, *nl;
                int r;

                nl = memchr(start + searched, '\n', h->end - h->begin - searched);
                if (nl || (h->eof && h->end > h->begin)) {
                        *ret = start;
                        *ret_size = nl ? (size_t) (nl - start) : h->end - h->begin;
                        h->begin += *ret_size + (nl != NULL);
                        h->line++;
                        return 1;
                }
                if (h->eof)
                        return 0;
                searched = h->end - h->begin;
                r = fill(h);
                if (r < 0)
                        return r;
        }
}

/* Inventories that come from other tools have the machine id only. */
static int complete(FleetHosts *h, const FleetHost *host, const FleetHost **ret) {
        *ret = host;
        if (host->has_host_id || !host->machine_id.s)
                return 1;
        h->host = *host;
        if (fleet_host_id(host->machine_id, h->host.host_id) < 0)
                return -EIO;
        h->host.has_host_id = true;
        *ret = &h->host;
        return 1;
}

int fleet_hosts_next(FleetHosts *h, const FleetHost **ret, PolicyError *error) {
        const FleetHost *host;
        const char *line;
        size_t size;
        int r;

        do
                r = next_line(h, &line, &size);
        while (r > 0 && size == 0);
        if (r < 0)
                return policy_error_set(error, r, "%s: %s", h->path,
                                        r == -EMSGSIZE ? "a line is longer than 64 MiB" : strerror(-r));
        if (r == 0)
                return 0;
        h->text = line;
        h->text_size = size;
        r = fleet_host_parser_line(h->parser, line, size, &host, error);
        if (r < 0) {
                if (error)
                        error->line = (unsigned) h->line;
                return r;
        }
        return complete(h, host, ret);
}

int fleet_hosts_only(Ctl *c, FleetHosts *h, const FleetHost **ret) {
        const FleetHost *host;
        PolicyError error = {};
        int r = 0;

        while (r >= 0 && !h->eof)
                r = fill(h);
        h->text = h->buf;
        h->text_size = h->end;
        if (r >= 0)
                r = fleet_host_parser_line(h->parser, h->buf, h->end, &host, &error);
        if (r == -EBADMSG) /* count lines: the parser doesn't */
                for (size_t i = 0, column = error.column; i < h->end && i + 1 < column; i++)
                        if (h->buf[i] == '\n') {
                                error.line++;
                                error.column = (unsigned) (column - i - 1);
                        }
        if (r >= 0)
                r = complete(h, host, ret);
        return r < 0 ? say(c, h->path, r, &error) : EXIT_DONE;
}
