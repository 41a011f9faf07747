"""Conditions on runs: what they pick, what nobody can tell, and what is no condition."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from causepath_analyzer.analyses.budgets.conditions import compared, condition
from causepath_analyzer.analyses.budgets.measures import Used
from causepath_analyzer.analyses.budgets.wording import WordingError
from causepath_analyzer.analyses.run import Run, explained
from causepath_analyzer.model import Label
from tests.support.drawn import MS, drawn

AGENT = explained(
    drawn(
        """
        agent research   |--------------------|  service=api session=s1
          llm chat         |-----|               tokens=1000/50 model=claude-opus-5
          tool search             |----|         asked_by=chat
          tool fetch                     |---|   asked_by=chat
        """,
        unit_ns=100 * MS,
    ),
    with_cost=True,
)
UNPRICED = explained(
    drawn("agent t |----| error=timeout\n  llm c |--| tokens=1/1 model=nobody-knows-it"),
    with_cost=True,
)


@pytest.mark.parametrize(
    ("text", "of_agent", "of_unpriced"),
    [
        ("wall > 2s", True, False),
        ("wall>2s", True, False),
        ("wall <= 2100ms", True, True),
        ("wall == 2100ms", True, False),
        ("calls.tool >= 2", True, False),
        ("calls.tool != 2", False, True),
        ("tokens.input < 1k", False, True),
        ("cost > $0.001", True, None),
        ("not cost > $0.001", False, None),
        ("cost > $0.001 and wall > 2s", True, False),
        ("cost > $0.001, wall > 2s", True, False),
        ("cost > $0.001 or wall > 2s", True, None),
        ("cost > $0.001 or wall < 2s", True, True),
        ("CP101", True, False),
        ("CP101 == 0", False, True),
        ("findings > 0", True, False),
        ("agent = research", True, False),
        ("agent != research", False, True),
        ('agent = "re*"', True, False),
        ("agent = Research", False, False),
        ("tool = f?tch", True, False),
        ("tool != search", False, True),
        ("model = claude-*", True, False),
        ("service = api", True, None),
        ("session = s2 or service = api", True, None),
        ("user = me", None, None),
        ("status = failed", False, False),
        ("status = timed_out", False, True),
        ("status = 'timed out'", False, True),
        ("wall > 1s and (agent = x or not tool = nothing)", True, False),
        ("wall > 1s or agent = x and agent = y", True, False),
        ("not not wall > 1s", True, False),
        ("not (wall > 1s and agent = research)", False, True),
    ],
)
def test_what_is_picked(text: str, of_agent: bool | None, of_unpriced: bool | None) -> None:
    holds = condition(text).holds
    assert (holds(AGENT), holds(UNPRICED)) == (of_agent, of_unpriced)


@pytest.mark.parametrize(
    ("text", "column", "told"),
    [
        ("", 1, "expected a condition like wall > 5s"),
        ("wal > 5s", 1, "nothing of a run is called 'wal'; did you mean wall?"),
        ("wall", 5, "expected a sign, as in wall > 5s"),
        ("wall > ", 8, "expected what wall is compared with, as in wall > 5s"),
        ("wall > 5", 8, "'5' is no amount for wall; write it like 5s, 800ms or 2m"),
        ("cost > 5s", 8, "'5s' is no amount for cost"),
        ("agent > x", 7, 'agent is a name: write = or !=, as in agent = "a*"'),
        ("wall > 5s agent = x", 11, "expected and, or, or nothing more"),
        ("wall > 5s and", 14, "expected a condition"),
        ("(wall > 5s", 11, "expected )"),
        ("wall > 5s)", 10, "expected and, or, or nothing more"),
        ('agent = "x', 9, "'\"' means nothing here"),
        ("wall > 5s or or cost > $1", 14, "expected a condition"),
        ("__import__('os')", 11, "expected and, or, or nothing more"),
        ("path.tol > 5s", 1, "did you mean path.tool? An attribute that is called so goes in quo"),
        ("tenant = ", 10, "expected what tenant is compared with, as in tenant = acme"),
        ("tenant >= acme", 11, "'acme' is no number, which tenant could be at least"),
        ("tenant > nan", 10, "'nan' is no number, which tenant could be more than"),
        ('"" = x', 1, "an attribute has a name"),
        ("tenant acme", 8, "expected and, or, or nothing more"),
        ("not " * 60 + "CP101", 201, "more than 50 conditions in each other"),
        ("(" * 5000, 51, "more than 50 conditions in each other"),
    ],
)
def test_what_is_no_condition(text: str, column: int, told: str) -> None:
    with pytest.raises(WordingError) as raised:
        condition(text)
    assert told in str(raised.value)
    assert raised.value.column == column


def labelled(**said: tuple[str, ...]) -> Run:
    """A run whose outermost span says these values of attributes."""
    trace = drawn("agent a |----|")
    labels = tuple(Label(name.replace("__", "."), values) for name, values in said.items())
    spans = (replace(trace.spans[0], labels=labels),)
    return explained(replace(trace, spans=spans))


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("tenant.id = acme", True),
        ("tenant.id = ac*", True),
        ("tenant.id != acme", False),
        ("tenant.id = Acme", False),
        ("tenant.id", True),
        ("not tenant.id", False),
        ("nobody", False),
        ("nobody = x", None),
        ("nobody != x", None),
        ("not nobody", True),
        ("nobody > 1", None),
        ("tags = eu and tags = prod", True),
        ("tags != eu", False),
        ("tags > 1", None),
        ("retries > 2", True),
        ("retries > 3", False),
        ("retries >= 3.0", True),
        ("retries < 1e1", True),
        ("retries <= -1", False),
        ("retries = 3", True),
        ("retries == 3", True),
        ('"model" = mine', True),
        ("model = mine", False),
        ("'wall' = high", True),
        ("expr = \"a=b, (c) 'd'\"", True),
        ("user.id = u1 and user_name = x", True),
        ("session.id = s", None),
        ("tenant.id = acme or wall > 1h", True),
    ],
)
def test_attributes(text: str, truth: bool | None) -> None:
    run = labelled(
        tenant__id=("acme",),
        tags=("eu", "prod"),
        retries=("3",),
        model=("mine",),
        wall=("high",),
        expr=("a=b, (c) 'd'",),
        user__id=("u1",),
        user_name=("x",),
    )
    assert condition(text).holds(run) is truth


def test_attributes_that_have_to_be_read() -> None:
    text = '(a.b = 1 or not "c d" > 2) and wall > 1s, CP101, user = x, e'
    assert condition(text).attributes == {"a.b", "c d", "e"}


SIGNS = ("<", "<=", ">", ">=", "==", "!=")
OPPOSITES = {"<": ">=", "<=": ">", "==": "!="}


@given(st.integers(0, 3), st.booleans(), st.integers(0, 3), st.integers(0, 9))
def test_what_may_have_been_more_is_told_only_where_it_does_not_matter(
    least: int, is_more: bool, limit: int, more: int
) -> None:
    told = Used(least, "something") if is_more else Used(least)
    for sign in SIGNS:
        truth = compared(Used(least + (more if is_more else 0)), sign, limit)
        assert compared(told, sign, limit) in (truth, None)
        assert is_more or compared(told, sign, limit) is truth
        assert compared(Used(None), sign, limit) is None
    for sign, opposite in OPPOSITES.items():
        one, other = compared(told, sign, limit), compared(told, opposite, limit)
        assert (one is None and other is None) or one is not other


@given(st.text(alphabet="wall>5s()not and,=\"'CP1 é\n", max_size=30))
@settings(max_examples=50)
def test_any_text_is_a_condition_or_says_why_not(text: str) -> None:
    with suppress(WordingError):
        assert condition(text).holds(AGENT) in (True, False, None)


def test_a_long_condition_is_no_deep_one() -> None:
    for word in ("and", "or"):
        assert condition(f" {word} ".join(["wall > 1s"] * 5000)).holds(AGENT) is True


def test_codes_that_are_asked_for() -> None:
    assert condition("CP101 or not CP501 > 1 and wall > 1s").codes == {"CP101", "CP501"}
    assert condition("findings == 0").codes == {"findings"}
    assert condition("wall > 1s").codes == set()
