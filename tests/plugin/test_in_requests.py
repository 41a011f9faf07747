"""Runs that nobody declared inside of spans of others: requests of a web server, tasks, jobs."""

from __future__ import annotations

import contextlib
import json
import threading
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider, sampling
from opentelemetry.trace import SpanKind

import causepath
from causepath import config
from causepath.calls import local_roots
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording, telemetry
from tests.support.script import Failure, InOrder, Reply, ToolUse, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Client = anthropic.Anthropic

TEXTS = [Reply(word, usage=Usage(20, 4)) for word in ("one", "two", "three")]
ONE, TWO, THREE = TEXTS
NUMBERS = iter(range(10_000))


def asks(name: str) -> Reply:
    call = ToolUse(name, {"q": "x"}, id=f"toolu_of_requests_{next(NUMBERS)}")
    return Reply([call], usage=Usage(10, 3))


def theirs(name: str, **options: Any) -> Any:
    """A span of somebody else, which is current."""
    return trace.get_tracer("theirs").start_as_current_span(name, **options)


def server(name: str = "POST /ask", **attributes: str) -> Any:
    return theirs(name, kind=SpanKind.SERVER, attributes=attributes)


def plain(q: str) -> str:
    return q.upper()


def loop(
    client: Client,
    question: str = "Who?",
    tool: Callable[[str], str] = plain,
    around: Callable[[], Any] = contextlib.nullcontext,
) -> str:
    """An agent by hand, each of whose turns is in `around`."""
    messages: list[Any] = [{"role": "user", "content": question}]
    tools = {"look": tool}
    while True:
        with around():
            reply = client.messages.create(model="m", max_tokens=9, messages=messages)
            used = [block for block in reply.content if block.type == "tool_use"]
            if not used:
                return str(reply.content[0].text)  # type: ignore[union-attr]
            results = [
                {"type": "tool_result", "tool_use_id": one.id, "content": tools[one.name]("x")}
                for one in used
            ]
        messages += [
            {"role": "assistant", "content": reply.content},
            {"role": "user", "content": results},
        ]


@pytest.fixture(autouse=True)
def content(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(config.CAPTURE_MESSAGE_CONTENT, "true")


@contextlib.contextmanager
def served(*answers: Any) -> Iterator[Client]:
    with (
        MessagesApi(InOrder(list(answers))) as api,
        Client(base_url=api.url, api_key="test", max_retries=0) as client,
    ):
        yield client


def said(attributes: Any, name: str) -> str | None:
    text = attributes.get(name)
    return None if text is None else json.loads(text)[0]["parts"][0]["content"]


def shown(recording: Recording) -> list[str]:
    """The spans in the order of their starts, indented; of runs what they say of themselves."""
    recording.text()
    # A run begins with its first call, and may end with it.
    order = sorted(recording.spans(), key=lambda span: span.name.startswith("chat"))
    spans = sorted(order, key=lambda span: (span.start_time or 0, -(span.end_time or 0)))
    depths: dict[int, int] = {}
    lines = []
    for span in spans:
        attributes: dict[str, Any] = dict(span.attributes or {})
        depth = depths.get(span.parent.span_id, -1) + 1 if span.parent is not None else 0
        depths[span.get_span_context().span_id] = depth
        words = ["  " * depth + span.name]
        if attributes.get("causepath.run.outermost"):
            words.append("RUN")
        if "causepath.run.input_tokens" in attributes:
            words.append("{causepath.run.input_tokens}/{causepath.run.output_tokens}")
            numbers = (attributes[f"causepath.run.{name}_tokens"] for name in ("input", "output"))
            words[-1] = "/".join(map(str, numbers))
        if attributes["causepath.category"] != "llm":
            exchange = [said(attributes, f"gen_ai.{way}.messages") for way in ("input", "output")]
            words += [f"{exchange[0]}->{exchange[1]}"] if any(exchange) else []
        if attributes.get("causepath.usage.partial"):
            words.append("partial")
        lines.append(" ".join(words))
    return lines


# -- what happens in a request, and the spans of it


def one(client: Client) -> None:
    with server():
        loop(client)


def two_agents(client: Client) -> None:
    with server():
        loop(client, "first?")
        loop(client, "second?")


def steps(client: Client) -> None:
    with server(), theirs("handler"):
        loop(client, around=lambda: theirs("step"))


def nested(client: Client) -> None:
    with server():
        loop(client, "outer?", tool=lambda _: loop(client, "inner?"))


def job(client: Client) -> None:
    with theirs("nightly"):
        loop(client)


def task(client: Client) -> None:
    with theirs("run/answer", kind=SpanKind.CONSUMER):
        loop(client)


def nothing_asked(_: Client) -> None:
    with server(), theirs("SELECT"):
        pass


def declared_inside(client: Client) -> None:
    with server(), causepath.agent("a"):
        loop(client)


def declared_first(client: Client) -> None:
    with server():
        with causepath.agent("a"):
            loop(client, "a?")
        loop(client, "title?")


def declared_later(client: Client) -> None:
    with server():
        loop(client, "which agent?")
        with causepath.agent("a"):
            loop(client, "a?")


def failed(client: Client) -> None:
    with contextlib.suppress(anthropic.APIStatusError), server():
        loop(client)


def socket(client: Client) -> None:
    with server("/ws", **{"http.scheme": "ws"}):
        for question in ("q1?", "q2?"):
            loop(client, question)


def socket_with_spans(client: Client) -> None:
    with server("/ws", **{"url.scheme": "wss"}):
        for question in ("q1?", "q2?"):
            with theirs("question"):
                loop(client, question)


def after_the_response(client: Client) -> None:
    with server():
        here = otel.get_current()

    def later() -> None:
        token = otel.attach(here)
        loop(client)
        otel.detach(token)

    thread = threading.Thread(target=later)
    thread.start()
    thread.join()


def called_from_elsewhere(client: Client) -> None:
    remote = trace.SpanContext(7, 7, True, trace.TraceFlags(1))
    context = trace.set_span_in_context(trace.NonRecordingSpan(remote))
    token = otel.attach(context)
    loop(client)
    otel.detach(token)
    with theirs("run/answer", context=context, kind=SpanKind.CONSUMER):
        loop(client)


def second_service_of_the_process(client: Client) -> None:
    def tool(_: str) -> str:
        with theirs("POST", kind=SpanKind.CLIENT) as call:
            context = call.get_span_context()
        remote = trace.SpanContext(context.trace_id, context.span_id, True, context.trace_flags)
        parent = trace.set_span_in_context(trace.NonRecordingSpan(remote))
        with theirs("POST /help", context=parent, kind=SpanKind.SERVER):
            return loop(client, "help?")

    with server():
        loop(client, "front?", tool=tool)


def read_after_the_response(client: Client) -> None:
    with server():
        stream = client.messages.create(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "s?"}], stream=True
        )
    for _ in stream:
        pass


def runner(client: Client) -> None:
    @anthropic.beta_tool
    def look(q: str) -> str:
        """Looks."""
        return q

    client.beta.messages.tool_runner(
        model="m", max_tokens=9, tools=[look], messages=[{"role": "user", "content": "Who?"}]
    ).until_done()


def runner_in_a_request(client: Client) -> None:
    with server():
        runner(client)


def allowed_by_a_person(client: Client) -> None:
    messages: list[Any] = [{"role": "user", "content": "Who?"}]
    with server():
        reply = client.messages.create(model="m", max_tokens=9, messages=messages)
    (used,) = reply.content
    result = {"type": "tool_result", "tool_use_id": used.id, "content": "X"}  # type: ignore[union-attr]
    messages += [
        {"role": "assistant", "content": reply.content},
        {"role": "user", "content": [result]},
    ]
    with server("POST /allow"):
        client.messages.create(model="m", max_tokens=9, messages=messages)


LOOK = ("chat m", "execute_tool look", "chat m")


def below(depth: int, *names: str) -> list[str]:
    return ["  " * depth + name for name in names]


@pytest.mark.parametrize(
    ("request_", "answers", "spans"),
    [
        (one, [asks("look"), ONE], ["POST /ask RUN 30/7 Who?->one", *below(1, *LOOK)]),
        (task, [asks("look"), ONE], ["run/answer RUN 30/7 Who?->one", *below(1, *LOOK)]),
        (job, [asks("look"), ONE], ["nightly RUN 30/7 Who?->one", *below(1, *LOOK)]),
        (
            two_agents,
            [asks("look"), ONE, TWO],
            ["POST /ask RUN 50/11 first?->two", *below(1, *LOOK, "chat m")],
        ),
        (
            steps,
            [asks("look"), ONE],
            [
                "POST /ask RUN 30/7 Who?->one",
                *below(1, "handler"),
                *below(2, "step"),
                *below(3, "chat m", "execute_tool look"),
                *below(2, "step"),
                *below(3, "chat m"),
            ],
        ),
        (
            nested,
            [asks("look"), TWO, ONE],
            [
                "POST /ask RUN 50/11 outer?->one",
                *below(1, "chat m", "execute_tool look", "  chat m", "chat m"),
            ],
        ),
        (nothing_asked, [], ["POST /ask", "  SELECT"]),
        (
            declared_inside,
            [asks("look"), ONE],
            ["POST /ask", "  invoke_agent a RUN 30/7 Who?->one", *below(2, *LOOK)],
        ),
        (
            declared_first,
            [ONE, TWO],
            ["POST /ask", "  invoke_agent a RUN 20/4 a?->one", "    chat m", "  chat m"],
        ),
        (
            declared_later,
            [ONE, TWO],
            [
                "POST /ask RUN 40/8 which agent?->one",
                *below(1, "chat m", "invoke_agent a 20/4 a?->two", "  chat m"),
            ],
        ),
        (failed, [Failure(400)], ["POST /ask RUN Who?->None", "  chat m"]),
        (
            socket,
            [asks("look"), ONE, TWO],
            [
                "/ws",
                "  invoke_agent test_in_requests RUN 30/7 q1?->one",
                *below(2, *LOOK),
                "  invoke_agent test_in_requests RUN 20/4 q2?->two",
                "    chat m",
            ],
        ),
        (
            socket_with_spans,
            [asks("look"), ONE, TWO],
            [
                "/ws",
                "  question RUN 30/7 q1?->one",
                *below(2, *LOOK),
                "  question RUN 20/4 q2?->two",
                "    chat m",
            ],
        ),
        (
            after_the_response,
            [asks("look"), ONE],
            [
                "POST /ask",
                "  invoke_agent test_in_requests RUN 30/7 Who?->one",
                *below(2, *LOOK),
            ],
        ),
        (
            called_from_elsewhere,
            [asks("look"), ONE, TWO],
            [
                "invoke_agent test_in_requests RUN 30/7 Who?->one",
                *below(1, *LOOK),
                "run/answer RUN 20/4 Who?->two",
                "  chat m",
            ],
        ),
        (
            second_service_of_the_process,
            [asks("look"), TWO, ONE],
            [
                "POST /ask RUN 50/11 front?->one",
                *below(1, "chat m", "execute_tool look", "  POST"),
                "      POST /help",
                "        chat m",
                "  chat m",
            ],
        ),
        (
            allowed_by_a_person,
            [asks("look"), ONE],
            [
                "POST /ask RUN 10/3 Who?->None",
                *below(1, "chat m"),
                "execute_tool look",  # below the second one, and begun before it
                "POST /allow 20/4 None->one",
                "  chat m",
            ],
        ),
        (read_after_the_response, [ONE], ["POST /ask RUN s?->None partial", "  chat m"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_outermost_span_is_the_run(
    request_: Callable[[Client], None], answers: list[Any], spans: list[str], recording: Recording
) -> None:
    with served(*answers) as client:
        request_(client)
        assert shown(recording) == spans


def test_the_run_of_a_tool_runner_is_marked_unless_something_is_around_it(
    recording: Recording,
) -> None:
    """As the SDK itself writes the span of it, where it writes spans."""
    with served(asks("look"), ONE, asks("look"), TWO) as client:
        runner(client)
        runner_in_a_request(client)
    runs = [line for line in shown(recording) if "RUN" in line]
    assert [line.partition("RUN")[2] for line in runs] == [" 30/7 Who?->one", " 30/7 Who?->two"]
    assert runs[1].startswith("POST /ask")


def test_their_names_status_and_attributes_stay(recording: Recording) -> None:
    with served(asks("look"), ONE) as client, server(**{"http.route": "/ask"}):
        loop(client)
    (span,) = [span for span in recording.spans() if span.name == "POST /ask"]
    own = {name for name in span.attributes or () if not name.startswith("causepath.")}
    assert own == {"http.route", "gen_ai.input.messages", "gen_ai.output.messages"}
    assert (span.status.status_code.name, span.status.description) == ("UNSET", None)


def test_nothing_said_is_on_it_where_content_is_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(config.CAPTURE_MESSAGE_CONTENT, "")
    with Recording() as recording, served(ONE) as client:
        one(client)
        assert shown(recording) == ["POST /ask RUN 20/4", "  chat m"]


def test_one_that_is_not_sampled_is_not_marked_and_costs_nothing_more() -> None:
    with Recording(sampler=sampling.ALWAYS_OFF) as recording, served(asks("look"), ONE) as client:
        one(client)
        assert shown(recording) == []
        assert not telemetry().roots._around


def test_spans_of_a_provider_that_we_do_not_see_are_left_alone(recording: Recording) -> None:
    unseen = TracerProvider(shutdown_on_exit=False).get_tracer("unseen")
    with served(ONE) as client, unseen.start_as_current_span("POST /ask") as span:
        loop(client)
    assert "causepath.run.outermost" not in span.attributes  # type: ignore[attr-defined]
    assert shown(recording) == ["chat m"]


def test_requests_side_by_side_are_runs_of_their_own(recording: Recording) -> None:
    def serve(number: int) -> None:
        with server(f"POST /{number}"):
            loop(client, f"{number}?")

    with served(ONE, ONE, ONE, ONE) as client:
        threads = [threading.Thread(target=serve, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = sorted(line for line in shown(recording) if "RUN" in line)
    assert found == [f"POST /{number} RUN 20/4 {number}?->one" for number in range(4)]


def test_nothing_is_kept_of_what_is_over_nor_all_of_what_never_is(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_roots, "MAX_OPEN", 5)
    with served(ONE, ONE) as client:
        one(client)
        socket_with_spans_of_one(client)
        roots = telemetry().roots._around
        assert not roots
        left = [trace.get_tracer("theirs").start_span("left") for _ in range(9)]
        assert len(roots) == 5
        for span in left:
            span.end()
        assert not roots
    assert len(shown(recording)) == 14


def socket_with_spans_of_one(client: Client) -> None:
    with server("/ws", **{"url.scheme": "wss"}), theirs("question"):
        loop(client)
