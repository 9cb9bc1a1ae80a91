"""Give every test the signals of a command that a person starts, and no deadline for examples."""

from __future__ import annotations

import signal

from hypothesis import settings


def pytest_configure() -> None:
    """Reset signals that are ignored: programs under test inherit that, and heed no signal then.

    A shell without job control ignores SIGINT and SIGQUIT in background jobs, `nohup` ignores
    SIGHUP.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(
                number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            )
    # How long an example takes says how busy the machine is.
    settings.register_profile("untimed", deadline=None)
    settings.load_profile("untimed")
