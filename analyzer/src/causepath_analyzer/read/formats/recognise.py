"""Finds the reader for a stream by looking at what is in it, and reads it.

To add a format, write one file in this folder with a `JsonFormat` or a `BinaryFormat` called
``FORMAT`` and add it to `_MODULES` or `_BINARY`. Most traces are in the first of them, and need not
wait until all others are imported.
"""

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, BinaryIO, Final

import msgspec
from msgspec import Struct

from causepath_analyzer.model import Skipped
from causepath_analyzer.read.format import BinaryFormat, Found, GatheredFormat, JsonFormat
from causepath_analyzer.read.formats import otlp_json
from causepath_analyzer.read.formats.inspected import as_json
from causepath_analyzer.read.formats.not_a_trace import (
    beginning_looks_like,
    looks_like,
    text_looks_like,
    words_look_like,
)
from causepath_analyzer.read.input.documents import CUT_OFF, Document, documents
from causepath_analyzer.read.input.source import MOST_BYTES, knows_its_size, lost
from causepath_analyzer.read.input.torn_documents import Whole, opening_of, whole_documents
from causepath_analyzer.server_request import Wanted

_MODULES: Final[Mapping[str, str]] = {
    "otlp-json": "otlp_json",
    "jaeger-json": "jaeger_json",
    "zipkin-json": "zipkin",
    "mlflow": "mlflow",  # before the SDK's dumps: release 2 spells its spans like them
    "phoenix": "phoenix",
    "python-sdk": "python_sdk",
    "go-sdk": "go_sdk",
    "javascript-sdk": "javascript_sdk",
    "langfuse": "langfuse",
    "openai-agents": "openai_agents",
    "langsmith": "langsmith",
    "mastra": "mastra",
    "claude-code": "claude_code",
    "codex": "codex",
    "pi": "pi",
    "gemini-cli": "gemini_cli",
}
"""Modules of JSON formats by name; a document is offered to them in this order."""
_BINARY: Final[Mapping[str, str]] = {"otlp-protobuf": "otlp_protobuf"}

FORMATS: Final = (*_MODULES, *_BINARY)
"""Names that `Options.format` may be."""


GATHERED_NAMES: Final = ("mastra", "claude-code", "codex", "pi", "gemini-cli")
"""Formats whose documents mean something only together."""


def _format(module: str) -> Any:
    return import_module(f"causepath_analyzer.read.formats.{module}").FORMAT


@cache
def json_formats() -> tuple[JsonFormat | GatheredFormat, ...]:
    """Gives all formats of JSON; a trace in the first of them need not wait for the others."""
    return tuple(map(_format, _MODULES.values()))


@cache
def binary_formats() -> tuple[BinaryFormat, ...]:
    """Gives all formats that are no text."""
    return tuple(map(_format, _BINARY.values()))


@cache
def gathered() -> tuple[GatheredFormat, ...]:
    """Gives the formats of `GATHERED_NAMES`; to ask them, nobody waits for the others."""
    return tuple(_format(_MODULES[name]) for name in GATHERED_NAMES)


def gathered_so_far() -> tuple[GatheredFormat, ...]:
    """Gives those of `gathered` of which anything can have been read."""
    return gathered() if json_formats.cache_info().currsize else ()


class Options(Struct, frozen=True):
    """The options of reading.

    ``format`` is one of `FORMATS`, or ``None`` to recognise it from the content. ``max_bytes``
    bounds what compressed data, a pipe or a device may give; one document of it may have a 32nd
    part. A plain file may be as large as it is. ``wanted`` is asked of servers. A document in one
    of the formats ``refused`` raises `NotApartError`. Of ``attributes`` the values are kept in
    `Span.labels`.
    """

    format: str | None = None
    max_bytes: int = MOST_BYTES
    wanted: Wanted = Wanted()
    refused: frozenset[str] = frozenset()
    attributes: frozenset[str] = frozenset()


class NotApartError(Exception):
    """An error: what is read in parts can only be read as a whole. It is never shown."""


DEFAULTS: Final = Options()
_PART: Final = 32
_ANY: Final = msgspec.json.Decoder(msgspec.Raw)
_HEAD: Final = 512
_BATCH: Final = 1024
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")


class Recogniser:
    """Reads one stream. Its attributes tell afterwards what the stream was.

    ``format`` is the name of the first format that gave something, ``signals`` are other things
    of OpenTelemetry that were passed over, ``is_json`` whether any document was JSON at all,
    ``has_words`` whether lines of it are words, ``has_riddles`` whether others are nothing known,
    ``lost`` what was missing in the stream itself, ``named`` the first thing in it that was no
    trace, but is known for what it is.
    """

    def __init__(self, stream: BinaryIO, options: Options = DEFAULTS) -> None:
        self._stream = stream
        self._longest = None if knows_its_size(stream) else max(1, options.max_bytes // _PART)
        self._formats: list[JsonFormat] = []
        self._has_all = options.format in _BINARY
        if options.format in (None, otlp_json.FORMAT.name):
            self._formats.append(otlp_json.FORMAT)
            self._has_all = options.format is not None
        self._forced = options.format
        self._refused = options.refused
        self.format: str | None = None
        self.signals: set[str] = set()
        self.is_json = False
        self.is_empty = False
        self.has_words = False
        self.has_riddles = False
        self.lost: Sequence[Skipped] = ()
        self.named: Skipped | None = None
        self._opening = b""
        """How the last document began that a reader took."""

    def found(self) -> Iterator[Sequence[Found]]:
        """Reads what is in the stream, in batches, in order."""
        try:
            yield from self._found()
        except OSError as error:
            yield [Skipped("end", f"cannot be read on: {error.strerror}")]
        self.lost = lost(self._stream)
        if self.lost:
            yield self.lost

    def _found(self) -> Iterator[Sequence[Found]]:
        stream = self._stream
        if not isinstance(stream, io.BufferedReader):
            stream = io.BytesIO(stream.read())
            head = stream.getvalue()[:_HEAD]
        else:
            head = stream.peek(_HEAD)[:_HEAD]
        self.is_empty = not head.strip()
        if head.startswith(_UTF_16):
            yield [Skipped("byte 0", "UTF-16 text: save it as UTF-8")]
            return
        if self._forced in _BINARY or (self._forced is None and not _is_text(head)):
            for binary in binary_formats():
                if self._forced == binary.name or binary.recognise(head):
                    self.format = binary.name
                    yield from _batches(binary.read(stream, self.signals.add))
                    return
        look = beginning_looks_like(head) if self._forced is None else None
        if look is not None:
            self.is_json = not look.packed
            self.named = Skipped("line 1", look.what)
            yield [self.named]
            return
        for document in documents(stream, self._longest):
            if isinstance(document, Document):
                yield self._read(document)
            else:
                yield [document]
        for candidate in self._formats:
            yield from _batches(candidate.finish())

    def _read(self, document: Document) -> Sequence[Found]:
        where = f"line {document.line}"
        try:
            return self._read_json(document.data, where)
        except (UnicodeDecodeError, msgspec.DecodeError):
            try:
                return self._read_json(as_json(document.data) or mended(document.data), where)
            except (UnicodeDecodeError, msgspec.DecodeError) as error:
                whole = whole_documents(document.data, opening_of(self._opening))
                found = self._read_whole(whole, where, _not_json(error))
                if found is not None:
                    return found
                look = text_looks_like(document.data)
                if look is None:
                    words = words_look_like(document.data)
                    if words is not None:
                        self.has_words = True
                        return [Skipped(where, words)]
                    self.has_riddles = True
                    why = _not_json(error)
                    is_last = not document.data.endswith(b"\n")
                    return [Skipped(where, why, is_last and why == CUT_OFF)]
                self.is_json = not look.packed
                self.named = self.named or Skipped(where, look.what)
                return [Skipped(where, look.what)]
        except RecursionError:
            return [Skipped(where, "nested too deeply to be a trace")]

    def _read_whole(self, whole: Whole, where: str, why: str) -> Sequence[Found] | None:
        """Lets readers take the documents in a torn piece; ``None`` if none does."""
        try:
            taken = [self._taken(data, where) for data in whole.documents]
        except msgspec.DecodeError:  # a number that is none, say
            return None
        found = [one for given in taken for one in given or ()]
        if all(given is None for given in taken):
            return None
        return found if whole.is_all else [Skipped(where, why), *found]

    def _read_json(self, data: bytes, where: str) -> Sequence[Found]:
        """Raises `msgspec.DecodeError` or `UnicodeDecodeError` if `data` is no JSON."""
        found = self._taken(data, where)
        if found is not None:
            return found
        _ANY.decode(data)
        self.is_json = True
        if self._forced is not None:
            return [Skipped(where, f"not in the format {self._forced}")]
        look = looks_like(data)
        if look.harmless:
            self.signals.add(look.what)
            return ()
        self.named = self.named or Skipped(where, look.what)
        return [Skipped(where, look.what)]

    def _taken(self, data: bytes, where: str) -> Sequence[Found] | None:
        """Lets the first reader that knows `data` read it; ``None`` if none does."""
        tried = 0
        while True:
            for candidate in self._formats[tried:]:
                found = candidate.read(data, where)
                if found is not None:
                    self._prefer(candidate)
                    self.is_json = True
                    self._opening = data[:128]
                    return found
            if self._has_all:
                return None
            tried = len(self._formats)
            self._load_others()

    def _load_others(self) -> None:
        self._has_all = True
        self._formats += [
            row.begin() if isinstance(row, GatheredFormat) else row
            for row in json_formats()
            if self._forced in (None, row.name) and row is not otlp_json.FORMAT
        ]

    def _prefer(self, fitting: JsonFormat) -> None:
        """Tries first what fitted one document: it most likely fits the next."""
        if fitting.name in self._refused:
            raise NotApartError
        if self.format is None:
            self.format = fitting.name
        if self._formats[0] is not fitting:
            self._formats.remove(fitting)
            self._formats.insert(0, fitting)


def _is_text(head: bytes) -> bool:
    """Tells whether there is nothing in `head` that no text has: no format is binary then."""
    return all(byte >= 0x20 or byte in b"\t\n\r" for byte in head)


def _batches(found: Iterable[Found]) -> Iterator[Sequence[Found]]:
    batch: list[Found] = []
    try:
        for one in found:
            batch.append(one)
            if len(batch) == _BATCH:
                yield batch
                batch = []
    except OSError:
        yield batch  # what was read before
        raise
    yield batch


# Half of a surrogate pair, where an exporter cut a text; numbers that JSON does not have.
_LONE_SURROGATE: Final = re.compile(
    rb"(?<!\\)((?:\\\\)*)\\u(?:"
    rb"[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u)[dD][c-fC-F][0-9a-fA-F]{2})"
)
_NO_NUMBER: Final = re.compile(rb"([:,\[]\s*)(?:NaN|-?Infinity)(?=\s*[,\]}])")


def mended(data: bytes) -> bytes:
    """`data` in UTF-8, without what real exporters write and JSON forbids."""
    if not data.startswith((b"{", b"[", b" ")):
        return data.strip()  # not worth the time: no document of any format
    text = data.strip().decode("utf-8", "replace").encode()
    return _NO_NUMBER.sub(rb"\1null", _LONE_SURROGATE.sub(rb"\1\\ufffd", text))


def _not_json(error: UnicodeDecodeError | msgspec.DecodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8 text"
    detail = str(error).removeprefix("JSON is malformed: ")
    if detail == "Input data was truncated":
        return CUT_OFF
    return f"not JSON: {detail}"
