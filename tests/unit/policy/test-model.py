#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
SEMANTICS.md sections 2 to 4, read once more: a second planner, written from the text alone and as plainly as it can be
said (every question is answered by a search through the stack), and compared with `klpctl plan --batch` on random
inventories, candidates, requests and policies: verdict, the rules that fire with mode, state and patch, the fate of
every state, the callbacks in order, functions, fixes, the way back.

Nothing here knows how policy/ is written. Where the two differ, the text decides who is right.

KLPD_MODEL_RUNS: number of cases (default 5000, with KLPD_FULL=1 100000), KLPD_MODEL_SEED: the first one's seed.
"""
import json
import os
import random
import subprocess
import sys

KLPCTL = os.environ["KLPCTL"]
FULL = os.environ.get("KLPD_FULL") == "1"
RUNS = int(os.environ.get("KLPD_MODEL_RUNS", 100000 if FULL else 5000))
SEED = int(os.environ.get("KLPD_MODEL_SEED", os.environ.get("KLPD_SEED", "1") if FULL else "1"))

# --- section 1: terms and defaults


class State:
    def __init__(self, s):
        self.id = s["id"]
        self.version = s.get("version", 0)
        self.flags = set(s.get("flags", []))


class Patch:
    def __init__(self, p):
        self.json = p
        self.name = p["name"]
        self.kernel = p.get("kernel")
        self.kind = p.get("kind", "managed")
        self.foreign = self.kind == "foreign"
        self.vendor = None if self.foreign else p.get("vendor", "local")
        self.stream = None if self.foreign else p.get("stream", "base")
        self.level = p.get("level", 0)
        self.cumulative = p.get("cumulative", False)
        self.states = [State(s) for s in p.get("states", [])]
        self.functions = [(f.get("object", "vmlinux"), f["function"], f.get("sympos", 0) or 1)
                          for f in p.get("functions", [])]
        self.fixes = p.get("fixes", [])
        self.requires = p.get("requires", [])
        self.conflicts = p.get("conflicts", [])
        self.tags = p.get("tags", [])
        self.build_id = p.get("build_id")

    def state(self, id):
        return next((s for s in self.states if s.id == id), None)

    def same_stream(self, other):
        return not self.foreign and not other.foreign and (self.vendor, self.stream) == (other.vendor, other.stream)

    def content(self):
        """What tells one content from another where nobody knows a digest: what the module says of itself."""
        return (self.vendor, self.stream, self.level, self.cumulative, self.kind,
                tuple((s.id, s.version, tuple(sorted(s.flags))) for s in self.states))

    def is_same(self, other):
        if self.name.replace("-", "_") != other.name.replace("-", "_"):
            return False
        if self.build_id and other.build_id:
            return self.build_id == other.build_id
        if self.foreign or other.foreign:
            return True
        return self.content() == other.content()


def same_name(a, b):
    return a.name.replace("-", "_") == b.name.replace("-", "_")


# --- section 2: the fate of a state


def holder(stack, id):
    """The topmost enabled patch that has it."""
    for p in reversed(stack):
        if p.state(id):
            return p
    return None


def ids_of(*stacks):
    return sorted({s.id for stack in stacks for p in stack for s in p.states})


def fate(before, after, id, op):
    old, new = holder(before, id), holder(after, id)
    if not old:
        return "introduce"
    if not new:
        return "remove"
    a, b = old.state(id), new.state(id)
    if a.version == b.version:
        return "keep"
    # "in a disable where the id would fall back to a lower patch of another version": an exchange, and unsafe
    if b.version > a.version and "takeover" in b.flags and op != "disable":
        return "takeover"
    return "exchange"


def unsafe(before, after, id, op):
    """An exchange is safe only in an atomic replace and only when neither entry has shadow."""
    if fate(before, after, id, op) != "exchange":
        return False
    a, b = holder(before, id).state(id), holder(after, id).state(id)
    return op != "replace" or "shadow" in a.flags or "shadow" in b.flags


# --- section 3: the order of callbacks


def callbacks(before, after, op, patch):
    """patch: the one that comes or goes. A plain one has no per-state callbacks and nobody calls for it."""
    if patch.kind != "managed":
        return []
    calls = []

    def new(takeover, other):
        if op == "disable":
            return
        for s in patch.states:
            f = fate(before, after, s.id, op)
            if unsafe(before, after, s.id, op):
                continue
            if f == "takeover":
                calls.append((patch.name, s.id, takeover))
            elif f in ("introduce", "exchange"):
                calls.append((patch.name, s.id, other))

    def old(callback):
        for p in reversed(before):  # patch by patch from the top of the stack down
            if p.kind != "managed":
                continue
            for s in p.states:  # each in array order
                if holder(before, s.id) is not p or unsafe(before, after, s.id, op):
                    continue
                if fate(before, after, s.id, op) in ("remove", "exchange"):
                    calls.append((p.name, s.id, callback))

    new("pre_takeover", "pre_patch")
    old("pre_unpatch")
    old("post_unpatch")
    new("post_takeover", "post_patch")
    return calls


# --- section 4: the rules

PROFILES = {
    "upstream": {"block-disable": "off", "irreversible": "off"},
    "block-disable": {"downgrade-version": "off", "cumulative-states": "off"},
    "level-only": {r: "off" for r in ("state-version", "downgrade-version", "cumulative-states", "block-disable",
                                      "irreversible")},
}
RULES = ["kernel-release", "integrity", "identity", "level-order", "state-version", "downgrade-version",
         "cumulative-states", "block-disable", "unsafe-exchange", "irreversible", "plain-over-managed", "vendor",
         "foreign", "function-overlap", "requires", "conflicts", "hold", "quarantine", "busy", "forced", "ready"]
PLAIN_ALWAYS = {"state-version", "downgrade-version", "cumulative-states"}


def relation(text, others):
    """vendor/stream>=level (also =, <, …), state:ID, tag:NAME: is it there among others?"""
    if text.startswith("state:"):
        return any(p.state(int(text[6:])) for p in others)
    if text.startswith("tag:"):
        return any(text[4:] in p.tags for p in others)
    for op in (">=", "<=", "!=", "=", "<", ">"):
        if op in text:
            stream, level = text.split(op)
            ok = {">=": lambda l: l >= int(level), "<=": lambda l: l <= int(level), "!=": lambda l: l != int(level),
                  "=": lambda l: l == int(level), "<": lambda l: l < int(level), ">": lambda l: l > int(level)}[op]
            break
    else:
        stream, ok = text, lambda l: True
    return any(not p.foreign and p.vendor + "/" + p.stream == stream and ok(p.level) for p in others)


class Change:
    """One change of the stack and what the rules have to say about it."""

    def __init__(self, before, kind, patch, case):
        self.before, self.kind, self.patch, self.case = before, kind, patch, case
        if kind == "disable":
            self.op = "disable"
            self.after = [p for p in before if p is not patch]
        elif patch.cumulative:
            self.op = "replace"
            self.after = [patch]
        else:
            self.op = "enable"
            self.after = before + [patch]

    def fate(self, id):
        return fate(self.before, self.after, id, self.op)

    def violations(self, first=True):
        """(rule, state or None, patch or None)"""
        c, p, before, after = self.case, self.patch, self.before, self.after
        found = []

        def refuse(rule, state=None, patch=None):
            found.append((rule, state, patch.name if patch else None))

        live = {id: holder(before, id) for id in ids_of(before)}
        enables = self.kind != "disable"

        if enables:
            if p.kernel is not None and p.kernel != c["inventory"]["kernel"]:
                refuse("kernel-release", None, p)
            for q in before:
                if same_name(p, q) and not p.is_same(q):
                    refuse("identity", None, q)
                elif p.same_stream(q) and p.level and p.level == q.level and not p.is_same(q):
                    refuse("identity", None, q)
            for s in p.states:
                if s.id in live:
                    l = live[s.id].state(s.id)
                    if l.version == s.version:
                        for flag in ("block-disable", "shadow"):
                            if (flag in l.flags) != (flag in s.flags):
                                refuse("identity", s.id, live[s.id])
            levels = [q.level for q in before if p.same_stream(q)]
            if self.kind == "downgrade" and not levels:
                refuse("level-order", None, p)
            elif levels and p.level and max(levels):
                if self.kind == "apply" and not p.level > max(levels):
                    refuse("level-order", None, p)
                if self.kind == "downgrade" and not p.level < max(levels):
                    refuse("level-order", None, p)
            version = "state-version" if self.kind == "apply" else "downgrade-version"
            for s in p.states:
                if p.kind == "plain":  # the kernel compares it with every enabled patch
                    for q in before:
                        if q.state(s.id) and s.version < q.state(s.id).version:
                            refuse(version, s.id, p)
                elif s.id in live and s.version < live[s.id].state(s.id).version:
                    refuse(version, s.id, p)
            if self.op == "replace":
                for id in live:
                    if not p.state(id):
                        refuse("cumulative-states", id, p)
                for q in before:
                    if p.kind == "plain" and q.kind == "managed" and any(live[s.id] is q for s in q.states):
                        refuse("plain-over-managed", None, q)
                    if not q.foreign and q.vendor != p.vendor and q.vendor not in c.get("allow_vendor", []) and \
                       sorted((q.vendor, p.vendor or "")) not in [sorted(x) for x in
                                                                  c.get("policy", {}).get("compatible_vendors", [])]:
                        refuse("vendor", None, q)
                    if q.foreign and not c.get("replace_foreign"):
                        refuse("foreign", None, q)
            else:
                for q in before:
                    if q.foreign or q.vendor != p.vendor:
                        for f in q.functions:
                            if f in p.functions:
                                refuse("function-overlap", None, q)
            others = [q for q in after if q is not p]
            for r in p.requires:
                if not relation(r, others):
                    refuse("requires", None, p)
            for r in p.conflicts:
                if relation(r, others):
                    refuse("conflicts", None, p)

        for id, h in live.items():
            f = self.fate(id)
            lower = holder(after, id) and holder(after, id).state(id).version < h.state(id).version
            if "block-disable" in h.state(id).flags and (f in ("remove", "exchange") or lower):
                refuse("block-disable", id, h)
            elif self.op == "replace" and f in ("remove", "exchange") and h.kind == "plain":
                refuse("block-disable", id, h)
            if unsafe(before, after, id, self.op):
                refuse("unsafe-exchange", id, holder(after, id))
        for id in ids_of(after):
            if self.fate(id) in ("introduce", "exchange", "takeover") and \
               "block-disable" in holder(after, id).state(id).flags and not c.get("accept_irreversible"):
                refuse("irreversible", id, holder(after, id))
        hold = c.get("policy", {}).get("hold", {})
        if first and hold.get("host"):
            refuse("hold", None, p)
        held = hold.get("streams", [])
        streams = {(q.vendor, q.stream): q for q in [q for q in before if q not in after] + [p] if not q.foreign}
        for vendor, stream in streams:
            if vendor + "/" + stream in held:
                found.append(("hold", None, "*"))
        if first and c["inventory"].get("transition"):
            found.append(("busy", None, c["inventory"]["transition"]))
        return found

    def reversible(self):
        return not any(self.fate(id) in ("introduce", "exchange", "takeover") and
                       "block-disable" in holder(self.after, id).state(id).flags for id in ids_of(self.after))


def modes(case):
    policy = case.get("policy", {})
    m = {r: "enforce" for r in RULES}
    m.update(PROFILES[case.get("profile") or policy.get("profile", "block-disable")])
    m.update(policy.get("rules", {}))
    return m


def by_mode(case, change, violations):
    out, m = [], modes(case)
    plain = change.kind != "disable" and change.patch.kind == "plain"
    for rule, state, patch in violations:
        mode = "enforce" if plain and rule in PLAIN_ALWAYS else m[rule]
        if mode != "off":
            out.append((rule, mode, state, patch))
    return out


def direction(stack, p):
    levels = [q.level for q in stack if p.same_stream(q)]
    return "downgrade" if levels and p.level and max(levels) and p.level < max(levels) else "apply"


def disable_all(stack):
    """One patch after the other, from the top; a patch whose state would fall back to another version waits."""
    stack, order = list(stack), []
    while stack:
        for p in reversed(stack):
            rest = [q for q in stack if q is not p]
            if not any(fate(stack, rest, id, "disable") == "exchange" for id in ids_of(stack)):
                break
        order.append(p)
        stack.remove(p)
    return order


def resolve(case, stack, repository):
    """The candidate, or an error, as the man page says it."""
    kernel = case["inventory"]["kernel"]
    if case.get("candidate"):
        return Patch(case["candidate"])
    here = [p for p in repository if p.kernel in (None, kernel)]
    for places in (here, stack, repository):
        if case.get("patch"):
            fit = [p for p in places if p.name == case["patch"]]
        elif "level" in case:
            fit = [p for p in places if not p.foreign and p.level == case["level"]]
            streams = {(p.vendor, p.stream) for p in fit}
            if len(streams) > 1:
                enabled = {(p.vendor, p.stream) for p in stack}
                best = [s for s in streams if s in enabled] or list(streams)
                if len(best) > 1 and ("local", "base") in best:
                    best = [("local", "base")]
                fit = [p for p in fit if (p.vendor, p.stream) in best]
        else:
            raise LookupError("nothing named")
        if len(fit) > 1:
            raise LookupError("more than one")
        if fit:
            return fit[0]
    raise LookupError("no such patch")


def one_step_down(case, stack, repository):
    tops = [p for p in reversed(stack) if not p.foreign]
    if not tops:
        return None
    top = next((p for p in tops if p.level), tops[0])
    now = max(p.level for p in stack if p.same_stream(top))
    if not now:
        raise LookupError("no level")
    lower = [p for p in repository if p.same_stream(top) and 0 < p.level < now and
             p.kernel in (None, case["inventory"]["kernel"])]
    if not lower:
        raise LookupError("no lower level")
    best = [p for p in lower if p.level == max(q.level for q in lower)]
    if len(best) > 1:
        raise LookupError("more than one")
    return best[0]


def plan(case):
    stack = [Patch(p) for p in case["inventory"]["patches"]]
    repository = [Patch(p) for p in case.get("repository", [])]
    request, candidate, changes = case["request"], None, []
    result = {"violations": [], "callbacks": [], "reversible": True}

    def carry_out(way):
        now, changes = stack, []
        for kind, p in way:
            changes.append(Change(now, kind or direction(now, p), p, case))
            now = changes[-1].after
        found = [v for n, c in enumerate(changes) for v in by_mode(case, c, c.violations(n == 0))]
        return changes, found

    def blocked(found):
        return any(v[1] == "enforce" for v in found)

    nothing = False
    no_path = []
    if request == "disable":
        name = case.get("patch") or (case.get("candidate") or {}).get("name")
        if name:
            way = [("disable", p) for p in stack if p.name == name]
        else:
            way = [("disable", p) for p in disable_all(stack)]
        nothing = not way
        changes, found = carry_out(way)
        if not name:
            # The fate that counts for a state that can't be reverted is that of the whole request: it goes.
            m = modes(case)["block-disable"]
            for id in ids_of(stack):
                h = holder(stack, id)
                if m != "off" and "block-disable" in h.state(id).flags and \
                   not any(v[0] == "block-disable" and v[2] == id for v in found):
                    found.append(("block-disable", m, id, h.name))
    else:
        try:
            if request == "downgrade" and not case.get("candidate") and not case.get("patch") and "level" not in case:
                candidate = one_step_down(case, stack, repository)
            else:
                candidate = resolve(case, stack, repository)
        except LookupError as e:
            return {"error": str(e), "verdict": "refuse"}
        if candidate is None:  # a downgrade with nothing enabled
            m = modes(case)["level-order"]
            found = [("level-order", m, None, None)] if m != "off" else []
            for rule, patch in (("hold", None), ("busy", case["inventory"].get("transition"))):
                on = case.get("policy", {}).get("hold", {}).get("host") if rule == "hold" else patch
                if on and modes(case)[rule] != "off":
                    found.append((rule, modes(case)[rule], None, patch))
            result.update(verdict="refuse" if blocked(found) else "nothing-to-do", violations=found,
                          states=whole_fates(stack, stack))
            return finish(result, stack, stack)
        if any(candidate.is_same(q) for q in stack):
            nothing, found = True, []
        elif request != "converge":
            changes, found = carry_out([(request, candidate)])
        else:
            changes, found = carry_out([(None, candidate)])
            if blocked(found):
                for name in case.get("intermediates", []):
                    mid = next((p for p in repository if p.name == name and
                                p.kernel in (None, case["inventory"]["kernel"])), None) or \
                        next((p for p in repository if p.name == name), None)
                    if not mid or mid.name == candidate.name or any(q.name == mid.name for q in stack):
                        continue
                    c, f = carry_out([(None, mid), (None, candidate)])
                    if not blocked(f):
                        changes, found = c, f
                        break
                if blocked(found):
                    no_path = [("no-path", "enforce", None, candidate.name)]
    after = changes[-1].after if changes else stack
    result["violations"] = no_path + found
    result["verdict"] = "nothing-to-do" if nothing else "refuse" if blocked(found) else "allow"
    result["callbacks"] = [c for ch in changes for c in callbacks(ch.before, ch.after, ch.op, ch.patch)]
    result["reversible"] = all(c.reversible() for c in changes)
    result["states"] = whole_fates(stack, after, changes[0].op if len(changes) == 1 else "replace")
    return finish(result, stack, after)


def whole_fates(before, after, op="replace"):
    def version(stack, id):
        return holder(stack, id).state(id).version if holder(stack, id) else None
    return [(id, fate(before, after, id, op), version(before, id), version(after, id)) for id in ids_of(before, after)]


def finish(result, before, after):
    def top(stack):  # who redirects a function: the topmost patch that has it
        return {f: p for p in stack for f in p.functions}
    a, b = top(before), top(after)
    result["functions"] = sorted((f[1], "gained" if f not in a else "lost" if f not in b else "changed-hands")
                                 for f in set(a) | set(b) if a.get(f) is not b.get(f))
    x, y = ({c for p in s for c in p.fixes} for s in (before, after))
    result["fixes"] = sorted([(c, "lost") for c in x - y] + [(c, "gained") for c in y - x])
    return result


# --- random cases: small ranges, so that everything collides with everything


def random_relation(r):
    how = r.random()
    if how < 0.2:
        return f"state:{r.randrange(1, 6)}"
    if how < 0.3:
        return "tag:" + r.choice("tu")
    stream = r.choice(["local/base", "local/base", "local/net", "acme/base", "red/base"])
    return stream if how < 0.4 else stream + r.choice([">=", "<=", "!=", "=", "<", ">"]) + str(r.randrange(6))


def random_patch(r, n):
    kind = r.choices(["managed", "plain", "foreign"], [70, 20, 10])[0]
    p = {"name": f"p{n}"}
    if kind != "managed" or r.random() < 0.5:
        p["kind"] = kind
    if r.random() < 0.7:
        p["cumulative"] = r.random() < 0.7
    functions = r.sample(["f", "g", "h"], r.choice([0, 1, 1, 2]))
    if functions:
        p["functions"] = [{"function": f} if r.random() < 0.5 else
                          {"object": r.choice(["vmlinux", "ext4"]), "function": f, "sympos": r.randrange(3)}
                          for f in functions]
    if r.random() < 0.3:
        p["fixes"] = r.sample(["CVE-1", "CVE-2", "CVE-3"], r.randrange(3))
    if kind == "foreign":
        return p
    if r.random() < 0.3:
        p["vendor"] = r.choice(["local", "acme", "red"])
    if r.random() < 0.2:
        p["stream"] = r.choice(["base", "net"])
    if r.random() < 0.8:
        p["level"] = r.randrange(6)
    if r.random() < 0.05:
        p["kernel"] = r.choice(["k", "j"])
    states = r.sample(range(1, 6), r.choice([0, 1, 1, 2, 3]))
    if states:
        p["states"] = []
        for id in states:
            s = {"id": id}
            if r.random() < 0.9:
                s["version"] = r.randrange(1, 4)
            flags = [f for f, c in (("block-disable", 0.12), ("shadow", 0.2), ("takeover", 0.4)) if r.random() < c]
            if flags:
                s["flags"] = flags
            if r.random() < 0.2:
                s["name"] = f"n{id}"
            p["states"].append(s)
    for key in ("requires", "conflicts"):
        if r.random() < 0.15:
            p[key] = [random_relation(r) for _ in range(r.choice([1, 1, 2]))]
    if r.random() < 0.2:
        p["tags"] = r.sample(["t", "u"], r.choice([1, 2]))
    if r.random() < 0.05:
        p["build_id"] = r.choice(["aa", "bb"])
    return p


def random_case(seed):
    r = random.Random(seed)
    repository = [random_patch(r, n) for n in range(7)]
    stack = r.sample(repository, r.choice([0, 1, 1, 2, 2, 3, 4]))
    case = {"inventory": {"kernel": "k", "generation": r.randrange(9), "transition": None, "patches": stack},
            "request": r.choices(["apply", "downgrade", "disable", "converge"], [40, 25, 20, 15])[0]}
    if r.random() < 0.03:
        case["inventory"]["transition"] = "p1"
    how = r.random()
    if case["request"] == "disable":
        if how < 0.6 and stack:
            case["patch"] = r.choice(stack)["name"]
        elif how < 0.7:
            case["patch"] = "p6"
    elif how < 0.6:
        case["candidate"] = r.choice(repository)
        if r.random() < 0.1:  # the same name, another content
            case["candidate"] = dict(random_patch(r, 9), name=case["candidate"]["name"])
    else:
        case["repository"] = repository
        if how < 0.75:
            case["patch"] = f"p{r.randrange(8)}"
        elif how < 0.9:
            case["level"] = r.randrange(6)
    if case["request"] == "converge" and "repository" in case and r.random() < 0.7:
        case["intermediates"] = [p["name"] for p in r.sample(repository, 3)]
    if r.random() < 0.4:
        case["replace_foreign"] = r.random() < 0.7
    if r.random() < 0.4:
        case["accept_irreversible"] = r.random() < 0.7
    if r.random() < 0.3:
        case["allow_vendor"] = r.sample(["local", "acme", "red"], r.randrange(3))
    how = r.random()
    if how < 0.4:
        case["profile"] = r.choice(list(PROFILES))
    elif how < 0.7:
        policy = case["policy"] = {}
        if r.random() < 0.7:
            policy["profile"] = r.choice(list(PROFILES))
        if r.random() < 0.7:
            policy["rules"] = {rule: r.choice(["off", "warn", "enforce"]) for rule in
                               r.sample(RULES, r.randrange(6))}
        if r.random() < 0.2:
            policy["compatible_vendors"] = [r.sample(["local", "acme", "red"], 2)]
        if r.random() < 0.1:
            policy["hold"] = {"host": r.random() < 0.5, "streams": r.sample(["local/base", "acme/net"], 1)}
    return case


# --- comparison


def key(v):
    return tuple("" if x is None else str(x) for x in v)


def reduced(result):
    """The parts of klpctl's answer that the model has an opinion on, in its words."""
    if "error" in result:
        return {"error": True, "verdict": result["verdict"]}
    return {
        "verdict": result["verdict"],
        "violations": sorted(((v["rule"], v["mode"], v.get("state"), v.get("patch")) for v in result["violations"]),
                             key=key),
        "states": sorted((s["id"], s["fate"], s["from"], s["to"]) for s in result["states"]),
        "callbacks": [(c["patch"], c["state"], c["callback"]) for c in result["callbacks"]],
        "functions": sorted((f["function"], f["change"]) for f in result["functions"]),
        "fixes": sorted((f["fix"], f["change"]) for f in result["fixes"]),
        "reversible": result["reversible"],
    }


def expected(case, actual):
    want = plan(case)
    if "error" in want:
        return {"error": True, "verdict": "refuse"}
    # A plan over the rule hold names patches that are held, whichever: the text names none.
    # plain-over-managed and function-overlap name patches, whatever state or function they say it by.
    want["violations"] = sorted(want["violations"], key=key)
    return want


def soften(violations):
    out = []
    for rule, mode, state, patch in violations:
        if rule == "hold":
            state, patch = None, "*"
        if rule == "plain-over-managed":
            state = None
        out.append((rule, mode, state, patch))
    return sorted(out, key=key)


def main():
    cases = [random_case(SEED * 1000003 + n) for n in range(RUNS)]
    text = "".join(json.dumps(c) + "\n" for c in cases)
    run = subprocess.run([KLPCTL, "plan", "--batch"], input=text, capture_output=True, text=True)
    lines = run.stdout.splitlines()
    if run.returncode not in (0, 1) or len(lines) != len(cases):
        sys.exit(f"klpctl ended with {run.returncode}, {len(lines)} of {len(cases)} answers: {run.stderr}")

    wrong, seen, rules = 0, {}, set()
    for n, (case, line) in enumerate(zip(cases, lines)):
        answer = json.loads(line)
        have, want = reduced(answer), expected(case, answer)
        if "error" not in have:
            have["violations"] = soften(have["violations"])
            want["violations"] = soften(want.get("violations", []))
            when = [(c["callback"], c["when"]) for c in answer["callbacks"]]
            if any((w == "before") != c.startswith("pre_") for c, w in when):
                have["when"] = when
            if bool(answer["steps"]) != (answer["verdict"] == "allow"):
                have["steps"] = answer["steps"]
            for v in answer["violations"]:
                if not all(v.get(k) for k in ("have", "want", "message", "remedy")):
                    have["incomplete"] = v
                rules.add(v["rule"])
        seen[have["verdict"]] = seen.get(have["verdict"], 0) + 1
        if have != want:
            wrong += 1
            if wrong <= 5:
                print(f"seed {SEED * 1000003 + n}: {json.dumps(case)}")
                for k in sorted(set(have) | set(want)):
                    if have.get(k) != want.get(k):
                        print(f"    {k}:\n      klpctl {have.get(k)}\n      model  {want.get(k)}")
    print(f"{RUNS} cases from seed {SEED}: {wrong} differ; {seen}; rules that fired: {sorted(rules)}")
    if RUNS >= 1000:
        offline = set(RULES) - {"integrity", "quarantine", "forced", "ready"} | {"no-path"}
        if offline - rules:
            sys.exit(f"never fired: {offline - rules}")
        if min(seen.get(v, 0) for v in ("allow", "refuse", "nothing-to-do")) < RUNS // 50:
            sys.exit("too few of one verdict")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
