"""`causepath diff`: two sets of runs, two runs, and one set with itself."""

import json
from pathlib import Path

import pytest

from causepath_analyzer.cli import invoke
from tests.analyzer.cli.test_check import trace, traces
from tests.analyzer.cli.test_cli import folder as folder

TEXT = """\
40 runs before, 40 after  research

                     before     after    change             range
 wall, median         9.95s    12.93s    +2.98s slower      +1.98s to +4.03s
 perceived, median    9.95s    12.93s    +2.98s slower      +1.98s to +4.03s
 model calls, mean      2.0       2.0         0 no change   0 to 0
 tool calls, mean       1.0       1.0         0 no change   0 to 0
 tokens in, mean      6,000     6,000         0 no change   0 to 0
 tokens out, mean       600       600         0 no change   0 to 0
 cost, mean         $0.0360   $0.0360         0 no change   0 to 0
 failed                  0%        0%         0 cannot tell -9 pt to +9 pt

Mean wall 10.00s -> 13.00s, +3.00s, because
     +3.00s  the same work is slower
       +2.10s  model calls: 3.50s -> 4.55s a call
       +900ms  tool fetch: 3.00s -> 3.90s a call

Findings, share of the runs    before     after
  CP402                           50%      100%
"""


def test_text(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    traces(folder / "before.jsonl", 40, 10)
    traces(folder / "after.jsonl", 40, 13)
    assert invoke(["diff", "before.jsonl", "after.jsonl"]) == 1
    assert capsys.readouterr().out == TEXT
    assert invoke(["diff", "after.jsonl", "before.jsonl"]) == 0
    assert "faster" in capsys.readouterr().out
    assert invoke(["diff", "--self", "before.jsonl"]) == 3
    assert "20 runs before, 20 after" in capsys.readouterr().out


def test_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.jsonl").write_text(trace(0, 10))
    (folder / "b.jsonl").write_text(trace(1, 12, "other"))
    assert invoke(["diff", "a.jsonl", "b.jsonl", "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert (told["schema"], told["runs"]) == ("causepath.diff/1", [1, 1])
    assert told["agents"] == [{"research": 1.0}, {"other": 1.0}]
    wall = next(one for one in told["figures"] if one["name"] == "wall")
    assert (wall["change"], wall["low"], wall["high"]) == (2_000_000_000, None, None)
    assert sum(one["change_ns"] for one in told["causes"]) == told["change_ns"] == 2_000_000_000
    assert told["changed"] == [{"what": "agents", "before": ["research"], "now": ["other"]}]


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["a.jsonl"], 2, "compare what? Write: causepath diff BEFORE AFTER"),
        (["a.jsonl", "a.jsonl", "--self"], 2, "compare what?"),
        (["a.jsonl", "--self"], 5, "there are not two runs to compare"),
        (["a.jsonl", "gone.jsonl"], 4, "gone.jsonl: no such file or folder"),
    ],
)
def test_what_is_refused(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    told: str,
) -> None:
    (folder / "a.jsonl").write_text(trace(0, 10))
    assert invoke(["diff", *arguments]) == status
    assert told in capsys.readouterr().err


def test_another_mix_of_agents_is_a_cause(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick, slow = (
        [trace(i, 4, "quick") for i in range(40)],
        [trace(i, 9, "slow") for i in range(40)],
    )
    (folder / "before.jsonl").write_text("".join(quick[:10] + slow[20:30]))
    (folder / "after.jsonl").write_text("".join(quick[:4] + slow[20:36]))
    assert invoke(["diff", "before.jsonl", "after.jsonl"]) == 3
    told = capsys.readouterr().out
    assert "other agents ran: quick 50% -> 20%, slow 50% -> 80% of the runs" in told
    assert told.endswith(
        "     +1.50s  slower agents ran more often\n"
        "       +2.70s  agent slow: 50% -> 80% of the runs\n"
        "       -1.20s  agent quick: 50% -> 20% of the runs\n"
    )


def test_a_figure_that_one_side_does_not_have_is_unknown(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    traces(folder / "before.jsonl", 9, 10)
    text = (folder / "before.jsonl").read_text()
    (folder / "after.jsonl").write_text(text.replace("claude-opus-5-5", "nobody-knows-it"))
    assert invoke(["diff", "before.jsonl", "after.jsonl"]) == 3
    assert "cost, mean         $0.0360   unknown         ? cannot tell" in capsys.readouterr().out


def test_a_cache_that_was_warm_on_one_side_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warm = '{"key": "gen_ai.usage.cache_read.input_tokens", "value": {"intValue": 2500}}, '
    tokens = '{"key": "gen_ai.usage.input_tokens"'
    before = [trace(i, 10) for i in range(8)]
    (folder / "cold.jsonl").write_text("".join(before))
    (folder / "warm.jsonl").write_text("".join(before).replace(tokens, warm + tokens))
    assert invoke(["diff", "cold.jsonl", "warm.jsonl"]) == 0
    told = capsys.readouterr().out
    assert "caches differ: they gave 0% of the first input before, 83% after" in told
    assert "cost without any cache $0.0360 before, $0.0360 after" in told
    assert "cheaper" in told


def test_a_prediction_beside_is_held_to_account(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "was").mkdir()
    traces(folder / "was/before.jsonl", 40, 10)
    traces(folder / "after.jsonl", 40, 8.5)
    traces(folder / "others.jsonl", 40, 9)
    faster = ["whatif", "was/before.jsonl", "--apply", "scale tool:fetch=0.5"]
    assert invoke([*faster, "--save", "was/p.json"]) == 0
    assert invoke(["whatif", "others.jsonl", *faster[2:], "--save", "other.json"]) == 0
    (folder / "broken.json").write_text((folder / "was/p.json").read_text()[:150])
    capsys.readouterr()
    invoke(["diff", "was/before.jsonl", "after.jsonl"])
    printed = capsys.readouterr().out
    assert "\nwas/p.json: scale tool:fetch=0.5\n  Predicted -1.4" in printed
    assert "measured -1.4" in printed
    assert "other.json" not in printed
    invoke(["diff", "was/before.jsonl", "after.jsonl", "--json"])
    (told,) = json.loads(capsys.readouterr().out)["predictions"]
    assert (told["file"], told["problem"]) == ("was/p.json", None)
    assert told["predicted_saving_ns"] == pytest.approx(1_500_000_000, rel=0.02)
    assert told["measured_saving_ns"] == pytest.approx(1_500_000_000, rel=0.02)
    # What it is not about is no outcome, and no error of the comparison.
    traces(folder / "billing.jsonl", 40, 8, "billing")
    invoke(["diff", "was/before.jsonl", "billing.jsonl"])
    assert "these traces are not what the prediction is about" in capsys.readouterr().out
    assert not (folder / ".causepath").exists()
