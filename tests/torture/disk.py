"""A small disk of our own: a tmpfs in a mount namespace that only this process and its children see."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["mount_private_disk", "unmount"]

_CLONE_NEWNS = 0x0002_0000
_MNT_DETACH = 2
_MS_REC, _MS_PRIVATE = 0x4000, 0x4_0000


def mount_private_disk(folder: Path, size_bytes: int) -> bool:
    """Mount one on *folder* and return whether that could be done (root alone can). It goes with this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.unshare(_CLONE_NEWNS) != 0:
        return False
    if libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None) != 0:
        return False
    options = f"size={size_bytes},mode=700".encode()
    return bool(libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, options) == 0)


def unmount(folder: Path) -> None:
    """Take the disk off *folder*, so that this can be deleted."""
    ctypes.CDLL(None).umount2(os.fsencode(folder), _MNT_DETACH)
