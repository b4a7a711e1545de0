"""
Profiles of the command line: options that go together, by a name, in a file.

    profile = "staging"                    # the one that is meant where no other is named

    [profiles.prod]
    queue = "rediss://queue.example:6379/0"
    write_key_file = "/run/secrets/write-key"
    data_plane_url = "https://events.example"

An option goes before the environment, the environment before the profile, the profile before the default. Only commands read
the file, and no client of an application does.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventspool._cli.failure import WrongOption

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["find_file", "find_open_secret", "read_profile"]

_OPTIONS: Mapping[str, tuple[str, type]] = {
    "queue": ("queue_url", str),
    "queue_name": ("queue_name", str),
    "prefix": ("prefix", str),
    "write_key": ("write_key", str),
    "write_key_file": ("write_key", str),
    "data_plane_url": ("data_plane_url", str),
    "path": ("path", str),
    "proxy": ("proxy", str),
    "ca_file": ("ca_file", str),
    "spill": ("spill", str),
    "multi": ("multi", bool),
    "ordering": ("ordering", str),
    "partitions": ("partitions", int),
}
"""What a profile may say -> the parameter of commands that it is, and its type."""
_REPEATED = ("queue_name", "prefix")
"""Options that the command line takes several times, to refuse that with a sentence."""


def find_file(given: str | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file: the one that is *given*, else that of the user where there is one."""
    if given:
        return Path(given).expanduser()
    home = environ.get("XDG_CONFIG_HOME", "")
    try:
        folder = Path(home) if Path(home).is_absolute() else Path.home() / ".config"
    except RuntimeError:  # in a container, under a user id that has no name there
        return None
    file = folder / "eventspool" / "config.toml"
    return file if file.is_file() else None


def read_profile(file: Path | None, name: str | None) -> dict[str, Any]:
    """
    Return what the profile *name*, or else the file's own choice, says: parameters of commands and their values.

    Raises:
        WrongOption: There is no such profile, or the file is wrong. The message repeats no value of it.
    """
    if file is None:
        if name:
            raise WrongOption(
                f"there is no profile {name!r}: no file has profiles (~/.config/eventspool/config.toml)"
            )
        return {}
    found = _load(file)
    _require_known(found, ("profile", "profiles"), f"{file}")
    profiles = found.get("profiles", {})
    name = name or found.get("profile")
    if name is None:
        return {}
    if not isinstance(profiles, dict) or not isinstance(profiles.get(name), dict):
        raise WrongOption(f"{file} has no profile {name!r}{_near(str(name), profiles)}")
    where = f"the profile {name!r} in {file}"
    _require_known(profiles[name], _OPTIONS, where)
    if "write_key" in profiles[name] and "write_key_file" in profiles[name]:
        raise WrongOption(f"{where} has both write_key and write_key_file")
    values: dict[str, Any] = {}
    for key, given in profiles[name].items():
        parameter, kind = _OPTIONS[key]
        if type(given) is not kind:
            raise WrongOption(f"{key} of {where} must be {_WORDS[kind]}")
        value = [given] if key in _REPEATED else given
        values[parameter] = _read_secret(file, str(value), where) if key == "write_key_file" else value
    if "queue_url" in values:
        values["urls"] = [values["queue_url"]]  # of commands about all queues of a server
    return values


_WORDS = {str: "a text", bool: "true or false", int: "a whole number"}


def find_open_secret(file: Path | None, values: Mapping[str, Any]) -> str | None:
    """Return advice where *file* holds a secret and other users of the machine can read it."""
    if file is None or os.name != "posix":
        return None
    holds = "write_key" in values or "@" in str(values.get("queue_url", ""))
    if holds and file.stat().st_mode & 0o077:
        return f"others can read {file}, and it may hold a secret: chmod 600 it, or name a file with write_key_file"
    return None


def _load(file: Path) -> dict[str, Any]:
    import tomllib  # imported here, because most users have no file

    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise WrongOption(f"{file} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise WrongOption(f"{file} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        place = str(error).rpartition("(")[2].rstrip(")")
        raise WrongOption(f"{file} is no TOML ({place})") from None


def _read_secret(file: Path, named: str, where: str) -> str:
    try:
        return (file.parent / Path(named).expanduser()).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise WrongOption(f"the write_key_file of {where} cannot be read") from None


def _require_known(found: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    for key in found:
        if key not in known:
            raise WrongOption(f"{where} has {key!r}, which nothing reads{_near(key, known)}")


def _near(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f": did you mean {near[0]!r}?" if near else f" (known: {', '.join(names) or 'none'})"
