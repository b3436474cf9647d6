#!/usr/bin/env python3
"""Fails on a dependency in the given manifests without a comment above it that says why it is there.

A comment covers the lines below it up to a blank line or the next comment, so two crates that only make sense
together share one. Our own crates need no reason.
"""

import re
import sys

SECTION = re.compile(r"^\[(.+)\]\s*$")
DEPENDENCY = re.compile(r"^([A-Za-z0-9_-]+)\s*(\.|=)")
OURS = {"spanwire", "spanwire-runtime", "spanwire-bench", "spanwire-loom-tests"}


def unexplained(text):
    """Yields (line number, crate) for each dependency line that no comment covers."""
    in_dependencies = explained = False
    depth = 0
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        # Inside a list or table that spans lines.
        if depth > 0:
            depth += bracket_balance(line)
            continue
        section = SECTION.match(line)
        if section:
            in_dependencies = section[1].split(".")[-1].endswith("dependencies")
            in_dependencies &= section[1] != "workspace.dependencies"
            explained = False
        elif not line:
            explained = False
        elif line.startswith("#"):
            explained = True
        elif in_dependencies and (found := DEPENDENCY.match(line)):
            depth = bracket_balance(line)
            if not explained and found[1] not in OURS:
                yield number, found[1]


def bracket_balance(line):
    line = line.split(" #")[0]
    return line.count("[") + line.count("{") - line.count("]") - line.count("}")


def self_test():
    planted = "[dependencies]\n# Why.\na = '1'\nb.workspace = true\n\nc = '1'\nspanwire = '1'\n[lints]\nd = 1\n"
    found = list(unexplained(planted))
    assert found == [(6, "c")], found


def main(manifests):
    self_test()
    offences = 0
    for manifest in manifests:
        with open(manifest, encoding="utf-8") as file:
            for number, crate in unexplained(file.read()):
                print(f"deps: {manifest}:{number}: {crate} has no comment that says why it is there", file=sys.stderr)
                offences += 1
    if offences:
        sys.exit(1)
    print(f"deps: a reason beside every dependency of {len(manifests)} manifests")


main(sys.argv[1:])
