#!/usr/bin/env python3
"""Lists the instructions of one append to a pipe in steady state, and counts those that lock the bus.

    ci/fast-path.py            needs valgrind and objdump

Builds runtime/examples/append.rs with optimisations, runs it under callgrind, and prints each instruction that was
executed at least once for nearly every append. Fails if more than one of them has a lock prefix (the fence of the
doorbell), or if one is a system call.
"""

import collections
import os
import re
import subprocess
import sys
import tempfile

APPENDS = 100_000


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    program = build()
    counts = executed(program)
    listed = [line for line in disassembled(program) if counts[line[0]] >= APPENDS * 9 // 10]
    # The loop that calls is not part of it.
    listed = [line for line in listed if not line[2].endswith("::main")]
    for _, text, function in listed:
        print(f"{function:40.40} {text}")
    locked = [text for _, text, _ in listed if re.match(r"lock |xchg .*\(|mfence", text)]
    calls = [text for _, text, _ in listed if text.startswith(("syscall", "call"))]
    print(f"{len(listed)} instructions, {len(locked)} of them locked: {locked}; calls: {calls}")
    if len(locked) > 1 or any(text.startswith("syscall") for text in calls):
        sys.exit("fast-path: an append does more than it should")


def build():
    env = dict(os.environ, CARGO_PROFILE_RELEASE_DEBUG="0")
    command = ["cargo", "build", "--locked", "--release", "-p", "spanwire-runtime", "--example", "append"]
    subprocess.run(command, check=True, env=env)
    return os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "release/examples/append")


def executed(program):
    """How often the instruction at each address of the program was executed."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        options = ["--tool=callgrind", "--dump-instr=yes", "--compress-pos=no", f"--callgrind-out-file={out}"]
        subprocess.run(["valgrind", "-q", *options, program], check=True)
        with open(out, encoding="utf-8") as file:
            return costs(file, program)


def costs(lines, program):
    """Addresses count from the beginning of their object, whose name stands there once, with a number."""
    counts, objects, current, is_call = collections.Counter(), {}, None, False
    for line in lines:
        if named := re.match(r"c?ob=(\(\d+\)) ?(.*)", line):
            number, name = named.groups()
            objects.setdefault(number, name)
            current = objects[number] if line.startswith("ob") else current
        elif cost := re.match(r"0x([0-9a-f]+) \S+ (\d+)", line):
            # The line after `calls=` is the cost of what was called.
            if not is_call and current and current.endswith(os.path.basename(program)):
                counts[int(cost[1], 16)] += int(cost[2])
            is_call = False
        is_call = is_call or line.startswith("calls=")
    return counts


def disassembled(program):
    text = subprocess.run(
        ["objdump", "-d", "--demangle", "--no-show-raw-insn", program], check=True, capture_output=True, text=True
    ).stdout
    function = ""
    for line in text.splitlines():
        if begin := re.match(r"[0-9a-f]+ <(.*)>:", line):
            function = begin[1]
        elif instruction := re.match(r"\s+([0-9a-f]+):\s+(.*)", line):
            yield int(instruction[1], 16), " ".join(instruction[2].split()), function


if __name__ == "__main__":
    main()
