"""Hold the version of pyipvsadm, an ipvsadm for Linux Virtual Server, and reach its Python
interface (pyipvsadm.api) when a program asks for it.

This file imports nothing, because every start of a command would pay for it.
"""

__version__ = "0.1.0"
__all__ = [
    "ApplyError", "Connection", "Counters", "Daemon", "Entry", "IpvsadmError", "OperationError", "Prediction", "RefusedError",
    "Result", "RulesError", "Server", "Service", "Step", "Table", "Timeouts", "Tunnel", "UndoResult", "UsageError",
    "open",
]  # fmt: skip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyipvsadm.api import (
        ApplyError,
        Connection,
        Counters,
        Daemon,
        Entry,
        IpvsadmError,
        OperationError,
        Prediction,
        RefusedError,
        Result,
        RulesError,
        Server,
        Service,
        Step,
        Table,
        Timeouts,
        Tunnel,
        UndoResult,
        UsageError,
        open,  # noqa: A004  # pyipvsadm.open, as gzip.open
    )


def __getattr__(name: str) -> object:
    """Return a name of the Python interface; import the interface when the first is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pyipvsadm import api  # noqa: PLC0415  # commands do not pay for it

    return getattr(api, name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
