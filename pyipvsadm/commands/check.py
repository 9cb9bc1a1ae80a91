"""Carry out --check: parse rule files, and apply each to an empty embedded table.

Owns: which files are read, the report. Must never know: the kernel, the present table.
"""

from __future__ import annotations

from pyipvsadm.backends.memory import MemoryBackend
from pyipvsadm.change.desired import parse_desired
from pyipvsadm.change.execute import try_plan
from pyipvsadm.change.plan import make_plan
from pyipvsadm.change.snapshot import read_table
from pyipvsadm.commands.report import make_refusals, print_findings, read_typed_rules
from pyipvsadm.errors import OperationError, RulesError, UsageError
from pyipvsadm.views.json_document import format_document, make_errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyipvsadm.change.desired import DesiredTable
    from pyipvsadm.environment import Environment
    from pyipvsadm.grammar.parser import Request

STANDARD_INPUT = "-"


def run_check(request: Request, env: Environment) -> int:
    """Check each file, or standard input if none is named. Return 0 if all are good, else 2."""
    reports = [_check_file(file, env) for file in request.files or [STANDARD_INPUT]]
    if "json" in request.slots:
        env.write_stdout(format_document(files=reports))
    return 2 if any(report["errors"] for report in reports) else 0


def _check_file(file: str, env: Environment) -> dict[str, object]:
    """Check one file, print the result for people, and return its part of the JSON document."""
    name = "" if file == STANDARD_INPUT else file
    report: dict[str, object] = {"file": file, "services": 0, "servers": 0, "errors": []}
    try:
        text = env.read_file(file) if name else read_typed_rules(env)
        table = parse_desired(text, env, name)
        print_findings(env, table.repeated)
        if table.is_empty():
            raise UsageError(f"{name or 'standard input'}: no rule in the file")
        _apply_to_empty_table(table, name)
    except (UsageError, OperationError) as exc:
        env.write_stderr(str(exc))
        report["errors"] = make_errors(exc.list_findings())
    else:
        servers = sum(len(service.servers) for service in table.services.values())
        report |= {"services": len(table.services), "servers": servers}
    return report


def _apply_to_empty_table(table: DesiredTable, file: str) -> None:
    """Raise RulesError with the lines that an empty table refuses. Interfaces count as present: the
    file may be for another machine.
    """
    backend = MemoryBackend(interfaces=lambda _: True)
    plan = make_plan(table, read_table(backend))
    refusals = make_refusals(try_plan(plan, backend).refused, file)
    if refusals:
        raise RulesError(sorted(refusals, key=lambda finding: finding.line))
