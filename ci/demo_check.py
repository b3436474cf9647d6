#!/usr/bin/env python3
"""Reads the JSON line of `spanwire demo --json` and fails unless every span, log record and data point arrived over
the named driver."""

import json
import sys

driver = sys.argv[1]
result = json.loads(sys.stdin.read())
checks = {
    "emitted is above 0": result["emitted"] > 0,
    "lost is 0": result["lost"] == 0,
    "dropped is 0": result["dropped"] == 0,
    "rejected is 0": result["rejected"] == 0,
    "decoded equals delivered": result["decoded"] == result["delivered"],
    "delivered equals emitted": result["delivered"] == result["emitted"],
    f"driver is {driver}": result["driver"] == driver,
}
for signal in ("traces", "logs", "metrics"):
    of = result["signals"][signal]
    checks |= {
        f"{signal}: emitted is above 0": of["emitted"] > 0,
        f"{signal}: lost is 0": of["lost"] == 0,
        f"{signal}: delivered equals emitted": of["delivered"] == of["emitted"],
        f"{signal}: decoded equals delivered": of["decoded"] == of["delivered"],
    }
failed = [check for check, holds in checks.items() if not holds]
if failed:
    sys.exit(f"demo: not so: {', '.join(failed)}\n{json.dumps(result)}")
counts = ", ".join(f"{result['signals'][signal]['emitted']} of {signal}" for signal in ("traces", "logs", "metrics"))
print(f"demo: {driver}: {counts} emitted, delivered and decoded, {result['spans_per_s']:.0f} spans/s")
