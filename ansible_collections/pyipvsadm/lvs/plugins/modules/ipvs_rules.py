"""Run `ipvsadm --apply` for Ansible: the rules in a file, its summary as the result.

Owns: the module's options, the file of saved rules, and the result that Ansible gets. Must never
know: rules, tables, what a change is; that is ipvsadm's. It is copied to the director and runs
there: it imports nothing of the package.
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
  save:
    description:
      - After the change, write the rules to O(rules_file), from which the director restores them when it boots. The rules
        that were given are written, never the running table.
      - Refused if the table has services that the rules do not name, and O(prune) is not set; the file would lack them.
    type: bool
    default: false
  rules_file:
    description:
      - The file that O(save) writes. Without it, C(/etc/sysconfig/ipvsadm) on Red Hat and its kin, C(/etc/ipvsadm.rules)
        elsewhere.
      - A file that holds something else than rules is never replaced.
    type: path
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
    details: The rules before and after, as C(ipvsadm -S -n) writes them.
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

- name: Rules from the inventory, and no other services, now and after a reboot
  pyipvsadm.lvs.ipvs_rules:
    rules: "{{ lookup('ansible.builtin.template', 'lvs.rules.j2') }}"
    prune: true
    save: true

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
saved:
  description: Whether the file of rules was written, or in check mode would be.
  returned: with O(save)
  type: bool
unchecked:
  description: In check mode, what only the kernel can check.
  returned: when the rules could be read
  type: list
  elements: str
"""

import os
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.pyipvsadm.lvs.plugins.module_utils.program import (
    explain_silence,
    parse_document,
    run,
)

SUMMARY = ("added", "changed", "removed", "unchanged", "services_not_in_file")
FLAGS = ("prune", "force", "allow_empty", "keep_weights")
DONE = 0
TO_DO = 1  # of --dry-run: there is something to do
RED_HAT = "/etc/redhat-release"
RULES_FILES = {True: "/etc/sysconfig/ipvsadm", False: "/etc/ipvsadm.rules"}


def argument_spec() -> dict[str, dict[str, object]]:
    """Return the options, as AnsibleModule wants them."""
    return {
        "rules": {"type": "str"},
        "src": {"type": "path"},
        **{name: {"type": "bool", "default": False} for name in (*FLAGS, "save")},
        "rules_file": {"type": "path"},
        "netns": {"type": "str"},
        "executable": {"type": "path", "default": "ipvsadm"},
    }


def main() -> None:
    """Carry the task out; the result goes to standard output, as Ansible has it."""
    module = AnsibleModule(
        argument_spec(),
        mutually_exclusive=[("rules", "src")],
        required_one_of=[("rules", "src")],
        supports_check_mode=True,
    )
    program = module.get_bin_path(module.params["executable"], required=True)
    # By a file, not by standard input: if the program ended without reading its input, writing
    # to the pipe would fail, and its messages would be lost.
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=module.tmpdir) as file:
        if module.params["rules"] is not None:
            # The text came whole: a last line without its line end is not one that was cut.
            file.write(module.params["rules"].rstrip("\n") + "\n")
            file.flush()
        Task(module, program, module.params["src"] or file.name).carry_out()


class Task:
    """Hold one task: the module's options, the program, and the file with the rules."""

    def __init__(self, module: AnsibleModule, program: str, path: str) -> None:
        self._module = module
        self._params = module.params
        self._program = program
        self._path = path
        self._netns = [] if self._params["netns"] is None else ["--netns", self._params["netns"]]
        self._flags = [f"--{name.replace('_', '-')}" for name in FLAGS if self._params[name]]
        self._apply = [program, "--json", *self._flags, *self._netns]

    def carry_out(self) -> None:
        """Apply the rules, save them if the task says so, and return the result to Ansible."""
        module = self._module
        if self._params["save"]:
            self._check_save()
        before = self._read_rules() if module._diff else ""  # noqa: SLF001  # Ansible has no public name for it
        command = [*self._apply, *(["--dry-run"] if module.check_mode else [])]
        command.append(f"--apply={self._path}")
        status, out, err = run(command)
        report = parse_document(out, "steps")
        if report is None:
            message = self._explain(status, err)
            module.fail_json(msg=message, rc=status, cmd=command)
            raise AssertionError  # fail_json does not return
        steps = [step["rule"] for step in report["steps"]]
        result: dict[str, Any] = {
            "summary": {name: report[name] for name in SUMMARY},
            "steps": steps,
            "unchecked": report["unchecked"],
        }
        if status not in ((DONE, TO_DO) if module.check_mode else (DONE,)):
            # The changes were undone, or could not be, because another program changed the table.
            message = explain_failure(report) or self._explain(status, err)
            changed = bool(report["not_undone"])
            module.fail_json(msg=message, rc=status, cmd=command, changed=changed, **result)
        diffs = []
        if module._diff:  # noqa: SLF001
            diffs.append(self._compare_rules(before, steps))
        if self._params["save"]:
            diffs.append(self._save())
            result["saved"] = diffs[-1]["before"] != diffs[-1]["after"]
        if module._diff:  # noqa: SLF001
            result["diff"] = diffs
        for line in err.splitlines():
            module.warn(line)
        module.exit_json(changed=bool(steps) or result.get("saved", False), **result)

    def _check_save(self) -> None:
        """Refuse, before anything is done, rules that may not be saved: the table has other
        services, or the file holds something else than rules.
        """
        module, path = self._module, self._rules_file
        try_on_nothing = ["--backend=memory", "--allow-empty", "--dry-run", "--json"]
        command = [self._program, *try_on_nothing, f"--apply={path}"]
        if os.path.exists(path) and parse_document(run(command)[1], "steps") is None:
            module.fail_json(
                msg=f"{path} holds something else than rules: it is not replaced, and nothing was done"
            )
        if self._params["prune"]:
            return
        # A wrong line, or another program, shows when the rules are applied.
        report = parse_document(
            run([*self._apply, "--dry-run", f"--apply={self._path}"])[1], "steps"
        )
        count = report["services_not_in_file"] if report else 0
        if count:
            services, they = ("a service", "it") if count == 1 else (f"{count} services", "them")
            module.fail_json(
                msg=f"the table has {services} that the rules do not name, and {path} would lack {they}:"
                " name all services, or set `prune', to save; nothing was done"
            )

    @property
    def _rules_file(self) -> str:
        """Return the file from which the director restores its rules."""
        return self._params["rules_file"] or RULES_FILES[os.path.exists(RED_HAT)]

    def _save(self) -> dict[str, str]:
        """Write the rules to the file, unless it holds them already. Return the difference."""
        path = self._rules_file
        with open(self._path, encoding="utf-8", errors="surrogateescape") as file:
            after = file.read()
        before = ""
        if os.path.exists(path):
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                before = file.read()
        if before != after and not self._module.check_mode:
            is_new = not os.path.exists(path)
            with tempfile.NamedTemporaryFile(
                "w",
                encoding="utf-8",
                errors="surrogateescape",
                dir=self._module.tmpdir,
                delete=False,
            ) as newer:
                newer.write(after)
            self._module.atomic_move(newer.name, path)
            if is_new:
                self._module.set_mode_if_different(path, "0600", changed=False)
        return {"before": before, "after": after, "before_header": path, "after_header": path}

    def _read_rules(self) -> str:
        """Return the table as rules; "" if it cannot be read, which shows when rules are applied."""
        return run([self._program, "-S", "-n", *self._netns])[1]

    def _compare_rules(self, before: str, steps: list[str]) -> dict[str, str]:
        """Return the rules before and after, in check mode those that would be; the steps alone if
        only the kernel can tell.
        """
        after: str | None = before
        if steps:
            after = self._try_rules(before) if self._module.check_mode else self._read_rules()
        if after is None:
            return {"prepared": "".join(f"{step}\n" for step in steps)}
        return {"before": before, "after": after, "before_header": "IPVS", "after_header": "IPVS"}

    def _try_rules(self, before: str) -> str | None:
        """Apply the rules to an embedded table that begins with `before`, and return its rules."""
        with tempfile.TemporaryDirectory(dir=self._module.tmpdir) as folder:
            table = os.path.join(folder, "table")
            with open(table, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(before)
            program = [self._program, "--backend", f"memory:{table}"]
            if run([*program, *self._flags, "--force", "--allow-empty", f"--apply={self._path}"])[
                0
            ]:
                return None
            return run([*program, "-S", "-n"])[1]

    def _explain(self, status: int, err: str) -> str:
        """Return ipvsadm's message in the words of a task."""
        message = explain_silence(self._program, status, err, "--apply")
        message = (
            message.replace(f"{self._path}:", "rules:") if self._params["src"] is None else message
        )
        for name in FLAGS:
            message = message.replace(f"--{name.replace('_', '-')}", f"`{name}'")
        return message


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


if __name__ == "__main__":
    main()
