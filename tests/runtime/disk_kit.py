"""A small disk of its own for a test, that can be filled, emptied and made read-only."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_BYTES = 3 << 20


class SmallDisk:
    """A file system in memory, of three megabytes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._ballast = root / "ballast"

    def fill(self) -> None:
        """Leaves no block free."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError:
                    continue

    def free(self) -> None:
        """Gives back what `fill` took."""
        os.truncate(self._ballast, 0)

    def remount(self, option: str) -> None:
        """`ro` or `rw`."""
        _mount("-o", f"remount,{option},size={_BYTES}", str(self.root))


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """Skips, and says why, where nothing can be mounted."""
    root = tmp_path / "disk"
    root.mkdir()
    try:
        _mount("-t", "tmpfs", "-o", f"size={_BYTES}", "banksman-test", str(root))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    try:
        yield SmallDisk(root)
    finally:
        subprocess.run(["umount", "--lazy", str(root)], check=True, capture_output=True)
