"""Run the lab's tests on several kernels, one after the other: `python -m tests.lab.kernels
SUITE... [-- PYTEST ARGUMENTS]`. With `-- -k NAME`, only that guest of test_lab.py is booted.

Owns: the table at the end. Must never know: what is tested, where kernels come from.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time

from tests.lab.boot import LAB, REPO, describe_sources, missing


def run_suite(suite: str, arguments: list[str]) -> tuple[bool, str]:
    """Run the tests on the suite's kernel. Return True if they pass, and a row that says so."""
    began = time.monotonic()
    commit = describe_sources()
    command = [sys.executable, "-m", "tests.lab.newer", suite, sys.executable]
    command += ["-m", "pytest", "-q", "-s", "tests/lab/test_lab.py", *arguments]
    done = subprocess.run(
        command, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    LAB.mkdir(exist_ok=True)
    log = LAB / f"kernel-{suite}.log"
    log.write_text(done.stdout)
    kernel = re.search(r"^lab: .*, (Linux .*)$", done.stdout, re.MULTILINE)
    guests = [line.removeprefix("guest ") for line in re.findall("guest .*", done.stdout)]
    minutes = (time.monotonic() - began) / 60
    name = kernel[1] if kernel else "no kernel"
    rows = "".join(f"\n    {line}" for line in dict.fromkeys(guests))
    where = f"{commit}, {minutes:.0f} min, {log.relative_to(REPO)}"
    return done.returncode == 0, f"{suite} ({name}), {where}{rows}"


def main() -> None:
    if lack := missing():
        sys.exit(lack)
    words = [*sys.argv[1:], "--"]
    end = words.index("--")
    results = []
    for suite in words[:end]:
        good, row = run_suite(suite, words[end + 1 : -1])
        print("passed" if good else "FAILED", row, flush=True)
        results.append(good)
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
