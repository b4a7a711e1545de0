"""
The tokens that let people in: one for each, by name, so that the queue's trail says who did what, and one can be taken back.

They stand in a file, and not in a queue: a dashboard may show several queues, and a token says nothing of them. The file holds
their SHA-256. That suffices for 32 random bytes, which nobody can guess, and is of no use to who reads the file. A dashboard
reads the file anew when it has changed, so that a token which was revoked opens nothing a second later.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eventspool._exceptions import ConfigError
from eventspool._guest.log import Log
from eventspool._operate.new_file import new_file

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Token", "TokenFile", "digest_of", "find_token"]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_OTHERS_MAY_WRITE: Final = 0o022
_EVERY: Final = 1.0
"""Seconds between two looks at the file."""
_log = Log("eventspool")


@dataclass(frozen=True, slots=True)
class Token:
    """
    What is known of a token.

    Args:
        name: Whose it is; "" where one token is for all.
        sha256: Of the token itself, in hex.
        read_only: It opens what can be seen, and changes nothing.
        made_at: Seconds since the epoch.
    """

    name: str
    sha256: str
    read_only: bool = False
    made_at: float = 0.0


def digest_of(secret: str) -> str:
    """Return what stands for *secret* in a ``Token``."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def find_token(candidates: Iterable[str], tokens: Sequence[Token]) -> Token | None:
    """Return whose token the first of *candidates* is that is one. Each is compared with every token, in constant time."""
    found = None
    for digest in map(digest_of, candidates):
        for token in tokens:
            if hmac.compare_digest(digest, token.sha256) and found is None:
                found = token
    return found


class TokenFile:
    """
    The file of tokens. A file that is not there holds none, and one that cannot be read lets nobody in.

    Args:
        path: Where it is.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._looked_at = float("-inf")
        self._stamp: object = None
        self._tokens: tuple[Token, ...] = ()

    def tokens(self) -> tuple[Token, ...]:
        """Return the tokens, as the file had them a second ago at most."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked_at >= _EVERY:
                self._looked_at = now
                self._look()
            return self._tokens

    def _look(self) -> None:
        try:
            if (stamp := _stamp(self.path)) != self._stamp:
                self._tokens, self._stamp = self.read(), stamp
        except (ConfigError, OSError) as error:
            if self._tokens or self._stamp is not None:
                _log.error("The dashboard lets nobody in by %s any more: %s", self.path, error)
            self._tokens, self._stamp = (), None

    def read(self) -> tuple[Token, ...]:
        """Return the tokens that stand in the file now. Raises ``ConfigError`` where it cannot be trusted or read."""
        try:
            mode = self.path.stat().st_mode
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the tokens in {self.path} cannot be read: {_why(error)}") from None
        if mode & _OTHERS_MAY_WRITE and os.name == "posix":
            raise ConfigError(f"others may write {self.path}, and give themselves a token: chmod 600 it")
        try:
            return tuple(_read_token(each) for each in json.loads(text)["tokens"])
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ConfigError(
                f"{self.path} is no file of tokens: `eventspool dashboard token add` makes one"
            ) from None

    def add(self, name: str, *, read_only: bool, now: float) -> str:
        """Return a new token for *name*. Raises ``ConfigError`` where there is one, or the name cannot be one."""
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r} is no name for a token: take letters, digits and . _ @ + -, at most 64 of them"
            )
        with _alone(self.path.parent):
            before = self.read()
            if any(token.name == name for token in before):
                raise ConfigError(f"there is a token for {name!r} already: revoke it first")
            secret = secrets.token_urlsafe(32)
            self._write([*before, Token(name, digest_of(secret), read_only, now)])
        return secret

    def revoke(self, name: str) -> None:
        """Take the token of *name* back. Raises ``ConfigError`` where there is none."""
        with _alone(self.path.parent):
            before = self.read()
            left = [token for token in before if token.name != name]
            if len(left) == len(before):
                raise ConfigError(f"there is no token for {name!r} in {self.path}")
            self._write(left)

    def _write(self, tokens: Sequence[Token]) -> None:
        data = json.dumps({"tokens": [asdict(token) for token in tokens]}, indent=2)
        try:
            with new_file(self.path, replace=True) as file:  # which nobody else can read or write
                file.write(data.encode())
                file.write(b"\n")
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be written: {_why(error)}") from None


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """
    Have nobody else change the tokens in *folder* meanwhile: of two who add one at a time, the later would drop the other's.

    Where the system or the file system has no such lock, that is not prevented.
    """
    if sys.platform == "win32":
        yield
        return
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _stamp(path: Path) -> object:
    """Return what differs once the file has changed; ``None`` where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode


def _read_token(stored: object) -> Token:
    if not isinstance(stored, Mapping):
        raise TypeError
    name, sha256 = stored["name"], stored["sha256"]
    if not (isinstance(name, str) and isinstance(sha256, str)):
        raise TypeError
    if not (_NAME.fullmatch(name) and _SHA256.fullmatch(sha256)):  # another one could not even be compared
        raise ValueError
    return Token(name, sha256, stored.get("read_only") is not False, float(stored.get("made_at", 0.0)))


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
