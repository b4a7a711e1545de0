"""
In which forms ``eventspool send`` takes events: JSON lines, a JSON array, CSV, and each of them compressed by gzip.

Whatever the form, a record becomes one line of JSON, so that the rest does not need to know it. Memory is bounded by the
longest line that is taken, however long the file is.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import gzip
import io
import json
import zlib
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from eventspool._cli.failure import Failed
from eventspool._cli.lines import MAX_LINE_BYTES, read_lines
from eventspool._events.decoding import decode_event, json_text
from eventspool._events.kinds import COMMON, KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["FORMS", "Record", "Source"]

FORMS = ("jsonl", "json", "csv")
_CHUNK_BYTES = 1 << 16
_MAGIC = {
    b"PK\x03\x04": ("a zip archive", "unzip -p FILE | eventspool send -"),
    b"(\xb5/\xfd": ("compressed by zstd", "zstdcat FILE | eventspool send -"),
    b"BZh": ("compressed by bzip2", "bzcat FILE | eventspool send -"),
    b"\xfd7zXZ": ("compressed by xz", "xzcat FILE | eventspool send -"),
    b"PAR1": ("a Parquet file", "write it as CSV or as JSON lines"),
    b"\xff\xfe": ("UTF-16", "iconv -f UTF-16 -t UTF-8 FILE | eventspool send -"),
    b"\xfe\xff": ("UTF-16", "iconv -f UTF-16 -t UTF-8 FILE | eventspool send -"),
}
"""How files begin that are not taken: what they are, and what to do."""
_SPACE = frozenset(" \t\r\n")
_OBJECTS = ("properties", "traits", "context", "integrations")
_COLUMNS = ["type", *COMMON, *{field: "" for kind in KINDS.values() for field in kind.fields}]


class Record(NamedTuple):
    """
    One event of a file.

    Args:
        number: The line where it stands (the last one, where it has several), or the place in the array, from 1.
        line: The event as a line of JSON.
        raw: The same as it stands in the file, with the end of its line: a file of these can be sent.
        problem: Why it cannot be one, "" where that is not known yet.
    """

    number: int
    line: bytes
    raw: bytes
    problem: str = ""


class _Counted(io.RawIOBase):
    """Reads *file* and tells how much was read."""

    def __init__(self, file: IO[bytes], advance: Callable[[int], object]) -> None:
        self._read: Callable[[int], bytes] = getattr(file, "read1", file.read)  # a pipe gives what it has
        self._advance = advance

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        found = self._read(len(target))
        self._advance(len(found))
        target[: len(found)] = found
        return len(found)


class Source:
    """
    The events of a file.

    Args:
        file: The open file.
        name: Its name, which tells CSV.
        form: One of ``FORMS``; ``None`` to find it out.
        advance: Called with the number of bytes that were read.

    Raises:
        Failed: The file has a form that is not taken. The message says what to do.
    """

    def __init__(
        self, file: IO[bytes], name: str, form: str | None, advance: Callable[[int], object] = lambda _: None
    ) -> None:
        self.header = b""
        """What must stand before the records of a file that holds some of these."""
        stream = io.BufferedReader(_Counted(file, advance), _CHUNK_BYTES)
        name = name.lower()
        if stream.peek(2)[:2] == b"\x1f\x8b":
            stream = io.BufferedReader(gzip.GzipFile(fileobj=stream), _CHUNK_BYTES)  # type: ignore[arg-type]
            name = name.removesuffix(".gz")
        self._stream = stream
        begin = self._peek()
        for magic, (what, remedy) in _MAGIC.items():
            if begin.startswith(magic):
                raise Failed(f"the file is {what}, which is not taken: {remedy}", "files", remedy)
        begins_array = begin.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"["
        self.form = form or ("csv" if name.endswith(".csv") else "json" if begins_array else "jsonl")

    def __iter__(self) -> Iterator[Record]:
        """Yield the records. Raises ``Failed`` where the rest of the file cannot be read."""
        read = {"jsonl": self._lines, "json": self._elements, "csv": self._rows}[self.form]
        try:
            yield from read()
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise Failed(
                "the compressed file is damaged or ends too early: what stands before was taken; get it anew and "
                "send it again, what has arrived keeps its id",
                "files",
            ) from None
        except UnicodeDecodeError:
            raise Failed("the file is not UTF-8: iconv -t UTF-8 FILE | eventspool send -", "files") from None

    def _peek(self) -> bytes:
        try:
            return self._stream.peek(64)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            return b""

    def _lines(self) -> Iterator[Record]:
        for number, (_, line, whole) in enumerate(read_lines(self._stream), start=1):
            yield Record(number, line, line + b"\n", "" if whole else "longer than any event may be")

    def _elements(self) -> Iterator[Record]:
        text = _Text(self._stream)
        if not text.skip("["):
            raise Failed("the file is no JSON array: it does not begin with [", "files")
        number = 0
        while not text.skip("]"):
            if number and not text.skip(","):
                raise Failed(f"after element {number} of the array, a comma or ] is missing", "files")
            number += 1
            line = text.value(number).encode("utf-8", "surrogatepass")
            yield Record(number, line, line.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n")

    def _rows(self) -> Iterator[Record]:
        text = io.TextIOWrapper(self._stream, "utf-8-sig", newline="")
        csv.field_size_limit(MAX_LINE_BYTES)
        rows = csv.reader(text)
        try:
            names = next(rows, [])
            paths = [_path(name.strip()) for name in names]
            self.header = _csv_line(names)
            for row in rows:
                raw = _csv_line(row)
                if not row:
                    yield Record(rows.line_num, b"", raw)
                elif len(row) > len(paths):
                    yield Record(rows.line_num, b"", raw, "more cells than the header has columns")
                else:
                    event: dict[str, Any] = {}
                    for path, cell in zip(paths, row, strict=False):
                        if cell:
                            _put(event, path, cell)
                    event.setdefault("type", "track")
                    yield Record(rows.line_num, json_text(event).encode(errors="surrogatepass"), raw)
        except csv.Error as error:
            raise Failed(f"line {rows.line_num} is no CSV ({error})", "files") from None


class _Text:
    """The text of a stream, of which no more is kept than the value that is read."""

    def __init__(self, stream: io.BufferedReader[Any]) -> None:
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._decoder = json.JSONDecoder(parse_int=str, parse_float=str)
        self._text = ""
        self._at = 0
        self._is_over = False

    def skip(self, character: str) -> bool:
        """Go past white space, and past *character* where it comes next. Return whether it did."""
        self._pass_space()
        found = self._text.startswith(character, self._at)
        self._at += found
        return found

    def _pass_space(self) -> None:
        while True:
            while self._text[self._at : self._at + 1] in _SPACE:
                self._at += 1
            if self._at < len(self._text) or not self._read():
                return

    def value(self, number: int) -> str:
        """Go past the value that comes next, and return its text."""
        self._pass_space()
        while True:
            try:
                _, end = self._decoder.raw_decode(self._text, self._at)
            except ValueError:
                end = len(self._text)
            except RecursionError:
                raise Failed(f"element {number} of the array is nested too deeply", "files") from None
            if end < len(self._text):
                found, self._at = self._text[self._at : end], end
                return found
            if len(self._text) - self._at > MAX_LINE_BYTES or not self._read():
                raise Failed(
                    f"element {number} of the array is no JSON, or longer than any event may be; what stands before was "
                    "taken",
                    "files",
                )

    def _read(self) -> bool:
        if self._is_over:
            return False
        chunk = self._stream.read1(_CHUNK_BYTES)
        self._is_over = not chunk
        self._text = self._text[self._at :] + self._decode(chunk, final=not chunk)
        self._at = 0
        return bool(chunk)


def _path(name: str) -> list[str]:
    """Return where the values of a column stand in an event."""
    path = name.split(".")
    if path[0] in _COLUMNS and all(path) and (len(path) == 1 or path[0] in _OBJECTS):
        return path
    near = difflib.get_close_matches(path[0], _COLUMNS, n=1)
    hint = (
        f"did you mean {'.'.join([near[0], *path[1:]])!r}?"
        if near
        else "write an event's own as properties.NAME"
    )
    raise Failed(f"the CSV has a column {name!r}, which no event has: {hint}", "files")


def _put(event: dict[str, Any], path: list[str], cell: str) -> None:
    for name in path[:-1]:
        inner = event.setdefault(name, {})
        if not isinstance(inner, dict):
            inner = event[name] = {}
        event = inner
    event[path[-1]] = _value(cell) if len(path) > 1 or path[0] in _OBJECTS else cell


def _value(cell: str) -> Any:
    """Return what *cell* is as JSON: a number, true, false, null, an object, an array or a quoted text. Else it is a text."""
    if cell[0] not in '-0123456789tfn{["':
        return cell
    try:
        return decode_event(f'{{"value":{cell}}}', is_exact=True)["value"]
    except (ValueError, KeyError):
        return cell


def _csv_line(cells: list[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue().encode()
