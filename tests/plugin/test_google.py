"""How requests and replies of Gemini are read, where the matrix has no row for it."""

from __future__ import annotations

import base64
import functools
import json
from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from google import genai
from opentelemetry.trace import NonRecordingSpan, SpanContext

from causepath import config
from causepath.calls.chains import latest_texts
from causepath.content.conversations import Conversations
from causepath.content.provenance import Evidence
from causepath.providers.google_blocks import output_blocks
from causepath.providers.google_genai import PROVIDER
from causepath.providers.messages import Block, MadeUpId, ModelReply, Usage
from tests.plugin.chain_replies import chained
from tests.support.google_api import GoogleApi
from tests.support.script import Reply

if TYPE_CHECKING:
    from causepath.providers.messages import ModelRequest
    from tests.support.recording import Recording

URL = "https://host/v1beta/models/m:generateContent"
USER = {"role": "user", "parts": [{"text": "Hello?"}]}


def asked(*calls: str, **ids: str) -> dict[str, Any]:
    """What the model says that calls these, some of them with ids."""
    return {
        "role": "model",
        "parts": [
            {
                "functionCall": {
                    "name": name,
                    "args": {},
                    **({"id": ids[name]} if name in ids else {}),
                }
            }
            for name in calls
        ],
    }


def answered(*responses: tuple[str, Any]) -> dict[str, Any]:
    parts = [{"functionResponse": {"name": name, "response": said}} for name, said in responses]
    return {"role": "user", "parts": parts}


def request(*contents: Any, url: str = URL, **more: Any) -> ModelRequest | None:
    sent = SimpleNamespace(url=url, data={"contents": list(contents), **more})
    return PROVIDER.read_request((sent,), {})


def reading(*contents: Any, **more: Any) -> ModelRequest:
    found = request(*contents, **more)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("url", "model"),
    [
        (URL, "m"),
        ("https://h/v1beta/models/m:streamGenerateContent?alt=sse", "m"),
        ("https://h/v1/projects/p/locations/l/publishers/google/models/m:generateContent", "m"),
        ("https://h/v1beta/tunedModels/123:generateContent", "tunedModels/123"),
        ("https://h/v1/projects/p/locations/l/endpoints/7:generateContent", "endpoints/7"),
        ("https://h/v1beta/models/m:countTokens", None),
        ("https://h/v1beta/models/m:embedContent", None),
        ("https://h/v1beta/models", None),
        ("https://h/upload/v1beta/files", None),
    ],
)
def test_the_model_is_in_the_address(url: str, model: str | None) -> None:
    found = request(USER, url=url)
    assert (found.model if found is not None else None) == model


def test_what_is_sent_may_be_anything() -> None:
    for data in (b"bytes", None, {}, {"contents": "text"}, {"contents": [None, "x", {"parts": 7}]}):
        found = PROVIDER.read_request((SimpleNamespace(url=URL, data=data),), {})
        assert found is not None
        assert found.tool_results == ()


@pytest.mark.parametrize(
    ("said", "responses", "positions"),
    [
        (asked("a", "b"), [("a", {}), ("b", {})], [0, 1]),
        (asked("a", "b"), [("b", {}), ("a", {})], [1, 0]),
        (asked("a", "a"), [("a", {}), ("a", {})], [0, 1]),
        (asked("a", "b", "a"), [("a", {}), ("a", {})], [0, 2]),
        (asked("a", "b"), [("b", {})], [1]),
        (asked("a"), [("other", {})], []),
        (asked("a", "b", a="id_a", b="id_b"), [("b", {}), ("a", {})], ["id_b", "id_a"]),
        (asked("a", "b", b="id_b"), [("a", {}), ("b", {})], [0, "id_b"]),
    ],
)
def test_results_without_ids_answer_by_name_and_order(
    said: Any, responses: list[tuple[str, Any]], positions: list[int | str]
) -> None:
    before = reading(USER)
    assert before.make_up_id is not None
    found = reading(USER, said, answered(*responses)).tool_results
    assert list(found) == [
        one if isinstance(one, str) else before.make_up_id(one) for one in positions
    ]


def test_a_made_up_id_is_of_one_conversation_only() -> None:
    def first(*contents: Any) -> str:
        make_up_id = reading(*contents).make_up_id
        assert make_up_id is not None
        return make_up_id(0)

    other = {"role": "user", "parts": [{"text": "Hello!"}]}
    ids = {first(USER), first(other), first(USER, asked("a"), answered(("a", {"result": 1})))}
    assert len(ids) == 3
    assert first(USER) == first({**USER})
    assert isinstance(first(USER), MadeUpId)


@pytest.mark.parametrize(
    ("response", "result", "failed"),
    [
        ({"result": "sunny"}, "sunny", False),
        ({"output": [1, 2]}, [1, 2], False),
        ({"error": "no such city"}, "no such city", True),
        ({"result": 1, "unit": "C"}, {"result": 1, "unit": "C"}, False),
        (None, None, False),
    ],
)
def test_what_a_function_says(response: Any, result: Any, failed: bool) -> None:
    found = reading(USER, asked("a"), answered(("a", response)))
    (call_id,) = found.tool_results
    assert found.results == {call_id: result}
    assert found.failed_tools == ((call_id,) if failed else ())


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({}, Usage()),
        ({"promptTokenCount": 9, "totalTokenCount": 9}, Usage(9, 0)),
        ({"promptTokenCount": 9}, Usage(9)),
        ({"promptTokenCount": 9, "candidatesTokenCount": 2}, Usage(9, 2)),
        (
            {"promptTokenCount": 9, "thoughtsTokenCount": 5, "totalTokenCount": 14},
            Usage(9, 5, reasoning=5),
        ),
        (
            {
                "promptTokenCount": 9,
                "cachedContentTokenCount": 4,
                "toolUsePromptTokenCount": 3,
                "candidatesTokenCount": 2,
                "thoughtsTokenCount": 5,
                "totalTokenCount": 19,
            },
            Usage(12, 7, cache_read=4, reasoning=5),
        ),
        ({"promptTokenCount": "9", "candidatesTokenCount": None}, Usage()),
    ],
)
def test_tokens(counts: dict[str, Any], usage: Usage) -> None:
    chunk = {"candidates": [{"finishReason": "STOP"}], "usageMetadata": counts}
    assert PROVIDER.read_event(ModelReply(), chunk).usage == usage


def streamed(*candidates: dict[str, Any]) -> ModelReply:
    return functools.reduce(
        PROVIDER.read_event,
        (
            {
                "candidates": [candidate],
                "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": number},
            }
            for number, candidate in enumerate(candidates, 1)
        ),
        ModelReply(),
    )


def test_what_is_generated_is_known_at_the_end_only() -> None:
    piece: dict[str, Any] = {"content": {"parts": [{"text": "Hel"}]}}
    assert streamed(piece, piece).usage == Usage(9)
    assert streamed(piece, {**piece, "finishReason": "STOP"}).usage == Usage(9, 2)
    # Older models say that they end in each chunk.
    ends = {**piece, "finishReason": "STOP"}
    assert streamed(ends, ends, ends).usage == Usage(9, 3)


def test_arguments_in_pieces_are_one_call_of_unknown_arguments() -> None:
    def piece(**call: Any) -> dict[str, Any]:
        return {"content": {"parts": [{"functionCall": call}]}}

    found = streamed(
        piece(name="a", willContinue=True),
        piece(partialArgs=[{"jsonPath": "$.q", "stringValue": "x"}], willContinue=True),
        {**piece(), "finishReason": "STOP"},
    )
    (call,) = found.tool_calls
    assert (call.name, call.input) == ("a", None)
    assert found.finish_reason == "tool_call"


def test_a_reply_that_goes_on_is_one_run() -> None:
    found = streamed({"finishReason": "CONTINUATION", "continuationToken": "dG9rZW4="})
    assert found.goes_on == ("dG9rZW4=",)
    assert found.awaits_tools
    assert reading(USER, continuationToken="dG9rZW4=").tool_results == ("dG9rZW4=",)


def test_an_error_in_a_stream_is_named() -> None:
    error = {"error": {"code": 503, "status": "UNAVAILABLE", "message": "Overloaded"}}
    assert PROVIDER.read_event(ModelReply(), error).error == "UNAVAILABLE"
    assert PROVIDER.read_event(ModelReply(), {"error": {"code": 503}}).error == "503"


# -- chains: calls that take up what others answered


def say(client: genai.Client, question: Any) -> str:
    return str(client.models.generate_content(model="m", contents=question).text)


def plan_draft_polish(client: genai.Client) -> None:
    plan = say(client, "PLAN an article about tea")
    say(client, f"POLISH this: {say(client, f'DRAFT with this: {plan}')}")


def rounds_of_a_chat(client: genai.Client) -> None:
    chat = client.chats.create(model="m")
    for question in ("ASK one", "ASK two", "ASK three"):
        chat.send_message(question)


def retrieve_and_answer(client: genai.Client) -> None:
    answer_from_pages(client, "How do I make green tea?")


def answer_from_pages(client: genai.Client, question: str) -> None:
    say_one = functools.partial(client.models.generate_content, model="m")
    say_one(contents=f"Rewrite for search: {question}")
    say_one(contents=[f"Answer from this: nothing\n\n{question}"])


def questions_of_their_own(client: genai.Client) -> None:
    for question in ("ASK for the weather", "ASK for a train", "ASK for a poem"):
        say(client, question)


@pytest.mark.parametrize(
    ("agent", "calls"),
    [
        (plan_draft_polish, [3]),
        (rounds_of_a_chat, [3]),
        (retrieve_and_answer, [2]),
        (questions_of_their_own, [1, 1, 1]),
    ],
)
def test_a_chain_of_calls_is_one_run(agent: Any, calls: list[int], recording: Recording) -> None:
    with GoogleApi(chained) as api:
        agent(genai.Client(api_key="test", http_options={"base_url": api.url}))
    traces = Counter(
        s.context.trace_id for s in recording.spans() if s.name == "generate_content m"
    )
    assert list(traces.values()) == calls


def test_a_signature_of_thoughts_is_not_searched() -> None:
    said = {"role": "model", "parts": [{"text": "Tea.", "thoughtSignature": "c2ln" * 20_000}]}
    sent = SimpleNamespace(url=URL, data={"contents": [said, USER]})
    assert latest_texts(PROVIDER.read_body((sent,), {})) == ["Tea.", "Hello?"]


# -- media: data that nobody has words of


def spoken(client: genai.Client, media_type: str) -> None:
    """The model says what is then sent as data."""
    said = say(client, "SAY it")
    data = genai.types.Part.from_bytes(data=base64.b64decode(said), mime_type=media_type)
    say(client, ["ASK what is in it", data])


@pytest.mark.parametrize("kind", ["image", "audio", "video"])
def test_no_words_are_looked_for_in_media(
    kind: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv(config.CAPTURE_MESSAGE_CONTENT, "span_only")
    recording: Recording = request.getfixturevalue("recording")
    data = base64.b64encode(bytes(range(200))).decode()
    with GoogleApi([Reply(data), Reply("Yes.")]) as api:
        spoken(genai.Client(api_key="test", http_options={"base_url": api.url}), f"{kind}/basic")
    _, call = (one for one in recording.spans() if one.name == "generate_content m")
    assert call.attributes is not None
    assert [link.attributes for link in call.links] == []
    (message,) = json.loads(str(call.attributes["gen_ai.input.messages"]))
    told = message["parts"][1]
    del told["digest"]
    assert message["parts"] == [
        {"type": "text", "content": "ASK what is in it"},
        {"type": "blob", "modality": kind, "mime_type": f"{kind}/basic", "size": len(data)},
    ]


@pytest.mark.parametrize("kind", ["image", "audio", "video", "application"])
def test_no_data_of_media_are_kept(kind: str) -> None:
    data = {"inlineData": {"mimeType": f"{kind}/basic", "data": "AAAA" * 20}}
    sent = SimpleNamespace(url=URL, data={"contents": [{"role": "user", "parts": [data]}]})
    span = NonRecordingSpan(SpanContext(1, 2, is_remote=False))
    prompt = PROVIDER.read_prompt((sent,), {})
    told = Evidence(b"key").given(span, Conversations(), prompt, {})
    assert [one.block.value for one in told.log] == [""]


def part_of(**fields: Any) -> list[Block]:
    sent = SimpleNamespace(url=URL, data={"contents": [{"role": "model", "parts": [fields]}]})
    return list(PROVIDER.read_prompt((sent,), {}).blocks())


def test_data_are_the_same_in_the_spelling_of_the_api_and_of_the_sdk() -> None:
    from_api = {"mimeType": "image/png", "data": "AAAA"}, {"mimeType": "a/b", "fileUri": "gs://a"}
    from_sdk = (
        {"mime_type": "image/png", "data": "AAAA"},
        {"mime_type": "a/b", "file_uri": "gs://a"},
    )
    image = [Block("assistant", "image", "AAAA", "image/png")]
    document = [Block("assistant", "document", "gs://a", "a/b")]
    for data, file in (from_api, from_sdk):
        assert part_of(inlineData=data) == output_blocks([{"inlineData": data}]) == image
        assert part_of(fileData=file) == output_blocks([{"fileData": file}]) == document
