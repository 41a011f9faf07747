"""How fast a model answers, from calls that were made."""

from causepath_analyzer.analyses.path.causes import causes
from causepath_analyzer.analyses.path.kinds import span_kinds
from causepath_analyzer.analyses.replay.pace import Timed, timed_calls
from tests.support.drawn import MS, drawn

TENTH = 100 * MS


def test_time_that_a_consumer_held_the_stream_is_no_pace() -> None:
    trace = drawn(
        """
        agent run     |--------------------------------|
          llm one      |--------|                         model=m ttft=2 tokens=9/4
          llm two                |------------------|     model=m ttft=2 tokens=9/4 generated=8
        """,
        unit_ns=TENTH,
    )
    kinds = span_kinds(trace)
    (calls,) = timed_calls(trace, kinds, causes(trace, kinds)).values()
    assert calls == [Timed(4, 9 * TENTH, 2 * TENTH), Timed(4, 8 * TENTH, 2 * TENTH)]
