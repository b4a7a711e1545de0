"""How a command is written for the server: by this module, and not by hiredis."""

from __future__ import annotations

__all__ = ["Packed", "Packer"]


class Packed:
    """
    Words that are the same in many commands, such as a queue's keys: written once, and put in the place of an argument.

    Args:
        words: The words.
    """

    __slots__ = ("count", "data")

    def __init__(self, *words: bytes | str | float) -> None:
        self.count = len(words)
        self.data = b"".join(map(_write, words))


class Packer:
    """
    Writes commands as the protocol has them (RESP). redis-py takes it as ``command_packer``.

    hiredis' own packer (2.2 to 3.5, the newest) does not check whether Python could write an int or a float as text. Where a
    signal handler raises at that moment, Python could not: hiredis reads a null pointer, and the process ends. The parser of
    hiredis, which is where it saves time, stays in use.
    """

    def pack(self, name: bytes | str, *args: bytes | str | float | Packed) -> list[bytes]:
        """Return the command in one piece. The words of its *name*, as in ``SCRIPT LOAD``, are written one by one."""
        words = _encode(name).split()
        count, parts = len(words), list(map(_write, words))
        for arg in args:
            if isinstance(arg, Packed):
                count += arg.count
                parts.append(arg.data)
            else:
                count += 1
                parts.append(_write(arg))
        return [b"*%d\r\n%b" % (count, b"".join(parts))]


def _write(value: bytes | str | float) -> bytes:
    word = _encode(value)
    return b"$%d\r\n%b\r\n" % (len(word), word)


def _encode(value: bytes | str | float) -> bytes:
    if isinstance(value, bytes):
        return value
    text = value if isinstance(value, str) else repr(value)
    # A job id that another program has stored may be no valid text. Written as the same bytes it finds its job.
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # it came from no server, so it is no stored job's
        return text.encode("utf-8", "surrogatepass")
