/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See metrics.h. Each metric is written in one piece, HELP and TYPE before its values, as the format wants it.
 * Names follow Prometheus' practice: the prefix, base units, _total for what only counts up.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "klpd/metrics.h"

static void begin(FILE *out, const char *name, const char *type, const char *help) {
        (void) fprintf(out, "# HELP klpd_%s %s\n# TYPE klpd_%s %s\n", name, help, name, type);
}

/* In a label's value backslash, quote and end of line are escaped; it is UTF-8 otherwise, as all that klpd keeps. */
static void write_label(FILE *out, const char *name, const char *value, bool first) {
        (void) fprintf(out, "%s%s=\"", first ? "{" : ",", name);
        for (; *value; value++)
                if (*value == '\n')
                        (void) fputs("\\n", out);
                else if (*value == '\\' || *value == '"')
                        (void) fprintf(out, "\\%c", *value);
                else
                        (void) fputc(*value, out);
        (void) fputc('"', out);
}

static void value(FILE *out, const char *name, const char *label, const char *label_value, uint64_t n) {
        (void) fprintf(out, "klpd_%s", name);
        if (label) {
                write_label(out, label, label_value, true);
                (void) fputc('}', out);
        }
        (void) fprintf(out, " %" PRIu64 "\n", n);
}

static void gauge(FILE *out, const char *name, const char *help, uint64_t n) {
        begin(out, name, "gauge", help);
        value(out, name, NULL, NULL, n);
}

/* Microseconds as seconds, exactly; locale-independent. */
static void seconds(FILE *out, const char *name, const char *help, uint64_t usec) {
        begin(out, name, "gauge", help);
        (void) fprintf(out, "klpd_%s %" PRIu64 ".%06u\n", name, usec / 1000000, (unsigned) (usec % 1000000));
}

/* ---- parts ---- */

static void write_info(FILE *out, const Metrics *m) {
        static const Mode modes[] = { MODE_NORMAL, MODE_OBSERVE, MODE_OFF };

        begin(out, "info", "gauge", "Which klpd this is, on which kernel.");
        (void) fputs("klpd_info", out);
        write_label(out, "version", m->version, true);
        write_label(out, "kernel", m->kernel, false);
        (void) fputs("} 1\n", out);
        begin(out, "mode", "gauge", "1 for the mode that klpd works in.");
        for (size_t i = 0; i < ELEMENTSOF(modes); i++)
                value(out, "mode", "mode", mode_to_string(modes[i]), m->mode == modes[i]);
}

static void write_levels(FILE *out, const Inventory *inventory) {
        begin(out, "level", "gauge", "Highest enabled level of a stream.");
        for (size_t i = 0; inventory && i < inventory->n_patches; i++) {
                const Patch *p = inventory->patches[i];
                char stream[2 * (PATCH_NAME_MAX + 1) + 1];
                bool first = true;
                uint32_t level;

                if (p->kind == PATCH_FOREIGN || p->orphan ||
                    !inventory_level(inventory, p->vendor, p->stream, &level))
                        continue;
                for (size_t k = 0; k < i; k++)
                        if (patch_same_stream(inventory->patches[k], p) && !inventory->patches[k]->orphan)
                                first = false;
                if (!first)
                        continue;
                (void) snprintf(stream, sizeof(stream), "%s/%s", p->vendor, p->stream);
                value(out, "level", "stream", stream, level);
        }
        gauge(out, "patches", "Livepatches that the kernel has enabled, others' included.",
              inventory ? inventory->n_patches : 0);
}

static void write_fleet(FILE *out, const FleetStatus *f) {
        gauge(out, "fleet_managed", "Whether a rule of a fleet document matches this host.", f->managed);
        begin(out, "desired_level", "gauge", "Level that fleet documents want of a stream; 0: nothing of it.");
        if (f->managed && f->has_desired)
                value(out, "desired_level", "stream", f->stream, f->desired);
        gauge(out, "drift", "Whether this host isn't where it shall be and no gate or hold of the document is why.",
              f->drift);
        gauge(out, "overridden", "Whether somebody has decided otherwise by hand.", f->overridden);
        gauge(out, "fleet_documents", "Fleet documents in force.", f->n_documents);
        gauge(out, "fleet_document_problems", "Fleet documents that are broken or refused.", f->n_problems);
        seconds(out, "last_success_timestamp_seconds",
                "When this host last got where fleet documents want it, 0: never.", f->last_success_usec);
}

static void write_requests(FILE *out, const FleetStatus *f) {
        const struct {
                const char *result;
                uint64_t n;
        } results[] = {
                { "done", f->n_done },
                { "refused", f->n_refused },
                { "failed", f->n_failed },
                { "reversed", f->n_reversed },
        };

        begin(out, "requests_total", "counter", "Requests that came to an end, by result.");
        for (size_t i = 0; i < ELEMENTSOF(results); i++)
                value(out, "requests_total", "result", results[i].result, results[i].n);
        begin(out, "refusals_total", "counter", "Refused requests, by each rule that refused them.");
        for (Rule rule = 0; rule < _RULE_MAX; rule++)
                value(out, "refusals_total", "rule", rule_to_string(rule), f->refused_by_rule[rule]);
        seconds(out, "last_transition_seconds", "How long the last completed transition took, 0: none yet.",
                f->last_transition_usec);
}

static void write_host(FILE *out, const Metrics *m) {
        gauge(out, "transition_active", "Whether a transition is under way.", m->transition);
        gauge(out, "stalled_tasks", "Tasks that hold up the transition under way.", m->n_stalled);
        if (m->record) {
                gauge(out, "trial_patches", "Patches on trial.", m->n_trial);
                gauge(out, "accepted_patches", "Patches that are applied at boot.", m->n_accepted);
                gauge(out, "quarantined_patches", "Contents that are not applied again on this host.",
                      m->n_quarantined);
        }
        gauge(out, "problems", "Problems of klpd's own: see klpctl status.", m->n_problems);
        begin(out, "slot", "gauge", "1 for what is so about this host's turn in a roll.");
        value(out, "slot", "state", "wanted", m->slot_wanted);
        value(out, "slot", "state", "held", m->slot_held);
        value(out, "slot", "state", "failed", m->slot_failed);
}

int metrics_format(const Metrics *m, char **ret) {
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&text, &size);
        bool failed;

        if (!out)
                return -ENOMEM;
        write_info(out, m);
        write_levels(out, m->inventory);
        write_host(out, m);
        write_fleet(out, m->fleet);
        write_requests(out, m->fleet);
        failed = ferror(out);
        if (fclose(out) != 0 || failed)
                return -ENOMEM;
        *ret = TAKE_PTR(text);
        return 0;
}

/* ---- the file ---- */

static int write_all(int fd, const char *text) {
        for (size_t left = strlen(text); left > 0;) {
                ssize_t n = write(fd, text, left);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                text += n;
                left -= (size_t) n;
        }
        return 0;
}

int metrics_write(int root_fd, const char *path, const char *text) {
        const char *slash = strrchr(path, '/');
        char directory[CONFIG_PATH_MAX], beside[CONFIG_PATH_MAX + 8];
        int dir_fd, fd, r;

        if (!slash || strlen(path) >= sizeof(directory))
                return -EINVAL;
        (void) snprintf(directory, sizeof(directory), "%.*s", (int) (slash - path), path);
        /* The collector looks at *.prom only. */
        (void) snprintf(beside, sizeof(beside), ".%s.new", slash + 1);
        dir_fd = openat(root_fd, directory[0] ? directory + 1 : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir_fd < 0)
                return -errno;
        fd = openat(dir_fd, beside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);
        r = fd < 0 ? -errno : 0;
        if (r >= 0 && fchmod(fd, 0644) < 0)
                r = -errno;
        if (r >= 0)
                r = write_all(fd, text);
        if (fd >= 0 && close(fd) < 0 && r >= 0)
                r = -errno;
        if (r >= 0 && renameat(dir_fd, beside, dir_fd, slash + 1) < 0)
                r = -errno;
        if (r < 0 && fd >= 0)
                (void) unlinkat(dir_fd, beside, 0);
        close(dir_fd);
        return r;
}
