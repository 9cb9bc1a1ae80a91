"""Run `ipvsadm --apply` for Ansible: the rules in a file, its summary as the result.

Owns: the module's options and what Ansible is told. Must never know: rules, tables, what a change
is; that is ipvsadm's. It is copied to the director and runs by itself there: it imports nothing of
the package.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_rules
short_description: Make the table of Linux Virtual Server (IPVS) match a set of rules
description:
  - Runs C(ipvsadm --apply --json) of pyipvsadm on the director. Unchanged entries keep their connections, counters and
    scheduler state; only the difference is sent to the kernel, and a second run changes nothing.
  - All rules are read and checked before anything is sent. If the kernel refuses one of them, or a signal stops C(ipvsadm),
    the changes made so far are undone, and the task fails.
  - In a service that the rules name, servers that they do not name are removed. Services that the rules do not name stay, unless
    O(prune) is given.
version_added: 0.1.0
author:
  - pyipvsadm developers (@pyipvsadm)
options:
  rules:
    description:
      - The rules, a line each, as C(ipvsadm-save -n --full) writes them. Lines that start with C(#) are comments.
    type: str
  src:
    description:
      - A file of rules on the director, instead of O(rules).
    type: path
  prune:
    description:
      - Delete services, and stop sync daemons, that the rules do not name.
    type: bool
    default: false
  force:
    description:
      - Prune even if keepalived, ldirectord or kube-proxy is running on the director.
      - Remove servers even if a service loses more than half of its servers, or its last one. Without it C(ipvsadm) refuses
        such rules and sends nothing.
    type: bool
    default: false
  allow_empty:
    description:
      - Accept an input without rules; with O(prune), this deletes everything.
    type: bool
    default: false
  keep_weights:
    description:
      - Keep the present weights of servers that exist.
    type: bool
    default: false
  netns:
    description:
      - The network namespace of the table, if it is not the director's own.
      - A name as in C(ip netns), the number of a process in it, or the path of its file.
    type: str
  executable:
    description:
      - The C(ipvsadm) of pyipvsadm on the director, if it is not the first one in the search path.
    type: path
    default: ipvsadm
extends_documentation_fragment:
  - action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: The changes, as C(ipvsadm) lines.
  platform:
    platforms: posix
requirements:
  - pyipvsadm on the director
  - root on the director
"""

EXAMPLES = r"""
- name: The web service and its two servers
  pyipvsadm.lvs.ipvs_rules:
    rules: |
      -A -t 203.0.113.1:80 -s wlc
      -a -t 203.0.113.1:80 -r 192.168.10.8:80 -m -w 3
      -a -t 203.0.113.1:80 -r 192.168.10.9:80 -m -w 1

- name: Rules from the inventory, and no other services
  pyipvsadm.lvs.ipvs_rules:
    rules: "{{ lookup('ansible.builtin.template', 'lvs.rules.j2') }}"
    prune: true

- name: A file on the director, for a network namespace
  pyipvsadm.lvs.ipvs_rules:
    src: /etc/ipvsadm.rules
    netns: amphora-haproxy
    keep_weights: true
"""

RETURN = r"""
summary:
  description: How many entries were added, changed, removed and left unchanged.
  returned: when the rules could be read
  type: dict
  sample: {"added": 3, "changed": 1, "removed": 2, "unchanged": 214, "services_not_in_file": 5}
steps:
  description: >-
    The changes in their order, as C(ipvsadm) lines; in check mode those that would be made. If the task fails, those that the
    rules ask for; C(msg) says which of them were undone.
  returned: when the rules could be read
  type: list
  elements: str
  sample: ["-a -t 203.0.113.1:80 -r 192.168.10.9:80 -m -w 1"]
unchecked:
  description: In check mode, what only the kernel can check.
  returned: when the rules could be read
  type: list
  elements: str
"""

import json
import subprocess  # nosec B404  # see run()
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule

SUMMARY = ("added", "changed", "removed", "unchanged", "services_not_in_file")
FLAGS = ("prune", "force", "allow_empty", "keep_weights")
DONE = 0
TO_DO = 1  # of --dry-run: there is something to do


def argument_spec() -> dict[str, dict[str, object]]:
    """Return the options, as AnsibleModule wants them."""
    return {
        "rules": {"type": "str"},
        "src": {"type": "path"},
        **{name: {"type": "bool", "default": False} for name in FLAGS},
        "netns": {"type": "str"},
        "executable": {"type": "path", "default": "ipvsadm"},
    }


def main() -> None:
    """Run ipvsadm once; the result goes to standard output, as Ansible has it."""
    module = AnsibleModule(
        argument_spec(),
        mutually_exclusive=[("rules", "src")],
        required_one_of=[("rules", "src")],
        supports_check_mode=True,
    )
    params = module.params
    program = module.get_bin_path(params["executable"], required=True)
    command = [program, "--json"]
    command += [f"--{name.replace('_', '-')}" for name in FLAGS if params[name]]
    if params["netns"] is not None:
        command += ["--netns", params["netns"]]
    if module.check_mode:
        command += ["--dry-run"]
    # By a file, not by standard input: if the program ended without reading its input, writing
    # to the pipe would fail, and its messages would be lost.
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=module.tmpdir) as file:
        if params["src"] is None:
            # The text came whole: a last line without its line end is not one that was cut.
            file.write(params["rules"].rstrip("\n") + "\n")
            file.flush()
        command += [f"--apply={file.name if params['src'] is None else params['src']}"]
        status, out, err = run(command)
        err = err.replace(f"{file.name}:", "rules:")
    report = parse_report(out)
    if report is None:
        module.fail_json(msg=explain_silence(program, status, err), rc=status, cmd=command)
        raise AssertionError  # fail_json does not return
    steps = [step["rule"] for step in report["steps"]]
    result = {
        "summary": {name: report[name] for name in SUMMARY},
        "steps": steps,
        "unchecked": report["unchecked"],
    }
    if module._diff:  # noqa: SLF001  # Ansible has no public name for it
        result["diff"] = {"prepared": "".join(f"{step}\n" for step in steps)}
    if status not in ((DONE, TO_DO) if module.check_mode else (DONE,)):
        # The changes were undone, or could not be, because another program changed the table.
        message = explain_failure(report) or explain_silence(program, status, err)
        module.fail_json(
            msg=message, rc=status, cmd=command, changed=bool(report["not_undone"]), **result
        )
    for line in err.splitlines():
        module.warn(line)
    module.exit_json(changed=bool(steps), **result)


def run(command: list[str]) -> tuple[int, str, str]:
    """Run a command to its end; return its status (-N: ended by signal N) and all that it wrote.

    AnsibleModule.run_command can lose what a program wrote in the moment in which it ended: it
    stops reading once a wait of a second brought nothing and the program has ended by then.
    """
    try:
        # No shell reads the command.
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)  # noqa: S603  # nosec B603
    except OSError as exc:
        return 127, "", f"cannot run {command[0]}: {exc.strerror}"
    return (
        done.returncode,
        done.stdout.decode(errors="backslashreplace"),
        done.stderr.decode(errors="backslashreplace"),
    )


def parse_report(out: str) -> dict[str, Any] | None:
    """Return the summary that `--apply --json` writes; None if the output is none."""
    try:
        report = json.loads(out)
    except ValueError:
        return None
    return report if isinstance(report, dict) and "steps" in report else None


def explain_failure(report: dict[str, Any]) -> str:
    """Say what was refused, which signal came, and what could not be undone; "" where it was none
    of these.
    """
    sentences = [format_refusal(step) for step in report["refused"]]
    not_undone = report["not_undone"]
    if report["signal"]:
        undone = report["undone"]
        if not_undone:
            sentences.append(
                f"{report['signal']}: {undone} of the changes before it were undone, {len(not_undone)} were not"
            )
        else:
            sentences.append(
                f"{report['signal']}: the table is as before"
                + (f" ({undone} undone)" if undone else "")
            )
    sentences += [f"not undone: {step['rule']}: {step['message']}" for step in not_undone]
    return "\n".join(sentences)


def format_refusal(step: dict[str, str]) -> str:
    """Return what the kernel said to a rule, and which it was."""
    return f"{'line ' + str(step['line']) + ': ' if step['line'] else ''}{step['rule']}: {step['message']}"


def explain_silence(program: str, status: int, err: str) -> str:
    """Return what to say where there is no summary.

    The program is asked for its version: ipvsadm 1.31 complains of an option or of the kernel,
    which says little of the reason.
    """
    message = err.strip()
    if "pyipvsadm" not in run([program, "-v"])[1]:
        tail = f" (it said: {message})" if message else ""
        return f"{program} has no --apply: it is another ipvsadm than pyipvsadm's; name that with `executable'{tail}"
    if message:
        return message
    ended = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
    return f"{program} {ended} and said nothing"


if __name__ == "__main__":
    main()
