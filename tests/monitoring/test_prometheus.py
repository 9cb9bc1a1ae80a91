"""Debian's promtool and node_exporter read the metrics, and promtool the alert rules of the docs."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import closing
from pathlib import Path

from tests.needs import need
from tests.unit.views.test_metrics import ONE, run


def need_program(name: str, package: str) -> None:
    need("" if shutil.which(name) else f"{name} is not installed (Debian: {package})")


def test_promtool_accepts_it() -> None:
    need_program("promtool", "prometheus")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=run("-L -n --metrics")[1], capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_node_exporter_reads_the_file(tmp_path: Path) -> None:
    need_program("prometheus-node-exporter", "prometheus-node-exporter")
    assert run(f"-L -n --metrics --output {tmp_path / 'ipvs.prom'}")[0] == 0
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    words = [
        f"--web.listen-address=127.0.0.1:{port}", "--collector.disable-defaults", "--collector.textfile",
        f"--collector.textfile.directory={tmp_path}",
    ]  # fmt: skip
    with subprocess.Popen(["prometheus-node-exporter", *words], stderr=subprocess.DEVNULL) as child:
        try:
            text = fetch(f"http://127.0.0.1:{port}/metrics")
        finally:
            child.kill()
    assert "node_textfile_scrape_error 0" in text
    assert "# TYPE ipvs_server_connections_total counter" in text
    assert f"ipvs_server_weight{{{','.join(sorted(ONE.split(',')))}}} 3" in text


def fetch(url: str) -> str:
    """Return a page of a program that has just been started."""
    for _ in range(100):
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return str(answer.read(), "utf-8")
        except OSError:
            time.sleep(0.1)
    raise AssertionError(url)


def test_the_alert_rules_are_good(tmp_path: Path) -> None:
    need_program("promtool", "prometheus")
    page = (Path(__file__).resolve().parents[2] / "docs" / "monitoring.md").read_text()
    (rules,) = re.findall(r"```yaml\n(groups:.*?)```", page, re.DOTALL)
    (tmp_path / "rules.yml").write_text(rules)
    done = subprocess.run(
        ["promtool", "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, "SUCCESS: 2 rules found" in done.stdout) == (0, True), done.stdout
