"""Find the faults that no test finds, and compare them with the known ones: `python -m
tools.mutation [MODULE...]`.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

from tests.older_python import parse_toml
from tools.mutation.mutants import Mutant, mutants
from tools.mutation.trial import HUNG, LIVED, trials

KNOWN = Path(__file__).with_name("survivors.toml")
BAR = 90  # per cent

# Test files by subject, the quickest first: if the first file finds a fault, the others do not run.
_GRAMMAR = [
    "unit/grammar/test_options",
    "unit/grammar/test_popt",
    "unit/grammar/test_parser",
    "cases/test_embedded",
]
_OURS = [
    "unit/commands/test_selection",
    "unit/test_cli",
    "unit/commands/test_drain",
    "unit/commands/test_watch",
    "unit/commands/test_doctor",
]
_BYTES = [
    "unit/netlink/test_attributes",
    "unit/netlink/test_dump_layout",
    "unit/backends/test_kernel",
]
TESTS = {
    "grammar/parser": [*_GRAMMAR, *_OURS],
    "grammar/combinations": [*_GRAMMAR, *_OURS, "unit/completion/test_candidates"],
    "grammar/values": [*_GRAMMAR, *_OURS],
    "grammar/options": [
        *_GRAMMAR,
        "unit/project/test_man",
        *_OURS,
        "unit/completion/test_candidates",
    ],
    "netlink/attributes": _BYTES,
    "netlink/dumps": _BYTES,
    "change/plan": ["unit/change/test_plan", "unit/commands/test_apply"],
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.mutation", description="Faults that no test finds."
    )
    parser.add_argument(
        "--sample",
        type=float,
        default=1,
        metavar="SHARE",
        help="of the faults, at random (default: all)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", metavar="WORD", help="faults whose name has it")
    parser.add_argument("modules", nargs="*", default=[*TESTS], help=f"of {', '.join(TESTS)}")
    given = parser.parse_args()
    pick = random.Random(given.seed)
    known = {
        (row["module"], name)
        for row in parse_toml(KNOWN.read_text()).get("lives", [])
        for name in row["mutants"]
    }
    bad = False
    for module in given.modules:
        chosen = [
            each
            for each in mutants(module)
            if given.only in each.name and pick.random() < given.sample
        ]
        began = time.monotonic()
        lived: list[Mutant] = []
        # for faults in functions (True) and in tables (False): found, all, hung among the found
        count = {True: [0, 0, 0], False: [0, 0, 0]}
        for mutant, said in trials(chosen, [f"tests/{name}.py" for name in TESTS[module]]):
            for at, one in enumerate((said != LIVED, True, said == HUNG)):
                count[bool(mutant.function)][at] += one
            if said == LIVED:
                lived.append(mutant)
        for kind, (caught, total, hung) in zip(("code", "tables"), (count[True], count[False])):
            if total:
                share = 100 * caught / total
                bad = bad or share < BAR
                took = f"{hung} of them hung; {time.monotonic() - began:.0f} s"
                print(
                    f"{module}, {kind}: {caught} of {total} found, {share:.1f} % ({took})",
                    flush=True,
                )
        for mutant in lived:
            if (module, mutant.name) not in known:
                bad = True
                print(f"  new: {mutant.name}", flush=True)
        if given.sample == 1 and not given.only:
            for _, name in sorted(
                each
                for each in known
                if each[0] == module and each[1] not in {one.name for one in lived}
            ):
                bad = True
                print(f"  listed, but found or gone: {name}", flush=True)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
