"""
The keys of a queue whose payloads are encrypted at rest: AES-256-GCM, by the ``cryptography`` package.

One key encrypts, all of them decrypt, so a key is replaced in two deployments: first every process learns the new
one, then it is put first (docs/decisions/0008-encryption-at-rest.md).
"""

from __future__ import annotations

import binascii
import os
from typing import TYPE_CHECKING, Any

from eventspool._exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Keyring", "parse_keys"]

_KEY_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16
_HOW_TO_MAKE_ONE = "make one with: openssl rand -base64 32"


def parse_keys(given: str | Sequence[str]) -> tuple[bytes, ...]:
    """
    Return the keys that *given* holds: base64 texts of 32 bytes, in a list or with commas between them.

    Raises:
        ConfigError: A key is no such text, or there is no key. The message does not repeat it.
    """
    if isinstance(given, str):
        given = given.split(",")
    elif not isinstance(given, list | tuple):
        raise ConfigError(f"encryption_key must be a string or a list of them, not {type(given).__name__}")
    if not given:
        raise ConfigError(f"encryption_key holds no key: {_HOW_TO_MAKE_ONE}")
    return tuple(map(_parse_key, given))


def _parse_key(text: object) -> bytes:
    if not isinstance(text, str):
        raise ConfigError(f"encryption_key must hold strings, not {type(text).__name__}")
    try:
        plain = text.strip().replace("-", "+").replace("_", "/")  # the alphabet for URLs does as well
        key = binascii.a2b_base64(plain, strict_mode=True)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise ConfigError(
            f"encryption_key must be {_KEY_BYTES} random bytes as base64 text: {_HOW_TO_MAKE_ONE}"
        )
    return key


class Keyring:
    """
    Encrypts with the first of *keys* and decrypts with any. Safe to use from several threads and after a fork.

    Args:
        keys: Keys of 32 bytes.

    Raises:
        ConfigError: The ``cryptography`` package is missing. Nothing is stored then, else it would be stored readable.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError:
            raise ConfigError(
                "encryption_key needs the cryptography package: pip install 'eventspool[encryption]'"
            ) from None
        self._ciphers: dict[bytes, Any] = {_key_id(key): AESGCM(key) for key in reversed(keys)}
        self.key_id = _key_id(keys[0])
        """Names the key that encrypts, and tells nothing else about it."""

    def __repr__(self) -> str:
        return f"<Keyring of {len(self._ciphers)}>"

    def encrypt(self, plain: bytes, header: bytes) -> bytes:
        """Return a fresh random nonce, then *plain* encrypted, then a tag that vouches for both and for *header*."""
        nonce = os.urandom(_NONCE_BYTES)
        encrypted: bytes = self._ciphers[self.key_id].encrypt(nonce, plain, header)
        return nonce + encrypted

    def decrypt(self, key_id: bytes, encrypted: bytes, header: bytes) -> bytes | None:
        """Return what ``encrypt`` was given; ``None`` where no key of ours has encrypted this."""
        cipher = self._ciphers.get(key_id)
        if cipher is None or len(encrypted) < _NONCE_BYTES + _TAG_BYTES:
            return None
        from cryptography.exceptions import InvalidTag

        try:
            plain: bytes = cipher.decrypt(encrypted[:_NONCE_BYTES], encrypted[_NONCE_BYTES:], header)
        except InvalidTag:
            return None
        return plain


def _key_id(key: bytes) -> bytes:
    import hashlib

    return hashlib.sha256(b"eventspool key id:" + key).digest()[:8]
