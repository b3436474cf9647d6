#!/usr/bin/env python3
"""Reads the JSON line of `spanwire demo --json` and fails unless every span arrived over the named driver."""

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
failed = [check for check, holds in checks.items() if not holds]
if failed:
    sys.exit(f"demo: not so: {', '.join(failed)}\n{json.dumps(result)}")
print(f"demo: {driver}: {result['emitted']} spans emitted, delivered and decoded, {result['spans_per_s']:.0f} spans/s")
