"""Where the money went: what was billed, for whom, and what later calls carried along."""

import json
import zlib
from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.money.carried import Carried, carried
from causepath_analyzer.analyses.money.money_rows import (
    CarriedRow,
    MoneyRow,
    MoneyRows,
    money_rows,
)
from causepath_analyzer.analyses.money.spent import Amount, CallCost, Money, Share, money
from causepath_analyzer.analyses.path.cost import PARTS, OwnPrices
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.analyses.run_view import run_view
from causepath_analyzer.model import NO_SPAN, Block, Blocks, ModelCall, Span, Tokens, Trace
from causepath_analyzer.read.tree.build import build
from causepath_analyzer.report.json import trace_json
from causepath_analyzer.report.run_text import run_text
from causepath_analyzer.report.waterfall import BLOCKS
from tests.support.drawn import MS, drawn

D = Decimal
OWN = OwnPrices(
    "own.toml", {"m": tuple(map(Decimal, (0, 10, 50, 1, 12, 20, 60, 500))), "free": (D(0),) * 8}
)
"""Whole dollars for each token make sums that can be read."""


def told(drawing: str, own: OwnPrices = OWN, **calls: ModelCall) -> Money | None:
    return money(Facts(traced(drawing, **calls), prices=own))


def traced(drawing: str, **calls: ModelCall) -> Trace:
    spans = drawn(drawing).spans
    return build([replace(s, model_call=calls.get(s.name, s.model_call)) for s in spans])


def test_every_part_is_what_was_billed_for_it() -> None:
    found = told(
        """
        agent a |-------|
          llm b |--|
        """,
        b=ModelCall("m", None, Tokens(100, 30, 40, 50, 10, 20), searches=2),
    )
    parts = {
        "uncached_input": Amount(D(100), 10),
        "output": Amount(D(1000), 20),
        "cache_read": Amount(D(40), 40),
        "cache_write": Amount(D(360), 30),
        "cache_write_1h": Amount(D(400), 20),
        "reasoning": Amount(D(600), 10),
        "server_tools": Amount(D(1000), 2),
    }
    assert found is not None
    assert (found.usd, found.parts) == (D(3500), parts)
    assert found.calls == (CallCost(1, D(3500), {key: one.usd for key, one in parts.items()}),)


def test_shares_say_for_whom_it_was() -> None:
    found = told(
        """
        agent main             |---------------------|  session=s
          llm one              |--|                     model=m tokens=10/0
          tool ask                |--------|
            agent helper          |--------|
              llm two             |--|                  model=m tokens=20/0
              tool look_up           |-----|
                llm three            |--|               model=free tokens=5/0
          llm four                          |--|        model=unknown tokens=9/0
          llm five                            |-|       model=m tokens=1/0
        """
    )
    assert found is not None
    assert found.shares == (
        Share("agent", "helper", D(200), 2, 0),
        Share("agent", "main", D(110), 3, 1),
        Share("model", "m", D(310), 3, 0),
        Share("model", "free", D(0), 1, 0),
        Share("model", "unknown", None, 1, 1),
        Share("session", "s", D(310), 5, 1),
        Share("tool", "look_up", D(0), 1, 0),
    )


@pytest.mark.parametrize(
    "call",
    [
        "llm b |--|",
        "llm b |--| model=unknown tokens=10/10",
        "llm b |--| model=m",
        "llm b |--| model=m tokens=0/0",
        "llm b |--| model=m tokens=10/10/20",  # more read than given
        "tool b |--|",
    ],
)
def test_nothing_is_said_where_nothing_has_a_price(call: str) -> None:
    drawing = f"agent a |------|\n  {call}"
    assert told(drawing) is None
    run = explained(drawn(drawing), with_cost=True, with_money=True, prices=OWN)
    assert "money" not in "".join(line.plain for line in run_text(run_view(run), BLOCKS, ["t"]))
    assert json.loads(trace_json(run_view(run)))["money"] is None


COUNTS = st.integers(0, 5_000)
CALLS = st.lists(
    st.builds(
        lambda model, new, out, read, write, long, thought, searches: ModelCall(
            model,
            "anthropic",
            Tokens(new + read + write + long, out + thought, read, write + long, thought, long),
            searches=searches,
        ),
        st.sampled_from(["m", "claude-opus-5-5", "claude-sonnet-4-5", "nobody-knows-it", None]),
        *[COUNTS] * 6,
        st.integers(0, 3),
    ),
    max_size=6,
)


@given(CALLS)
def test_parts_calls_and_models_add_up_to_the_cost(calls: Sequence[ModelCall]) -> None:
    spans = [
        Span("f" * 32, f"{n:016x}", "", "chat", n * MS, (n + 1) * MS, "llm", model_call=call)
        for n, call in enumerate(calls, 1)
    ]
    if not spans:
        return
    facts = Facts(build(spans), prices=OWN)
    found = money(facts)
    if found is None:
        assert facts.cost.usd is None
        return
    assert found.usd == facts.cost.usd
    assert sum((one.usd for one in found.parts.values()), D(0)) == found.usd
    assert sum((one.usd or 0 for one in found.calls), D(0)) == found.usd
    assert sum((sum(one.parts.values()) for one in found.calls), D(0)) == found.usd
    named = [one for one in found.shares if one.by == "model"]
    assert sum((one.usd or 0 for one in named), D(0)) == found.usd
    assert list(found.parts) == [part for part in PARTS if part in found.parts]


CONVERSATION = """
    agent a        |----------------------------------------|
      llm one      |--|                  {one} blocks=tools/tool/t:200,system/text/s:100,q:100>u:50
      tool fetch      |--|               asked_by=one got=page
      llm two            |--|            {two} blocks=4@one+user/tool_result/page:550>v:100
      llm three                  |--|    {three} blocks=6@two+w:100>x:10
"""


def conversation(two: str, three: str) -> str:
    one = "model=m tokens=100/5"
    return CONVERSATION.format(one=one, two=f"{two} results=fetch", three=three)


def test_what_later_calls_carry_is_priced_by_where_it_stands() -> None:
    drawing = conversation(
        # 1,000 bytes: tools at token 0-100, system to 150, question to 200, then the result.
        "model=m tokens=500/5/120/100",
        # 1,200 bytes, the last 200 of which are new
        "model=m tokens=600/5/0/0",
    )
    assert carried(Facts(drawn(drawing), prices=OWN)) == (
        # 500 - 275 tokens of the result: they were new in the second call
        Carried("tool_result", 2, 3, 550, 1, 275, 0, D(2750), None),
        # 100 of 120 that were read; then 100 that nobody had
        Carried("tools", NO_SPAN, 1, 200, 2, 200, 100, D(100 + 1000), None),
        # 20 read and 30 written; then 50
        Carried("system", NO_SPAN, 1, 100, 2, 100, 20, D(20 + 360 + 500), None),
    )


@pytest.mark.parametrize(
    ("three", "blocks"),
    [
        ("model=m", ""),  # no tokens
        ("model=m tokens=0/5", ""),
        ("model=m tokens=600/5/700", ""),  # contradicts itself
        ("model=m tokens=600/5", "user/image/i:4000,"),
        ("model=m tokens=600/5", "user/document/d:4000,"),
        ("model=m tokens=600/5", "assistant/redacted_thinking/d:4000,"),
    ],
)
def test_calls_of_which_bytes_say_nothing_are_left_out(three: str, blocks: str) -> None:
    drawing = conversation("model=m tokens=500/5", three).replace("+w:100", f"+{blocks}w:100")
    found = {one.what: one.calls for one in carried(Facts(drawn(drawing), prices=OWN))}
    assert found == {"tools": 1, "system": 1}


def test_what_has_no_price_has_tokens() -> None:
    drawing = conversation("model=m tokens=500/5", "model=unknown tokens=600/5")
    found = {o.what: (o.tokens, o.usd) for o in carried(Facts(drawn(drawing), prices=OWN))}
    assert found == {"tools": (200, None), "system": (100, None), "tool_result": (275, None)}


def test_equal_results_are_two_and_what_is_changed_is_new() -> None:
    same, u = "user/tool_result/same:100", "assistant/text/u:50"
    drawing = f"""
        agent a      |--------------------------------|
          llm one    |--|             model=m tokens=10/5  blocks=system/text/s:50,q:50>u:50
          tool x        |--|          asked_by=one got=same
          tool y          |--|        asked_by=one got=same
          llm two             |--|    model=m tokens=35/5  results=x,y blocks=3@one+{same},{same}>v
          llm three               |--|   model=m tokens=40/5  blocks=5@two+w:50>
          llm four                   |--|   model=m tokens=40/5  blocks=2@one+{u},{same},y:150>
    """
    found = carried(Facts(drawn(drawing), prices=OWN))
    assert [(one.what, one.span, one.calls, one.tokens) for one in found] == [
        ("tool_result", 2, 2, 20),
        ("system", NO_SPAN, 3, 15),
        ("tool_result", 3, 1, 10),  # the fourth call has only one of them
    ]


def test_a_changed_system_prompt_is_new() -> None:
    drawing = """
        agent a      |------------------|
          llm one    |--|         model=m tokens=30/5  blocks=system/text/s:50,tools/tool/t:50,q:50>
          llm two       |--|      model=m tokens=30/5  blocks=system/text/z:50,tools/tool/t:50,q:50>
    """
    found = carried(Facts(drawn(drawing), prices=OWN))
    assert [(one.what, one.calls, one.tokens) for one in found] == [("tools", 1, 10)]


def test_conversations_are_apart() -> None:
    drawing = """
        agent a       |--------------------------|
          llm a1      |--|               model=m tokens=10/5 blocks=system/text/s:50,qa:50>x:50
          llm b1          |--|           model=m tokens=10/5 blocks=system/text/s:50,qb:50>y:50
          llm b2              |--|       model=m tokens=20/5 blocks=3@b1+tb:50>z
    """
    (one,) = carried(Facts(drawn(drawing), prices=OWN))
    assert (one.first, one.calls, one.tokens) == (2, 1, 5)


def test_the_first_token_follows_what_no_cache_held() -> None:
    """Each call has 1,000 bytes and 100 tokens more, and waits 10 ms longer, of which the result
    of 1,000 bytes has its part; the last one reads all of it from a cache."""
    lines = ["agent a |" + "-" * 700 + "|"]
    at = 0
    for n in range(6):
        pad = " " * at
        first = 10 * (n + 1)
        given_ = f"{2 * n}@c{n - 1}+" if n else ""
        kind = "user/tool_result/" if n == 1 else ""
        facts = f"ttft={first} tokens={100 * (n + 1)}/9 blocks={given_}{kind}g{n}:1000>h{n}:0"
        lines.append(f"  llm c{n} {pad}|{'-' * (first + 5)}| model=m {facts}")
        at += first + 10
    drawing = "\n".join(lines)
    (one,) = carried(Facts(drawn(drawing), prices=OWN))
    assert (one.what, one.calls, one.tokens, one.usd) == ("tool_result", 4, 400, D(4000))
    assert one.first_token_ns == 40 * MS
    cached = drawing.replace("tokens=600/9", "tokens=600/9/500")
    (one,) = carried(Facts(drawn(cached), prices=OWN))
    assert (one.tokens, one.cached_tokens, one.usd) == (400, 100, D(3100))


def test_a_report_shows_what_is_carried_where_it_is_much_of_the_money() -> None:
    drawing = conversation("model=m tokens=500/5/120/100", "model=m tokens=600/5/0/0")
    run = explained(drawn(drawing), with_cost=True, with_money=True, prices=OWN)
    lines = [line.plain for line in run_text(run_view(run), BLOCKS, ["t"])]
    at = lines.index("Where the money went               cost   share      tokens")
    assert lines[at : at + 9] == [
        "Where the money went               cost   share      tokens",
        "  uncached input              $9,800.00     83%         980",
        "  cache writes                $1,200.00     10%         100",
        "  cache reads                   $120.00      1%         120",
        "  output                        $750.00      6%          15",
        "  of it carried, estimated    $4,730.00     40%",
        "    result of fetch 1x        $2,750.00     23%         275",
        "    tool definitions 2x       $1,100.00      9%         200",
        "    system prompt 2x            $880.00      7%         100",
    ]
    assert all(len(line) <= 80 for line in lines)
    cheap = OwnPrices("own.toml", {"m": tuple(rate / 1_000_000 for rate in OWN.models["m"])})
    run = explained(drawn(drawing), with_cost=True, with_money=True, prices=cheap)
    assert not any("carried" in line.plain for line in run_text(run_view(run), BLOCKS, ["t"]))


def test_a_lower_bound_says_at_least() -> None:
    drawing = """
        agent a |----------|
          llm b |--|          tokens=10/5 model=m
          llm c    |--|       tokens=10/5 model=unknown
    """
    run = explained(drawn(drawing), with_cost=True, with_money=True, prices=OWN)
    lines = [line.plain for line in run_text(run_view(run), BLOCKS, ["t"])]
    assert "Where the money went           at least   share      tokens" in lines
    written = json.loads(trace_json(run_view(run)))["money"]
    assert written == {
        "at_least": True,
        "basis": "exact",
        "parts": [
            {"part": "uncached_input", "usd": "100", "share": 0.2857, "count": 10},
            {"part": "output", "usd": "250", "share": 0.7143, "count": 5},
        ],
        "calls": [
            {"span_id": "b", "usd": "350", "parts": {"uncached_input": "100", "output": "250"}},
            {"span_id": "c", "usd": None, "parts": {}},
        ],
        "shares": [
            {"by": "agent", "key": "a", "usd": "350", "calls": 2, "unpriced": 1},
            {"by": "model", "key": "m", "usd": "350", "calls": 1, "unpriced": 0},
            {"by": "model", "key": "unknown", "usd": None, "calls": 1, "unpriced": 1},
        ],
        "carried": [],
    }


def test_what_is_carried_is_in_the_json() -> None:
    drawing = conversation("model=m tokens=500/5", "model=m tokens=600/5")
    run = explained(drawn(drawing), with_cost=True, with_money=True, prices=OWN)
    assert json.loads(trace_json(run_view(run)))["money"]["carried"][0] == {
        "what": "tool_result",
        "tool": "fetch",
        "span_id": "fetch",
        "first_span_id": "two",
        "bytes": 550,
        "calls": 1,
        "tokens": 275,
        "cached_tokens": 0,
        "usd": "2750",
        "first_token_ns": None,
    }


BLOCK = st.tuples(
    st.sampled_from(["system/text", "tools/tool", "user/text", "user/tool_result"]),
    st.sampled_from("abc"),
    st.integers(0, 60),
)
CACHED = st.integers(0, 60)
CALL = st.tuples(st.integers(0, 9), st.lists(BLOCK, max_size=4), st.integers(1, 80), CACHED, CACHED)
PROMPTS = st.lists(CALL, min_size=2, max_size=6)


@given(PROMPTS)
def test_what_is_carried_is_what_counting_byte_by_byte_gives(
    drawn_calls: list[tuple[int, list[tuple[str, str, int]], int, int, int]],
) -> None:
    prompts: list[list[Block]] = []
    spans = []
    for n, (kept, new, tokens, read, written) in enumerate(drawn_calls):
        before = prompts[-1][:kept] if prompts else []
        added = [
            Block(*kind.split("/"), zlib.crc32(f"{name}{size}".encode()), size)
            for kind, name, size in new
        ]
        prompts.append([*before, *added])
        blocks = Blocks(tuple(added), (), len(before), f"{n:016x}" if before else "")
        used = Tokens(tokens, 1, min(read, tokens), min(written, tokens - min(read, tokens)))
        call = ModelCall("m", None, used, blocks=blocks)
        spans.append(
            Span("f" * 32, f"{n + 1:016x}", "", "chat", n * MS, n * MS + 1, "llm", model_call=call)
        )
    facts = Facts(build(spans), prices=OWN)
    expected: dict[str, list[Decimal]] = {}
    for held in facts.usage.conversations:
        seen: set[object] = set()
        for i in held.calls:
            told = facts.trace.spans[i].model_call
            assert told is not None
            assert told.tokens is not None
            _by_byte(prompts[i], told.tokens, seen, expected)
    found: dict[str, list[Decimal]] = {}
    for one in carried(facts):
        assert one.usd is not None
        sums = found.setdefault(one.what, [D(0), D(0)])
        found[one.what] = [sums[0] + one.tokens, sums[1] + one.usd]
    for what in {*expected, *found}:
        (tokens_, usd), (counted, cost) = (
            found.get(what, [D(0), D(0)]),
            expected.get(what, [D(0), D(0)]),
        )
        assert abs(tokens_ - counted) <= len(facts.trace.spans) * 4  # each is rounded
        assert abs(usd - cost) <= D("0.000001")


def _by_byte(
    prompt: list[Block], tokens: Tokens, seen: set[object], sums: dict[str, list[Decimal]]
) -> None:
    """Adds to `sums` the tokens and the price of what of `prompt` is `seen`, byte by byte."""
    size = sum(block.size for block in prompt)
    times: dict[object, int] = {}
    at = 0
    new = []
    for block in prompt:
        is_result = block.kind == "tool_result"
        if is_result or block.role in ("system", "tools"):
            same = block.role, block.kind, block.digest
            times[same] = times.get(same, 0) + 1
            key = (*same, times[same])
            if key not in seen:
                new.append(key)
            else:
                known = sums.setdefault("tool_result" if is_result else block.role, [D(0), D(0)])
                read = tokens.cache_read * size // tokens.input
                past = (tokens.cache_read + tokens.cache_write) * size // tokens.input
                for byte in range(at, at + block.size):
                    each = D(tokens.input) / size
                    known[0] += each
                    known[1] += each * (1 if byte < read else 12 if byte < past else 10)
        at += block.size
    seen.update(new)


def test_rows_put_together_what_people_read_as_one() -> None:
    spent = Money(
        D(10),
        {
            "cache_write_1h": Amount(D(1), 20),
            "cache_write": Amount(D(3), 30),
            "output": Amount(D(6), 40),
        },
        (),
        (),
        (
            Carried("tool_result", 1, 0, 9, 3, 70, 0, D(2), 5),
            Carried("tool_result", NO_SPAN, 0, 9, 2, 60, 0, D("0.5"), None),
            Carried("tools", NO_SPAN, 0, 9, 1, 50, 0, None, None),
            Carried("system", NO_SPAN, 0, 9, 1, 40, 0, D("0.25"), None),
            Carried("tools", NO_SPAN, 0, 9, 1, 30, 0, D("0.25"), None),
        ),
    )
    trace = drawn("agent a |---|\n  tool t  |-|")
    assert money_rows(spent, trace) == MoneyRows(
        (MoneyRow("cache_writes", D(4), 0.4, 50), MoneyRow("output", D(6), 0.6, 40)),
        D(3),
        0.3,
        (
            CarriedRow("tool_result", "t", D(2), 0.2, 3, 70, 5),
            CarriedRow("tool_result", None, D("0.5"), 0.05, 2, 60, None),
            CarriedRow("system", None, D("0.25"), 0.025, 1, 40, None),
        ),
    )
    little = replace(spent, carried=spent.carried[1:2])
    rows = money_rows(little, trace)
    assert rows is not None
    assert (rows.carried_usd, rows.carried) == (None, ())
    for nothing in (None, Money(D(0), {}, (), (), ())):
        assert money_rows(nothing, trace) is None
