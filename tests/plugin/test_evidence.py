"""What calls were given and answered as digests, and the links to whose output they carry."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.trace import NonRecordingSpan, SpanContext

import causepath
from causepath.config import ContentSettings
from causepath.content.conversations import (
    MAX_COMPARED,
    MAX_CONVERSATIONS,
    MAX_UNREAD,
    Conversations,
)
from causepath.content.data_flow import MAX_LINES, DataFlow
from causepath.content.digests import MAX_REMEMBERED, Digests
from causepath.content.fingerprints import Pieces
from causepath.content.provenance import Evidence
from causepath.content.recent_keys import Recent, RecentKeys
from causepath.content.recording import REQUEST, Content
from causepath.providers.anthropic_blocks import input_prompt, output_blocks
from causepath.providers.openai_blocks import input_prompt as chat_prompt
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording
from tests.support.script import RawBlock, Reply, Text, Thinking, ToolUse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from causepath.providers.prompt import Prompt
    from tests.support.script import Answer

ASK: dict[str, Any] = {"model": "m", "max_tokens": 64}

LONG = "The quick brown fox jumps over the lazy dog."
LIST = "- red apples\n- green pears\n- blue plums\n- no figs"
DATA = '{"name": "Ann Lee", "age": 41, "city": "Oslo", "works as": "a baker"}'
CHINESE = "敏捷的狐狸跳过了一只很懒的狗。"  # 15 characters of 45 bytes
OTHER = "Pack my box with five dozen liquor jugs, please."


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


@contextmanager
def served(*answers: Answer) -> Iterator[Any]:
    """A client of a stand-in that gives these answers."""
    with (
        MessagesApi(answers) as api,
        anthropic.Anthropic(base_url=api.url, api_key="test", max_retries=0) as client,
    ):
        yield client


def chats(recording: Recording) -> list[dict[str, Any]]:
    """What every model call says of its blocks, in the order of their starts."""
    spans = [span for span in recording.spans() if span.name.startswith("chat")]
    spans.sort(key=lambda span: span.start_time or 0)
    numbers = {f"{span.context.span_id:016x}": number for number, span in enumerate(spans)}
    found = []
    for span in spans:
        told = {
            name.removeprefix("causepath."): value
            for name, value in (span.attributes or {}).items()
            if name.startswith(("causepath.input.", "causepath.output."))
        }
        if "input.previous" in told:
            told["input.previous"] = numbers[str(told["input.previous"])]
        found.append(told)
    return found


def digests(recording: Recording) -> list[str]:
    """Every block of the one call there is, given and answered."""
    (told,) = chats(recording)
    return [*told["input.blocks"], *told["output.blocks"]]


# -- blocks


def test_a_conversation_lists_each_block_once(recording: Recording) -> None:
    answers = [Reply([Text("Let me see."), ToolUse("search", {"q": "fox"})]), Reply(LONG)]
    with served(*answers) as client:
        messages = [user("Who jumps?")]
        tools = [{"name": "search", "input_schema": {"type": "object"}}]
        first = client.messages.create(**ASK, system="Be brief.", tools=tools, messages=messages)
        messages.append({"role": "assistant", "content": first.content})
        call_id = first.content[-1].id
        result = {"type": "tool_result", "tool_use_id": call_id, "content": "a fox"}
        messages.append(user([result]))
        client.messages.create(**ASK, system="Be brief.", tools=tools, messages=messages)
    assert chats(recording) == [
        {
            "input.blocks": (
                "tools:tool:289a6e620b36f909:50",
                f"system:{text('Be brief.')}",
                f"user:{text('Who jumps?')}",
            ),
            "input.kept": 0,
            "output.blocks": (
                f"assistant:{text('Let me see.')}",
                "assistant:tool_use:f8f133cc7f5cd41a:11",
            ),
        },
        {
            "input.blocks": (f"user:{text('a fox', 'tool_result')}",),
            "input.kept": 5,
            "input.previous": 0,
            "output.blocks": (f"assistant:{text(LONG)}",),
        },
    ]


def text(said: str, kind: str = "text") -> str:
    """A block of text, digested as the documentation says."""
    key = blake2b(b"tests", digest_size=32).digest()
    data = said.encode()
    return f"{kind}:{blake2b(data, digest_size=8, key=key).hexdigest()}:{len(data)}"


def items(*blocks: Any, system: Any = None) -> list[str]:
    """The digests of what a request with these blocks says, without who says it."""
    body = {"system": system, "messages": [user(list(blocks))] if blocks else []}
    found = digested(Digests(b"key"), body)
    return [item.partition(":")[2] for item in found]


def digested(digests_: Digests, body: Any) -> list[str]:
    prompt = input_prompt(body)
    return digests_.items(prompt.keys, prompt.blocks)


@pytest.mark.parametrize("read", [input_prompt, chat_prompt], ids=["anthropic", "openai"])
def test_a_deferred_declaration_is_no_part_of_the_prompt(read: Any) -> None:
    sent = {"name": "search", "parameters": {"type": "object"}}
    deferred = {"name": "rare", "parameters": {"type": "object"}, "defer_loading": True}
    messages = [user("hello")]
    prompt = read({"tools": [deferred, sent], "messages": messages})
    plain = read({"tools": [sent], "messages": messages})
    assert prompt.keys == plain.keys
    assert prompt.blocks() == plain.blocks()
    assert [one.name for one in prompt.blocks()] == ["search", ""]


def block(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


class Model:
    """As the SDK's models: fields in `__dict__`, those that it does not know apart."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


PNG = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
BIG = "x" * 1_000_000


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(block("text", text="a"), "a", id="a text, as a block and as it is"),
        pytest.param(
            block("text", text="a"),
            block("text", text="a", cache_control={"type": "ephemeral"}),
            id="where the cache ends",
        ),
        pytest.param(
            block("text", text="a"),
            Model(type="text", text="a", citations=None),
            id="a block of a reply",
        ),
        pytest.param(
            block("tool_use", id="1", name="f", input={"a": 1, "b": [2]}),
            Model(type="tool_use", id="2", name="f", input={"b": [2], "a": 1}, caller=None),
            id="the order of arguments, and the id of the call",
        ),
        pytest.param(
            block("tool_result", tool_use_id="1", content="r"),
            block("tool_result", tool_use_id="2", content=[block("text", text="r")]),
            id="a result, as a text and as a block",
        ),
        pytest.param(
            block("tool_result", tool_use_id="1"),
            block("tool_result", tool_use_id="2", content=""),
            id="no result",
        ),
        pytest.param(
            block("thinking", thinking="t", signature="s"),
            Model(type="thinking", thinking="t", signature="s"),
            id="thinking",
        ),
        pytest.param(
            block("image", source=PNG),
            block("image", source={**PNG}, cache_control={"type": "ephemeral"}),
            id="an image",
        ),
        pytest.param(
            block("web_search_tool_result", tool_use_id="1", content=[{"url": "u", "age": None}]),
            Model(
                type="web_search_tool_result", tool_use_id="1", content=[Model(url="u", age=None)]
            ),
            id="the result of a server's tool",
        ),
        pytest.param(
            block("new_kind", what={"a": 1, "b": 2}),
            block("new_kind", what={"b": 2, "a": 1}),
            id="a kind that nobody knows yet",
        ),
        pytest.param(block("text", text="\ud800"), "\ud800", id="half a character"),
        pytest.param(block("text", text=BIG), BIG[:-1] + "x", id="a megabyte"),
    ],
)
def test_what_means_the_same_has_one_digest(one: Any, other: Any) -> None:
    assert items(one) == items(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("a", "b", id="texts"),
        pytest.param("a", "a ", id="white space"),
        pytest.param(
            block("tool_use", id="1", name="f", input={"page": -1}),
            block("tool_use", id="1", name="f", input={"page": -2}),
            id="numbers whose hashes are the same",
        ),
        pytest.param(
            block("tool_use", id="1", name="f", input={"a": 1}),
            block("tool_use", id="1", name="f", input={"a": True}),
            id="numbers that are equal to others",
        ),
        pytest.param(
            block("tool_use", id="1", name="f", input={}),
            block("tool_use", id="1", name="g", input={}),
            id="tools",
        ),
        pytest.param(
            block("tool_result", tool_use_id="1", content=[block("text", text=c) for c in "ab"]),
            block("tool_result", tool_use_id="1", content="ab"),
            id="two texts and one",
        ),
        pytest.param(
            block("image", source=PNG),
            block("image", source={**PNG, "data": "iVBORw0KGgp="}),
            id="images",
        ),
    ],
)
def test_what_means_something_else_has_another_digest(one: Any, other: Any) -> None:
    assert items(one) != items(other)


def test_a_system_prompt_is_the_same_as_text_and_as_blocks() -> None:
    assert items(system="Be brief.") == items(system=[block("text", text="Be brief.")])


@given(st.text(max_size=20), st.integers(4_000, 5_000), st.integers(0, 3_999))
def test_every_character_of_a_large_text_counts(start: str, size: int, place: int) -> None:
    text = (start * size + "x" * size)[:size]
    other = f"{text[:place]}{'y' if text[place] != 'y' else 'z'}{text[place + 1 :]}"
    one, same, changed = [
        digested(Digests(b"key"), {"messages": [user(said)]}) for said in (text, f"{text}", other)
    ]
    assert one == same != changed
    assert one != digested(Digests(b"another"), {"messages": [user(text)]})


def test_another_key_gives_other_digests() -> None:
    body = {"messages": [user("a")]}
    assert digested(Digests(b"one"), body) != digested(Digests(b"other"), body)


@settings(max_examples=200)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_digests_are_the_same_each_time_and_change_nothing(value: Any) -> None:
    ask = block("tool_use", id="1", name="f", input=value)
    before = repr(ask)
    digest = Digests(b"key")
    body = {"messages": [user([ask])]}
    first = digested(digest, body)
    assert digested(digest, body) == first == digested(Digests(b"key"), body)
    assert repr(ask) == before


REPLY = [
    Thinking("Hm, let me think."),
    Text("Let me see."),
    ToolUse("search", {"q": "fox", "n": [1, 2]}, id="toolu_1"),
    RawBlock({"type": "redacted_thinking", "data": "opaque"}),
]


def whole(client: Any) -> None:
    client.messages.create(**ASK, messages=[user("Hi.")])


def beta(client: Any) -> None:
    client.beta.messages.create(**ASK, messages=[user("Hi.")])


def raw_response(client: Any) -> None:
    client.messages.with_raw_response.create(**ASK, messages=[user("Hi.")]).parse()


def events(client: Any) -> None:
    for _ in client.messages.create(**ASK, messages=[user("Hi.")], stream=True):
        pass


def helper(client: Any) -> None:
    with client.messages.stream(**ASK, messages=[user("Hi.")]) as stream:
        stream.get_final_message()


def one_shot(client: Any) -> None:
    client.messages.create(**ASK, messages=(message for message in [user("Hi.")]))


@pytest.mark.parametrize("does", [whole, beta, raw_response, events, helper, one_shot])
def test_a_call_says_the_same_of_its_blocks_however_it_is_made(
    does: Callable[[Any], None], recording: Recording
) -> None:
    with served(Reply(REPLY)) as client:
        does(client)
    assert digests(recording) == [
        f"user:{text('Hi.')}",
        f"assistant:{text('Hm, let me think.', 'thinking')}",
        f"assistant:{text('Let me see.')}",
        "assistant:tool_use:ce57bb0d0df699d5:21",
        f"assistant:{text('opaque', 'redacted_thinking')}",
    ]


def test_an_abandoned_stream_says_what_had_come(recording: Recording) -> None:
    with served(Reply([Text("One."), Text("Two.")])) as client:
        stream = client.messages.create(**ASK, messages=[user("Hi.")], stream=True)
        for event in stream:
            if event.type == "content_block_stop":
                break
        stream.close()
    (told,) = chats(recording)
    assert told["output.blocks"] == (f"assistant:{text('One.')}",)


# -- kept and previous


def ask(client: Any, *said: str) -> Any:
    """User and assistant take turns in what was said."""
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": one} for n, one in enumerate(said)]
    return client.messages.create(**ASK, messages=messages).content[0].text


def deltas(recording: Recording) -> list[tuple[int, int | None, int]]:
    """For each call how many blocks were kept, of which call, and how many are new."""
    return [
        (told["input.kept"], told.get("input.previous"), len(told["input.blocks"]))
        for told in chats(recording)
    ]


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        pytest.param(
            [("a",), ("a", "1", "b"), ("a", "1", "b", "2", "c")],
            [(0, None, 1), (2, 0, 1), (4, 1, 1)],
            id="a conversation",
        ),
        pytest.param(
            [("a",), ("b",), ("a", "1", "c"), ("b", "2", "d")],
            [(0, None, 1), (0, 0, 1), (2, 0, 1), (2, 1, 1)],
            id="two conversations take turns",
        ),
        pytest.param([("a",), ("a",)], [(0, None, 1), (1, 0, 0)], id="once more"),
        pytest.param(
            [("a",), ("a", "1", "b"), ("a", "1", "c")],
            [(0, None, 1), (2, 0, 1), (2, 1, 1)],
            id="back to an earlier turn",
        ),
        pytest.param(
            [("a",), ("a", "x", "b")],
            [(0, None, 1), (1, 0, 2)],
            id="an answer that was changed",
        ),
    ],
)
def test_a_call_is_compared_with_the_one_it_carries_on(
    requests: Sequence[Sequence[str]], expected: list[Any], recording: Recording
) -> None:
    answers = [Reply(str(number + 1)) for number in range(len(requests))]
    with served(*answers) as client, causepath.agent("a"):
        for said in requests:
            ask(client, *said)
    assert deltas(recording) == expected


def test_of_very_many_blocks_some_are_left_out_and_counted(recording: Recording) -> None:
    said = [str(n % 7) for n in range(1_001)]
    with served(Reply("ok")) as client:
        ask(client, *said)
    (told,) = chats(recording)
    assert (len(told["input.blocks"]), told["input.omitted"]) == (128, 873)


def test_a_conversation_of_any_length_takes_bounded_memory() -> None:
    conversations = Conversations()
    items_ = [f"user:text:{n:016x}:1" for n in range(10_000)]
    for number in range(100):
        told, *_ = conversations.given(number, items_)
        told.answer(["assistant:text:0:1"])
    assert len(conversations.calls) <= MAX_CONVERSATIONS
    assert all(len(call.blocks) <= MAX_COMPARED for call in conversations.calls)


@given(st.lists(st.integers(1, 2 * MAX_UNREAD), max_size=20))
def test_the_texts_of_a_run_that_are_kept_are_the_latest_and_few(sizes: list[int]) -> None:
    conversations, forgotten = Conversations(), []
    for size in sizes:
        before = conversations.unread
        conversations.read_in_part(["x" * size])
        forgotten += [before] if conversations.unread is not before else []
        assert conversations.unread[-1] == "x" * size
        assert sum(map(len, conversations.unread)) <= max(size, MAX_UNREAD)
    assert conversations.unread_count == len(sizes)
    conversations.forget_texts()
    assert [*forgotten, conversations.unread] == [[]] * (len(forgotten) + 1)


@pytest.mark.parametrize("value", ["off", " OFF ", "0", "no", "false"])
def test_off_is_off(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAUSEPATH_DIGESTS", value)
    with Recording() as recording, served(*[Reply(LONG)] * 2) as client, causepath.agent("a"):
        ask(client, ask(client, "Hi."))
        assert chats(recording) == [{}, {}]
        assert not any(span.links for span in recording.spans())


# -- links of content


def linked(recording: Recording) -> list[tuple[str, str]]:
    """(from, to) of every content link, a call by its turn and a tool by its name."""
    names = {
        span.context.span_id: span.name.removeprefix("execute_tool ")
        if "tool" in span.name
        else str((span.attributes or {}).get("causepath.turn"))
        for span in recording.spans()
    }
    return sorted(
        (names[span.context.span_id], names[link.context.span_id])
        for span in recording.spans()
        for link in span.links
        if (link.attributes or {}).get("causepath.link") == "content"
    )


LINES = f"First a line that is long enough to tell.\n  {LONG}  \nshort"


@pytest.mark.parametrize(
    ("answers", "prompts", "expected"),
    [
        pytest.param([LONG], ["{0}"], [("2", "1")], id="the whole answer"),
        pytest.param(["Lisbon is"], ["{0}"], [("2", "1")], id="a short answer alone"),
        pytest.param([LINES], [f"Say:\n{LONG}\nagain"], [("2", "1")], id="a line of it"),
        pytest.param([LONG], ["Translate: {0}"], [("2", "1")], id="after other words"),
        pytest.param([LONG], ["Translate: {0} Be brief."], [("2", "1")], id="between words"),
        pytest.param([LONG], ["Praise it in few words {0}"], [("2", "1")], id="right after words"),
        pytest.param([LONG], ["Praise {0} in few words"], [("2", "1")], id="right among words"),
        pytest.param([LONG], ["<draft>{0}</draft>"], [("2", "1")], id="in a tag"),
        pytest.param([LONG], ['{{"draft": "{0}"}}'], [("2", "1")], id="in JSON"),
        pytest.param([f"{LONG} {OTHER}"], [f"So: {OTHER}"], [("2", "1")], id="a sentence of it"),
        pytest.param([LIST], ["Sort these: {0}"], [("2", "1")], id="short lines"),
        pytest.param([LIST], ["Is {0} complete?"], [("2", "1")], id="short lines among words"),
        pytest.param([DATA], ["Check {0} please"], [("2", "1")], id="data among words"),
        pytest.param([CHINESE], ["请翻译成英文：{0}谢谢"], [("2", "1")], id="in Chinese"),
        pytest.param([CHINESE], ["请把“{0}”翻译成英文"], [("2", "1")], id="in Chinese quotes"),
        pytest.param([CHINESE], ["译{0}为英文"], [("2", "1")], id="right among Chinese"),
        pytest.param([CHINESE], ["Translate {0} now"], [("2", "1")], id="Chinese among English"),
        pytest.param([CHINESE], ["你好，今天天气怎么样？我们去吃饭吧。"], [], id="other Chinese"),
        pytest.param(
            ["好的，明天见。"], ["他说：好的，明天见。"], [("2", "1")], id="short Chinese"
        ),
        pytest.param(["Short."], ["Not: {0}"], [("2", "1")], id="a short answer among words"),
        pytest.param([LONG], [OTHER], [], id="something else"),
        pytest.param([LONG, OTHER], ["{0}", "{1}"], [("2", "1"), ("3", "2")], id="a chain"),
        pytest.param([LONG, OTHER], ["b", "{0}\n{1}"], [("3", "1"), ("3", "2")], id="a join"),
        pytest.param([LONG, OTHER], ["{0}", "{0}"], [("2", "1"), ("3", "1")], id="a fork"),
        pytest.param(
            [
                f"Here is what you have asked me for:\n{LONG}",
                f"Here is what you have asked me for:\n{OTHER}",
            ],
            ["b", "{1}"],
            [("3", "2")],
            id="what two begin with tells neither",
        ),
        pytest.param([LONG, LONG], ["b", "{0}"], [("3", "1"), ("3", "2")], id="either of two"),
    ],
)
def test_a_call_is_linked_to_whose_answer_it_carries(
    answers: Sequence[str],
    prompts: Sequence[str],
    expected: list[tuple[str, str]],
    recording: Recording,
) -> None:
    with served(*map(Reply, answers), Reply("ok"), Reply("ok")) as client, causepath.agent("a"):
        ask(client, "a")
        for prompt in prompts:
            ask(client, prompt.format(*answers))
    assert linked(recording) == expected


def test_the_more_a_call_is_given_the_less_is_looked_for_in_it() -> None:
    text = f"{LONG} {OTHER}"
    found = [Pieces.given([text], before * 1024) for before in (0, 8, 16, 256)]
    line, both = {hash(text.strip("."))}, {hash(one.strip(".")) for one in (text, LONG, OTHER)}
    assert [one.wholes for one in found] == [line] * 4
    assert [one.parts for one in found] == [both, both, line, set()]
    assert [bool(one.phrases_in) for one in found] == [True, False, False, False]


def document(about: str, lines: int) -> str:
    return "\n".join(
        f"{n}: a line of a long document about {about}, line {n}" for n in range(lines)
    )


REPORT = document("foxes", 60)


@pytest.mark.parametrize(
    ("first", "answer", "second", "expected"),
    [
        pytest.param("a", REPORT, "{0}\n{answer}\n{1}", [("2", "1")], id="deep inside"),
        pytest.param("a", REPORT, "{0}\n{1}", [], id="not in there"),
        pytest.param("{0}", REPORT, "{0}\n{answer}\n{1}", [("2", "1")], id="not of what it read"),
        pytest.param("{0}\n{answer}\n{1}", REPORT, "{0}\n{answer}\n{1}", [], id="it was quoted"),
        pytest.param(
            "{0}\n{answer}\n{1}",
            f"{REPORT}\n{document('hens', 60)}",
            f"{{0}}\n{document('hens', 60)}\n{{1}}",
            [("2", "1")],
            id="beside what was quoted",
        ),
    ],
)
def test_an_answer_is_found_in_a_very_long_text(
    first: str, answer: str, second: str, expected: list[tuple[str, str]], recording: Recording
) -> None:
    texts = {"answer": REPORT}
    parts = document("boxes", 1_500), document("liquor", 1_500)
    with served(Reply(answer), Reply("ok")) as client, causepath.agent("a"):
        ask(client, first.format(*parts, **texts))
        ask(client, second.format(*parts, **texts))
    assert linked(recording) == expected


def test_who_was_given_too_much_to_be_kept_is_known_by_whole_answers_only(
    recording: Recording,
) -> None:
    quoted = f"{REPORT}\n{document('boxes', 10_000)}\n{document('liquor', 25_000)}"
    assert len(quoted) > MAX_UNREAD
    with served(Reply(f"So:\n{REPORT}"), Reply("ok")) as client, causepath.agent("a"):
        ask(
            client,
            [{"type": "text", "text": part} for part in (quoted[:500_000], quoted[500_000:])],
        )
        ask(client, f"{document('hens', 1_500)}\n{REPORT}\n{document('pens', 1_500)}")
    assert linked(recording) == []


def test_what_was_given_and_is_forgotten_may_be_where_an_answer_is_from(
    recording: Recording,
) -> None:
    """A later run is given the same: nobody knows any more whether the first call was, too."""
    text = f"{document('boxes', 1_500)}\n{REPORT}\n{document('liquor', 1_500)}"
    with served(Reply(REPORT), Reply("ok"), Reply("ok")) as client:
        for prompt in (text, text, REPORT):
            with causepath.agent("a"):
                ask(client, prompt)
    links = [len(span.links) for span in recording.spans() if span.name.startswith("chat")]
    assert links == [0, 0, 1]  # a whole answer is its author's


def test_a_line_that_was_given_first_is_nobodys_answer(recording: Recording) -> None:
    with served(Reply(LONG), Reply("ok")) as client, causepath.agent("a"):
        ask(client, f"Say: {LONG}")
        ask(client, f"So: {LONG}")
    assert linked(recording) == []


def test_a_whole_answer_is_its_authors_whatever_that_was_given(recording: Recording) -> None:
    with served(Reply(LONG), Reply("ok")) as client, causepath.agent("a"):
        ask(client, f"Which is best? {LONG} {OTHER}")
        ask(client, LONG)
    assert linked(recording) == [("2", "1")]


def test_a_line_that_is_said_again_is_still_the_first_ones(recording: Recording) -> None:
    with served(Reply(LONG), Reply(LONG), Reply("ok")) as client, causepath.agent("a"):
        ask(client, "a")
        ask(client, f"Repeat: {LONG}")
        ask(client, f"So: {LONG}")
    assert linked(recording) == [("2", "1"), ("3", "1")]


def test_a_conversation_needs_no_link_to_itself(recording: Recording) -> None:
    with served(Reply(LONG), Reply("ok"), Reply("ok")) as client, causepath.agent("a"):
        ask(client, "a")
        ask(client, "a", LONG, f"You said: {LONG}")
        ask(client, "a", LONG, f"You said: {LONG}", "ok", f"And again: {LONG}")
    assert linked(recording) == []


def test_what_an_earlier_call_was_given_instead_is_no_cause(recording: Recording) -> None:
    with served(Reply(LONG), Reply("1"), Reply("2"), Reply("3")) as client, causepath.agent("a"):
        ask(client, "a")
        ask(client, "b")
        ask(client, "b", "1", f"Look: {LONG}")
        ask(client, "b", "1", "something else")
    assert linked(recording) == [("3", "1")]


def test_runs_of_one_process_are_linked_too(recording: Recording) -> None:
    with served(Reply(LONG), Reply("ok")) as client:
        ask(client, "a")
        recording.provider.force_flush()  # no run waits for a call that takes it up
        ask(client, f"Shorten this: {LONG}")
    traces = {span.context.trace_id for span in recording.spans()}
    assert (len(traces), linked(recording)) == (2, [("1", "1")])


def test_the_arguments_that_a_model_gave_to_a_tool_are_its_answer(recording: Recording) -> None:
    answers = [Reply([ToolUse("report", {"summary": LONG})]), Reply("ok")]
    with served(*answers) as client, causepath.agent("a"):
        first = client.messages.create(**ASK, messages=[user("a")])
        ask(client, f"Shorten: {first.content[0].input['summary']}")
    assert linked(recording)[-1] == ("2", "1")


def test_agents_that_say_the_same_are_not_linked_to_each_other(recording: Recording) -> None:
    """Each was asked for its tool by its own call, whoever else asks for the same."""
    asks = [Reply([ToolUse("search", {"query": LONG}, id=f"toolu_{n}")]) for n in range(3)]
    with served(*asks) as client:
        for n in range(3):
            with causepath.agent(f"agent {n}"):
                reply = client.messages.create(**ASK, messages=[user(f"question {n}")])
                search(**reply.content[0].input)
    assert linked(recording) == []


def test_of_equal_answers_that_of_the_same_run_is_meant(recording: Recording) -> None:
    with served(*[Reply(LONG), Reply("ok")] * 3) as client:
        for n in range(3):
            with causepath.agent(f"agent {n}"):
                ask(client, f"Shorten: {ask(client, f'question {n}')}")
    assert linked(recording) == [("2", "1")] * 3
    assert all(
        link.context.trace_id == span.context.trace_id
        for span in recording.spans()
        for link in span.links
    )


# -- tools


@causepath.tool
def search(query: str) -> dict[str, Any]:
    return {"hits": [{"text": LONG}], "for": query}


@causepath.tool
async def search_async(query: str) -> list[Page]:
    return [Page(LONG, query)]


@causepath.tool
def echo(said: str) -> str:
    return said


@dataclass
class Page:
    body: str
    query: str


def test_a_result_that_the_application_hands_on_is_linked(recording: Recording) -> None:
    with served(Reply("ok"), Reply("ok")) as client, causepath.agent("a"):
        ask(client, f"Sum up: {search('fox')['hits'][0]['text']}")
        ask(client, f"Shorten: {asyncio.run(search_async('fox'))[0].body}")
    assert linked(recording) == [("1", "search"), ("2", "search"), ("2", "search_async")]


def test_an_answer_that_the_application_gives_to_a_tool_is_linked(recording: Recording) -> None:
    with served(Reply(OTHER)) as client, causepath.agent("a"):
        search(ask(client, "a"))
    assert linked(recording) == [("search", "1")]


def test_what_a_tool_was_given_is_not_its_own(recording: Recording) -> None:
    with served(Reply(OTHER), Reply("ok")) as client, causepath.agent("a"):
        ask(client, f"Shorten: {echo('Say: ' + ask(client, 'a'))}")
    assert linked(recording) == [("2", "1"), ("echo", "1")]


@pytest.mark.parametrize("measured", [True, False])
def test_a_result_that_was_delivered_is_known_in_other_runs(
    measured: bool, recording: Recording
) -> None:
    answers = [Reply([ToolUse("search", {"query": OTHER})]), Reply("ok"), Reply("ok")]
    with served(*answers) as client:
        messages = [user("a")]
        reply = client.messages.create(**ASK, messages=messages)
        (call,) = reply.content
        result = json.dumps(search(**call.input)) if measured else LONG
        messages.append({"role": "assistant", "content": reply.content})
        messages.append(user([block("tool_result", tool_use_id=call.id, content=result)]))
        client.messages.create(**ASK, messages=messages)
        recording.provider.force_flush()
        ask(client, f"Is this so? {LONG}")
    # The tool got its query from the call that asked for it: that is a link of another kind.
    assert linked(recording) == [("1", "search")]


# -- bounds


@given(st.lists(st.lists(st.integers(0, 300), max_size=40), max_size=60))
def test_the_latest_keys_are_known_and_never_more_than_fit(batches: list[list[int]]) -> None:
    recent: Recent[int, bool] = Recent(20)
    latest: dict[int, None] = {}
    for batch in batches:
        if len(batch) > 20:
            recent.add(batch, True)
            latest.clear()
        for key in batch if len(batch) <= 20 else ():
            recent[key] = True
            latest.pop(key, None)
            latest[key] = None
        assert len(recent) <= 80
        for key in list(latest)[-20:]:
            assert recent.get(key)
            assert key in recent.among({key, -1})
        assert recent.of(range(300)) == [recent.get(key) for key in range(300)]


@given(st.lists(st.frozensets(st.integers(0, 300), max_size=40), max_size=60))
def test_the_latest_sets_of_keys_are_known_and_no_more_than_fit(
    batches: list[frozenset[int]],
) -> None:
    recent: RecentKeys[int] = RecentKeys(20)
    for batch in batches:
        recent.add(batch)
        assert len(recent) <= 80
        known = recent.among(batch | {-1})
        assert known <= batch
        assert known == batch or len(batch) > 20


def test_of_many_keys_the_latest_of_a_generation_are_known() -> None:
    recent: RecentKeys[int] = RecentKeys(20)
    for key in range(100):
        recent.add({key})
        assert set(range(key - 19, key + 1)) & set(range(100)) <= recent.among(set(range(100)))


def test_what_is_remembered_does_not_grow() -> None:
    flow, digests_ = DataFlow(), Digests(b"key")
    producer = SpanContext(1, 2, is_remote=False)
    for number in range(80):
        lines = [f"{number} a line that is long enough to tell {n}" for n in range(2_000)]
        text = "\n".join(lines)
        flow.sources(Pieces.given([text]), [text], 1)
        flow.produced(Pieces.output(line[::-1] for line in lines), producer, set())
        digested(digests_, {"messages": [user(line) for line in lines[:600]]})
    assert len(flow) <= 4 * 3 * MAX_LINES
    assert len(digests_) <= 4 * MAX_REMEMBERED


def test_nothing_of_a_text_is_kept(recording: Recording) -> None:
    said = "".join(["A text that nobody ", "else has ", str(id(recording))])
    with served(Reply("ok")) as client:
        ask(client, said)
    recording.provider.force_flush()  # the trace is over
    client = None
    gc.collect()
    holders = [one for one in gc.get_referrers(said) if one is not sys._getframe()]
    assert holders == []


def test_threads_do_not_mix_up_their_conversations(recording: Recording) -> None:
    answers = [Reply(f"Answer number {n}, which is long enough to tell.") for n in range(64)]

    def converse(client: Any, name: int) -> None:
        with causepath.agent(f"agent {name}"):
            first = ask(client, f"a {name}")
            ask(client, f"b {name} {first}")

    with served(*answers) as client:
        threads = [threading.Thread(target=converse, args=(client, n)) for n in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert linked(recording) == [("2", "1")] * 32
    spans = {span.context.span_id: span for span in recording.spans()}
    for span in spans.values():
        for link in span.links:
            assert spans[link.context.span_id].parent == span.parent


ANY_TEXT = st.text(st.characters())  # half characters too
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=6,
)
KINDS = st.sampled_from(
    ["text", "tool_use", "tool_result", "thinking", "redacted_thinking", "image", "document", "new"]
)
FIELDS = st.sampled_from(
    ["type", "text", "id", "tool_use_id", "name", "input", "content", "source", "data", "thinking"]
)
BLOCK = st.dictionaries(FIELDS, JSON | KINDS, max_size=6).flatmap(
    lambda fields: st.just(fields) | KINDS.map(lambda kind: {**fields, "type": kind})
)
CONTENT = JSON | st.lists(BLOCK | JSON, max_size=4)
BODY = st.fixed_dictionaries(
    {},
    optional={
        "system": CONTENT,
        "tools": JSON | st.lists(BLOCK | JSON, max_size=3),
        "messages": JSON
        | st.lists(
            st.fixed_dictionaries({}, optional={"role": JSON, "content": CONTENT}) | JSON,
            max_size=4,
        ),
    },
)


CHAT = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool"]) | JSON},
        optional={
            "content": CONTENT | st.sampled_from(["a", "b"]),
            "tool_call_id": JSON,
            "tool_calls": st.lists(
                st.fixed_dictionaries(
                    {"function": st.fixed_dictionaries({"name": ANY_TEXT, "arguments": ANY_TEXT})}
                ),
                max_size=3,
            ),
        },
    )
    | st.fixed_dictionaries(
        {"type": st.sampled_from(["function_call", "function_call_output", "reasoning", "new"])},
        optional={"name": ANY_TEXT, "arguments": JSON, "output": CONTENT, "summary": CONTENT},
    )
    | JSON,
    max_size=4,
)
CHAT_BODY = st.fixed_dictionaries(
    {}, optional={"messages": CHAT, "input": CHAT | ANY_TEXT, "instructions": ANY_TEXT}
)


@pytest.mark.parametrize(
    ("read", "body"), [(input_prompt, BODY), (chat_prompt, CHAT_BODY)], ids=["anthropic", "openai"]
)
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_equal_keys_are_of_equal_blocks(
    read: Callable[[Any], Prompt], body: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    digests_, known = Digests(b"key"), dict[int, Any]()
    for one in data.draw(st.lists(body, max_size=3)):
        keys, blocks = read(one).keys, [*read(one).blocks()]
        assert len(keys) == len(blocks)
        for start in range(len(blocks) + 1):
            assert repr([*read(one).blocks(start)]) == repr(blocks[start:])
        for key, said in zip(keys, blocks, strict=True):
            if key is not None:
                told = (said.role, said.kind, *digests_.digest(said))
                assert known.setdefault(key, told) == told


@settings(max_examples=300, deadline=None)
@given(st.lists(BODY, min_size=1, max_size=3))
def test_no_request_is_too_strange(bodies: list[dict[str, Any]]) -> None:
    before = repr(bodies)
    evidence, conversations = Evidence(b"key"), Conversations()
    settings_ = ContentSettings(on_spans=True, in_events=True, span_bytes=300)
    content = Content(settings_, lambda text: text, evidence.digest)
    for body in bodies:
        span = NonRecordingSpan(SpanContext(1, 2, is_remote=False))
        prompt = input_prompt(body)
        blocks = prompt.blocks()
        assert all(
            isinstance(one, str) for item in blocks for one in (item.role, item.kind, item.name)
        )
        told = evidence.given(span, conversations, prompt, {})
        evidence.answered(span, told, blocks, conversations)
        said = content.asked(blocks)
        assert said is not None
        content.answered(said, output_blocks(body), "stop")
        for value in content.attributes(said, (*REQUEST, "gen_ai.output.messages")).values():
            assert value is True or json.loads(str(value).encode())
    assert repr(bodies) == before
