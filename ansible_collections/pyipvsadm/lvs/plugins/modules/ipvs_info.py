"""Return the IPVS table of a director to Ansible: the JSON documents of `ipvsadm -L`.

Owns: the module's options, and which documents it returns. Must never know: their fields.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_info
short_description: Return the table of Linux Virtual Server (IPVS)
description:
  - Runs C(ipvsadm -L -n --json) of pyipvsadm on the director, and returns services with their servers, counters and rates,
    the timeouts, and the sync daemons.
  - It changes nothing.
version_added: 0.1.0
author:
  - pyipvsadm developers (@pyipvsadm)
options:
  netns:
    description:
      - The network namespaces of the tables, if it is not the director's own.
      - Each is a name as in C(ip netns), the number of a process in it, or the path of its file.
    type: list
    elements: str
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
    support: none
  platform:
    platforms: posix
requirements:
  - pyipvsadm on the director
  - root on the director
"""

EXAMPLES = r"""
- name: The table
  pyipvsadm.lvs.ipvs_info:
  register: lvs

- name: Servers without weight
  ansible.builtin.debug:
    msg: "{{ lvs.table.services | map(attribute='servers') | flatten | selectattr('weight', 'equalto', 0) }}"

- name: The tables of two namespaces
  pyipvsadm.lvs.ipvs_info:
    netns: [amphora-haproxy, blue]
"""

RETURN = r"""
table:
  description:
    - The table, with the fields C(ipvs), C(services), C(timeouts) and C(daemons) as C(ipvsadm -L --json) has them.
  returned: without O(netns)
  type: dict
  sample:
    ipvs: {"version": "1.2.1", "connection_table_size": 4096}
    services: [{"protocol": "tcp", "address": "203.0.113.1", "port": 80, "scheduler": "wlc", "servers": []}]
    timeouts: {"tcp": 900, "tcp_fin": 120, "udp": 300}
    daemons: []
namespaces:
  description: The table of each network namespace, by the name that O(netns) has for it.
  returned: with O(netns)
  type: dict
  sample: {"blue": {"ipvs": {}, "services": [], "timeouts": {}, "daemons": []}}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.pyipvsadm.lvs.plugins.module_utils.program import (
    explain_silence,
    parse_document,
    run,
)

# The fields of a table, by the words that ask for them.
DOCUMENTS = (
    (("ipvs", "services"), ["-L", "-n", "--json"]),
    (("timeouts",), ["-L", "--timeout", "--json"]),
    (("daemons",), ["-L", "--daemon", "--json"]),
)


def argument_spec() -> dict[str, dict[str, object]]:
    """Return the options, as AnsibleModule wants them."""
    return {
        "netns": {"type": "list", "elements": "str"},
        "executable": {"type": "path", "default": "ipvsadm"},
    }


def main() -> None:
    """Read the tables; the result goes to standard output, as Ansible has it."""
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    program = module.get_bin_path(module.params["executable"], required=True)
    names = module.params["netns"]
    if names is None:
        module.exit_json(changed=False, table=read_table(module, program, []))
    tables = {name: read_table(module, program, ["--netns", name]) for name in names}
    module.exit_json(changed=False, namespaces=tables)


def read_table(module: AnsibleModule, program: str, words: list[str]) -> dict[str, Any]:
    """Return one table. Fail the task if it cannot be read."""
    table: dict[str, Any] = {}
    for fields, listing in DOCUMENTS:
        command = [program, *listing, *words]
        status, out, err = run(command)
        document = parse_document(out, fields[-1])
        if status or document is None:
            message = explain_silence(program, status, err, "--json")
            module.fail_json(msg=message, rc=status, cmd=command)
            raise AssertionError  # fail_json does not return
        table.update((field, document[field]) for field in fields)
    return table


if __name__ == "__main__":
    main()
