"""Read what is needed to tell what a plan does to clients, for dry runs.

Owns: which states, connections and settings are read. Must never know: how a plan is made, how its
effects are assessed (change/impact.py), where they are printed.
"""

from __future__ import annotations

from itertools import islice

from pyipvsadm.change.impact import MAX_SERVICES, PlanImpact, assess_service, list_concerned
from pyipvsadm.change.snapshot import read_service
from pyipvsadm.commands.predict import read_build, read_settings
from pyipvsadm.model import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyipvsadm.change.plan import Plan
    from pyipvsadm.change.snapshot import Snapshot
    from pyipvsadm.environment import Environment
    from pyipvsadm.model import Backend, Server

    ServiceKey = tuple[int, int, bytes, int, int]
    State = tuple[Service, Sequence[Server]]


def assess_plan(
    plan: Plan,
    present: Snapshot,
    copy: Backend,
    backend: Backend,
    env: Environment,
    with_clients: bool,
) -> PlanImpact:
    """Return what a plan does to clients. copy: a table with the services that the plan changes,
    in which it was carried out; with_clients: read the connection table as well.
    """
    concerned = list_concerned(plan.iter_steps())
    if not concerned:
        return PlanImpact([], 0, expires=False)
    shown = concerned[:MAX_SERVICES]
    before: dict[ServiceKey, State] = {}
    chosen = None if with_clients else set(shown)
    for service, servers in present.rows:
        key = service.key()
        if chosen is None or key in chosen:
            before[key] = (service, servers)
    build = read_build(backend, env)
    after = {key: _read_state(copy, key) for key in shown}
    found = [assess_service(before[key], after[key], build) for key in shown]
    if with_clients:
        from pyipvsadm.change.clients import count_clients  # noqa: PLC0415  # few ask for it

        changed = {
            step.change.service.key()
            for step in plan.iter_steps()
            if step.change.service is not None
        }
        counts = count_clients(
            shown,
            islice(backend.iter_connections(), 1, None),  # without the heading
            before.get,
            lambda key: (
                after[key]
                if key in after
                else _read_state(copy, key)
                if key in changed
                else before.get(key)
            ),
            build,
            read_settings(backend, env),
        )
        for each in found:
            each.clients = counts[each.before[0].key()]
    expires = backend.read_sysctl("expire_nodest_conn") not in ("", "0")
    return PlanImpact(found, len(concerned) - len(shown), expires)


def _read_state(copy: Backend, key: ServiceKey) -> State | None:
    """Return a service of the copy with its servers; None if it does not exist."""
    service = read_service(copy, Service(*key[:4], fwmark=key[4]))
    return None if service is None else (service, copy.read_servers(service))
