"""What would make a run faster or cheaper: each change in a replay, then all of them together.

A rule that raises costs only itself: it is a fault, and the others go on.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import combinations
from pathlib import PurePath
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.claims import saved_together
from causepath_analyzer.analyses.findings.rule import (
    Candidate,
    Finding,
    Rule,
    Saving,
    added,
    largest_first,
    worth_saying,
)
from causepath_analyzer.analyses.findings.rules import EVERY
from causepath_analyzer.analyses.path.causes import Causes
from causepath_analyzer.analyses.replay.change import Change, SideBySide
from causepath_analyzer.analyses.replay.edits import Editing
from causepath_analyzer.analyses.replay.schedule import Schedule, replayed, schedule


class Fault(Struct, frozen=True):
    """A rule that failed on a run, and how."""

    code: str
    why: str


class Candidates(Struct, frozen=True):
    """The candidates of a run by the code of their rule, whatever they save, and the rules that
    failed."""

    by_code: Mapping[str, Sequence[Candidate]]
    faults: tuple[Fault, ...] = ()


class Opportunities(Struct, frozen=True):
    """``findings`` with the largest saving first, each alone; ``together_ns`` is what all of them
    save in one replay, and ``together_usd`` in money: neither is a sum."""

    findings: tuple[Finding, ...] = ()
    together_ns: int = 0
    together_usd: Decimal | None = None
    faults: tuple[Fault, ...] = ()


def candidates(facts: Facts, rules: Iterable[Rule] = EVERY) -> Candidates:
    """Asks `rules` for everything that could be otherwise in a run, whatever it saves."""
    found = {rule.code: _asked(rule, facts) for rule in rules}
    return Candidates(
        {code: one for code, one in found.items() if not isinstance(one, Fault)},
        tuple(one for one in found.values() if isinstance(one, Fault)),
    )


def _asked(rule: Rule, facts: Facts) -> Sequence[Candidate] | Fault:
    try:
        return tuple(rule.find(facts))
    except Exception as error:
        return _fault(rule.code, error)


def opportunities(facts: Facts, rules: Iterable[Rule] = EVERY) -> Opportunities:
    """Finds what is worth saying about a run: savings by replay, and those that rules know.

    Where times mean nothing, only rules are asked that have nothing to replay.
    """
    asked = [rule for rule in rules if rule.change is None or not facts.trace.untrusted]
    found = candidates(facts, asked)
    faults = {fault.code: fault for fault in found.faults}
    replay = _Replay(facts)
    findings: list[_Found] = []
    for rule in asked:
        for group in _grouped(found.by_code.get(rule.code, ())):
            changes = [one.change for one in group if one.change is not None]
            try:
                saving = _saving(replay, rule, group, changes)
            except Exception as error:
                faults.setdefault(rule.code, _fault(rule.code, error))
                continue
            if saving is not None:
                finding = _finding(rule, group, saving, facts.trace.wall_ns)
                findings.append(_Found(finding, changes, saving))
    findings.sort(key=lambda one: largest_first(one.saving))
    together_ns = replay.together_ns(findings)
    if isinstance(together_ns, Fault):
        faults[together_ns.code] = together_ns
        together_ns = findings[0].saving.ns or 0
    together = saved_together(facts, [one.saving for one in findings])
    return Opportunities(
        tuple(_overlapping(findings, (*together.pairs, *_of_same_tools(facts, findings)))),
        together_ns,
        together.usd,
        tuple(faults.values()),
    )


class _Found(Struct, frozen=True):
    """A finding, with the ``changes`` that a replay makes for it and the claims of its
    ``saving``."""

    finding: Finding
    changes: Sequence[Change]
    saving: Saving


def _overlapping(found: Sequence[_Found], pairs: Iterable[tuple[int, int]]) -> Iterable[Finding]:
    """Says of each finding with which others it makes one of `pairs`."""
    codes: dict[int, dict[str, None]] = {}
    for first, second in pairs:
        codes.setdefault(first, {})[found[second].finding.code] = None
        codes.setdefault(second, {})[found[first].finding.code] = None
    for n, one in enumerate(found):
        if n in codes:
            yield replace(one.finding, overlaps=tuple(sorted(codes[n])))
        else:
            yield one.finding


class _Replay:
    """The schedule of a run, made when something is first replayed."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._plan: Schedule | None = None

    def saves_ns(self, changes: Iterable[Change]) -> int:
        """Replays the run with all of `changes` and gives the wall time that they save."""
        if self._plan is None:
            self._plan = schedule(self.facts.trace, self.facts.causes)
        editing = Editing(self._plan, self.facts.kinds)
        for change in changes:
            change.apply(editing)
        return self.facts.trace.wall_ns - replayed(self._plan, editing.done()).wall_ns

    def together_ns(self, findings: "Sequence[_Found]") -> int | Fault:
        """Replays the changes of all `findings` at once."""
        changing = [one for one in findings if one.changes]
        if len(changing) < 2:
            return sum(one.saving.ns or 0 for one in changing)
        try:
            return self.saves_ns(change for one in changing for change in one.changes)
        except Exception as error:
            codes = dict.fromkeys(one.finding.code for one in changing)
            return _fault(" with ".join(codes), error)


_COMPARED: Final = 32
"""Findings that are compared with each other."""


def _of_same_tools(facts: Facts, found: Sequence[_Found]) -> Iterable[tuple[int, int]]:
    """Finds the pairs of findings of two kinds that are about the same calls of tools: two or more,
    and half of what the smaller one is about."""
    tools = frozenset(facts.numbers.get("tool", ()))
    about = [tools.intersection(one.finding.spans) for one in found[:_COMPARED]]
    for one, other in combinations(range(len(about)), 2):
        both = len(about[one] & about[other])
        least = min(len(about[one]), len(about[other]))
        if both >= 2 and 2 * both > least and found[one].finding.code != found[other].finding.code:
            yield one, other


def _saving(
    replay: _Replay, rule: Rule, group: Sequence[Candidate], changes: Sequence[Change]
) -> Saving | None:
    """Works out what `group` saves; ``None`` if that is not worth saying.

    What rules say without a replay is theirs to judge.
    """
    own = added(one.saving for one in group)
    if not changes:
        return own
    wall_ns = replay.facts.trace.wall_ns
    cheaper = _is_cheaper(replay.facts, own)
    most_ns = sum(_at_most_ns(replay.facts.causes, one) for one in group if one.change is not None)
    if not cheaper and not worth_saying(most_ns, wall_ns, rule.least_ns):
        return None
    saving_ns = replay.saves_ns(changes)
    if not cheaper and not worth_saying(saving_ns, wall_ns, rule.least_ns):
        return None
    return replace(own, ns=saving_ns)


def _is_cheaper(facts: Facts, saving: Saving) -> bool:
    """Tells whether 1 % of the cost of the run or more is saved; of its tokens without a price."""
    whole = facts.cost.usd if saving.usd else None
    if saving.usd is not None:
        return saving.usd > 0 and (whole is None or saving.usd * 100 >= whole)
    used = facts.usage.tokens
    return bool(saving.tokens) and (saving.tokens or 0) * 100 >= used.input + used.output


def _grouped(found: Iterable[Candidate]) -> Iterable[Sequence[Candidate]]:
    """Groups candidates that one change of the code would mend: small ones may add up."""
    groups: dict[tuple[str, str], list[Candidate]] = {}
    for candidate in found:
        groups.setdefault((candidate.evidence, candidate.place), []).append(candidate)
    return groups.values()


def _at_most_ns(causes: Causes, candidate: Candidate) -> int:
    """Bounds what `candidate` can save, without a replay: there may be thousands."""
    started_ns, ended_ns = causes.started_ns, causes.ended_ns
    durations = [ended_ns[i] - started_ns[i] for i in candidate.spans]
    window = ended_ns[max(candidate.spans)] - started_ns[candidate.spans[0]]
    most_ns = max(window, sum(durations))
    if isinstance(candidate.change, SideBySide):
        most_ns -= min(durations, default=0)  # one of them remains
    return most_ns


def _finding(rule: Rule, group: Sequence[Candidate], saving: Saving, wall_ns: int) -> Finding:
    first, times = group[0], len(group)
    return Finding(
        code=rule.code,
        title=first.title if times == 1 else f"{first.plural}, {times} times",
        spans=tuple(span for one in group for span in one.spans),
        saving=replace(saving, claims=()),
        share=None if saving.ns is None or not wall_ns else saving.ns / wall_ns,
        evidence=first.evidence,
        why=first.why if times == 1 else f"This happens {times} times. The first time: {first.why}",
        fix=first.fix,
        where=first.where,
        times=times,
        refuted_by=first.refuted_by,
        at_most=any(one.at_most for one in group),
        replayed=any(one.change is not None for one in group),
        cache=first.cache,
        over_runs=first.over_runs,
    )


_LONGEST: Final = 120


def _fault(code: str, error: Exception) -> Fault:
    """Describes `error` by its type, its text, and the line that raised it."""
    said = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST]
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    if at is not None:
        said += f", {PurePath(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno}"
    return Fault(code, said)
