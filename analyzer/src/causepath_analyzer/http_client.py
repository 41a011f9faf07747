"""One request to a server that the user named, and its answer, or one sentence on what is wrong.

Nothing is asked for that the user did not name: a redirection is followed on the same host only,
so that headers with secrets stay there. Answers are bounded in size and time, and kept nowhere.
"""

import socket
import ssl
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping
from email.message import Message
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import IO, Final, cast
from urllib.parse import quote, urlsplit

from msgspec import Struct

from causepath_analyzer.errors import UnreadableInputError, UsageError
from causepath_analyzer.server_request import HEADERS_VARIABLE, Connection

_PIECE: Final = 1 << 16
_MOST_OF_AN_ERROR: Final = 1 << 16
_GZIP: Final = 31
_USER_AGENT: Final = "causepath"
_RESERVED: Final = "%/:=&?~#+!$,;'@()*[]"


class Answer(Struct, frozen=True):
    """A server's answer. ``body`` is unpacked; that of an error may be cut."""

    url: str
    status: int
    content_type: str
    body: bytes

    @property
    def is_page(self) -> bool:
        """Tells whether this is a page for people."""
        start = self.body[:256].lstrip().lower()
        return "html" in self.content_type or start.startswith((b"<!doctype", b"<html"))


Heard = Callable[[], None]
"""Called now and then while an answer arrives."""


class UnreachableError(UnreadableInputError):
    """No answer came, or not the whole of it."""


class Client:
    """Asks servers. Certificates are read once, and only where TLS is spoken."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._openers: dict[bool, urllib.request.OpenerDirector] = {}

    def ask(
        self,
        url: str,
        most_bytes: int,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        heard: Heard | None = None,
    ) -> Answer:
        """The answer of the server at `url`, also if it is an error; posts `body` if there is one.

        Raises `UnreachableError` if there is none in time or it is longer than `most_bytes`, and
        `UsageError` if nothing can be at such an address.
        """
        connection = self._connection
        request = _request(url, connection, body, headers or {})
        opener = self._opener(url)
        deadline = time.monotonic() + connection.timeout_s
        try:
            try:
                answer = cast("HTTPResponse", opener.open(request, timeout=connection.timeout_s))
            except urllib.error.HTTPError as error:
                with error:
                    said = b"".join(_pieces(url, error, deadline, _MOST_OF_AN_ERROR, cut=True))
                    return Answer(url, error.code, _content_type(error.headers), said)
            with answer:
                whole = b"".join(_pieces(url, answer, deadline, most_bytes, heard=heard))
            return Answer(url, answer.status, _content_type(answer.headers), whole)
        except urllib.error.URLError as error:
            raise _unreachable(url, connection, error.reason) from None
        except (HTTPException, OSError, zlib.error) as error:
            raise _unreachable(url, connection, error) from None

    def _opener(self, url: str) -> urllib.request.OpenerDirector:
        tls = url[:6].lower() == "https:"
        opener = self._openers.get(tls)
        if opener is None:
            handlers: list[urllib.request.BaseHandler] = [_SameHost()]
            if tls:
                context = _context(self._connection)
                handlers.append(urllib.request.HTTPSHandler(context=context))
            opener = self._openers[tls] = urllib.request.build_opener(*handlers)
        return opener


def refusal(answer: Answer) -> str:
    """Explains why `answer` is an error, in a sentence that says what may help."""
    said = _said(answer)
    if answer.status in (401, 403, 407):
        return (
            f"not allowed there ({answer.status}{said}): give --header "
            f'"Authorization: Bearer TOKEN", or set {HEADERS_VARIABLE}'
        )
    return f"the server answers {answer.status}{said}"


def _said(answer: Answer) -> str:
    if answer.is_page:
        return ""
    text = " ".join(answer.body.decode("utf-8", "replace").split())
    return f": {text[:200]}{'...' if len(text) > 200 else ''}" if text else ""


def check_address(url: str) -> None:
    """Raises `UsageError` if nothing can be at such an address, or it holds a password."""
    try:
        parts = urlsplit(url)
        fits = bool(parts.hostname) and (parts.port or 1) > 0
        parts.netloc.encode("idna")
    except ValueError:
        fits = False
    if not fits or any(char <= " " for char in url):
        raise UsageError(f"{url}: no address; write it like http://localhost:16686")
    if parts.username is not None:
        raise UsageError(
            f"{parts.scheme}://...@{parts.hostname}: a password in an address is shown to "
            f'everybody; give --header "Authorization: Basic ...", or set {HEADERS_VARIABLE}'
        )


def _request(
    url: str, connection: Connection, body: bytes | None, headers: Mapping[str, str]
) -> urllib.request.Request:
    check_address(url)
    parts = urlsplit(url)
    host = parts.netloc.encode("idna").decode("ascii")
    path = quote(url.split(parts.netloc, 1)[1], safe=_RESERVED)
    request = urllib.request.Request(f"{parts.scheme}://{host}{path}", data=body)
    request.add_header("User-Agent", _USER_AGENT)
    request.add_header("Accept-Encoding", "gzip")
    for name, value in (*headers.items(), *connection.headers):
        request.add_header(name, value)
    return request


def _context(connection: Connection) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=connection.ca_file)
    except OSError as error:
        no_pem = isinstance(error, ssl.SSLError)
        reason = "no certificates in PEM format" if no_pem else error.strerror
        raise UsageError(f"--ca-file {connection.ca_file}: {reason}") from None
    if connection.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows redirections that stay on the host, and never for what is posted."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        safer = (before.scheme, after.scheme) == ("http", "https")
        same = before.scheme == after.scheme and before.netloc == after.netloc
        if before.hostname != after.hostname or not (same or safer):
            fp.close()
            raise UnreachableError(
                f"{req.full_url}: sends on to {after.scheme}://{after.netloc}, which is not "
                "followed; is a login needed there?"
            )
        if req.data is not None:
            fp.close()
            raise UnreachableError(f"{req.full_url}: has moved to {newurl}: name that instead")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _pieces(
    url: str,
    answer: HTTPResponse | urllib.error.HTTPError,
    deadline: float,
    most_bytes: int,
    *,
    cut: bool = False,
    heard: Heard | None = None,
) -> Iterator[bytes]:
    """The unpacked body. Raises `UnreachableError` beyond `most_bytes`, or ends with `cut`."""
    packed = answer.headers.get("Content-Encoding", "").lower() in ("gzip", "x-gzip")
    unpacker = zlib.decompressobj(_GZIP) if packed else None
    left = most_bytes
    while piece := answer.read1(_PIECE):
        if time.monotonic() > deadline:
            raise TimeoutError
        if heard is not None:
            heard()
        while piece:
            if unpacker is None:
                out, piece = piece, b""
            else:
                out = unpacker.decompress(piece, _PIECE)
                piece = unpacker.unconsumed_tail
            if len(out) > left:
                if not cut:
                    raise UnreachableError(
                        f"{url}: more bytes than --max-bytes allows in all: raise it, "
                        "or ask for less with --limit or --since"
                    )
                yield out[:left]
                return
            left -= len(out)
            yield out
    # `read1` says nothing where a body ends too early.
    missing = isinstance(answer, HTTPResponse) and answer.length
    if not cut and (missing or (unpacker is not None and not unpacker.eof)):
        raise UnreachableError(f"{url}: the answer broke off: ask again, or for less")


def _content_type(headers: Message) -> str:
    return (headers.get("Content-Type") or "").lower()


def _too_slow(url: str, connection: Connection) -> UnreachableError:
    return UnreachableError(
        f"{url}: no whole answer within {connection.timeout_s:g} s: raise --timeout, "
        "or ask for less with --limit or --since"
    )


def _unreachable(url: str, connection: Connection, reason: object) -> UnreachableError:
    if isinstance(reason, TimeoutError):
        return _too_slow(url, connection)
    if isinstance(reason, ssl.SSLError):
        return UnreachableError(f"{url}: {_tls_problem(reason)}")
    if isinstance(reason, socket.gaierror):
        host = urlsplit(url).hostname
        return UnreachableError(f"{url}: no host is called {host}: is the name right?")
    if isinstance(reason, ConnectionRefusedError):
        return UnreachableError(
            f"{url}: nothing answers there: is the server running, and is this its port?"
        )
    if isinstance(reason, HTTPException | ConnectionError):
        what = type(reason).__name__
        return UnreachableError(
            f"{url}: the connection broke off ({what}): is this the port of its HTTP API?"
        )
    said = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
    return UnreachableError(f"{url}: cannot be reached: {said}")


def _tls_problem(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message}): name the authority "
            "with --ca-file FILE, or trust it unseen with --insecure"
        )
    if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return "does not speak TLS: write http:// instead of https://"
    return f"no TLS connection: {error.reason or error}"
