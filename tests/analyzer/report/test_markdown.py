"""The report as Markdown: what it says, and that no word of a trace does anything there."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from msgspec.structs import replace

from causepath_analyzer.analyses.run import explained
from causepath_analyzer.analyses.run_view import run_view
from causepath_analyzer.analyses.summary.brief import brief
from causepath_analyzer.analyses.summary.summary import summary
from causepath_analyzer.cli import invoke
from causepath_analyzer.model import Span
from causepath_analyzer.read.tree.build import build
from causepath_analyzer.report.markdown import cell, code, escaped, row, within
from causepath_analyzer.report.report_markdown import MOST_MARKDOWN, run_markdown, summary_markdown
from tests.support.drawn import MS, drawn, spans_drawn

RECORDED = Path(__file__).parents[1] / "recorded/causepath.jsonl"
AGENT = """
    agent research             |--------------------------------------------------|
      llm claude-opus            |-----------|                                        {one}
        retry attempt1           ||                                                   error=429
        retry backoff             |-|
        network attempt2            |--------|
      tool search_web                        |----|                                   {two}
      tool search_papers                          |--------|                          {three}
      llm claude-opus2                                      |--------------|          {four}
""".format(
    one="ttft=9 turn=1 tokens=900/50 model=claude-opus-5-5 provider=anthropic",
    two="asked_by=claude-opus where=agent.py:41",
    three="asked_by=claude-opus",
    four="turn=2 tokens=2000/70 model=claude-opus-5-5 provider=anthropic ttft=4",
)
GOLDEN = Path(__file__).parent / "golden/findings.md"
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "![x](http://evil.example/p.png)",
    "[click](javascript:alert(1))",
    "a](http://evil.example) [b",
    "`` ` ``` `",
    "| a | b |\n| - | - |",
    "\n# heading\n- item\n",
    "**bold** __init__ _a_ ~~gone~~ $x$ &lt;b&gt;",
    "@everyone #1 www.evil.example https://evil.example",
    "<!-- hidden --> <script>",
    "\\",
    "```\n</details>",
    "\u202egnp.exe\u200b",
    "",
    " ",
)


def tokens(text: str) -> Iterator[Token]:
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        yield token
        yield from token.children or ()


def shown(text: str) -> str:
    """What a reader sees of one paragraph."""
    return "".join(one.content for one in tokens(text) if one.type in ("text", "code_inline"))


def test_findings_say_what_to_change_and_how_to_check_it() -> None:
    view = run_view(explained(drawn(AGENT, unit_ns=100 * MS), with_cost=True, with_money=True))
    text = run_markdown(view, ["my traces.jsonl"])
    assert text.startswith("### causepath: `research` 5.10s, `$0.0140`, ok\n\n```text\n")
    assert text[text.index("\n```\n") :] == GOLDEN.read_text()


def test_a_finding_that_no_replay_shows_is_checked_by_a_budget() -> None:
    view = run_view(
        explained(
            drawn(
                """
                agent a    |--------------------|
                  llm b    |------|               tokens=5/5
                  llm c                    |--|   tokens=5/5
                """,
                unit_ns=1_000 * MS,
            )
        )
    )
    told = [line for line in run_markdown(view, ["t.jsonl"]).splitlines() if "**Check:**" in line]
    command = "causepath check NEW_TRACES --select CP601 --max findings=0"
    assert told == [f"- **Check:** after the change, `{command}`"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_are_only_shown(text: str) -> None:
    prose, coded = escaped(text), code(text)
    assert {one.type for one in tokens(f"- **a:** {prose}")} <= {
        *("bullet_list_open", "list_item_open", "paragraph_open", "inline", "strong_open", "text"),
        *("strong_close", "paragraph_close", "list_item_close", "bullet_list_close"),
        *("html_inline", "text_special"),
    }
    assert {one.content for one in tokens(prose) if one.type == "html_inline"} <= {"<!-- -->"}
    assert [one.type for one in tokens(coded)] == [
        *("paragraph_open", "inline", "code_inline", "paragraph_close")
    ]
    table = "\n".join((row(("a", "b")), row(("-", "-")), row((cell(text), "end"))))
    assert [one.type for one in tokens(table)].count("td_open") == 2
    assert [one.content for one in tokens(table) if one.type == "text"][-1] == "end"


def test_prose_is_read_as_it_was_written() -> None:
    text = "1 * 2 [a](b) `c` search_web __init__ <d> & $5 ~e~ | #1 @f https://g www.h"
    assert shown(escaped(text)) == text
    assert "search_web" in escaped(text)


def test_a_report_on_hostile_names_is_small_and_has_no_more_in_it() -> None:
    """Names of spans and of tools end up in a title, in the waterfall and in findings."""
    spans = [
        replace(span, name=HOSTILE[number % len(HOSTILE)] * 5_000)
        for number, span in enumerate(spans_drawn(AGENT, unit_ns=100 * MS))
    ]
    text = run_markdown(run_view(explained(build(spans), with_cost=True)), ["a`b\n.jsonl"])
    assert len(text.encode()) <= MOST_MARKDOWN
    made = {one.type for one in tokens(text)}
    assert not made & {"html_block", "image", "link_open", "table_open", "code_block"}
    assert [one.tag for one in tokens(text) if one.type == "heading_open"][:2] == ["h3", "h4"]


def test_the_report_on_many_runs_is_no_longer_than_a_comment_may_be() -> None:
    spans = spans_drawn(AGENT, unit_ns=100 * MS)
    runs = [other(spans, f"{number:032x}") for number in range(1, 41)]
    text = summary_markdown(summary(runs), ["traces/"])
    assert text.startswith("### causepath: 40 runs\n\n```text\n40 runs  wall p50 5.10s")
    assert "#### 1. CP101 Tools of one reply ran one after the other\n" in text
    assert "- **In:** 40 of 40 runs\n- **Saves:** `0.50s` a run, proved\n" in text.replace(
        "`500ms`", "`0.50s`"
    )
    assert "`causepath whatif traces/ --apply CP101 --save cp101.json`" in text


def other(spans: list[Span], trace_id: str):  # type: ignore[no-untyped-def]
    return brief(explained(build([replace(span, trace_id=trace_id) for span in spans])))


def test_what_is_too_long_is_cut_at_a_line() -> None:
    assert within("a\nb\n", 4, "see x") == "a\nb\n"
    assert within("aé\n" * 40, 60, "see x") == "aé\n" * 10 + "\n\n(cut off: see x)\n"


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert invoke([str(RECORDED), "--markdown"]) == 0
    told = capsys.readouterr().out
    assert invoke([str(RECORDED), "--markdown", "-o", str(tmp_path / "report.md")]) == 0
    assert (tmp_path / "report.md").read_text() == told
    assert told.startswith("### causepath: ")
    assert invoke([str(RECORDED), "--markdown", "--json"]) == 2
    assert "only one of them" in capsys.readouterr().err
