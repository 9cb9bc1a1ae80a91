"""Debian's promtool, node_exporter and Prometheus read the metrics, and promtool reads the alert
rules of the docs.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.needs import need
from tests.unit.views.test_metrics import ONE, read_samples, run

if TYPE_CHECKING:
    from collections.abc import Iterator


def need_program(name: str, package: str) -> None:
    need("" if shutil.which(name) else f"{name} is not installed (Debian: {package})")


def test_promtool_accepts_it() -> None:
    need_program("promtool", "prometheus")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=run("-L -n --metrics")[1], capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def find_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def started(*words: str) -> Iterator[None]:
    """Run a server for the length of the body."""
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        try:
            yield
        finally:
            child.kill()


@contextmanager
def node_exporter(folder: Path) -> Iterator[int]:
    """Run node_exporter's collector of text files on our metrics, and yield its port."""
    need_program("prometheus-node-exporter", "prometheus-node-exporter")
    assert run(f"-L -n --metrics --output {folder / 'ipvs.prom'}")[0] == 0
    port = find_port()
    with started(
        "prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}",
        "--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={folder}",
    ):  # fmt: skip
        yield port


def test_node_exporter_reads_the_file(tmp_path: Path) -> None:
    with node_exporter(tmp_path) as port:
        text = fetch(f"http://127.0.0.1:{port}/metrics")
    assert "node_textfile_scrape_error 0" in text
    assert "# TYPE ipvs_server_connections_total counter" in text
    assert f"ipvs_server_weight{{{','.join(sorted(ONE.split(',')))}}} 3" in text


def test_prometheus_scrapes_node_exporter(tmp_path: Path) -> None:
    """After a scrape, Prometheus has each of our samples with its value."""
    need_program("prometheus", "prometheus")
    with node_exporter(tmp_path) as exporter:
        config = tmp_path / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s}\n"
            f"scrape_configs: [{{job_name: node, static_configs: [{{targets: ['127.0.0.1:{exporter}']}}]}}]\n"
        )
        port = find_port()
        with started(
            "prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ):  # fmt: skip
            url = f"http://127.0.0.1:{port}/api/v1/query?query=" + quote('{__name__=~"ipvs_.*"}')
            for _ in range(100):
                result = json.loads(fetch(url))["data"]["result"]
                if result:
                    break
                time.sleep(0.1)
    found = {}
    for each in result:
        labels = {k: v for k, v in each["metric"].items() if k not in ("job", "instance")}
        name = labels.pop("__name__")
        found[name, frozenset(labels.items())] = float(each["value"][1])
    expected = {
        # To Prometheus, a label with an empty value is no label.
        (name, frozenset((k, v) for k, v in re.findall(r'(\w+)="([^"]*)"', labels) if v)): float(
            value
        )
        for (name, labels), value in read_samples(run("-L -n --metrics")[1]).items()
    }
    assert found == expected


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
    assert (done.returncode, "SUCCESS: 4 rules found" in done.stdout) == (0, True), done.stdout
