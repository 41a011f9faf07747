"""Paths that are known without walking: by construction, and by a careful person's judgement."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from statistics import mean
from types import ModuleType
from typing import Any

import pytest

from benchmarks.paths import wrong_share
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.model import Trace
from causepath_analyzer.read import read
from tests.support.drawn import MS, drawn
from tests.support.known_paths import SPOILED, known

JUDGED = Path(__file__).parents[4] / "shared" / "paths"


@pytest.mark.parametrize(
    ("spoiling", "most"),
    [("as they are", 0), ("late, lost, skewed, coarse", 0.01)]
    + [(name, 0.005) for name in list(SPOILED)[1:-1]],
)
def test_paths_known_by_construction(spoiling: str, most: float) -> None:
    random = Random(3)
    traces = [known(random) for _ in range(80)]
    shares = [wrong_share(trace, SPOILED[spoiling](trace, random)) for trace in traces]
    assert mean(shares) <= most


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_paths_known_by_construction() -> None:
    random = Random(4)
    for name, spoil in SPOILED.items():
        traces = [known(random) for _ in range(3_000)]
        shares = [wrong_share(trace, spoil(trace, random)) for trace in traces]
        assert mean(shares) <= (0.01 if name.startswith("late,") else 0.005), name


def spent(trace: Trace) -> tuple[str, int]:
    """The path in ms by kind, most first, model calls whole; and what went on after the run."""
    kinds: dict[str, int] = {}
    for kind, ns in explained(trace).wall.path.items():
        name = "llm" if kind in ("first_token", "generation") else kind
        kinds[name] = kinds.get(name, 0) + ns // MS
    said = " ".join(f"{k} {ns}" for k, ns in sorted(kinds.items(), key=lambda item: -item[1]))
    return said, trace.after_ns // MS


@pytest.mark.parametrize(
    ("drawing", "expected"),
    [
        pytest.param(
            """
            other post      |------------------|          kind=server
              agent chat     |------------------|
                llm a         |------|
                tool x                |--|
                llm b                     |----|
            """,
            ("llm 12 agent 4 tool 3 other 1", 0),
            id="a stream ends a moment after the request",
        ),
        pytest.param(
            """
            other post      |---|                         kind=server
              agent chat     |------------------|
                retrieval r   |----|
                llm b              |-----------|
            """,
            ("llm 12 retrieval 5 agent 2 other 1", 0),
            id="a handler returns before its agent begins to write",
        ),
        pytest.param(
            """
            agent run       |------------------------------|
              llm a         |-------------|
              llm b                       |---------------|
              llm remember                                |-----|
            """,
            ("llm 30 agent 1", 5),
            id="a task in the background at the end",
        ),
        pytest.param(
            """
            agent run       |------------|
              network hook  |----------------------|
              llm a          |--|
              tool x             |--|
              llm b                  |-|
            """,
            ("agent 5 llm 5 tool 3", 10),
            id="a request in the background from the start on",
        ),
        pytest.param(
            """
            agent run       |------------------|
              llm a         |--|
              tool slow         |---------------------|
              tool quick        |-|
              llm b                   |--------|     results=slow,quick
            """,
            ("llm 12 tool 6 agent 1", 7),
            id="a tool that was given up",
        ),
        pytest.param(
            """
            agent run       |------------------|
              llm a         |-------------------------|
              llm b                |----------|      carries=a
            """,
            ("llm 18 agent 1", 7),
            id="a stream that was never closed",
        ),
        pytest.param(
            """
            agent run       |--------------------|
              retrieval r   |---------|
              llm b                  |----------|
            """,
            ("llm 11 retrieval 9 agent 1", 0),
            id="a retriever closed when the next call had begun",
        ),
        pytest.param(
            """
            agent run       |--------------------|
              database d    |-----------------------------------------|
            """,
            ("agent 21", 21),
            id="a query that goes on long after",
        ),
        pytest.param(
            """
            agent run       |--------------------|
            llm a             |----|                     parent=gone
            tool x                 |--|                  parent=gone
            llm b                        |----|          parent=else
            """,
            ("llm 10 agent 8 tool 3", 0),
            id="the steps between run and calls were lost",
        ),
        pytest.param(
            """
            agent run       |--------------------|
            tool x             |--|                      parent=gone
            tool y             |------|                  parent=gone
            llm b                     |----|             parent=gone
            """,
            ("agent 9 tool 7 llm 5", 0),
            id="those of one lost parent hang together",
        ),
        pytest.param(
            """
            other post      |--------------------|       kind=server
              agent run      |------------------|
              llm a           |-------|
              tool x                  |--|
              llm b                      |-----|
            """,
            ("llm 14 tool 3 other 2 agent 2", 0),
            id="an agent's span beside its own calls",
        ),
        pytest.param(
            f"""
            other post      |{"-" * 998}|                kind=server
              agent run         |{"-" * 979}|
              llm a            |{"-" * 390}|
              tool x            {" " * 391}|{"-" * 198}|
              llm b             {" " * 591}|{"-" * 380}|
            """,
            ("llm 771 tool 199 other 19 agent 10", 0),
            id="an agent's span that begins a little after its first call",
        ),
        pytest.param(
            """
            agent run       |--------------------|
              llm a         |-----------------|
              retrieval r      |---|
              llm b                   |---------|
            """,
            ("llm 10 beside 6 retrieval 4 agent 1", 0),
            id="a branch with a hole",
        ),
        pytest.param(
            """
            agent run       |------------------|
              llm fast       |-----------------|
              llm slow       |-------------------------|
            """,
            ("llm 18 agent 1", 8),
            id="two models asked for the same, the first to answer is taken",
        ),
        pytest.param(
            """
            agent run       |--------------------|
              llm a         |---|                        error=429
              llm b                  |----------|
            """,
            ("llm 11 retry 9 agent 1", 0),
            id="the user's own retry",
        ),
        pytest.param(
            """
            agent session   |------------------------------------|
              llm a         |---|
              human ask         |------------------|
              agent sub        |------------|
                llm s           |--------|
                tool t                   |--|
              llm b                                |------------|
            """,
            ("llm 26 human 7 tool 3 agent 1", 0),
            id="a person is waited for while a sub-agent works",
        ),
        pytest.param(
            """
            other api       |----|                       kind=server service=api
              other send      |-|                        kind=producer service=api
                other work          |------------|       kind=consumer service=worker
                  llm a              |---------|         service=worker
            """,
            ("llm 10 other 8 uncovered 3", 0),
            id="a queue between two services",
        ),
        pytest.param(
            """
            agent run       |------|
              llm a          |----|
              llm judge             |-----|
            """,
            ("llm 5 agent 2", 7),
            id="a judge after the run",
        ),
        pytest.param(
            """
            other post      |--|                         kind=server
              agent job          |--------|
                llm a             |------|
            """,
            ("llm 7 other 3 uncovered 2 agent 2", 0),
            id="a request that only began a job",
        ),
        pytest.param(
            """
            chain run       |--------------------|
              llm a          |------------------|
              tool x            |--|
              tool y                |--|
              llm b                      |------|
            """,
            ("llm 10 tool 6 agent 5", 0),
            id="a call that was closed when the next one had begun",
        ),
        pytest.param(
            """
            other post      |--------------------|       kind=server service=gate
              other resolve  |------------------|        service=gate
              agent run       |--------------|           kind=server service=agents
                llm a          |------------|
            """,
            ("llm 13 other 6 agent 2", 0),
            id="a server's span beside the step that called it",
        ),
        pytest.param(
            """
            agent run       |--------------------|
              llm title      |-------------------------|
              llm a           |----|
              tool x                |---|
              llm b                      |------|
            """,
            ("llm 12 agent 5 tool 4", 6),
            id="a tool that follows one call while another is open",
        ),
        pytest.param(
            """
            agent run       |--------------------|
              retrieval v    |-------|
              llm title         |----------------------|
              tool x                  |---------|
            """,
            ("tool 10 retrieval 8 agent 3", 6),
            id="a tool that follows a retrieval while a call is open",
        ),
        pytest.param(
            """
            agent run       |--------------------|
              chain one      |--->
                llm a         |-|
                tool x            |->
              chain two                |--------|
                llm b                   |------|
            """,
            ("llm 9 agent 7 tool 5", 0),
            id="steps and tools without an end last until the next step",
        ),
        pytest.param(
            """
            agent run       |-----|
              llm a         |-----------|        issued=c
              tool x                     |--|    call_id=c
              llm b                          |-----|   results=x
            """,
            ("llm 18 tool 3 agent 2", 0),
            id="what the run was for goes on after its span",
        ),
        pytest.param(
            """
            other send      |-|                          kind=producer
              network take   |----------------|
            """,
            ("network 17 other 1", 0),
            id="what a message was sent for",
        ),
        pytest.param(
            """
            agent run       |--------------------|
              llm a          |-------|
              tool x                  |---->
            """,
            ("tool 11 llm 8 agent 2", 0),
            id="a tool without an end was waited for to the end",
        ),
    ],
)
def test_judged_by_a_person(drawing: str, expected: tuple[str, int]) -> None:
    assert spent(drawn(drawing)) == expected


def test_a_held_stream_waited_for_its_first_token_as_long_as_on_the_path() -> None:
    trace = drawn(
        """
        agent run    |--------------------|
          llm one     |------------------|   ttft=6 generated=5
        """
    )
    wall = explained(trace).wall
    assert wall.path["first_token"] == wall.kind_sums["first_token"] == 6 * MS
    assert "generation" not in wall.path


def test_the_time_of_a_tool_is_counted_once_whatever_lies_in_it() -> None:
    trace = drawn(
        """
        agent run          |--------------------|
          llm one          |--|
          tool x               |---------|
            chain step          |------|
            database query             |-|
        """
    )
    spent_ms = {kind: ns // MS for kind, ns in explained(trace).wall.kind_sums.items()}
    assert spent_ms == {"agent": 21, "llm": 3, "tool": 10, "database": 2}


@contextmanager
def judged() -> Iterator[tuple[ModuleType, ModuleType]]:
    """The traces with a careful person's answers, used in place where they are."""
    if not JUDGED.exists():
        pytest.skip("the judged traces are not here")
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path.insert(0, str(JUDGED))
    try:
        loaded = []
        for name in ("cases", "otlp"):
            spec = importlib.util.spec_from_file_location(name, JUDGED / f"{name}.py")
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)
            loaded.append(module)
        yield loaded[0], loaded[1]
    finally:
        sys.path.remove(str(JUDGED))
        sys.dont_write_bytecode = before
        for name in ("cases", "otlp"):
            sys.modules.pop(name, None)


def test_what_a_careful_person_said(tmp_path: Path) -> None:
    with judged() as (cases, otlp):
        wrong = []
        for case in cases.CASES:
            path = tmp_path / "trace.json"
            path.write_text(json.dumps(otlp.otlp(case)))
            (trace,) = read([str(path)]).traces
            kinds: dict[str, Any] = {}
            for kind, ns in explained(trace).wall.path.items():
                name = "llm" if kind in ("first_token", "generation") else kind
                kinds[name] = kinds.get(name, 0) + ns / 1e9
            allowed = case.get("tolerance", 0.0021)
            off = otlp.wrong(case, trace.wall_ns / 1e9, kinds)
            if off > allowed or abs(trace.after_ns / 1e9 - case["after"]) > allowed:
                wrong.append((case["name"], off, kinds, trace.after_ns))
        assert len(cases.CASES) >= 20
        assert wrong == []
