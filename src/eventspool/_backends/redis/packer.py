"""How a command is written for the server: by this module, and not by hiredis."""

from __future__ import annotations

__all__ = ["Packer"]


class Packer:
    """
    Writes commands as the protocol has them (RESP). redis-py takes it as ``command_packer``.

    hiredis' own packer (2.2 to 3.5, the newest) does not check whether Python could write an int or a float as text. Where a
    signal handler raises at that moment, Python could not: hiredis reads a null pointer, and the process ends. The parser of
    hiredis, which is where it saves time, stays in use.
    """

    def pack(self, *args: bytes | str | float) -> list[bytes]:
        """Return the command in one piece. The words of its name, as in ``SCRIPT LOAD``, are written one by one."""
        words = [_encode(arg) for arg in args]
        words[:1] = words[0].split()
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            parts += (b"$%d\r\n" % len(word), word, b"\r\n")
        return [b"".join(parts)]


def _encode(value: bytes | str | float) -> bytes:
    if isinstance(value, bytes):
        return value
    text = value if isinstance(value, str) else repr(value)
    # A job id that another program has stored may be no valid text. Written as the same bytes it finds its job.
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # it came from no server, so it is no stored job's
        return text.encode("utf-8", "surrogatepass")
