"""
The authorities whose certificates are believed.

They are those in the option ``ca_file`` alone. Without it they are the system's, and those that ``REQUESTS_CA_BUNDLE``,
``CURL_CA_BUNDLE`` and ``SSL_CERT_FILE`` name, so that a program that used `requests` needs no new setting.
"""

from __future__ import annotations

import contextlib
import errno
import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

__all__ = ["find_doubts", "load_trust"]

_T = TypeVar("_T")
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_BY_HASH = re.compile(r"[0-9a-f]{8}\.[0-9]+")


def load_trust(ca_file: str | None, environ: Mapping[str, str]) -> ssl.SSLContext:
    """
    Return a context for TLS connections that believes these authorities.

    Args:
        ca_file: The file with the only authorities to believe, or a folder that names each by its hash. ``None`` or "": those
            of the system and of *environ*.
        environ: The environment. A file that it names and that cannot be read is passed over, as the other authorities may
            suffice: see ``find_doubts``.

    Raises:
        ValueError: *ca_file* cannot be used. The text says why, in words for the user.
    """
    import ssl

    if ca_file:
        return _load(ssl.create_default_context, ca_file)
    context = ssl.create_default_context()  # it reads what SSL_CERT_FILE names
    for path in {environ.get(name) or "" for name in _BUNDLES} - {"", environ.get("SSL_CERT_FILE")}:
        with contextlib.suppress(ValueError):
            _load(context.load_verify_locations, path)
    return context


def find_doubts(environ: Mapping[str, str]) -> str:
    """Return which files that *environ* names cannot be used: words to add when a certificate was not accepted."""
    doubts = ""
    for name in (*_BUNDLES, "SSL_CERT_FILE"):
        if environ.get(name):
            try:
                load_trust(environ[name], {})
            except ValueError as error:
                doubts += f" ({name} does not help: {error})"
    return doubts


def _load(load: Callable[..., _T], path: str) -> _T:
    """Have *load* read the certificates at *path*. Raises ``ValueError`` in words for the user."""
    import ssl

    try:
        if not Path(path).is_dir():
            return load(cafile=path)
        if not any(_BY_HASH.fullmatch(found.name) for found in Path(path).iterdir()):
            raise ValueError(f"{path} is a folder without certificates by their hashes (see: openssl rehash)")
        return load(capath=path)
    except ssl.SSLError:
        raise ValueError(f"{path} holds no certificates in PEM form") from None
    except OSError as error:
        raise ValueError(
            f"{path} cannot be read ({errno.errorcode.get(error.errno or 0, 'unknown')})"
        ) from None
