"""The report on one run of many: it has what only all of them show, as `--json` has."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from causepath_analyzer.cli import invoke

Printed = Callable[..., str]

RUNS, IN_VAIN = 12, 5


def spans(run: int) -> list[dict[str, Any]]:
    """A run that looks at the profile first, all but one."""
    start = 1_790_000_000_000 + run * 7_200_000

    def span(number: int, name: str, since: int, until: int, **told: str) -> dict[str, Any]:
        attributes = {"gen_ai.operation.name": name.split()[0], **told}
        return {
            "traceId": f"{run + 1:032x}",
            "spanId": f"{run + 1:012x}{number:04x}",
            **({"parentSpanId": f"{run + 1:012x}0001"} if number > 1 else {}),
            "name": name,
            "startTimeUnixNano": str((start + since) * 1_000_000),
            "endTimeUnixNano": str((start + until) * 1_000_000),
            "attributes": [
                {"key": key.replace("__", "."), "value": {"stringValue": value}}
                for key, value in attributes.items()
            ],
        }

    model = {"gen_ai__request__model": "gpt-5"}
    if run == IN_VAIN:
        return [span(1, "invoke_agent bot", 0, 900), span(2, "chat gpt-5", 0, 900, **model)]
    return [
        span(1, "invoke_agent bot", 0, 3_000),
        span(2, "chat gpt-5", 0, 1_000, **model, gen_ai__response__finish_reasons="tool_calls"),
        span(
            3,
            "execute_tool get_profile",
            1_000,
            2_000,
            gen_ai__tool__name="get_profile",
            gen_ai__tool__call__id=f"call-{run}",
            gen_ai__tool__call__arguments="{}",
            gen_ai__tool__call__result=f"Ann, {run} orders",
        ),
        span(4, "chat gpt-5", 2_000, 3_000, **model),
    ]


def folder(tmp_path: Path) -> str:
    for run in range(RUNS):
        document = {"resourceSpans": [{"scopeSpans": [{"spans": spans(run)}]}]}
        (tmp_path / f"{run:02}.jsonl").write_text(json.dumps(document) + "\n")
    return str(tmp_path)


@pytest.mark.parametrize("jobs", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_one_run_has_what_all_of_them_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], jobs: str
) -> None:
    where = folder(tmp_path)

    def printed(*arguments: str) -> str:
        assert invoke([where, "--jobs", jobs, *arguments]) == 0
        return capsys.readouterr().out

    def found(trace: dict[str, Any]) -> list[tuple[str, str]]:
        return [(one["code"], one["why"]) for one in trace["findings"]]

    whole = {one["trace_id"]: found(one) for one in json.loads(printed("--json"))["traces"]}
    assert [code for code, _ in whole[f"{1:032x}"]] == ["CP104"]
    for run in (0, IN_VAIN, RUNS - 1):
        trace_id = f"{run + 1:032x}"
        (alone,) = json.loads(printed("--json", "--trace", trace_id))["traces"]
        assert found(alone) == whole[trace_id]
    text = printed("--trace", f"{1:032x}")
    assert "CP104 start get_profile before" in text
    assert "over the runs: 11 of 12 runs call it so; 1 would have run it in vain" in text
    assert "CP104" not in printed("--trace", f"{IN_VAIN + 1:032x}")


def test_what_the_report_says_next_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["whatif", folder(tmp_path), "--trace", f"{1:032x}", "--apply", "CP104"]) == 0
    assert capsys.readouterr().out.startswith("1 run: CP104\n")


def test_a_run_that_is_alone_shows_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder(tmp_path)
    assert invoke([str(tmp_path / "00.jsonl")]) == 0
    assert "CP104" not in capsys.readouterr().out
