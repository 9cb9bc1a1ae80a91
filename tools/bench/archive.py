"""Write the archive that a Linux kernel unpacks into its first file system (cpio, "newc";
usr/gen_init_cpio.c writes the same).

Owns: that format. Must never know: what is put in.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

MAGIC = b"070701"
TRAILER = "TRAILER!!!"


class Archive:
    """Write an archive to a file as it grows. Names are absolute; the folders above them are added
    as they are needed.

    Times of files are kept: a compiled module names the time of its source and does not count with
    another.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._at = 0
        self._inode = 0
        self._have: set[str] = {"/"}

    def folder(self, name: str) -> None:
        if name not in self._have:
            self._record(name, stat.S_IFDIR | 0o755)

    def data(self, name: str, data: bytes, mode: int = 0o644, mtime: int = 0) -> None:
        if name not in self._have:
            self._record(name, stat.S_IFREG | mode, data, mtime)

    def link(self, name: str, target: str) -> None:
        if name not in self._have:
            self._record(name, stat.S_IFLNK | 0o777, target.encode())

    def device(self, name: str, major: int, minor: int) -> None:
        """Add a character device."""
        self._record(name, stat.S_IFCHR | 0o600, device=(major, minor))

    def file(self, source: Path, name: str | None = None) -> None:
        """Add a file of this machine, under its own name unless another is given; a
        link as a link.
        """
        name = name or str(source)
        if source.is_symlink():
            self.link(name, os.readlink(source))
        else:
            found = source.stat()
            self.data(name, source.read_bytes(), stat.S_IMODE(found.st_mode), int(found.st_mtime))

    def tree(self, source: Path, skip: frozenset[str] = frozenset()) -> None:
        """Add a folder of this machine and everything below it, except files and folders with a
        name in skip.
        """
        for place, folders, files in os.walk(source):
            folders[:] = sorted(set(folders) - skip)
            self.folder(place)
            for name in sorted(set(files) - skip):
                self.file(source / place / name)
            for name in folders:
                if (source / place / name).is_symlink():
                    self.file(source / place / name)

    def end(self) -> None:
        self._write(TRAILER, 0, b"", 0, (0, 0))

    def _record(
        self,
        name: str,
        mode: int,
        data: bytes = b"",
        mtime: int = 0,
        device: tuple[int, int] = (0, 0),
    ) -> None:
        above = os.path.dirname(name)
        self.folder(above)
        self._have.add(name)
        self._write(name.lstrip("/"), mode, data, mtime, device)

    def _write(
        self, name: str, mode: int, data: bytes, mtime: int, device: tuple[int, int]
    ) -> None:
        self._inode += 1
        path = name.encode() + b"\0"
        # inode, mode, uid, gid, links, mtime, size, device that holds the file (2), device that the
        # file is (2), size of the name, checksum
        numbers = (self._inode, mode, 0, 0, 1, mtime, len(data), 0, 0, *device, len(path), 0)
        self._padded(MAGIC + b"".join(b"%08X" % number for number in numbers) + path)
        self._padded(data)

    def _padded(self, data: bytes) -> None:
        """Write data, filled up with zeros: names and data end at a multiple of 4 from the
        archive's start.
        """
        self._out.write(data + bytes(-(self._at + len(data)) % 4))
        self._at += len(data) + -(self._at + len(data)) % 4
