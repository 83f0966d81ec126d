/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rules about the host and the candidate's file. What isn't known (no HostFacts, no FileFacts: an
 * offline plan) isn't checked.
 */
#include "policy/evaluation.h"
#include "shim/klp_shim_abi.h"

void check_integrity(Evaluation *e) {
        const FileFacts *f = e->input->file;
        const Patch *p = e->change.patch;
        Violation *v;

        if (!f || !p || p != e->plan->candidate)
                return;
        if (f->pinned_digest && (!p->digest || !streq(p->digest, f->pinned_digest))) {
                v = violate(e, p);
                v->have = TEXT(e, "%s", p->digest ?: "unknown");
                v->want = TEXT(e, "%s", f->pinned_digest);
                v->message = TEXT(e, "the content of %s has the digest %s, and %s says %s", p->name, v->have,
                                  f->pinned_by ?: "the record", f->pinned_digest);
                v->remedy = "restore the file, or import it again if it was meant to change";
        }
        if (f->writable_path) {
                v = violate(e, p);
                v->have = "writable by others";
                v->want = "writable by root only";
                v->message = TEXT(e, "%s, from which %s comes, is writable by others than root",
                                  f->writable_path, p->name);
                v->remedy = TEXT(e, "chown root: %s && chmod go-w %s, after a look at the file",
                                 f->writable_path, f->writable_path);
        }
        if (e->policy->require_signature && f->signature != SIGNATURE_GOOD) {
                v = violate(e, p);
                v->have = f->signature == SIGNATURE_WRONG     ? "a signature that can't be trusted"
                        : f->signature == SIGNATURE_MISSING ? "no signature"
                                                            : "a signature that was not checked";
                v->want = "a signature by a trusted key";
                v->message = TEXT(e, "%s has %s, and the policy requires signatures%s%s", p->name, v->have,
                                  f->signature_problem ? ": " : "", f->signature_problem ?: "");
                v->remedy = "sign the patch with a trusted key, or add the signer's certificate";
        }
}

static void report_hold(Evaluation *e, const char *vendor, const char *stream, const char *reason) {
        Violation *v = violate(e, e->change.patch);

        v->have = stream ? TEXT(e, "%s/%s is held", vendor, stream) : "the host is held";
        v->want = "no hold";
        v->message = TEXT(e, "%s%s%s", v->have, reason ? ": " : "", reason ?: "");
        v->remedy = "lift the hold first";
}

static bool stream_listed(char *const *list, const Patch *p) {
        size_t n = strlen(p->vendor);

        for (char *const *s = list; s && *s; s++)
                if (strncmp(*s, p->vendor, n) == 0 && (*s)[n] == '/' && streq(*s + n + 1, p->stream))
                        return true;
        return false;
}

/* Only who holds it on the host gives a reason for streams. */
static const char *stream_reason(const Evaluation *e, const Patch *p) {
        const HostFacts *h = e->input->host;

        return h && stream_listed(h->held_streams, p) ? h->hold_reason : NULL;
}

static bool stream_held(const Evaluation *e, const Patch *p) {
        return p->kind != PATCH_FOREIGN &&
               (stream_listed(e->policy->hold_streams, p) ||
                (e->input->host && stream_listed(e->input->host->held_streams, p)));
}

/* True if a patch below it in the stack, which goes too, is of the same stream: that one has said it. */
static bool said_before(const Evaluation *e, size_t i) {
        for (size_t k = 0; k < i; k++)
                if (!e->stack[k]->orphan && change_drops(e, k) && patch_same_stream(e->stack[k], e->stack[i]))
                        return true;
        return false;
}

void check_hold(Evaluation *e) {
        const HostFacts *h = e->input->host;
        const Patch *p = e->change.patch;

        if (e->index == 0) {
                if (e->policy->hold)
                        report_hold(e, NULL, NULL, e->policy->hold_reason);
                if (h && h->held)
                        report_hold(e, NULL, NULL, h->hold_reason);
        }
        if (p && stream_held(e, p))
                report_hold(e, p->vendor, p->stream, stream_reason(e, p));
        for (size_t i = 0; i < e->n_stack; i++) {
                const Patch *q = e->stack[i];

                if (q != p && !q->orphan && change_drops(e, i) && !(p && patch_same_stream(p, q)) &&
                    stream_held(e, q) && !said_before(e, i))
                        report_hold(e, q->vendor, q->stream, stream_reason(e, q));
        }
}

static bool quarantined(char *const *list, const Patch *p) {
        return (p->digest && strv_contains(list, p->digest)) ||
               (p->build_id && strv_contains(list, p->build_id));
}

void check_quarantine(Evaluation *e) {
        const HostFacts *h = e->input->host;
        const Patch *p = e->change.patch;
        Violation *v;

        if (!p || !(quarantined(e->policy->quarantine, p) || (h && quarantined(h->quarantine, p))))
                return;
        v = violate(e, p);
        v->have = TEXT(e, "%s", p->digest ?: p->build_id);
        v->want = "content that is not in quarantine";
        v->message = TEXT(e,
                          "the content of %s is in quarantine: it crashed, was rejected or was rolled back "
                          "on this host",
                          p->name);
        v->remedy = TEXT(e,
                         "use another build, or take it out of quarantine (klpctl quarantine --remove %s)",
                         p->name);
}

void check_busy(Evaluation *e) {
        const Inventory *inventory = e->input->inventory;
        Violation *v;

        if (!inventory->transition)
                return;
        v = violate(e, NULL);
        v->patch = arena_strdup(e->arena, inventory->transition);
        v->have = TEXT(e, "%s is in transition", inventory->transition);
        v->want = "no transition";
        v->message = TEXT(e, "the transition of %s is under way, and the kernel does one at a time",
                          inventory->transition);
        v->remedy = "wait for it (klpctl blocking shows what it waits for), or cancel it";
}

void check_forced(Evaluation *e) {
        const Inventory *inventory = e->input->inventory;
        const Patch *p = e->change.patch;
        Violation *v;

        for (size_t i = 0; i < e->n_stack; i++) {
                const Patch *q = e->stack[i];

                if (!q->forced || !change_drops(e, i))
                        continue;
                v = violate(e, q);
                v->have = "pinned by a forced transition";
                v->want = "a patch that was not forced";
                v->message = TEXT(e,
                                  "the transition of %s was forced, so it can't be %s: tasks may still run "
                                  "its old code",
                                  q->name, e->change.kind == CHANGE_DISABLE ? "disabled" : "replaced");
                v->remedy = "reboot to get rid of it, or use a patch that isn't cumulative";
        }
        if (!p || e->change.kind == CHANGE_DISABLE)
                return;
        for (size_t i = 0; i < inventory->n_loaded; i++) {
                if (!inventory->loaded[i].forced || !patch_name_equal(inventory->loaded[i].name, p->name))
                        continue;
                v = violate(e, p);
                v->have = "left by a forced transition";
                v->want = "a module that was not forced";
                v->message = TEXT(e,
                                  "%s was left by a forced transition and can't be enabled again: tasks may "
                                  "still run its "
                                  "old code",
                                  p->name);
                v->remedy = "reboot, or use a patch of another name";
        }
}

static Violation *report_unready(Evaluation *e, const char *have, const char *want, const char *message,
                                 const char *remedy) {
        Violation *v = violate(e, e->change.patch);

        v->have = have;
        v->want = want;
        v->message = message;
        v->remedy = remedy;
        return v;
}

static void check_loadable(Evaluation *e) {
        const HostFacts *h = e->input->host;
        const FileFacts *f = e->input->file;
        const Patch *p = e->change.patch;

        if (h->modules_disabled)
                report_unready(e, "kernel.modules_disabled = 1", "0", "the kernel loads no modules any more "
                               "(kernel.modules_disabled is 1)", "reboot: this setting can't be taken back");
        if (f && p == e->plan->candidate && f->lsm)
                report_unready(e, TEXT(e, "%s", f->lsm), "an LSM that lets the file be loaded",
                               TEXT(e, "the security module %s refuses to load %s", f->lsm, p->name),
                               TEXT(e, "change the rules of %s, or place the file where it allows it",
                                    f->lsm));
        if (h->signatures_required && f && p == e->plan->candidate &&
            (f->module_signature == SIGNATURE_MISSING || f->module_signature == SIGNATURE_WRONG)) {
                const char *by = h->signatures_required_by ?: "the kernel";

                report_unready(e,
                               f->module_signature == SIGNATURE_MISSING ? "no module signature"
                                                                        : "a wrong signature",
                               "a signature by a key of the kernel",
                               TEXT(e, "%s requires signed modules, and %s %s", by, p->name,
                                    f->module_signature == SIGNATURE_MISSING
                                                    ? "has no signature"
                                                    : "has none that the kernel accepts"),
                               "sign the module with a key that the kernel trusts (MOK, UEFI db)");
        }
}

static void check_shim(Evaluation *e) {
        const HostFacts *h = e->input->host;

        if (e->change.patch->kind != PATCH_MANAGED || h->shim_abi == KLP_SHIM_ABI)
                return;
        if (h->shim_abi == 0)
                report_unready(e, "no shim", TEXT(e, "klp_shim with ABI %u", KLP_SHIM_ABI),
                               TEXT(e,
                                    "the kernel module klp_shim, which managed patches need, is not "
                                    "there%s%s",
                                    h->shim_problem ? ": " : "", h->shim_problem ?: ""),
                               TEXT(e, "install klp_shim for %s and load it (modprobe klp_shim)",
                                    e->input->inventory->kernel));
        else
                report_unready(e, TEXT(e, "ABI %" PRIu32, h->shim_abi), TEXT(e, "ABI %u", KLP_SHIM_ABI),
                               TEXT(e, "klp_shim has ABI %" PRIu32 ", and klpd needs %u", h->shim_abi,
                                    KLP_SHIM_ABI),
                               "install klp_shim and klpd of the same version, and reload the module");
}

/* Said here only where plain-over-managed doesn't refuse it anyway. */
static void check_guard(Evaluation *e) {
        const Patch *guarded;

        if (e->policy->modes[RULE_PLAIN_OVER_MANAGED] == RULE_ENFORCE || e->input->host->shim_abi == 0)
                return;
        guarded = find_guarded(e);
        if (guarded)
                report_unready(e, TEXT(e, "the guard state of %s", guarded->name),
                               "no managed patch that holds a state",
                               TEXT(e,
                                    "the kernel would refuse the plain patch %s: %s holds states, and klp_shim "
                                    "guards them, whatever the policy says",
                                    e->change.patch->name, guarded->name),
                               TEXT(e, "disable %s first, or replace it by a managed patch without states",
                                    guarded->name));
}

static void check_kprobes(Evaluation *e) {
        const HostFacts *h = e->input->host;
        const Patch *p = e->change.patch;

        for (size_t i = 0; i < h->n_kprobes; i++)
                for (size_t k = 0; k < p->n_functions; k++) {
                        const PatchFunction *f = &p->functions[k];
                        Violation *v;

                        if (!streq(f->function, h->kprobes[i].function) ||
                            !streq(f->object, h->kprobes[i].object))
                                continue;
                        v = report_unready(e, "a kprobe", "no kprobe",
                                           TEXT(e, "a kprobe sits on %s, which %s redirects", f->function,
                                                p->name),
                                           "remove the kprobe (perf, bpftrace, "
                                           "/sys/kernel/tracing/kprobe_events)");
                        v->function = TEXT(e, "%s:%s", f->object, f->function);
                        break;
                }
}

void check_ready(Evaluation *e) {
        const HostFacts *h = e->input->host;

        if (!h || !e->change.patch)
                return;
        if (h->in_container)
                report_unready(e, "in a container", "on the host",
                               "this is a container: the kernel is the host's", "run klpd on the host");
        if (!h->livepatch) {
                report_unready(e, "no livepatch support", "CONFIG_LIVEPATCH",
                               "the running kernel has no livepatch support (/sys/kernel/livepatch is "
                               "missing)",
                               "boot a kernel with CONFIG_LIVEPATCH=y");
                return; /* the rest follows from that */
        }
        if (!h->ftrace_enabled)
                report_unready(e, "kernel.ftrace_enabled = 0", "1",
                               "ftrace is switched off (kernel.ftrace_enabled is 0)",
                               "sysctl kernel.ftrace_enabled=1");
        if (!h->reliable_stacks)
                report_unready(e, "no reliable stack traces", "HAVE_RELIABLE_STACKTRACE",
                               "the running kernel has no reliable stack traces, so a transition could "
                               "never end",
                               "boot a kernel with reliable stack traces (x86: CONFIG_UNWINDER_ORC)");
        check_loadable(e);
        check_shim(e);
        check_guard(e);
        check_kprobes(e);
}
