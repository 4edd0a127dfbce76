"""What a local disk is asked for beside reads and writes: locks, links, and durable writes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform != "win32":
    import fcntl


def is_plain(root: Path, folder: Path, known: set[Path]) -> bool:
    """Whether no link is on the way from the root to a folder; the way is then known."""
    way: list[Path] = []
    while folder not in known and folder != root:
        if folder.is_symlink() or not folder.is_dir():
            return False
        way.append(folder)
        folder = folder.parent
    known.update(way)
    return True


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Take the lock of a folder, if it can be had now; whether it is held in this context."""
    if sys.platform == "win32":
        yield True
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        yield _lock(opened)
    finally:
        os.close(opened)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a network's file system that has no locks
        return True
    return True


def made(folder: Path) -> list[Path]:
    """Make a folder with those above it; give the folders that got a new one."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
    return [one.parent for one in missing]


def sync(file: Path) -> None:
    """Have the content of a file outlive a power cut."""
    opened = os.open(file, os.O_RDWR)  # Windows syncs no file that is open to read alone
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def sync_folder(folder: Path) -> None:
    """Have a rename outlive a power cut; Windows has no such call, and journals it by itself."""
    if sys.platform != "win32":
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
