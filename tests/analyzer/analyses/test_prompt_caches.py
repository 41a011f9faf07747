"""CP202 and CP203: prompts that were paid for again, and why; by price, net of what is written."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from tests.support.drawn import MS, drawn, found_in

SECOND = 1_000 * MS
MODEL = "model=claude-opus-4-8 provider=anthropic scope=causepath where=a.py:1"


def three(first: str, second: str, third: str, model: str = MODEL, pause: int = 0) -> str:
    """Three calls of one agent, one after the other, a tool between each; facts of each."""
    gap = " " * pause
    return f"""
    agent run    |----------------------------{"-" * 2 * pause}|
      llm one     |---|                                    {model} {first}
      tool a          |--|                                 asked_by=one
      llm two     {gap}      |---|                         {model} {second} results=a
      tool b      {gap}          |--|                      asked_by=two
      llm three   {gap}{gap}            |---|              {model} {third} results=b
    """


# 10,000 tokens more in each call. Opus 4.8 costs 5 $ a million: 0.1 x read, 1.25 x written.
PLAIN = three("tokens=10000/9", "tokens=20000/9", "tokens=30000/9")
DIGESTS = three(
    "tokens=10000/9 blocks=a>b",
    "tokens=20000/9 blocks=2@one+c>d",
    "tokens=30000/9 blocks=4@two+e>f",
)
WRITTEN = three("tokens=10000/9/0/10000", "tokens=20000/9/0/20000", "tokens=30000/9/0/30000")
EDITED = three(
    "tokens=10000/9/0/10000 blocks=tools/text/tools1,system/text/system1,x>b",
    "tokens=20000/9/0/20000 blocks=1@one+system/text/system2,x,b,c>d",
    "tokens=30000/9/0/30000 blocks=1@two+system/text/system3,x,b,c,d,e>f",
)
BROKEN = three(
    "tokens=10000/9/0/10000 blocks=tools/text/tools1,system/text/system1,x>b",
    "tokens=20000/9/10000/10000 blocks=4@one+c>d",
    "tokens=30000/9/0/30000 blocks=1@two+system/text/system2,x,b,c,d,e>f",
)
ANOTHER_TOOL_FIRST = three(
    "tokens=10000/9/0/10000 blocks=tools/tool/t1,tools/tool/t2,x>b",
    "tokens=20000/9/0/20000 blocks=tools/tool/t2,tools/tool/t1,x,assistant/text/b,c>d",
    "tokens=30000/9/20000/10000 blocks=5@two+assistant/text/d,e>f",
)
"""Not even the first block is as it was, so that the plugin names no call before."""
ANOTHER_SYSTEM_PROMPT = """
    agent run    |----------------------------|
      llm one     |---|                            model=gpt-5 provider=openai {one}
      llm two          |---|                       model=gpt-5 provider=openai {two}
      llm three             |---|                  model=gpt-5 provider=openai {three}
""".format(
    one="tokens=10000/9 blocks=system/text/s1,x>b",
    two="tokens=20000/9/10000 blocks=3@one+c>d",
    three="tokens=30000/9 blocks=system/text/s2,x,assistant/text/b,c,assistant/text/d,e>f",
)
SWITCHED = BROKEN.replace("1@two+system/text/system2,x,b,c,d,e", "6@two+e").replace(
    f"|---|              {MODEL}", f"|---|              {MODEL.replace('opus-4-8', 'haiku-4-5')}"
)
# As billed: 60,000 x 5 = 0.30; cached: 30,000 written = 0.1875, 30,000 read = 0.015.
UNCACHED_USD = Decimal("0.0975")


@pytest.mark.parametrize(
    ("drawing", "expected"),
    [
        pytest.param(DIGESTS, [("cache the prompt of 3 calls", "proved", UNCACHED_USD)], id="kept"),
        pytest.param(
            PLAIN, [("cache the prompt of 3 calls", "likely", UNCACHED_USD)], id="results came back"
        ),
        pytest.param(
            WRITTEN,
            # Not writing 60,000 tokens saves a quarter of 0.30.
            [("read the cache that 3 calls write", "likely", Decimal("0.075"))],
            id="written and never read",
        ),
        pytest.param(EDITED, [], id="written and not read, and it is known why"),
        pytest.param(BROKEN, [], id="read in part"),
        pytest.param(
            three("tokens=900/9", "tokens=1900/9", "tokens=2900/9"), [], id="too short to be cached"
        ),
        pytest.param(
            three("tokens=10000/9", "tokens=10000/9/10000", "tokens=10000/9/10000"), [], id="read"
        ),
        pytest.param(
            PLAIN.replace("results=", "where=").replace("asked_by", "call_id"),
            [],
            id="nobody knows what they were given",
        ),
        pytest.param(
            three(
                "tokens=10000/9 blocks=a>b",
                "tokens=20000/9 blocks=c>d",
                "tokens=30000/9 blocks=e>f",
            )
            .replace("results=", "where=")
            .replace("asked_by", "call_id"),
            [],
            id="three questions",
        ),
        pytest.param(PLAIN.replace("claude-opus-4-8", "gpt-4o"), [], id="it caches by itself"),
        pytest.param(PLAIN.replace("scope=causepath", "scope=else"), [], id="caches are not told"),
        pytest.param(PLAIN.replace("opus-4-8", "of-our-own"), [], id="without a price"),
        pytest.param(
            three("tokens=10000/9", "tokens=20000/9", "tokens=30000/9", pause=400),
            [],
            id="after more than five minutes",
        ),
        pytest.param(
            three("tokens=10000/9/0/10000", "tokens=9000/9", "tokens=8000/9"),
            [],
            id="a conversation that becomes shorter",
        ),
        pytest.param(
            three("tokens=10000/9/0/10000", "tokens=20000/9/0/20000", ""),
            [],
            id="written once more: another run may read it",
        ),
        pytest.param(
            three("tokens=10000/9/0/99999", "tokens=20000/9/0/99999", "tokens=30000/9/0/99999"),
            [],
            id="counts that cannot be",
        ),
        pytest.param(three("", "", ""), [], id="no counts"),
    ],
)
def test_stable_prompts(drawing: str, expected: list[tuple[str, str, Decimal]]) -> None:
    found = found_in(drawn(drawing, unit_ns=SECOND), "CP203")
    assert [(one.title, one.evidence, one.saving.usd) for one in found] == expected
    assert all(one.saving.ns is None for one in found)


@pytest.mark.parametrize(
    ("drawing", "expected"),
    [
        pytest.param(
            BROKEN,
            # The third read nothing of 20,000: 1.25 - 0.1 of 0.10.
            [("keep the system prompt (cache broken)", "proved", Decimal("0.115"))],
            id="another system prompt",
        ),
        pytest.param(
            EDITED,
            [("keep the system prompt (cache broken), 2 times", "proved", Decimal("0.1725"))],
            id="another one each time",
        ),
        pytest.param(
            BROKEN.replace("1@two+system/text/system2,x,b,c,d,e", "3@two+y,c,d,e"),
            [("append, change no message (cache broken)", "proved", Decimal("0.115"))],
            id="an earlier message",
        ),
        pytest.param(
            BROKEN.replace("tools/text/tools1,", "tools/text/tools0,tools/text/tools1,")
            .replace("4@one", "5@one")
            .replace(
                "1@two+system/text/system2,x", "1@two+tools/text/tools2,system/text/system1,x"
            ),
            [("keep the tools as they were (cache broken)", "proved", Decimal("0.115"))],
            id="another tool",
        ),
        pytest.param(
            three(
                "tokens=10000/9/0/10000",
                "tokens=20000/9/10000/10000",
                "tokens=30000/9/0/30000",
                pause=400,
            ),
            # 20,000 not written again saves 0.115; 10,000 written for an hour cost 0.0375 more.
            [("keep the prompt cache alive over pauses", "likely", Decimal("0.0775"))],
            id="the lifetime was over",
        ),
        pytest.param(
            three(
                "tokens=10000/9/0/10000/0/10000",
                "tokens=20000/9/10000/10000",
                "tokens=30000/9/20000/10000",
                pause=400,
            ),
            [],
            id="an hour was asked for",
        ),
        pytest.param(
            BROKEN.replace("1@two+system/text/system2,x,b,c,d,e", "6@two+e"), [], id="nobody knows"
        ),
        pytest.param(BROKEN.replace(" blocks=", " links="), [], id="without digests"),
        pytest.param(
            BROKEN.replace("tokens=30000/9/0/30000", "tokens=12000/9/0/12000").replace(
                "system2,x,b,c,d,e", "system2,summary,e"
            ),
            [],
            id="compacted: a summary took the place of what was said",
        ),
        pytest.param(
            BROKEN.replace("tokens=30000/9/0/30000", "tokens=30000/9/19500/10500"),
            [],
            id="a little less than had been cached",
        ),
        pytest.param(
            BROKEN.replace("30000/9/0/30000", "30000/9/0/30000 error=429"), [], id="failed"
        ),
        pytest.param(BROKEN.replace("opus-4-8", "of-our-own"), [], id="without a price"),
        pytest.param(PLAIN, [], id="nothing is cached"),
        pytest.param(
            ANOTHER_TOOL_FIRST,
            # 10,000 not written again at 6.25, but read at 0.50, saves 0.0575.
            [("keep the tools as they were (cache broken)", "proved", Decimal("0.0575"))],
            id="another order of tools: the first block is another one",
        ),
        pytest.param(
            ANOTHER_TOOL_FIRST.replace(
                "tools/tool/t2,tools/tool/t1,x", "tools/tool/t1,tools/tool/t2,x"
            ),
            [],
            id="the same blocks, which the emitter had forgotten",
        ),
        pytest.param(
            ANOTHER_TOOL_FIRST.replace("tools/tool/t2,tools/tool/t1,x", "tools/tool/t1,x").replace(
                "20000/9/0/20000", "9800/9/0/9800"
            ),
            # 9,800 of it could have been read: 9,800 x 5.75 a million.
            [("keep the tools as they were (cache broken)", "proved", Decimal("0.05635"))],
            id="a tool less, so that the prompt is shorter",
        ),
        pytest.param(
            BROKEN.replace("system/text/system1,x", "system/text/system1,system/text/s2,x")
            .replace("4@one", "5@one")
            .replace("1@two+system/text/system2,x", "2@two+x"),
            [("keep the system prompt (cache broken)", "proved", Decimal("0.115"))],
            id="a part of the system prompt less: the next block is a message",
        ),
        pytest.param(
            BROKEN.replace("1@two+system/text/system2,x,b,c,d,e", "2@two+c,d,e").replace(
                "30000/9/0/30000", "18000/9/0/18000"
            ),
            # 18,000 x 5.75 a million.
            [("append, change no message (cache broken)", "proved", Decimal("0.1035"))],
            id="a window that slides",
        ),
        pytest.param(
            BROKEN.replace(
                "1@two+system/text/system2,x,b,c,d,e",
                f"6@two+{','.join(f'e{n}' for n in range(21))}",
            ),
            [("set a breakpoint every 20 blocks (cache)", "likely", Decimal("0.115"))],
            id="more blocks at once than the look-back has",
        ),
        pytest.param(
            SWITCHED,
            # 30,000 written at 1.25, but 20,000 read at 0.50 and 10,000 written at 6.25: 0.035 less
            [],
            id="a cheaper model, and cheaper as well",
        ),
        pytest.param(
            SWITCHED.replace("30000/9/0/30000", "22000/9/0/22000"),
            # 22,000 written at 1.25 are 0.0275; 20,000 read at 0.50 and 2,000 at 6.25 are 0.0225.
            [("stay with one model (cache broken)", "proved", Decimal("0.00482"))],
            id="a cheaper model, and dearer as nothing was cached",
        ),
        pytest.param(
            SWITCHED.replace("30000/9/0/30000", "22000/9/0/22000").replace("6@two+e", "2@two+y,e"),
            [],
            id="another model that is asked something else",
        ),
        pytest.param(
            ANOTHER_SYSTEM_PROMPT,
            # 10,000 had been read before: 10,000 x (1.25 - 0.125) a million.
            [("keep the system prompt (cache broken)", "proved", Decimal("0.01125"))],
            id="another system prompt: what was answered tells what it goes on from",
        ),
        pytest.param(
            ANOTHER_SYSTEM_PROMPT.replace("x,assistant/text/b,c,assistant/text/d,e", "y,e"),
            [],
            id="another conversation",
        ),
        pytest.param(
            ANOTHER_SYSTEM_PROMPT.replace("3@one+c>d", "system/text/s3,z>d")
            .replace("20000/9/10000", "20000/9/0/20000")
            .replace("x,assistant/text/b,c,assistant/text/d,e", "y,e"),
            [],
            id="two conversations that look like one",
        ),
    ],
)
def test_broken_caches(drawing: str, expected: list[tuple[str, str, Decimal]]) -> None:
    found = found_in(drawn(drawing, unit_ns=SECOND), "CP202")
    assert [(one.title, one.evidence, one.saving.usd) for one in found] == expected
    assert all(one.saving.ns is None for one in found)


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ("tools_changed", "keep the tools as they were (cache broken)"),
        ("system_changed", "keep the system prompt (cache broken)"),
        ("messages_changed", "append, change no message (cache broken)"),
        ("reasoning_effort_changed", "keep the parameters (cache broken)"),
        ("unavailable", None),
        (None, None),
    ],
)
def test_the_word_of_the_provider_goes_first(said: str | None, title: str | None) -> None:
    trace = drawn(BROKEN.replace(" blocks=", " links="), unit_ns=SECOND)
    spans = [
        replace(span, model_call=replace(span.model_call, cache_diagnosis=said))
        if span.model_call is not None and span.name == "three"
        else span
        for span in trace.spans
    ]
    found = found_in(replace(trace, spans=tuple(spans)), "CP202")
    assert [(one.title, one.evidence) for one in found] == ([(title, "proved")] if title else [])
    assert all(one.why.endswith(f"as the provider says ({said}).") for one in found)
