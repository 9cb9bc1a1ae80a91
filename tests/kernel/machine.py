"""Turn a host of a test network into an administrator's machine: scripts run on it unchanged.

Owns: a mount namespace for each host, in which /sbin/ipvsadm and its companions are ours,
`iptables` is the variant that the guest's kernel supports, and /etc, /var/log and /var/lib can be
written; the service is installed as the package does it. Must never know: what a script is for.

Each call of our ipvsadm starts a new interpreter, as outside of the tests: it costs some 0.2
seconds each time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.kernel.netns import Result, run_child

if TYPE_CHECKING:
    from collections.abc import Iterator

REPO = Path(__file__).parents[2]
PLACE = Path("/run/machines")
PROGRAMS = ("ipvsadm", "ipvsadm-save", "ipvsadm-restore")

# Run once a host, as `sh -e -c SETUP sh OWN PLACE`, within its mount namespace. /etc is a folder of
# links into the guest's own /etc, except for the files that recipes write to. Without a writable
# /sys no program waits for udev (systemd-networkd does).
SETUP = f"""
own=$1 place=$2
mkdir -p $own/etc /run/lock/subsys
mount --rbind /etc $own/etc
mount -t tmpfs tmpfs /etc
for each in $own/etc/*; do
    case ${{each##*/}} in
    default | ha.d | init.d | ipvsadm.rules | rc?.d | sysctl.d | systemd) copied="$copied $each" ;;
    *) linked="$linked $each" ;;
    esac
done
ln -s $linked /etc
cp -R --no-dereference $copied /etc
cp $place/service /etc/service
ln -sf /etc/service /etc/init.d/ipvsadm
cp $place/ipvsadm.service /etc/systemd/system
mount -t tmpfs tmpfs /var/log
mount -t tmpfs tmpfs /var/lib
for name in {" ".join(PROGRAMS)}; do mount --bind $place/$name /sbin/$name; done
mount --bind /usr/sbin/xtables-legacy-multi /usr/sbin/xtables-nft-multi
mount -o remount,bind,ro /sys
"""
# Filled in as the Makefile does. The service is started under another name than that in
# /etc/init.d.
FILLED = {
    "@SBINDIR@": "/sbin",
    "@LIBEXECDIR@": "/etc",
    "@RULES_FILE@": "/etc/ipvsadm.rules",
    "@SETTINGS_FILE@": "/etc/default/ipvsadm",
    "@SAVE_ON_STOP@": "no",
}


def install_programs() -> None:
    """Write the files that SETUP takes from PLACE: our programs, the service's script and its
    unit.
    """
    PLACE.mkdir(exist_ok=True)
    for name in PROGRAMS:
        lines = (REPO / "pyipvsadm" / "programs" / name).read_text().splitlines(keepends=True)
        head = f"#!{Path(sys.base_prefix, 'bin', 'python3')} -I\nimport sys; sys.path.insert(0, {str(REPO)!r})\n"
        _write(name, head + "".join(lines[1:]))
    for source, name in (("service.sh", "service"), ("ipvsadm.service", "ipvsadm.service")):
        text = (REPO / "packaging" / "systemd" / source).read_text()
        for word, value in FILLED.items():
            text = text.replace(word, value)
        _write(name, text)


@contextmanager
def machines(*hosts: str) -> Iterator[None]:
    """Set up these hosts as machines until the end of the body."""
    install_programs()
    made = []
    try:
        for host in hosts:
            space = _space(host)
            space.touch()
            made.append(space)
            command = [
                "unshare",
                f"--mount={space}",
                "sh",
                "-e",
                "-c",
                SETUP,
                "sh",
                str(PLACE / host),
                str(PLACE),
            ]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert ended.returncode == 0, ended
        yield
    finally:
        for space in made:
            subprocess.run(["umount", space], capture_output=True, check=False)


def _write(name: str, text: str) -> None:
    (PLACE / name).write_text(text)
    (PLACE / name).chmod(0o755)


def _space(host: str) -> Path:
    return PLACE / f"{host}.mount"


def _command(host: str, script: str, arguments: tuple[str, ...]) -> list[str]:
    entered = ["nsenter", f"--mount={_space(host)}", f"--net=/run/netns/{host}"]
    return [*entered, "bash", "-e", "-c", script, "bash", *arguments]


def run(host: str, script: str, *arguments: str, timeout: float = 60) -> Result:
    """Run a script on a host, by a shell that ends at the first command that fails."""
    command = _command(host, script, arguments)
    return run_child(lambda: os.execvp(command[0], command), timeout=timeout)


def done(host: str, script: str, *arguments: str) -> str:
    """Run a script that must succeed on a host, and return its standard output."""
    result = run(host, script, *arguments)
    assert result.status == 0, (host, script, result)
    return result.stdout.decode()


@contextmanager
def running(host: str, script: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a script on a host in the background, in a process group of its own, until it ends or the
    body ends.
    """
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            _command(host, script, arguments), stdout=said, stderr=said, start_new_session=True
        )
        try:
            yield process
        except BaseException:
            said.seek(0)
            print(f"{host} said: {said.read().decode(errors='replace')}")
            raise
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
