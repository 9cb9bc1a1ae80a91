"""`ipvsadm --apply` for Ansible: the rules in a file, its summary as a result.

Owns: the module's options and what Ansible is told. Must never know: rules, tables, what a change is; that is ipvsadm's.
It is copied to the director and runs by itself there: it imports nothing of the package.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_rules
short_description: Bring the table of Linux Virtual Server (IPVS) to a set of rules
description:
  - Runs C(ipvsadm --apply --json) of pyipvsadm on the director. What is equal to the rules keeps its connections, counters and
    scheduler's state, only the difference is sent to the kernel, and a second run changes nothing.
  - The rules are read and checked whole before anything is sent. If the kernel refuses one of them, what was done goes back.
  - Servers that the rules do not name leave the services that they name. Services that they do not name stay, unless O(prune) is
    given.
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
      - A file of rules on the director, in the place of O(rules).
    type: path
  prune:
    description:
      - Delete services, and stop sync daemons, that the rules do not name.
    type: bool
    default: false
  force:
    description:
      - Prune although keepalived, ldirectord or kube-proxy is at work on the director.
    type: bool
    default: false
  allow_empty:
    description:
      - Take an input without rules for what it says, instead of refusing it.
    type: bool
    default: false
  keep_weights:
    description:
      - Leave the weights of servers that exist to whoever has set them.
    type: bool
    default: false
  netns:
    description:
      - The network namespace that is meant, where it is not the director's own.
      - A name as in C(ip netns), the number of a process in it, or the path of its file.
    type: str
  executable:
    description:
      - The C(ipvsadm) of pyipvsadm on the director, where it is not the first one found.
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
  - root there
"""

EXAMPLES = r"""
- name: The web service and its two servers
  pyipvsadm.lvs.ipvs_rules:
    rules: |
      -A -t 203.0.113.1:80 -s wlc
      -a -t 203.0.113.1:80 -r 192.168.10.8:80 -m -w 3
      -a -t 203.0.113.1:80 -r 192.168.10.9:80 -m -w 1

- name: Rules from the inventory, and nothing beside them
  pyipvsadm.lvs.ipvs_rules:
    rules: "{{ lookup('ansible.builtin.template', 'lvs.rules.j2') }}"
    prune: true

- name: A file that is on the director, for the namespace that balances there
  pyipvsadm.lvs.ipvs_rules:
    src: /etc/ipvsadm.rules
    netns: amphora-haproxy
    keep_weights: true
"""

RETURN = r"""
summary:
  description: How many entries were added, changed and removed, and how many are as they were.
  returned: when the rules could be read
  type: dict
  sample: {"added": 3, "changed": 1, "removed": 2, "unchanged": 214, "services_not_in_file": 5}
steps:
  description: The changes in their order, as C(ipvsadm) lines; in check mode those that would be made.
  returned: when the rules could be read
  type: list
  elements: str
  sample: ["-a -t 203.0.113.1:80 -r 192.168.10.9:80 -m -w 1"]
unchecked:
  description: In check mode, what only the kernel can tell.
  returned: when the rules could be read
  type: list
  elements: str
"""

import json
import tempfile

from ansible.module_utils.basic import AnsibleModule

SUMMARY = ("added", "changed", "removed", "unchanged", "services_not_in_file")
FLAGS = ("prune", "force", "allow_empty", "keep_weights")


def argument_spec() -> dict[str, dict[str, object]]:
    """The options, as AnsibleModule wants them."""
    return {
        "rules": {"type": "str"},
        "src": {"type": "path"},
        **{name: {"type": "bool", "default": False} for name in FLAGS},
        "netns": {"type": "str"},
        "executable": {"type": "path", "default": "ipvsadm"},
    }


def main() -> None:
    """Run once; the result goes to standard output, as Ansible has it."""
    module = AnsibleModule(
        argument_spec(),
        mutually_exclusive=[("rules", "src")],
        required_one_of=[("rules", "src")],
        supports_check_mode=True,
    )
    given = module.params
    program = module.get_bin_path(given["executable"], required=True)
    command = [program, "--json"]
    command += [f"--{name.replace('_', '-')}" for name in FLAGS if given[name]]
    if given["netns"] is not None:
        command += ["--netns", given["netns"]]
    if module.check_mode:
        command += ["--dry-run"]
    # By a file, not by standard input: one that ends without reading it would be a fault of the pipe's, and what it said lost.
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=module.tmpdir) as file:
        if given["src"] is None:
            file.write(given["rules"])
            file.flush()
        command += [f"--apply={file.name if given['src'] is None else given['src']}"]
        status, out, err = module.run_command(command)
    try:
        told = json.loads(out)
    except ValueError:
        module.fail_json(msg=why(program, status, err), rc=status, cmd=command)
    steps = [step["rule"] for step in told["steps"]]
    result = {
        "summary": {name: told[name] for name in SUMMARY},
        "steps": steps,
        "unchecked": told["unchecked"],
    }
    if module._diff:  # noqa: SLF001  # Ansible has no public word for it
        result["diff"] = {"prepared": "".join(f"{step}\n" for step in steps)}
    if told["refused"]:
        # What was done before it went back, or stands where somebody else has come between.
        sentences = [refusal(each) for each in told["refused"]]
        sentences += [f"not undone, it stands: {each['rule']}: {each['message']}" for each in told["stands"]]
        module.fail_json(msg="\n".join(sentences), rc=status, cmd=command, changed=bool(told["stands"]), **result)
    for line in err.splitlines():
        module.warn(line)
    module.exit_json(changed=bool(steps), **result)


def refusal(step: dict[str, str]) -> str:
    """What the kernel said to a rule, and which it was."""
    return f"{'line ' + str(step['line']) + ': ' if step['line'] else ''}{step['rule']}: {step['message']}"


def why(program: str, status: int, err: str) -> str:
    """What to say where there is no summary."""
    if "--apply: unknown option" in err:
        return f"{program} has no --apply: it is another ipvsadm than pyipvsadm's; name that with `executable'"
    return err.strip() or f"{program} ended with status {status} and said nothing"


if __name__ == "__main__":
    main()
