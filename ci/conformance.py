"""Runs the tests that ci/conformance/*.toml name, and writes docs/CONFORMANCE.md. See ci/conformance.sh."""

import json
import os
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

PAGE = Path("docs/CONFORMANCE.md")
RULES = Path("ci/conformance/rules.toml")
MATRIX = Path("ci/conformance/matrix.toml")
# Of one test binary; most named tests take milliseconds.
RUN_LIMIT_S = 300
TRANSPORTS = {"http": "OTLP/HTTP", "grpc": "OTLP/gRPC"}


def main():
    rules = tomllib.loads(RULES.read_text())
    matrix = tomllib.loads(MATRIX.read_text())
    named = names_in(rules, matrix)
    failures = failures_of(named)
    page = render(rules, matrix)
    if "--check" in sys.argv[1:]:
        if PAGE.read_text() != page:
            failures.append(f"{PAGE} is not what ci/conformance.sh writes: run it and commit the page")
    else:
        PAGE.write_text(page)
    for failure in failures:
        print(f"conformance: {failure}", file=sys.stderr)
    shown = sum(bool(tests_of(rule)) for rule in all_rules(rules))
    print(f"conformance: {shown} of {len(all_rules(rules))} rules have a test; {len(named)} tests ran; {len(failures)} failures")
    sys.exit(bool(failures))


def all_rules(rules):
    return [rule for section in rules["section"] for rule in section["rule"]]


def tests_of(rule):
    return [test for column in ("http", "grpc", "both") for test in rule.get(column, [])]


def names_in(rules, matrix):
    rows = all_rules(rules) + [row for section in matrix["section"] for row in section["row"]]
    return sorted({test for row in rows for test in tests_of(row) + row.get("tests", [])})


def failures_of(named):
    """Runs each named test; what a peer shows in another script is checked to be spoken of there."""
    by_binary = defaultdict(list)
    failures = []
    for name in named:
        if name.startswith("ci/"):
            script, _, mark = name.partition(": ")
            if not Path(script).exists() or mark not in Path(script).read_text():
                failures.append(f"{script} does not speak of {mark!r}")
        else:
            binary, _, test = name.partition("::")
            by_binary[binary].append(test)
    binaries = build()
    for binary, tests in sorted(by_binary.items()):
        if binary not in binaries:
            failures.append(f"there is no test binary {binary!r}")
        else:
            failures += run(*binaries[binary], binary, tests)
    return failures


def build():
    """The test binaries of the workspace: name to path and folder."""
    command = ["cargo", "test", "--workspace", "--no-run", "--message-format=json"]
    built = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    binaries = {}
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message["executable"] and message["profile"]["test"]:
            folder = Path(message["manifest_path"]).parent
            # Two packages may have a test of one name; those of the exporter are meant.
            if message["target"]["name"] not in binaries or folder.name == "exporter":
                binaries[message["target"]["name"]] = message["executable"], folder
    return binaries


def run(executable, folder, binary, tests):
    # The rules of the test harness: exact names, and the folder of the package.
    command = [executable, "--exact", *tests]
    environment = dict(os.environ, CARGO_MANIFEST_DIR=str(folder))
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=RUN_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return [f"{binary}: not done after {RUN_LIMIT_S} s"]
    passed = {line[len("test ") : -len(" ... ok")] for line in done.stdout.splitlines() if line.startswith("test ") and line.endswith(" ... ok")}
    missing = [f"{binary}::{test} does not exist or did not pass" for test in tests if test not in passed]
    if missing:
        print(done.stdout, file=sys.stderr)
    return missing


def render(rules, matrix):
    out = [INTRODUCTION]
    for section in rules["section"]:
        out.append(f"\n## {section['title']}\n")
        if "about" in section:
            out.append(section["about"].strip() + "\n")
        out += rules_table(section["rule"])
    out.append(MATRIX_INTRODUCTION)
    for section in matrix["section"]:
        out.append(f"\n### {section['title']}\n")
        out.append("| row | spanwire | opentelemetry-rust | remark, or the test |\n|---|---|---|---|")
        out += [matrix_row(row) for row in section["row"]]
    out.append(legend(rules))
    return "\n".join(out).rstrip() + "\n"


def rules_table(rows):
    if any("http" in row or "grpc" in row for row in rows):
        yield "| id | rule | OTLP/HTTP | OTLP/gRPC |\n|---|---|---|---|"
        for row in rows:
            yield f"| {row['id']} | {says(row)} | {cell(row, 'http')} | {cell(row, 'grpc')} |"
    else:
        yield "| id | rule | shown by |\n|---|---|---|"
        for row in rows:
            yield f"| {row['id']} | {says(row)} | {cell(row, 'both')} |"


def says(row):
    remark = f" *{row['remark']}*" if "remark" in row else ""
    return f"{row['says']}{remark}"


def cell(row, column):
    tests = row.get(column, []) + (row.get("both", []) if column != "both" else [])
    if tests:
        return "<br>".join(shorten(test) for test in tests)
    return row.get(f"{column}_not", "**no test**")


def shorten(test):
    if test.startswith("ci/"):
        return f"`{test}`"
    binary, _, path = test.partition("::")
    return f"`{path.replace('::tests::', '::')}`" if binary == "spanwire" else f"`{binary}::{path}`"


def matrix_row(row):
    shown = row.get("remark", "")
    tests = ", ".join(shorten(test) for test in row.get("tests", []))
    return f"| {row['name']} | {row['spanwire']} | {row.get('rust', '?')} | {'; '.join(part for part in (shown, tests) if part)} |"


def legend(rules):
    without = [rule["id"] for rule in all_rules(rules) if not tests_of(rule) and not any(f"{t}_not" in rule for t in (*TRANSPORTS, "both"))]
    text = ", ".join(without) if without else "none"
    return f"\n## Rules without a test\n\n{text}\n"


INTRODUCTION = """# Conformance

<!-- Written by ci/conformance.sh from ci/conformance/*.toml. Do not edit by hand. -->

What OTLP demands of an exporter, and the test that shows it for each transport. `ci/conformance.sh` runs every test
that is named here and writes this page; CI fails if a test is missing or does not pass. Tests named without a folder are
unit tests of `exporter/src`, `binary::name` is a test of `exporter/tests/binary.rs`; `ci/...` is a peer that others wrote,
and so is that of `tonic::name` (`bench/tests/tonic.rs`): tonic's server.
Sources: opentelemetry-proto 1.11 `docs/specification.md` (C, G, H), the OpenTelemetry specification 1.60 (E) and
the semantic conventions 1.44 (S)."""

MATRIX_INTRODUCTION = """
## The specification's own matrix

The rows of OpenTelemetry's spec-compliance matrix (`spec-compliance-matrix/template.yaml`, August 2026) that concern an
exporter, answered for spanwire; beside them what `rust.yaml` says of opentelemetry-rust there. `+` is yes, `-` no, `?`
unknown, `N/A` not of an exporter's business."""


if __name__ == "__main__":
    main()
