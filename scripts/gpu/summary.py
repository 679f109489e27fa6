"""Puts what the steps of scripts/gpu-check left into gpu-check.json and tests.json, and says how they went.

Runs after each step, over files of which a killed step may have left a part.
"""

import json
import os
import sys

VERDICTS = {0: "ok", 77: "skipped", 124: "TOO LONG", 137: "TOO LONG"}
SHOWN = 30


def read_lines(path):
    """The objects of a file of JSON lines; the last one may be cut off."""
    objects = []
    if os.path.exists(path):
        with open(path, errors="replace") as file:
            for line in file:
                try:
                    objects.append(json.loads(line))
                except ValueError:
                    pass
    return objects


def read(path):
    if not os.path.exists(path):
        return None
    try:
        with open(path) as file:
            return json.load(file)
    except ValueError as error:
        return {"unreadable": str(error)}


def write(path, value):
    """All of it or nothing."""
    with open(path + ".new", "w") as file:
        json.dump(value, file, indent=1)
    os.replace(path + ".new", path)


def main():
    folder, device = sys.argv[1:3]
    at = lambda name: os.path.join(folder, name)
    steps = {step["step"]: step for step in read_lines(at("steps.jsonl"))}  # of a repeated one, the last
    results = read_lines(at("tests.jsonl"))
    tests = None
    if results:
        outcomes = [result["outcome"] for result in results]
        tests = {outcome: outcomes.count(outcome) for outcome in ("passed", "failed", "skipped")}
        write(at("tests.json"), {**tests, "results": results})
    result = {"device": device, "steps": list(steps.values()), "tests": tests, "bench": read(at("bench.json"))}
    write(at("gpu-check.json"), result)
    failures = [result for result in results if result["outcome"] == "failed"]
    for failure in failures[:SHOWN]:
        print(f"failed {failure['name']}: {(failure['error'].splitlines() or [''])[0][:160]}")
    if len(failures) > SHOWN:
        print(f"… and {len(failures) - SHOWN} more in tests.json")
    for step in steps.values():
        print(f"{VERDICTS.get(step['status'], 'FAILED'):<8} {step['step']} ({step['seconds']} s)")
    if tests:
        print(f"{tests['passed']} passed, {tests['failed']} failed, {tests['skipped']} skipped")


main()
