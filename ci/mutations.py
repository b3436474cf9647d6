"""Performs the rows of mutations.txt; see mutations.sh for how to call it and mutations.txt for the format."""

import hashlib
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "ci/mutations.txt"
SCRATCH = Path(os.environ.get("MUTATIONS_DIR", ROOT / "target/mutations"))
# Each is a cfg, and has its tests in loom-tests/.
CHECKERS = ("loom", "shuttle")
PACKAGES = {"runtime": "spanwire-runtime", "exporter": "spanwire", "bench": "spanwire-bench"}
# A test that goes on for this many seconds without an end counts as failed: some changes show as a hang.
TEST_LIMIT = {"loom": 60, "shuttle": 120}
TEST_LIMIT_ELSE = 25


class Broken(Exception):
    """The list, the source or the baseline is not as it should be; nothing was learned about a test."""


@dataclass
class Edit:
    file: str
    scopes: list
    old: list = field(default_factory=list)
    new: list = field(default_factory=list)


@dataclass(frozen=True, order=True)
class Kill:
    kind: str  # "loom", "shuttle", or the package of a test
    target: str  # the file in loom-tests/tests or <package>/tests, or "lib"
    test: str
    env: tuple = ()

    @property
    def binary(self):
        return self.kind, self.target

    def __str__(self):
        where = f"{self.kind} {self.target}::{self.test}"
        return " ".join([where, *(f"{name}={value}" for name, value in self.env)])


@dataclass
class Row:
    name: str
    line: int
    needs_uring: bool = False
    edits: list = field(default_factory=list)
    kills: list = field(default_factory=list)


def main(arguments):
    rows = parse(LIST.read_text())
    if arguments == ["--check"]:
        check(rows)
        print(f"mutations: {len(rows)} rows match the source")
        return 0
    chosen, limit = choose(rows, arguments)
    # Who asks for one row is not kept from it by another.
    check(chosen if arguments else rows)
    copy_tree()
    return perform(chosen, limit)


def check(rows):
    stale = []
    for row in rows:
        try:
            mutated(row, ROOT)
        except Broken as why:
            stale.append(str(why))
        stale += [f"{row.name}: there is no test {kill}" for kill in row.kills if not exists(kill)]
    if stale:
        raise Broken("\n".join(stale))


# The list.


def parse(text):
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            parse_line(rows, number, line)
        except (ValueError, IndexError):
            raise Broken(f"mutations.txt:{number}: not understood: {line}") from None
    for row in rows:
        if not row.kills or not row.edits or not all(edit.old for edit in row.edits):
            raise Broken(f"mutations.txt:{row.line}: {row.name} needs an edit with a `-` line, and a `kill`")
    names = [row.name for row in rows]
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        raise Broken(f"mutations.txt: named twice: {sorted(doubled)}")
    return rows


def parse_line(rows, number, line):
    if not line.strip() or line.startswith("#"):
        return
    word, _, rest = line.partition(" ")
    if word == "==":
        rows.append(Row(rest.strip(), number))
    elif line.strip() == "needs uring":
        rows[-1].needs_uring = True
    elif word == "in":
        file, *scopes = [part.strip() for part in rest.split(" :: ")]
        rows[-1].edits.append(Edit(file, scopes))
    elif word == "kill":
        kind, path, *env = rest.split()
        target, test = path.split("::", 1)
        if kind not in CHECKERS and kind not in PACKAGES:
            raise ValueError(kind)
        rows[-1].kills.append(Kill(kind, target, test, tuple(tuple(one.split("=", 1)) for one in env)))
    elif line[0] in "-+":
        edit = rows[-1].edits[-1]
        (edit.old if line[0] == "-" else edit.new).append(line[1:].strip())
    else:
        raise ValueError(line)


def choose(rows, arguments):
    if arguments == ["--all"]:
        return rows, float("inf")
    if arguments:
        chosen = []
        for name in arguments:
            found = [row for row in rows if row.name == name] or [row for row in rows if row.name.startswith(name)]
            if not found:
                raise Broken(f"no row begins with {name}")
            chosen += found
        return chosen, float("inf")
    # Another commit, another sample; the same commit, the same one.
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    rank = lambda row: hashlib.sha256(f"{commit} {row.name}".encode()).digest()
    sample = sorted(rows, key=rank)[: int(os.environ["MUTATIONS_SAMPLE"])]
    print(f"mutations: {len(sample)} of {len(rows)} rows, chosen by {commit[:12] or 'no commit'}")
    return sample, float(os.environ["MUTATIONS_LIMIT"])


# The source.


def mutated(row, root):
    """The files that `row` changes, with their new texts."""
    files = {}
    for edit in row.edits:
        path = root / edit.file
        if not path.is_file():
            raise Broken(f"{row.name}: there is no {edit.file}")
        lines = files.get(edit.file) or path.read_text().splitlines()
        files[edit.file] = apply(row.name, edit, lines)
    return {file: "\n".join(lines) + "\n" for file, lines in files.items()}


def apply(name, edit, lines):
    begin, end = 0, len(lines)
    where = edit.file
    for scope in edit.scopes:
        begin, end = narrow(name, lines, begin, end, scope, where)
        where += f" :: {scope}"
    at = [found for found in range(begin, end) if match(lines, found, end, edit.old)]
    if len(at) != 1:
        old = "\n  ".join(edit.old)
        raise Broken(f"{name}: {where} has {len(at)} places with\n  {old}\ninstead of one: correct ci/mutations.txt")
    last = match(lines, at[0], end, edit.old)
    return lines[: at[0]] + edit.new + lines[last:]


def narrow(name, lines, begin, end, scope, where):
    """From the one line that has `scope` in it to the brace that closes what it opens."""
    word = re.compile(r"(?<!\w)" + re.escape(scope) + r"(?!\w)")
    heads = [at for at in range(begin, end) if word.search(lines[at]) and not is_comment(lines[at])]
    if len(heads) != 1:
        raise Broken(f"{name}: {where} has {len(heads)} lines with `{scope}` instead of one: correct ci/mutations.txt")
    margin = re.match(r"\s*", lines[heads[0]]).group()
    closing = (at for at in range(heads[0] + 1, end) if re.match(re.escape(margin) + r"[})]", lines[at]))
    for at in closing:
        # `) -> T {` ends a list of parameters, not the function.
        if lines[at].startswith(margin + "}"):
            return heads[0], at + 1
    return heads[0], end


def match(lines, at, end, old):
    """The end of `old` if it begins at line `at`; comments and indentation do not count."""
    if is_comment(lines[at]):
        return None
    for wanted in old:
        while at < end and is_comment(lines[at]):
            at += 1
        if at == end or lines[at].strip() != wanted:
            return None
        at += 1
    return at


def is_comment(line):
    return line.strip().startswith("//")


def exists(kill):
    """Whether the source has the test, where its path says."""
    if kill.target != "lib":
        folder = "loom-tests" if kill.kind in CHECKERS else kill.kind
        places = [ROOT / folder / "tests" / f"{kill.target}.rs"]
    else:
        module = ROOT / kill.kind / "src" / Path(*kill.test.split("::")[:-1])
        parent = module.parent
        # A file, a folder, or inside of the module that is tested.
        places = [module.with_suffix(".rs"), module / "mod.rs", parent.with_suffix(".rs"), parent / "mod.rs"]
        places.append(parent.with_name(f"{parent.name}_tests.rs"))
    name = kill.test.split("::")[-1]
    return any(place.is_file() and re.search(rf"\bfn {name}\(", place.read_text()) for place in places)


def copy_tree():
    """Brings the copy up to date; files that did not change keep their times, for cargo's sake."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )
    wanted = {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}
    tree = SCRATCH / "tree"
    for old in list(tree.rglob("*")) if tree.is_dir() else []:
        if old.is_file() and str(old.relative_to(tree)) not in wanted:
            old.unlink()
    for name in wanted:
        write(tree / name, (ROOT / name).read_bytes())


def write(path, content):
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


# The runs.


def perform(rows, limit):
    began = time.monotonic()
    if any(row.needs_uring for row in rows) and not has_uring():
        print("mutations: no io_uring here: skipping", *(row.name for row in rows if row.needs_uring))
        rows = [row for row in rows if not row.needs_uring]
    # Rows of one binary follow each other, so that each baseline is built and run once.
    rows = sorted(rows, key=lambda row: min(row.kills).binary)
    proven, survivors, done = set(), [], 0
    for row in rows:
        if time.monotonic() - began > limit and done:
            print(f"mutations: {len(rows) - done} rows of the sample are left out: {limit:.0f} s are over")
            break
        for kill in row.kills:
            prove(kill, proven, rows)
        started = time.monotonic()
        alive = survive(row)
        verdict = f"SURVIVES {', '.join(map(str, alive))}" if alive else "killed"
        print(f"{row.name}: {verdict} ({time.monotonic() - started:.0f} s)", flush=True)
        survivors += [row.name] if alive else []
        done += 1
    print(f"mutations: {done - len(survivors)} of {done} killed in {time.monotonic() - began:.0f} s")
    if survivors:
        print(f"mutations: survived: {' '.join(survivors)}", file=sys.stderr)
    return 1 if survivors else 0


def has_uring():
    return subprocess.run([sys.executable, ROOT / "ci/has_uring.py"], capture_output=True).returncode == 0


def prove(kill, proven, rows):
    """Checks once that the tests which are to fail pass without a change."""
    if kill in proven:
        return
    same = sorted({k for row in rows for k in row.kills if (k.binary, k.env) == (kill.binary, kill.env)})
    program = build(kill)
    if program is None:
        raise Broken(f"{kill.kind} {kill.target} does not build without a change")
    output, code = run(program, kill, [one.test for one in same], limit_of(kill) * len(same))
    ran = re.search(r"^test result: ok\. (\d+) passed", output, re.M)
    if code != 0 or not ran or int(ran[1]) != len(same):
        names = "\n  ".join(map(str, same))
        raise Broken(f"without a change these do not all exist and pass:\n  {names}\n{output[-4000:]}")
    proven.update(same)


def survive(row):
    """The tests that do not notice the change."""
    changes = mutated(row, SCRATCH / "tree")
    before = {file: (SCRATCH / "tree" / file).read_bytes() for file in changes}
    try:
        for file, text in changes.items():
            write(SCRATCH / "tree" / file, text.encode())
        return [kill for kill in row.kills if passes(row, kill)]
    finally:
        for file, content in before.items():
            write(SCRATCH / "tree" / file, content)


def passes(row, kill):
    program = build(kill)
    if program is None:
        raise Broken(f"{row.name} does not compile: correct ci/mutations.txt")
    output, code = run(program, kill, [kill.test], limit_of(kill))
    if "VERBOSE" in os.environ:
        print(output)
    return code == 0


def limit_of(kill):
    return TEST_LIMIT.get(kill.kind, TEST_LIMIT_ELSE)


def build(kill):
    """The path of the test binary; None if it does not compile."""
    env = dict(os.environ, CARGO_TARGET_DIR=str(SCRATCH / "dev"), CARGO_INCREMENTAL="1")
    env["CARGO_PROFILE_DEV_DEBUG"] = "0"
    # A mutated program may have variables and imports that nobody uses.
    env["RUSTFLAGS"] = "--cap-lints=allow"
    target = ["--lib"] if kill.target == "lib" else ["--test", kill.target]
    if kill.kind in CHECKERS:
        # As ci/loom.sh and ci/shuttle.sh do; what loom's deadlines need of the optimiser it gets with less work.
        env["CARGO_TARGET_DIR"] = str(SCRATCH / kill.kind)
        env["RUSTFLAGS"] += f" --cfg {kill.kind} -C debug-assertions"
        env["CARGO_PROFILE_RELEASE_DEBUG"] = "0"
        target = ["--release", "-p", "spanwire-loom-tests", *target]
    else:
        target = ["-p", PACKAGES[kill.kind], *target]
    command = ["cargo", "test", "--locked", "--no-run", "--message-format=json", *target]
    built = subprocess.run(command, cwd=SCRATCH / "tree", env=env, capture_output=True, text=True)
    if built.returncode != 0:
        errors = re.findall(r'"rendered":"((?:[^"\\]|\\.)*)"', built.stdout)
        print(built.stderr, *(error.encode().decode("unicode_escape") for error in errors[-3:]), sep="\n")
        return None
    programs = re.findall(r'"executable":"([^"]+)"', built.stdout)
    if len(programs) != 1:
        raise Broken(f"cargo built {programs} for {kill}")
    return programs[0]


def run(program, kill, tests, limit):
    folder = "loom-tests" if kill.kind in CHECKERS else kill.kind
    env = dict(os.environ, RUST_BACKTRACE="0", **dict(kill.env))
    # Cargo sets it for tests that look for the program of their package.
    env["CARGO_MANIFEST_DIR"] = str(SCRATCH / "tree" / folder)
    command = [program, "--exact", "--test-threads=2", *tests]
    with subprocess.Popen(
        command, cwd=SCRATCH / "tree" / folder, env=env, text=True, errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    ) as process:
        try:
            return process.communicate(timeout=limit)[0], process.returncode
        except subprocess.TimeoutExpired:
            # With its children: some tests start some.
            os.killpg(process.pid, 9)
            return process.communicate()[0] + f"\nno end within {limit} s", -9


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Broken as why:
        print(f"mutations: {why}", file=sys.stderr)
        sys.exit(2)
