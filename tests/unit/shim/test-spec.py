#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
shim/klp_shim.yaml, klp_shim_abi.h, netlink.c and the comment that draws the protocol say the same.

The spec is the model: names and numbers of every enum follow from it, and so do the policy of requests, the permissions
of operations and the group. Where the kernel's own schemas are at hand (a folder in $KLPD_NETLINK_SCHEMAS, or
kernels/*/Documentation/netlink in the cache of tests/lib/kernel) the spec is validated against them, too.
"""
import glob
import os
import re
import sys

import yaml

top = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../..")
failures = 0


def check(what, have, want):
    global failures
    if have == want:
        return
    failures += 1
    print(f"{what}:\n  is     {have}\n  not    {want}")


def read(path):
    with open(os.path.join(top, path), encoding="utf-8") as f:
        return f.read()


def strip_comments(text):
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


def enum(header, name):
    """Members of a C enum as {name: value}."""
    m = re.search(r"enum " + name + r"\s*\{(.*?)\}", header, re.S)
    if not m:
        check(f"enum {name}", "missing", "there")
        return {}
    members, value = {}, -1
    for part in m.group(1).split(","):
        part = part.strip()
        if not part:
            continue
        ident, _, number = part.partition("=")
        value = int(number, 0) if number.strip() else value + 1
        members[ident.strip()] = value
    return members


def c_name(prefix, name):
    return prefix + name.upper().replace("-", "_")


def entry_name(entry):
    return entry["name"] if isinstance(entry, dict) else entry


def expected_attrs(attribute_set, prefix):
    members = {prefix + "UNSPEC": 0}
    for i, attr in enumerate(attribute_set["attributes"], 1):
        members[c_name(prefix, attr["name"])] = attr.get("value", i)
    members["__" + prefix + "MAX"] = len(attribute_set["attributes"]) + 1
    return members


spec = yaml.safe_load(read("shim/klp_shim.yaml"))
header_text = read("shim/klp_shim_abi.h")
header = strip_comments(header_text)
code = strip_comments(read("shim/netlink.c"))
sets = {s["name"]: s for s in spec["attribute-sets"]}

# Names of family and group.
check("family name", re.search(r'KLP_SHIM_GENL_NAME\s+"(\w+)"', header).group(1), spec["name"])
check("group", [re.search(r'KLP_SHIM_MCGRP_EVENTS\s+"(\w+)"', header).group(1)],
      [g["name"] for g in spec["mcast-groups"]["list"]])

# Attributes.
for name, prefix, c_enum in (("top", "KLP_SHIM_A_", "klp_shim_attr"),
                             ("patch", "KLP_SHIM_PATCH_A_", "klp_shim_patch_attr"),
                             ("state", "KLP_SHIM_STATE_A_", "klp_shim_state_attr"),
                             ("func", "KLP_SHIM_FUNC_A_", "klp_shim_func_attr"),
                             ("task", "KLP_SHIM_TASK_A_", "klp_shim_task_attr")):
    check(f"attributes of {name}", enum(header, c_enum), expected_attrs(sets[name], prefix))
    # The type that the header's comment gives each attribute.
    for attr in sets[name]["attributes"]:
        if attr["type"] == "pad":
            continue
        m = re.search(re.escape(c_name(prefix, attr["name"])) + r",\s*/\* (\w+)", header_text)
        have = m.group(1) if m else None
        check(f"type of {name}.{attr['name']} in the header", have, attr["type"])

# Commands.
commands = {"KLP_SHIM_CMD_UNSPEC": 0}
for i, op in enumerate(spec["operations"]["list"], 1):
    commands[c_name("KLP_SHIM_CMD_", op["name"])] = op.get("value", i)
check("commands", enum(header, "klp_shim_cmd"), commands)

# Enums and flags.
for definition in spec["definitions"]:
    names = [entry_name(e) for e in definition["entries"]]
    if definition["type"] == "enum":
        prefix = {"operation": "KLP_SHIM_OP_", "end": "KLP_SHIM_END_", "event": "KLP_SHIM_EVENT_"}[definition["name"]]
        want = {c_name(prefix, n): i for i, n in enumerate(names, definition.get("value-start", 0))}
        check(f"enum {definition['name']}", enum(header, "klp_shim_" + definition["name"]), want)
    else:
        prefix = {"patch-flag": "KLP_SHIM_PATCH_", "state-flag": "KLP_SHIM_STATE_"}[definition["name"]]
        have = {m[0]: int(m[1]) for m in re.findall(r"#define (" + prefix + r"(?!A_)\w+)\s+\(1U << (\d+)\)", header)}
        check(f"flags {definition['name']}", have, {c_name(prefix, n): i for i, n in enumerate(names)})

# Operations in the code: what there is, how it may be called.
have = {}
ops_text = re.search(r"struct genl_ops ops\[\] = \{(.*?)\n\};", code, re.S).group(1)
for block in re.findall(r"\{([^{}]*)\}", ops_text):
    fields = dict(re.findall(r"\.(\w+) = ([\w| ]+)", block))
    have[fields["cmd"]] = ("do" if "doit" in fields else "dump", fields.get("flags"))
want = {}
for op in spec["operations"]["list"]:
    if "event" in op:
        continue
    want[c_name("KLP_SHIM_CMD_", op["name"])] = (
        "do" if "do" in op else "dump", "GENL_ADMIN_PERM" if "admin-perm" in op.get("flags", []) else None)
check("operations in netlink.c", have, want)

# The policy has exactly what requests may carry, with the type and the bound of the spec.
requests = set()
for op in spec["operations"]["list"]:
    for kind in ("do", "dump"):
        requests |= set(op.get(kind, {}).get("request", {}).get("attributes", []))
policy_text = re.search(r"struct nla_policy policy\[[^]]*\] = \{(.*?)\n\};", code, re.S).group(1)
have = {}
for attr, body in re.findall(r"\[(\w+)\] = \{([^}]*)\}", policy_text):
    have[attr] = (re.search(r"\.type = (\w+)", body).group(1), ".len" in body)
types = {"string": "NLA_NUL_STRING", "u64": "NLA_U64", "u32": "NLA_U32"}
want = {}
for attr in sets["top"]["attributes"]:
    if attr["name"] in requests:
        want[c_name("KLP_SHIM_A_", attr["name"])] = (types[attr["type"]], "max-len" in attr.get("checks", {}))
check("policy", have, want)
name_len = int(re.search(r"KLP_SHIM_NAME_LEN\s+(\d+)", header).group(1))
for attr in sets["top"]["attributes"]:
    if "checks" in attr:
        check(f"bound of {attr['name']}", attr["checks"]["max-len"], name_len - 1)

# Everything that a message may carry is put somewhere in the code, and nothing else is.
sources = "".join(strip_comments(read(f"shim/{f}")) for f in ("events.c", "netlink.c", "dump.c", "tasks.c"))
for name, prefix in (("top", "KLP_SHIM_A_"), ("patch", "KLP_SHIM_PATCH_A_"), ("state", "KLP_SHIM_STATE_A_"),
                     ("func", "KLP_SHIM_FUNC_A_"), ("task", "KLP_SHIM_TASK_A_")):
    for attr in sets[name]["attributes"]:
        check(f"use of {c_name(prefix, attr['name'])}",
              bool(re.search(r"\b" + c_name(prefix, attr["name"]) + r"\b", sources)), True)

# Every operation and event stands in the comment that draws the protocol.
drawing = header_text[:header_text.index("#ifndef")]
for op in spec["operations"]["list"]:
    check(f"{op['name']} in the drawing", op["name"].upper().replace("-", "_") in drawing, True)

# The kernel's own schemas: as it is, and, but for the underscore in the family's name, also as a protocol that isn't
# legacy.
cache = os.environ.get("KLPD_CACHE", "/var/cache/klpd-tests")
folders = [os.environ["KLPD_NETLINK_SCHEMAS"]] if "KLPD_NETLINK_SCHEMAS" in os.environ else sorted(
    glob.glob(cache + "/kernels/*/Documentation/netlink"))
modern = dict(spec, name=spec["name"].replace("_", "-"), protocol="genetlink")
validated = False
for folder in folders:
    import jsonschema
    for file, document in (("genetlink-legacy.yaml", spec), ("genetlink.yaml", modern)):
        with open(os.path.join(folder, file), encoding="utf-8") as f:
            try:
                jsonschema.validate(document, yaml.safe_load(f))
                print(f"valid under {folder}/{file}")
                validated = True
            except jsonschema.ValidationError as e:
                check(f"validation against {folder}/{file}", f"{e.json_path}: {e.message}", "valid")
if not validated:
    print("note: the kernel's schemas (Documentation/netlink of 6.12 or later) aren't here, not validated")

sys.exit(1 if failures else 0)
