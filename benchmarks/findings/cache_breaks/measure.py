"""Lets caches break, and compares what CP202 says without the provider's word with that word."""

from __future__ import annotations

import json
import tempfile
import textwrap
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.findings.cache_breaks.cases import BREAKS, LETTER, Break, Chat
from benchmarks.findings.shares import share
from benchmarks.traced_agents import exported

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tests.support.script import Answer, Request

START, END = "<!-- cache-breaks -->", "<!-- /cache-breaks -->"
AT_ONCE: Final = 8
LEAST: Final = 1_024
"""Fewer tokens that were not read are no break."""
HIDDEN: Final = ("causepath.cache.diagnosis", "causepath.cache.missed_tokens")
NOTHING: Final = "nothing"
SAYS: Final = {
    "tools_changed": ("tools",),
    "system_changed": ("system",),
    "messages_changed": ("messages",),
    "input_changed": ("messages", "system"),
    "model_changed": ("model",),
}
"""Our words that say the same as the provider's: OpenAI calls all of a prompt its input."""
TITLES: Final = {
    "keep the prompt cache alive over pauses": "lifetime",
    "keep the tools as they were": "tools",
    "keep the system prompt": "system",
    "append, change no message": "messages",
    "stay with one model": "model",
    "set a breakpoint every 20 blocks": "look-back",
}


@dataclass(frozen=True)
class Outcome:
    """A conversation: the provider's ``word`` for its break (``None``: it says that nothing has
    changed), and what CP202 says without it."""

    name: str
    sdk: str
    content: bool
    word: str | None
    ours: str
    is_break: bool


# -- in a process with the plugin on


def work(names: Sequence[str]) -> None:
    """Has the conversations. Says on standard output which trace was which, and the word."""
    import anthropic
    import httpx2
    import openai

    from tests.support.messages_api import MessagesApi
    from tests.support.openai_api import OpenAiApi
    from tests.support.prompt_cache import PromptCache
    from tests.support.script import Reply

    caches = {f"{name}/{sdk}": PromptCache() for name in names for sdk in BREAKS[name].sdks}

    def answer(request: Request) -> Answer:
        cache = caches[request.headers["x-run"]]
        return cache.answered(request, Reply(f"Take ferry number {len(cache.seen)}."))

    with (
        MessagesApi(answer, keep=False) as messages,
        OpenAiApi(answer, keep=False) as responses,
        httpx2.Client(verify=False) as http,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        clients = {
            "anthropic": anthropic.Anthropic(base_url=messages.url, api_key="t", http_client=http),
            "openai": openai.OpenAI(base_url=responses.url, api_key="t", http_client=http),
        }

        def done(key: str) -> str:
            name, sdk = key.split("/")
            client = clients[sdk].copy(default_headers={"x-run": key})
            return _chatted(BREAKS[name], Chat(sdk, client, caches[key]))

        for told in pool.map(done, caches):
            print(told, flush=True)


def _chatted(case: Break, chat: Chat) -> str:
    from opentelemetry import trace

    import causepath

    with causepath.agent(case.name):
        context = trace.get_current_span().get_span_context()
        case.before(chat)
        chat.ask(LETTER if chat.tools else "A short letter.")
        chat.ask(case.second)
        case.way(chat)
        chat.ask(*case.asks)
    last = chat.cache.seen[-1]
    return json.dumps(
        {
            "name": case.name,
            "sdk": chat.sdk,
            "trace": f"{context.trace_id:032x}",
            "word": last.word,
            "lost": last.cached - last.read,
            "pauses": chat.pauses,
        }
    )


# -- what is said


def measured(names: Iterable[str]) -> list[Outcome]:
    """Tells for each conversation what the provider says, and what we do; content off and on."""
    wanted = list(names)
    contents = (False, True) if wanted else ()
    return [one for content in contents for one in _measured(wanted, content=content)]


def _measured(names: Sequence[str], *, content: bool) -> Iterator[Outcome]:
    from causepath_analyzer.analyses.findings.rules import RULES
    from causepath_analyzer.analyses.run import explained
    from causepath_analyzer.read import read

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "traces.jsonl"
        said = exported(
            "benchmarks.findings.cache_breaks.measure",
            names,
            file,
            content=content,
            timeout_seconds=300,
            settings={"CAUSEPATH_CACHE_DIAGNOSIS": "1"},
        )
        pauses = {one["trace"]: one["pauses"] for one in said}
        lines = [without_word(line, pauses) for line in file.read_text().splitlines()]
        file.write_text("".join(f"{line}\n" for line in lines))
        traces = {trace.trace_id: trace for trace in read([str(file)]).traces}
    for one in said:
        trace = traces[one["trace"]]
        found = explained(trace, with_cost=True, rules=[RULES["CP202"]]).findings
        titles = [finding.title for finding in found]
        ours = [word for title, word in TITLES.items() if any(t.startswith(title) for t in titles)]
        assert len(ours) == len(titles), titles
        yield Outcome(
            one["name"],
            one["sdk"],
            content,
            one["word"],
            " and ".join(ours) or NOTHING,
            one["lost"] >= LEAST,
        )


def without_word(line: str, pauses: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    """Takes what the provider says out of a line of a trace, and puts the pauses in."""
    document = json.loads(line)
    for resource in document["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                kept = [one for one in span.get("attributes", ()) if one["key"] not in HIDDEN]
                span["attributes"] = kept
                for part in (span, *span.get("events", ())):
                    _paused(part, pauses.get(span["traceId"], ()))
    return json.dumps(document)


def _paused(part: dict[str, Any], pauses: Sequence[tuple[int, float]]) -> None:
    for name in ("startTimeUnixNano", "endTimeUnixNano", "timeUnixNano"):
        if name in part:
            at_ns = int(part[name])
            later = sum(round(seconds * 10**9) for since, seconds in pauses if since <= at_ns)
            part[name] = str(at_ns + later)


# -- the table


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Writes in Markdown how often which words met, and the agreement."""
    broken = [one for one in outcomes if one.is_break]
    counts = Counter((_word(one), one.ours) for one in broken)
    ours = [*sorted({one.ours for one in broken} - {NOTHING}), NOTHING]
    words = sorted({_word(one) for one in broken})
    lines = [
        f"| the provider says | {' | '.join(ours)} |",
        f"| --- |{' --: |' * len(ours)}",
        *(
            f"| {word} | {' | '.join(str(counts[word, our] or '') for our in ours)} |"
            for word in words
        ),
    ]
    named = [one for one in broken if one.word in SAYS]
    said = [one for one in named if one.ours != NOTHING]
    agreed = [one for one in said if agrees(one)]
    calm = [one for one in outcomes if not one.is_break]
    wrong = sum(one.ours != NOTHING for one in calm)
    text = (
        f"{len(broken)} breaks in {len({one.name for one in broken})} ways, content off and on. "
        f"Where the provider names a part of the prompt or the model, CP202 says something in "
        f"{share(len(said), len(named))} of the cases, and where it does, the same in "
        f"{share(len(agreed), len(said))}. In {len(calm)} conversations without a break it found "
        f"{wrong or 'none'}."
    )
    lines += ["", *textwrap.wrap(text, 110, break_on_hyphens=False)]
    differing = sorted(
        {
            (one.name, one.sdk, _word(one), one.ours)
            for one in outcomes
            if (one.is_break and one.word in SAYS and not agrees(one))
            or (not one.is_break and one.ours != NOTHING)
        }
    )
    if differing:
        lines += [
            "",
            "| conversation | SDK | the provider says | CP202 says |",
            "| --- | --- | --- | --- |",
            *(f"| `{name}` | {sdk} | {word} | {our} |" for name, sdk, word, our in differing),
        ]
    return lines


def _word(one: Outcome) -> str:
    return f"`{one.word}`" if one.word is not None else "that nothing has changed"


def agrees(one: Outcome) -> bool:
    """Tells whether our word says the same as the provider's."""
    return one.ours in SAYS.get(one.word or "", ())


def is_right(outcomes: Iterable[Outcome]) -> bool:
    """Tells whether we contradict the provider nowhere but after a pause, where the cache was gone
    whatever had changed."""
    return all(
        agrees(one) or one.ours in (NOTHING, "lifetime")
        for one in outcomes
        if one.word in SAYS or not one.is_break
    )
