"""Test the wheel: it has exactly these files, and its commands work after installation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pyipvsadm import __version__

# Modules of each folder of the package.
FOLDERS = {
    "": "__init__ __main__ addresses cli click_command environment errors files locks model netns resolver sorting terminal text",
    "backends": "__init__ dump_blocks kernel memory missing_ipvs sync_daemon table_file",
    "api": "__init__ environment records table words",
    "change": "__init__ clients describe desired dry_run execute impact journal merge moves pace plan ramp"
    " recorded snapshot undo",
    "commands": "__init__ apply apply_drain check confirm connection_groups dispatch doctor drain fallback full_save history"
    " impact listing modify metrics names output predict ramp report restore save selection status undrain watch",
    "completion": "__init__ candidates shell_protocol",
    "doctor": "__init__ answers codes director facts fixes host kernel_table probe real_server report services unchecked",
    "grammar": "__init__ combinations help_layout hints options parser popt programs schedulers values",
    "netlink": "__init__ attributes dump_layout dumps framing trace",
    "rules": "__init__ fast_encoder fast_parser reader writer",
    "scheduling": "__init__ build choice hashing impact overload packet tables walks",
    "views": "__init__ classic connection_groups connections fields figures grid json_document live metrics pretty procfs"
    " progress shares status",
}
FILES = [
    f"{folder}/{name}".lstrip("/") for folder, names in FOLDERS.items() for name in names.split()
]
COLLECTION = "ansible_collections/pyipvsadm/lvs"
PAPERS = {
    "README.md", "galaxy.yml", "meta/runtime.yml", "plugins/module_utils/program.py", "plugins/modules/ipvs_info.py",
    "plugins/modules/ipvs_rules.py",
}  # fmt: skip
PROGRAMS = {"ipvsadm", "ipvsadm-save", "ipvsadm-restore"}
ASK = "import sys; sys.path.insert(0, sys.argv.pop(1)); from ansible.cli.doc import main; main(['ansible-doc', *sys.argv[1:]])"
SHARED = {f"man/man{page.suffix[1:]}/{page.name}" for page in Path("man").iterdir()} | {
    "bash-completion/completions/ipvsadm.bash",
    "zsh/site-functions/_ipvsadm",
    "fish/vendor_completions.d/ipvsadm.fish",
}
META = {"METADATA", "WHEEL", "RECORD", "top_level.txt", "licenses/LICENSE"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    # The files that git has or would add: ignored leftovers do not count.
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], capture_output=True, check=True
    ).stdout
    for name in files.decode().split("\0"):
        if name and Path(name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(Path(name).read_bytes())
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        folder,
        source,
    ]
    subprocess.run(command, check=True, timeout=300)
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheels_files(wheel: Path) -> None:
    expected = {f"pyipvsadm/{name}.py" for name in FILES} | {
        "pyipvsadm/py.typed",
        "pyipvsadm/schema/ipvsadm-1.json",
    }
    expected |= {f"{COLLECTION}/{name}" for name in PAPERS}
    expected |= {f"pyipvsadm-{__version__}.data/scripts/{name}" for name in PROGRAMS}
    expected |= {f"pyipvsadm-{__version__}.data/data/share/{name}" for name in SHARED}
    expected |= {f"pyipvsadm-{__version__}.dist-info/{name}" for name in META}
    with zipfile.ZipFile(wheel) as archive:
        assert set(archive.namelist()) == expected


def test_installed_it_gives_the_commands(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, timeout=300)
    binaries = tmp_path / "venv" / "bin"
    install: list[str | Path] = [
        binaries / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        wheel,
    ]
    subprocess.run(install, check=True, timeout=300)
    for program, words, expected in (
        ("ipvsadm", ["-v"], f"ipvsadm v1.31 (pyipvsadm {__version__}, IPVS v1.2.1)\n"),
        ("ipvsadm", ["--backend", "memory", "-S"], ""),
        (
            "python",
            ["-m", "pyipvsadm", "-v"],
            f"ipvsadm v1.31 (pyipvsadm {__version__}, IPVS v1.2.1)\n",
        ),
    ):
        done = subprocess.run(
            [binaries / program, *words], capture_output=True, text=True, check=True, timeout=60
        )
        assert (done.stdout, done.stderr) == (expected, "")
    share = tmp_path / "venv/share"
    found = {
        str(path.relative_to(share))
        for path in share.rglob("*")
        if path.is_file() and "python-wheels" not in path.parts
    }
    assert found == SHARED
    # One line enables all three commands in bash (docs/install.md).
    script = '. "$0/share/bash-completion/completions/ipvsadm.bash"; complete -p ipvsadm-save'
    done = subprocess.run(
        ["bash", "-c", script, tmp_path / "venv"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.endswith("-F _ipvsadm ipvsadm-save\n")
    # Ansible looks for collections where Python looks for packages: here that of the wheel, and no
    # other.
    (packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    environ = os.environ | {
        "ANSIBLE_COLLECTIONS_PATH": str(tmp_path),
        "ANSIBLE_HOME": str(tmp_path),
    }
    ask: list[str | Path] = [
        sys.executable,
        "-I",
        "-c",
        ASK,
        packages,
        "--json",
        "pyipvsadm.lvs.ipvs_rules",
    ]
    told = json.loads(
        subprocess.run(
            ask, env=environ, cwd=tmp_path, capture_output=True, check=True, timeout=60
        ).stdout
    )
    assert told["pyipvsadm.lvs.ipvs_rules"]["doc"]["filename"] == str(
        packages / COLLECTION / "plugins/modules/ipvs_rules.py"
    )
    for program in PROGRAMS:
        assert (binaries / program).read_text().startswith(f"#!{binaries}/python")
