"""Keep one TCP connection busy, for swap.sh: `serve ADDRESS PORT` sends back all that it receives;
`ask ADDRESS PORT FILE` counts in FILE the bytes that have come back, and ends when the connection
does.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path


def serve(address: str, port: int) -> None:
    with socket.create_server((address, port)) as listener:
        connection, _ = listener.accept()
        with connection:
            while data := connection.recv(1000):
                connection.sendall(data)


def ask(address: str, port: int, file: Path) -> None:
    with socket.create_connection((address, port), timeout=10) as connection:
        count = 0
        while True:
            connection.sendall(b"x")
            if connection.recv(1) != b"x":
                return
            count += 1
            file.with_suffix(".new").write_text(f"{count}\n")
            os.replace(file.with_suffix(".new"), file)
            time.sleep(0.3)


if __name__ == "__main__":
    what, address, port, *rest = sys.argv[1:]
    serve(address, int(port)) if what == "serve" else ask(address, int(port), Path(rest[0]))
