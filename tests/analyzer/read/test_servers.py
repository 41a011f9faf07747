"""Jaeger and Tempo as users name them: addresses, pages, and everything that can be wrong."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from causepath_analyzer.cli import invoke
from causepath_analyzer.errors import CausepathError, NoTracesError
from causepath_analyzer.model import Skipped
from causepath_analyzer.read import Options, Reading, read
from causepath_analyzer.server_request import Connection, Wanted
from tests.support.trace_servers import (
    CERTIFICATE,
    PAGE,
    Answer,
    Respond,
    as_json,
    jaeger,
    newer_jaeger,
    serving,
    tempo,
)

NOW_US = time.time_ns() // 1000
RECORDED = Path(__file__).parents[1] / "recorded" / "sdk.jsonl"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CAUSEPATH_HEADERS", "CAUSEPATH_TIMEOUT", "CAUSEPATH_CERTIFICATE"):
        monkeypatch.delenv(name, raising=False)


def jaeger_trace(number: int, ago_s: float, service: str = "demo") -> dict[str, Any]:
    """A trace of a chat of 1 s, which began `ago_s` ago."""
    start = NOW_US - int(ago_s * 1_000_000)
    return {
        "traceID": f"{number:032x}",
        "spans": [
            {
                "traceID": f"{number:032x}",
                "spanID": f"{number:016x}",
                "operationName": "chat m",
                "references": [],
                "startTime": start,
                "duration": 1_000_000,
                "tags": [{"key": "gen_ai.operation.name", "type": "string", "value": "chat"}],
                "processID": "p1",
            }
        ],
        "processes": {"p1": {"serviceName": service, "tags": []}},
    }


def tempo_traces() -> dict[str, dict[str, Any]]:
    """The recorded run, as Tempo gives it, and a second one of which it has only a part."""
    lines = [json.loads(line) for line in RECORDED.read_text().splitlines()]
    document = {"resourceSpans": [batch for line in lines for batch in line["resourceSpans"]]}
    trace_id = document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"]
    other = json.loads(json.dumps(document).replace(trace_id, "f" * 32))
    return {
        trace_id: {"batches": document["resourceSpans"]},
        "f" * 32: {
            "batches": other["resourceSpans"],
            "status": "PARTIAL",
            "message": "trace exceeds max size",
        },
    }


def asked(address: str, **wanted: Any) -> Reading:
    return read([address], None, Options(wanted=Wanted(**wanted)))


HOUR = [jaeger_trace(i, ago_s=10 + 10 * i) for i in range(250)]


@pytest.mark.parametrize("by_time", [True, False], ids=["started-last", "written-last"])
@pytest.mark.parametrize(
    ("traces", "limit", "expected", "pages"),
    [
        (HOUR, 1000, 250, 9),
        (HOUR, None, 200, 7),
        (HOUR, 120, 120, 3),
        (HOUR[:7], 200, 7, 1),
        # More at one microsecond than a page holds.
        ([jaeger_trace(i, 30) for i in range(150)], 1000, 150, 30),
    ],
    ids=["all", "default", "limit", "few", "one-instant"],
)
def test_jaeger_is_read_page_by_page(
    traces: list[dict[str, Any]], limit: int | None, expected: int, pages: int, by_time: bool
) -> None:
    with serving(jaeger(traces, by_time=by_time)) as server:
        reading = asked(server.url, service="demo", limit=limit)
    assert len({trace.trace_id for trace in reading.traces}) == expected
    assert all(t.health.duplicates == 0 for t in reading.traces)
    (entry,) = reading.inputs
    assert (entry.path, entry.format, entry.spans) == (server.url, "jaeger-json", expected)
    assert sum(path.startswith("/api/traces") for path in server.asked) <= pages
    reached = expected < len(traces)
    assert [note.partition(":")[0] for note in entry.notes] == (
        [f"{expected} traces, which is the --limit"] if reached else []
    )


def test_a_long_trace_is_not_passed_over_between_pages() -> None:
    long = jaeger_trace(999, ago_s=1500)
    long["spans"].append({**long["spans"][0], "spanID": "ab", "startTime": NOW_US - 20_000_000})
    with serving(jaeger([*HOUR, long])) as server:
        reading = asked(server.url, service="demo", limit=1000)
    assert len(reading.traces) == 251
    assert max(len(trace.spans) for trace in reading.traces) == 2


UI_SEARCH = (
    "/search?end=9999999999999999&limit=20&lookback=1h&maxDuration&minDuration=1ms"
    "&operation=chat%20m&service=demo&start=1"
)


@pytest.mark.parametrize(
    ("path", "found", "last"),
    [
        ("", 7, "limit=100"),
        ("/", 7, "limit=100"),
        (UI_SEARCH, 7, "limit=20"),
        ("/search?service=demo&limit=3", 3, "limit=3"),
        ("/api/traces?service=demo&limit=3", 3, "limit=3"),
        (f"/trace/{3:032x}", 1, f"/api/traces/{3:032x}"),
        (f"/trace/{3:032x}?uiFind=chat", 1, f"/api/traces/{3:032x}"),
        (f"/trace/{3:032x}...{4:032x}", 2, f"/api/traces/{4:032x}"),
        (f"/api/traces/{3:032x}", 1, f"/api/traces/{3:032x}"),
    ],
    ids=["server", "slash", "ui", "page", "api", "trace", "find", "compared", "api-trace"],
)
@pytest.mark.parametrize("base", ["", "/jaeger"], ids=["root", "below"])
def test_addresses_of_jaeger(base: str, path: str, found: int, last: str) -> None:
    inner = jaeger(HOUR[:7])

    def respond(path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        return inner(path.removeprefix(base), query, headers) if path.startswith(base) else PAGE

    with serving(respond) as server:
        reading = asked(server.url + base + path)
    assert len(reading.traces) == found
    assert server.asked[-1].endswith(last)
    assert server.asked[-1].startswith(base)


def test_what_a_search_in_the_browser_says_can_be_said_anew() -> None:
    with serving(jaeger(HOUR)) as server:
        since_ns = (NOW_US - 55_000_000) * 1000
        reading = asked(server.url + UI_SEARCH, since_ns=since_ns, limit=3, service="demo")
    assert len(reading.traces) == 3
    version, path = server.asked
    assert version == "/api/v3/services"
    query = parse_qs(urlsplit(path).query)
    del query["end"]
    assert query == {
        "service": ["demo"],
        "start": [str(since_ns // 1000)],
        "limit": ["3"],
        "lookback": ["custom"],
        "operation": ["chat m"],
        "minDuration": ["1ms"],
    }


def otlp_trace(number: int, ago_s: int) -> list[dict[str, Any]]:
    span = {
        "traceId": f"{number:032x}",
        "spanId": f"{number + 1:016x}",
        "name": "chat m",
        "startTimeUnixNano": str((NOW_US - ago_s * 1_000_000) * 1000 + 7),
        "endTimeUnixNano": str((NOW_US - ago_s * 1_000_000) * 1000 + 5_000_011),
    }
    return [{"scopeSpans": [{"spans": [span]}]}]


@pytest.mark.parametrize(
    ("count", "limit", "pages"), [(250, 1000, 9), (250, None, 7), (7, None, 1), (0, None, 1)]
)
def test_a_newer_jaeger_is_read_page_by_page(count: int, limit: int | None, pages: int) -> None:
    traces = [otlp_trace(number, 10 + 10 * number) for number in range(count)]
    with serving(newer_jaeger(traces, ["demo"])) as server:
        if not count:
            with pytest.raises(NoTracesError, match="no traces of demo since"):
                asked(server.url, service="demo")
            return
        reading = asked(server.url, service="demo", limit=limit)
    found = {trace.trace_id: trace.start_ns % 1000 for trace in reading.traces}
    assert len(found) == len(reading.traces) == min(count, limit or 200)
    assert set(found.values()) == {7}  # microseconds are not all that it knows
    assert sum("/traces" in path for path in server.asked) <= pages
    assert not any("/api/traces" in path for path in server.asked)


def wire(answer: Answer) -> str:
    return answer[2].decode()


# An early version 3: other parameters, an answer in parts, other names, or not this question.
EARLY: dict[str, Callable[[Answer], Answer]] = {
    "parameters": lambda _: (400, "text/plain", b"malformed parameter query.num_traces"),
    "parts": lambda answer: (200, "application/json", f"{wire(answer)}\n{wire(answer)}".encode()),
    "names": lambda answer: (
        *answer[:2],
        wire(answer).replace("resourceSpans", "resource_spans").encode(),
    ),
    "none": lambda _: (501, "text/plain", b"not implemented"),
}


@pytest.mark.parametrize("path", ["", f"/trace/{3:032x}"])
@pytest.mark.parametrize("early", EARLY)
def test_an_early_version_3_is_left_for_the_one_of_the_page(early: str, path: str) -> None:
    now, before = (
        newer_jaeger([otlp_trace(number, 10) for number in range(7)], ["demo"]),
        jaeger(HOUR[:7]),
    )

    def respond(path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        if path.startswith("/api/v3/traces"):
            return EARLY[early](now(path, query, headers))
        return (now if "/v3/" in path else before)(path, query, headers)

    with serving(respond) as server:
        reading = asked(server.url + path)
    assert len(reading.traces) == (1 if path else 7)


def test_a_jaeger_with_more_traces_than_anybody_asks_for() -> None:
    """It has one for each 72 ms of the last hour, fifty thousand of them."""
    since_us, apart_us = NOW_US - 3600 * 1_000_000, 72_000

    def respond(path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        if not path.startswith("/api/traces"):
            return as_json({"data": ["demo"]})
        first = max(0, -(-(int(query["start"]) - since_us) // apart_us))
        last = min(50_000, (int(query["end"]) - since_us) // apart_us + 1)
        latest = range(first, last)[-int(query["limit"]) :]
        times = [(number, (NOW_US - since_us - number * apart_us) / 1e6) for number in latest]
        return as_json({"data": [jaeger_trace(number, ago_s) for number, ago_s in times]})

    with serving(respond) as server:
        reading = asked(server.url, limit=2_000)
    assert len({trace.trace_id for trace in reading.traces}) == 2_000
    (entry,) = reading.inputs
    assert entry.notes == ("2,000 traces, which is the --limit: there may be more",)
    # Windows are halved until they hold no more than a page.
    assert sum(path.startswith("/api/traces") for path in server.asked) < 80


@pytest.mark.parametrize("how", ["trace", "search"])
def test_a_newer_jaeger_gives_what_the_file_gives(how: str, tmp_path: Path) -> None:
    batches = [
        b for line in RECORDED.read_text().splitlines() for b in json.loads(line)["resourceSpans"]
    ]
    trace_id = batches[0]["scopeSpans"][0]["spans"][0]["traceId"]
    direct, through, arrows = (tmp_path / name for name in ("direct", "through", "arrows"))
    with serving(newer_jaeger([batches], ["demo"])) as server:
        address = f"{server.url}/trace/{trace_id}" if how == "trace" else server.url
        since = [] if how == "trace" else ["--since", "2020-01-01"]
        assert invoke([address, *since, "--json", "-o", str(through)]) == 0
        assert invoke(["export", address, *since, "--to", "perfetto", "-o", str(arrows)]) == 0
    assert invoke([str(RECORDED), "--json", "-o", str(direct)]) == 0
    assert json.loads(through.read_text())["traces"] == json.loads(direct.read_text())["traces"]
    assert invoke(["export", str(RECORDED), "--to", "perfetto", "-o", str(direct)]) == 0
    assert arrows.read_text() == direct.read_text()
    assert '"ph":"s"' in arrows.read_text()


@pytest.mark.parametrize("v2", [True, False], ids=["v2", "v1"])
@pytest.mark.parametrize("path", ["", "/api/search?q={}&limit=9"], ids=["server", "search"])
def test_tempo(v2: bool, path: str) -> None:
    with serving(tempo(tempo_traces(), ["demo"], v2=v2)) as server:
        reading = asked(server.url + path, since_ns=(NOW_US - 20 * 86400 * 1_000_000) * 1000)
    direct = read([str(RECORDED)])
    by_id = {trace.trace_id: trace for trace in reading.traces}
    assert by_id[direct.traces[0].trace_id] == direct.traces[0]
    assert len(by_id) == 2
    (entry,) = reading.inputs
    assert entry.format == "otlp-json"
    part = "Tempo gave only a part of this trace: trace exceeds max size"
    assert entry.skipped == ((Skipped(f"trace {'f' * 32}", part),) if v2 else ())
    assert [t.health.notes[-1:] for t in reading.traces if t.trace_id == "f" * 32] == [
        (f"a part of this trace is missing: {part}",) if v2 else ()
    ]


@pytest.mark.parametrize("path", ["/api/v2/traces/", "/api/traces/"])
def test_one_trace_of_tempo(path: str) -> None:
    with serving(tempo(tempo_traces(), ["demo"])) as server:
        assert len(asked(server.url + path + "f" * 32).traces) == 1


def test_any_other_address_is_read_like_a_file() -> None:
    data = RECORDED.read_bytes()
    with serving(lambda *_: (200, "text/plain", data), packed=True) as server:
        reading = asked(f"{server.url}/runs/today.jsonl")
    assert reading.traces == read([str(RECORDED)]).traces


def plain(status: int, text: str = "") -> Respond:
    return lambda *_: (status, "text/plain", text.encode())


GRAFANA_PANE = (
    "%7B%22a%22:%7B%22datasource%22:%22P1%22,%22queries%22:%5B%7B%22query%22:%22ab12%22%7D%5D%7D%7D"
)
LISTED = jaeger([jaeger_trace(1, 10, "demo"), jaeger_trace(2, 10, "other")])


@pytest.mark.parametrize(
    ("respond", "path", "options", "status", "told"),
    [
        (LISTED, "", "", 2, "which service? Name it with --service: demo, other"),
        (LISTED, "", "--service nope", 2, "no service is called nope; there is demo, other"),
        (jaeger([]), "", "", 5, "no service has sent a trace there yet"),
        (
            jaeger([jaeger_trace(1, 1_700_000_000)]),  # seconds ago
            "",
            "--service demo --since 2026-11-21T08:00Z",
            5,
            "no traces of demo since 2026-11-21 08:00:00 UTC: look further back with --since 1d",
        ),
        (
            jaeger(HOUR[:1]),
            "/trace/abc",
            "",
            5,
            (
                "/api/traces/abc: no trace abc there: it may be too old, not sampled, or not have "
                "arrived yet"
            ),
        ),
        (
            tempo({}, ["demo"]),
            "/api/traces/abc",
            "",
            5,
            (
                "/api/traces/abc: no trace abc there: it may be too old, not sampled, or not have "
                "arrived yet"
            ),
        ),
        (tempo({}, ["demo"]), "", "--service x", 2, "no service is called x; there is demo"),
        (tempo({}, ["demo"]), "", "--service demo", 5, "no traces of demo since "),
        (
            lambda *_: PAGE,
            "",
            "",
            4,
            (
                "answers with a page for people (HTML), not with JSON: is this the server's own "
                "address, and is no login in front of it?"
            ),
        ),
        (lambda *_: PAGE, "/trace/abc", "", 4, "answers with a page for people (HTML)"),
        (
            plain(401),
            "",
            "",
            4,
            (
                '/api/services: not allowed there (401): give --header "Authorization: Bearer '
                'TOKEN", or set CAUSEPATH_HEADERS'
            ),
        ),
        (plain(403, "no role"), "/trace/ab", "", 4, "not allowed there (403: no role): give "),
        (plain(503, "try\nlater"), "/trace/ab", "", 4, "the server answers 503: try later"),
        (
            plain(404, "404 page not found"),
            "",
            "",
            4,
            (
                "neither Jaeger's nor Tempo's API is there (404 for /api/services): Jaeger's port "
                "is mostly 16686, Tempo's 3200; behind a proxy the address has its path, too; "
                "for Grafana name its data source, "
                "https://GRAFANA/api/datasources/proxy/uid/UID"
            ),
        ),
        (
            plain(404),
            f"/explore?panes={GRAFANA_PANE}",
            "",
            2,
            (
                "/api/datasources/proxy/uid/P1/api/traces/ab12, with --header "
                '"Authorization: Bearer TOKEN"; or Tempo or Jaeger itself'
            ),
        ),
        (plain(200, "hello"), "/a.txt", "", 5, "/a.txt: answer:1: text, no trace"),
        (
            lambda *_: as_json({"data": None, "errors": [{"msg": "storage is down"}]}),
            "/search?service=demo",
            "",
            4,
            "the server says: storage is down",
        ),
        (
            jaeger(HOUR),
            "",
            "--service demo --max-bytes 2K",
            4,
            "more bytes than --max-bytes allows in all: raise it, or ask for less",
        ),
        (jaeger(HOUR), "", "--since yesterday", 2, "--since yesterday: no time; write it like 1h"),
        (jaeger(HOUR), "", "--timeout 0", 2, "--timeout 0: no time to wait; write it like 10s"),
        (jaeger(HOUR), "", "--header Bearer", 2, '--header: no header; write it like "Auth'),
        (jaeger(HOUR), "", "--header a:b\x01", 2, "the value of a has characters that no header"),
        (jaeger(HOUR), "", "--limit 0", 2, "--limit 0: ask for one trace or more"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    respond: Respond,
    path: str,
    options: str,
    status: int,
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving(respond) as server:
        assert (
            invoke([server.url + path, *options.split(" ")] if options else [server.url + path])
            == status
        )
    printed = capsys.readouterr()
    assert printed.out == ""
    assert told in printed.err
    assert printed.err.count("\n") == 1


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("address", "status", "told"),
    [
        (
            f"http://127.0.0.1:{free_port()}",
            4,
            "nothing answers there: is the server running, and is this its port?",
        ),
        ("http://nowhere.invalid", 4, "no host is called nowhere.invalid: is the name right?"),
        ("http://", 2, "http://: no address; write it like http://localhost:16686"),
        ("http://a:b", 2, "http://a:b: no address; write it like"),
        ("http://u:pw@h", 2, "http://...@h: a password in an address is shown to everybody"),
    ],
    ids=["refused", "no-host", "nothing", "no-port", "password"],
)
def test_addresses_that_nobody_is_at(
    address: str, status: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke([address]) == status
    assert told in capsys.readouterr().err


def test_a_server_that_never_ends_its_answer(capsys: pytest.CaptureFixture[str]) -> None:
    def respond(*_: object) -> Answer:
        server.ended.wait(30)
        return as_json({})

    with serving(respond) as server:
        assert invoke([server.url, "--timeout", "0.2"]) == 4
    assert "no whole answer within 0.2 s: raise --timeout, or ask" in capsys.readouterr().err


@contextmanager
def talking(data: bytes) -> Iterator[str]:
    """Something that answers `data` to whoever connects, whatever is asked."""
    import threading

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            with listener.accept()[0] as client:
                client.recv(4096)
                client.sendall(data)

        thread = threading.Thread(target=talk)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\0\0\0\4\0\0", "the connection broke off (BadStatusLine): is this the port of its"),
        (b"", "the connection broke off (RemoteDisconnected): is this the port of its HTTP"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
            "/api/v3/services: the answer broke off: ask again, or for less",
        ),
    ],
    ids=["grpc", "hangs-up", "cut"],
)
def test_servers_that_do_not_speak_http(
    data: bytes, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with talking(data) as address:
        assert invoke([f"{address}/trace/1"]) == 4
    assert told in capsys.readouterr().err


def failing_after(pages: int, respond: Respond) -> Respond:
    left = iter(range(pages))

    def failing(path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        if "/traces" in path and next(left, None) is None:
            return 500, "text/plain", b"overloaded"
        return respond(path, query, headers)

    return failing


@pytest.mark.parametrize(
    ("respond", "spans", "skipped"),
    [
        (failing_after(1, jaeger(HOUR)), 100, "page 2: the server answers 500: overloaded"),
        (
            failing_after(1, tempo(tempo_traces(), ["demo"])),
            None,
            f"trace {'f' * 32}: the server answers 500: overloaded",
        ),
    ],
    ids=["jaeger", "tempo"],
)
def test_what_came_before_a_fault_counts_and_the_fault_is_said(
    respond: Respond,
    spans: int | None,
    skipped: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving(respond) as server:
        assert invoke([server.url, "--json", "--strict"]) == 4
    printed = capsys.readouterr()
    (entry,) = json.loads(printed.out)["inputs"]
    assert [f"{one['where']}: {one['why']}" for one in entry["skipped"]] == [skipped]
    assert spans in (None, entry["spans"])
    assert printed.err == f"causepath: {server.url}: {skipped}\n"


@pytest.mark.parametrize("by", ["flag", "environment"])
def test_secrets_go_along_and_stay_on_the_host(
    by: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = []
    if by == "flag":
        flags = ["--header", "Authorization: Bearer s3cret", "--header", "X-Org: 7"]
    else:
        monkeypatch.setenv("CAUSEPATH_HEADERS", "Authorization=Bearer%20s3cret, X-Org=7")
    inner = jaeger(HOUR[:1])

    def respond(path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        if path.startswith("/moved"):
            return 307, "text/plain", b"", {"Location": path.removeprefix("/moved")}
        if path.startswith("/away"):
            return 302, "text/plain", b"", {"Location": f"{elsewhere.url}/login"}
        return inner(path, query, headers)

    with serving(lambda *_: PAGE) as elsewhere, serving(respond) as server:
        assert invoke([f"{server.url}/moved/trace/{0:032x}", *flags]) == 0
        assert invoke([f"{server.url}/away/trace/1", *flags]) == 4
    assert {(h["authorization"], h["x-org"]) for h in server.headers} == {("Bearer s3cret", "7")}
    assert elsewhere.asked == []
    printed = capsys.readouterr()
    assert f"sends on to {elsewhere.url}, which is not followed; is a login" in printed.err
    assert "s3cret" not in printed.out + printed.err


@pytest.mark.parametrize(
    ("connection", "told"),
    [
        (Connection(), "its certificate is not trusted (self-signed certificate): name the"),
        (Connection(ca_file=str(CERTIFICATE)), None),
        (Connection(insecure=True), None),
        (Connection(ca_file="gone.pem"), "--ca-file gone.pem: No such file or directory"),
        (Connection(ca_file=__file__), "no certificates in PEM format"),
    ],
    ids=["unknown", "authority", "insecure", "gone", "no-pem"],
)
def test_tls(connection: Connection, told: str | None) -> None:
    with serving(jaeger(HOUR[:1]), tls=True) as server:
        if told is None:
            assert len(asked(server.url, connection=connection).traces) == 1
        else:
            with pytest.raises(CausepathError) as caught:
                asked(server.url, connection=connection)
            assert told in str(caught.value)


def test_a_small_answer_that_unpacks_to_much_is_bounded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    import gzip

    bomb = gzip.compress(b'{"resourceSpans": [' + b" " * 50_000_000)
    with serving(lambda *_: (200, "application/octet-stream", bomb)) as server:
        assert invoke([f"{server.url}/t.json.gz", "--max-bytes", "1M"]) == 4
    assert "more than 1,048,576 bytes when unpacked" in capsys.readouterr().err
    with serving(lambda *_: (200, "application/json", b" " * 50_000_000), packed=True) as server:
        assert invoke([f"{server.url}/t.json", "--max-bytes", "1M"]) == 4
    assert "more bytes than --max-bytes allows in all" in capsys.readouterr().err


def test_tls_where_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(jaeger(HOUR[:1])) as server:
        assert invoke([server.url.replace("http:", "https:")]) == 4
    assert "does not speak TLS: write http:// instead of https://" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["report", "check --max wall=9s", "doctor", "whatif --profile"])
def test_every_command_that_reads_takes_addresses(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(jaeger(HOUR), packed=True) as server:
        name, *options = command.split()
        assert invoke([name, server.url, "--service", "demo", "--limit", "5", *options]) == 0
        printed = capsys.readouterr()
        assert printed.err.splitlines() == [
            f"causepath: {server.url}: 5 traces, which is the --limit: there may be more"
        ]
        if command == "report":
            where = f"{server.url} --service demo --limit 5"
            assert where in printed.out


def test_a_prediction_is_verified_at_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with serving(jaeger(HOUR[:5])) as server:
        assert invoke(["whatif", server.url, "--apply", "scale llm=0.5", "--save", "w.json"]) == 0
        told = json.loads(Path("w.json").read_text())
        Path("w.json").write_text(json.dumps(told | {"traces": {}}))  # or all would be left out
        assert invoke(["verify", "w.json", server.url, "--service", "demo"]) in (0, 1, 3)
    assert "predicted from 5 runs, measured in 5 runs" in capsys.readouterr().out


def test_options_of_servers_need_a_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(RECORDED)
    for options in (["--service", "a"], ["--ca-file", "b"], ["--insecure"]):
        assert invoke([path, *options]) == 2
        told = capsys.readouterr().err
        assert told == (
            f"causepath: {options[0]} is for servers, and {path} is none: "
            "their addresses begin with http:// or https://\n"
        )


def test_headers_of_the_environment_leave_files_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAUSEPATH_HEADERS", "a=b")
    assert invoke([str(RECORDED), "--json"]) == 0
