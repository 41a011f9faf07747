"""Rules of findings: their table, what they may say, and what happens if one fails."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import ClassVar

import pytest
from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings import rules
from causepath_analyzer.analyses.findings.opportunities import candidates, opportunities
from causepath_analyzer.analyses.findings.rule import UNKNOWN, Candidate, Rule, Saving, added
from causepath_analyzer.analyses.findings.rules import EVERY, RULES, chosen, misnamed
from causepath_analyzer.analyses.predictions.whatif import what_if
from causepath_analyzer.analyses.replay.change import Change, SideBySide
from causepath_analyzer.analyses.replay.edits import Editing, edit
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.analyses.run_view import run_view
from causepath_analyzer.analyses.summary.brief import brief
from causepath_analyzer.analyses.summary.summary import summary
from causepath_analyzer.errors import UsageError
from causepath_analyzer.report.json import trace_json
from causepath_analyzer.report.run_text import run_text
from causepath_analyzer.report.summary_text import summary_text
from causepath_analyzer.report.waterfall import BLOCKS
from tests.support.drawn import MS, drawn

TWO_TOOLS = """
    agent run    |------------------------|
      llm one     |---|
      tool t           |----|                 asked_by=one
      tool u                |-------|         asked_by=one
      llm two                       |---|
"""
TRACE = drawn(TWO_TOOLS, unit_ns=100 * MS)
USD = Decimal("0.05")


def rule(
    find: Callable[[Facts], Iterable[Candidate]],
    code: str = "CP999",
    change: type[Change] | None = None,
) -> Rule:
    """A rule that no registry has."""
    return Rule(
        code=code,
        title="Money in the wind",
        what="",
        evidence="",
        saving="",
        refuted_by="",
        fix="",
        find=find,
        change=change,
    )


def candidate(saving: Saving = UNKNOWN, change: Change | None = None, place: str = "") -> Candidate:
    """Something about the first model call of `TRACE`."""
    return Candidate(
        title="keep the wind out",
        plural="keep winds out",
        place=place,
        spans=(1,),
        evidence="likely",
        why="It blows.",
        fix="Shut the window.",
        change=change,
        saving=saving,
    )


class Failing(Struct, frozen=True):
    """A change that cannot be made."""

    not_predicted: ClassVar[tuple[str, ...]] = ()

    @property
    def assumes(self) -> str:
        """Says nothing of use."""
        return "nothing"

    def apply(self, editing: Editing) -> None:
        """Fails."""
        raise LookupError("no such window")


# -- the table


def test_every_file_of_a_rule_is_in_the_table() -> None:
    folder = Path(rules.__file__).parent
    named = {path.stem: path.stem.partition("_")[0].upper() for path in folder.glob("cp*.py")}
    found = {
        stem: import_module(f"causepath_analyzer.analyses.findings.{stem}").RULE for stem in named
    }
    assert {stem: one.code for stem, one in found.items()} == named
    assert list(RULES.values()) == [found[stem] for stem in sorted(found)]


@pytest.mark.parametrize("one", EVERY, ids=list(RULES))
def test_every_rule_says_all_that_explain_prints(one: Rule) -> None:
    for text in (one.title, one.what, one.evidence, one.saving, one.refuted_by, one.fix):
        assert text
        assert text == " ".join(text.split())


def test_the_page_on_findings_lists_them() -> None:
    page = (Path(__file__).parents[3] / "docs" / "findings.md").read_text()
    rows = [line.split(" | ")[:2] for line in page.splitlines() if line.startswith("| CP")]
    assert rows == [[f"| {one.code}", one.title] for one in EVERY]


def test_candidates_change_what_their_rule_says() -> None:
    found = candidates(Facts(TRACE))
    kinds = {code: {type(one.change) for one in some} for code, some in found.by_code.items()}
    assert kinds == {one.code: {SideBySide} if one.code == "CP101" else set() for one in EVERY}
    assert RULES["CP101"].change is SideBySide


# -- which are asked


@pytest.mark.parametrize(
    ("select", "ignore", "expected"),
    [
        (None, (), list(RULES)),
        ((), (), []),
        (("CP1",), (), ["CP101", "CP102", "CP103", "CP104"]),
        (("cp101", "CP103"), (), ["CP101", "CP103"]),
        (None, ("CP102",), [code for code in RULES if code != "CP102"]),
        (None, ("CP",), []),
        (("CP",), ("CP10",), [code for code in RULES if not code.startswith("CP10")]),
        (("CP102",), ("CP1",), ["CP102"]),
        (("CP1",), ("CP1",), []),
        (("CP1",), ("cp103", "CP102"), ["CP101", "CP104"]),
    ],
)
def test_the_longer_prefix_has_the_say(
    select: tuple[str, ...] | None, ignore: tuple[str, ...], expected: list[str]
) -> None:
    assert [one.code for one in chosen(select, ignore)] == expected


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("CP101", None),
        ("cp1", None),
        ("CP", None),
        ("CPI02", "no finding has a code that begins with 'CPI02'; did you mean CP102?"),
        ("F841", f"no finding has a code that begins with 'F841'; there is {', '.join(RULES)}"),
        ("CP1011", "no finding has a code that begins with 'CP1011'; did you mean CP101?"),
        ("", f"no finding has a code that begins with ''; there is {', '.join(RULES)}"),
    ],
)
def test_a_prefix_of_no_code_is_told_with_the_nearest(prefix: str, expected: str | None) -> None:
    assert misnamed(prefix) == expected


def test_only_the_chosen_rules_are_asked() -> None:
    run = explained(TRACE, rules=chosen(None, ["CP101"]))
    assert (run.findings, run.together_ns) == ((), 0)
    assert [one.code for one in explained(TRACE).findings] == ["CP101"]


# -- what rules may say


@pytest.mark.parametrize(
    ("saving", "text", "in_json"),
    [
        (Saving(usd=USD), "$0.0500", (None, "0.05", None)),
        (Saving(tokens=1200), "1,200 tok", (None, None, 1200)),
        (Saving(usd=USD, tokens=1200), "$0.0500", (None, "0.05", 1200)),
        (Saving(ns=30 * MS, usd=USD), "likely, $0.0500", (30 * MS, "0.05", None)),
        (UNKNOWN, "keep the wind out (A)", (None, None, None)),
    ],
)
def test_a_saving_without_a_replay(
    saving: Saving, text: str, in_json: tuple[int | None, str | None, int | None]
) -> None:
    run = explained(TRACE, rules=[rule(lambda _: [candidate(saving)])])
    (found,) = run.findings
    assert (found.code, found.saving, found.replayed) == ("CP999", saving, False)
    assert run.together_ns == 0
    lines = [line.plain for line in run_text(run_view(run), BLOCKS, ["t.jsonl"])]
    assert any("CP999" in line and text in line for line in lines)
    assert lines[-1] == "Next: causepath explain CP999"
    saved_ns, usd, tokens = (f'"{one}"' if isinstance(one, str) else one for one in in_json)
    for name, value in (("ns", saved_ns), ("usd", usd), ("tokens", tokens)):
        told = "null" if value is None else value
        assert f'"saving_{name}":{told}'.encode() in trace_json(run_view(run))


def test_time_and_money_of_one_place_add_up_and_time_comes_first() -> None:
    cheap = rule(lambda _: [candidate(Saving(usd=USD)), candidate(Saving(usd=USD, tokens=3))])
    dear = rule(lambda _: [candidate(Saving(usd=Decimal(2)))], "CP998")
    run = explained(TRACE, rules=[cheap, dear, *EVERY])
    assert [(one.code, one.title, one.saving) for one in run.findings] == [
        ("CP101", "run 2 tools together", Saving(ns=500 * MS)),
        ("CP998", "keep the wind out", Saving(usd=Decimal(2))),
        ("CP999", "keep winds out, 2 times", Saving(usd=2 * USD, tokens=3)),
    ]
    assert run.together_ns == 500 * MS


def test_a_replay_adds_the_time_to_what_the_rule_knows() -> None:
    change = SideBySide(((2,), (3,)))
    both = rule(lambda _: [candidate(Saving(usd=USD), change)], change=SideBySide)
    (found,) = explained(TRACE, rules=[both]).findings
    assert found.saving == Saving(ns=500 * MS, usd=USD)
    nothing = SideBySide(((1,), (2,)))
    free = rule(lambda _: [candidate(change=nothing)], change=SideBySide)
    assert explained(drawn(TWO_TOOLS), rules=[free]).findings == ()  # below 50 ms


def test_what_two_findings_save_of_one_time_is_saved_once() -> None:
    change = SideBySide(((2,), (3,)))
    same = replace(candidate(change=change), spans=(2, 3))
    again = rule(lambda _: [same], change=SideBySide)
    run = explained(TRACE, rules=[*EVERY, again])
    assert [(one.code, one.saving.ns) for one in run.findings] == [
        ("CP101", 500 * MS),
        ("CP999", 500 * MS),
    ]
    lines = [line.plain.split() for line in run_text(run_view(run), BLOCKS, ["t.jsonl"])]
    assert ["all", "together,", "not", "1.00s", "0.50s", "20%", "->", "2.00s"] in lines


def test_a_span_of_two_findings_has_the_letter_of_the_larger() -> None:
    wide = rule(lambda _: [replace(candidate(Saving(usd=USD)), spans=(1, 2, 3))])
    rows = run_view(explained(TRACE, rules=[*EVERY, wide])).rows.rows
    assert {row.span.name: row.finding for row in rows} == {
        "one": 1,
        "t": 0,
        "u": 0,
        "two": None,
    }


def test_where_times_mean_nothing_only_what_needs_no_replay_is_said() -> None:
    flushed = replace(TRACE, untrusted=True)
    money = rule(lambda _: [candidate(Saving(usd=USD))])
    run = explained(flushed, rules=[*EVERY, money])
    assert [one.code for one in run.findings] == ["CP999"]
    assert explained(flushed).findings == ()


def test_what_is_not_known_adds_nothing() -> None:
    assert added([]) == UNKNOWN
    assert added([UNKNOWN, Saving(ns=3), Saving(ns=4, tokens=1)]) == Saving(ns=7, tokens=1)


# -- a rule that fails


def failing(_: Facts) -> Iterable[Candidate]:
    """Gives one candidate and then fails."""
    yield candidate()
    raise KeyError("temperature\nof the wind")


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (rule(failing), "KeyError: 'temperature\\nof the wind', test_rules.py:"),
        (
            rule(lambda _: [candidate(Saving(usd=USD), Failing())], change=Failing),
            "LookupError: no such window, test_rules.py:",
        ),
        (rule(lambda facts: [facts.nothing]), "AttributeError: 'Facts' object has no attribute"),  # type: ignore[attr-defined]
    ],
)
def test_a_rule_that_fails_costs_only_itself(broken: Rule, why: str) -> None:
    run = explained(TRACE, rules=[broken, *EVERY])
    assert [(one.code, one.saving.ns) for one in run.findings] == [("CP101", 500 * MS)]
    (fault,) = run.faults
    assert fault.code == "CP999"
    assert fault.why.startswith(why)
    assert run.health.notes[-1] == f"CP999 failed, please report this: {fault.why}"
    lines = [line.plain for line in run_text(run_view(run), BLOCKS, ["t"])]
    assert any(line.startswith("  CP999 failed, please report this: ") for line in lines)


def test_a_summary_counts_the_runs_in_which_a_rule_failed() -> None:
    runs = [explained(TRACE, rules=[rule(failing)]), *[explained(TRACE)] * 2]
    told = summary(brief(run) for run in runs)
    (note,) = told.health.notes
    assert note.startswith("CP999 failed in 1 of 3 runs, please report this: KeyError: ")
    assert [(one.code, one.runs) for one in told.opportunities] == [("CP101", 2)]


def test_a_summary_shows_what_saves_most_first_and_counts_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many = [
        rule(lambda _, n=n: [candidate(Saving(usd=Decimal(n)))], f"CP99{n}")  # type: ignore[misc]
        for n in range(1, 10)
    ]
    for one in many:
        monkeypatch.setitem(RULES, one.code, one)  # type: ignore[arg-type]
    told = summary(brief(explained(TRACE, rules=[*EVERY, *many])) for _ in range(2))
    codes = [one.code for one in told.opportunities]
    assert codes == ["CP101", *(f"CP99{n}" for n in range(9, 0, -1))]
    assert (told.opportunities[1].runs, told.opportunities[1].saving.usd) == (2, Decimal(18))
    lines = [line.plain for line in summary_text(told, BLOCKS, ["t"])]
    assert [line[2:7] for line in lines if line.startswith("  CP")] == codes[:8]
    assert "  and 2 more, see --json" in lines


def test_changes_that_fail_together_leave_the_largest() -> None:
    class Once(Struct):
        """A change that can be made once."""

        not_predicted: ClassVar[tuple[str, ...]] = ()
        made: int = 0

        @property
        def assumes(self) -> str:
            """Says nothing of use."""
            return "nothing"

        def apply(self, editing: Editing) -> None:
            """Fails the second time."""
            self.made += 1
            if self.made > 1:
                raise RuntimeError("once only")

    change = Once()
    cheap = rule(lambda _: [candidate(Saving(usd=USD), change)], change=Once)
    found = opportunities(Facts(TRACE), [*EVERY, cheap])
    assert [one.code for one in found.findings] == ["CP101", "CP999"]
    assert found.together_ns == 500 * MS
    assert [fault.code for fault in found.faults] == ["CP101 with CP999"]


# -- predictions


@pytest.mark.parametrize(
    ("find", "why"),
    [
        (failing, "CP999: its rule failed, please report this: KeyError: "),
        (lambda _: [candidate(Saving(usd=USD))], "CP999: it says nothing that could be replayed"),
        (lambda _: [], "CP999: no such finding in these traces; there is CP101"),
    ],
)
def test_what_cannot_be_applied_is_told(
    monkeypatch: pytest.MonkeyPatch, find: Callable[[Facts], Iterable[Candidate]], why: str
) -> None:
    monkeypatch.setitem(RULES, "CP999", rule(find))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=f"^{why}"):
        what_if([TRACE], [edit("CP999")])


def test_runs_in_which_a_rule_fails_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def now_and_then(facts: Facts) -> Iterable[Candidate]:
        """Fails on all runs but the first."""
        if facts.trace is not TRACE:
            raise ValueError("not today")
        return [candidate(change=SideBySide(((2,), (3,))))]

    monkeypatch.setitem(RULES, "CP999", rule(now_and_then, change=SideBySide))  # type: ignore[arg-type]
    found = what_if([TRACE, drawn(TWO_TOOLS, unit_ns=200 * MS)], [edit("CP999=2")])
    assert (found.runs, found.touched) == (2, 1)
    told = [one for one in found.assumes if "CP999" in one]
    assert told[0] == "CP999=2: calls run together are no slower, at most 2 at once"
    assert told[1].startswith("1 run stays as it is, as a rule failed, please report this: CP999")
    assert found.not_predicted == SideBySide.not_predicted
