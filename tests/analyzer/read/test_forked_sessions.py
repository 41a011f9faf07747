"""Sessions of Claude Code that were resumed or forked under a new id are counted once."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from causepath_analyzer.analyses.run import explained
from causepath_analyzer.read import read
from tests.analyzer.read.samples import iso

TOOL = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "text"}


def line(kind: str, ms: int, uuid: str, content: Any, reply: str = "") -> dict[str, Any]:
    message = {"role": kind, "content": content}
    if reply:
        usage = {"input_tokens": 100, "output_tokens": 10}
        message |= {"id": reply, "model": "m", "usage": usage}
    return {
        "type": kind,
        "uuid": uuid,
        "parentUuid": None,
        "sessionId": "older",
        "timestamp": iso(ms),
        "message": message,
    }


FIRST = [
    line("user", 0, "u1", "one"),
    line("assistant", 100, "u2", [TOOL], "msg_1"),
    line("user", 150, "u3", [RESULT]),
    line("assistant", 300, "u4", [{"type": "text"}], "msg_2"),
]
MORE = [
    line("user", 5000, "u5", "two"),
    line("assistant", 5400, "u6", [{"type": "text"}], "msg_3"),
]
OTHER = [
    line("user", 6000, "u7", "three"),
    line("assistant", 6200, "u8", [{"type": "text"}], "msg_4"),
]


def resumed(lines: list[dict[str, Any]], session: str) -> list[dict[str, Any]]:
    """`lines` as older releases repeat them: with their uuids, under a new id."""
    return [{**one, "sessionId": session} for one in lines]


def forked(lines: list[dict[str, Any]], session: str, at_ms: int) -> list[dict[str, Any]]:
    """`lines` as a fork repeats them: with new uuids, the last one at the time of the fork."""
    copies = [
        {
            **one,
            "uuid": f"{session}-{one['uuid']}",
            "sessionId": session,
            "forkedFrom": {"sessionId": one["sessionId"], "messageUuid": one["uuid"]},
        }
        for one in lines
    ]
    copies[-1]["timestamp"] = iso(at_ms)
    return copies


def read_sessions(
    folder: Path, files: dict[str, list[dict[str, Any]]]
) -> dict[str, tuple[int, int, int, tuple[str, ...]]]:
    """By session: model calls, tool calls, wall time in ms and notes."""
    for name, lines in files.items():
        (folder / name).write_text("".join(json.dumps(one) + "\n" for one in lines))
    found = {}
    for trace in read([str(folder)]).traces:
        run = explained(trace)
        calls = run.usage.calls
        found[trace.trace_id] = calls.llm, calls.tool, trace.wall_ns // 10**6, trace.health.notes
    return found


TWO_REPEATED = ("2 model calls of session older repeated here: counted there",)
OLDER = (2, 1, 300, ())


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param(
            [resumed([*FIRST, *MORE], "younger")],
            {"older": OLDER, "younger": (1, 0, 400, TWO_REPEATED)},
            id="resumed",
        ),
        pytest.param(
            [[*forked(FIRST, "younger", 4000), *resumed(MORE, "younger")]],
            {"older": OLDER, "younger": (1, 0, 400, TWO_REPEATED)},
            id="forked",
        ),
        pytest.param(
            [resumed(FIRST, "younger")],
            {"older": (2, 1, 300, ("repeated in session younger: counted once",))},
            id="resumed, and nothing more",
        ),
        pytest.param(
            [
                [*forked(FIRST, "b", 4000), *resumed(MORE, "b")],
                [
                    *forked([*forked(FIRST, "b", 4000), *resumed(MORE, "b")], "a", 5500),
                    *resumed(OTHER, "a"),
                ],
            ],
            {
                "older": OLDER,
                "b": (1, 0, 400, TWO_REPEATED),
                "a": (
                    1,
                    0,
                    200,
                    ("3 model calls of session b, older repeated here: counted there",),
                ),
            },
            id="a fork of a fork",
        ),
        pytest.param(
            [resumed([*FIRST, *MORE], "b"), resumed([*FIRST, *OTHER], "a")],
            {
                "older": OLDER,
                "b": (1, 0, 400, TWO_REPEATED),
                "a": (1, 0, 200, TWO_REPEATED),
            },
            id="resumed twice",
        ),
        pytest.param(
            [[*FIRST, *MORE]], {"older": (3, 1, 5400, ())}, id="a longer copy of the same session"
        ),
    ],
)
def test_repeated_lines_are_counted_once(
    tmp_path: Path,
    files: list[list[dict[str, Any]]],
    expected: dict[str, tuple[int, int, int, tuple[str, ...]]],
) -> None:
    for number, order in enumerate(itertools.permutations([FIRST, *files])):
        folder = tmp_path / str(number)
        folder.mkdir()
        named = {f"{i}.jsonl": lines for i, lines in enumerate(order)}
        assert read_sessions(folder, named) == expected


def test_a_fork_that_goes_on_beside_its_original(tmp_path: Path) -> None:
    fork = [*forked(FIRST, "younger", 4000), *resumed(MORE, "younger")]
    assert read_sessions(tmp_path, {"a": fork, "b": [*FIRST, *OTHER]}) == {
        "older": (3, 1, 6200, ()),
        "younger": (1, 0, 400, TWO_REPEATED),
    }


def test_of_two_copies_the_one_is_kept_that_others_name(tmp_path: Path) -> None:
    fork = [*forked(FIRST, "younger", 4000), *resumed(MORE, "younger")]
    found = read_sessions(tmp_path, {"a": FIRST, "b": fork, "c": resumed(FIRST, "copy")})
    assert found == {
        "older": (2, 1, 300, ("repeated in session copy: counted once",)),
        "younger": (1, 0, 400, TWO_REPEATED),
    }


def test_a_fork_without_its_original_tells_the_whole_story(tmp_path: Path) -> None:
    fork = [*forked(FIRST, "younger", 4000), *resumed(MORE, "younger")]
    assert read_sessions(tmp_path, {"a": fork}) == {"younger": (3, 1, 5400, ())}


def test_a_turn_that_was_cut_short_goes_on_in_the_resumed_session(tmp_path: Path) -> None:
    assert read_sessions(tmp_path, {"a": FIRST[:2], "b": resumed(FIRST, "younger")}) == {
        "older": (1, 1, 100, ()),
        "younger": (1, 0, 150, ("a model call of session older repeated here: counted there",)),
    }


def test_what_is_left_out_is_in_the_health_record(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("\n".join(map(json.dumps, FIRST)))
    (tmp_path / "b").write_text("\n".join(map(json.dumps, resumed([*FIRST, *MORE], "younger"))))
    healths = {t.trace_id: t.health.duplicates for t in read([str(tmp_path)]).traces}
    assert healths == {"older": 0, "younger": 3}
