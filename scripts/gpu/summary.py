"""Puts what the steps of scripts/gpu-check left into gpu-check.json, and says how they went."""

import json
import os
import sys


def read(folder, name):
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        return None
    with open(path) as file:
        return json.load(file)


def main():
    folder, device = sys.argv[1:3]
    with open(os.path.join(folder, "steps.jsonl")) as file:
        steps = [json.loads(line) for line in file]
    tests = read(folder, "tests.json")
    result = {"device": device, "steps": steps, "tests": tests, "bench": read(folder, "bench.json")}
    with open(os.path.join(folder, "gpu-check.json"), "w") as file:
        json.dump(result, file, indent=1)
    for step in steps:
        verdict = "ok    " if step["status"] == 0 else "FAILED"
        print(f"{verdict} {step['step']} ({step['seconds']} s)")
    if tests:
        print(f"{tests['passed']} passed, {tests['failed']} failed, {tests['skipped']} skipped")


main()
