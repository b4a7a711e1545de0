"""Write a file that appears whole or not at all, for exports: an operator may delete from the queue what is in it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["new_file"]


@contextlib.contextmanager
def new_file(path: str | os.PathLike[str], *, replace: bool) -> Iterator[IO[bytes]]:
    """
    Yield a file that becomes *path* at the end of the block; from then on it survives a power cut.

    Args:
        path: Its name. The folder must be there.
        replace: Take the place of a file of that name.

    Raises:
        FileExistsError: There is a file of that name by now, and *replace* is false.
    """
    target = Path(path).absolute()
    handle, name = tempfile.mkstemp(prefix=".eventspool-", dir=target.parent)
    whole = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if replace:
            whole.replace(target)
        else:
            _put(whole, target)
        with contextlib.suppress(PermissionError):  # Windows opens no folder
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    finally:
        whole.unlink(missing_ok=True)


def _put(whole: Path, target: Path) -> None:
    try:
        # Unlike a rename, this never replaces a file that another export has just put there.
        target.hardlink_to(whole)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if target.exists():
            raise FileExistsError(target) from None
        whole.replace(target)
