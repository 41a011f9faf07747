"""Budgets that hold at run time: what the plugin writes of them, the analyzer tells and counts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anthropic
import pytest

import causepath
from causepath_analyzer.cli import invoke
from tests.support.messages_api import MessagesApi
from tests.support.script import Reply, Usage

if TYPE_CHECKING:
    from pathlib import Path

HELLO = Reply("Hello.", usage=Usage(100, 20))
QUESTION: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "?"}]}


@causepath.agent
@causepath.budget(turns=1, tokens=10_000, on_exceeded="abort")
def write(client: anthropic.Anthropic, times: int) -> None:
    for _ in range(times):
        client.messages.create(**QUESTION)


@pytest.fixture
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Writes one run that keeps its budget, and one that is stopped by it."""
    file = tmp_path / "t.jsonl"
    monkeypatch.setenv("CAUSEPATH_FILE", str(file))
    causepath.instrument()
    with (
        MessagesApi(lambda _: HELLO) as api,
        anthropic.Anthropic(base_url=api.url, api_key="t", max_retries=0) as client,
    ):
        write(client, 1)
        with pytest.raises(causepath.BudgetExceeded):
            write(client, 2)
    causepath.uninstrument()
    return file


def test_what_a_budget_refused_is_reported_and_counted(
    traces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["report", str(traces), "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)["traces"]
    run_id = runs[1]["trace_id"]
    assert [(run["over_budget"], run["status"], run["error"]) for run in runs] == [
        ([], "ok", None),
        (["turns"], "failed", "BudgetExceeded"),
    ]
    assert invoke(["report", str(traces), "--trace", run_id]) == 0
    text = capsys.readouterr().out
    assert text.count("over its own budget: turns") == 1
    assert invoke(["check", str(traces), "--max", "over_budget=0", "--json"]) == 1
