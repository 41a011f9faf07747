"""Cutting text into JSON documents."""

import io

import pytest

from causepath_analyzer.model import Skipped
from causepath_analyzer.read.input.documents import Document, documents

CUT = "cut off: the JSON that starts here never ends"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param(" \n\n", [], id="blank lines"),
        pytest.param('{"a":1}', [(1, '{"a":1}')], id="one line"),
        pytest.param('\ufeff{"a":1}', [(1, '{"a":1}')], id="byte order mark"),
        pytest.param(
            '{"a":1}\n\n[2]\n', [(1, '{"a":1}\n'), (3, "[2]\n")], id="lines, with a blank one"
        ),
        pytest.param(
            '{"a":1}\nnonsense\n{"a":2',
            [(1, '{"a":1}\n'), (2, "nonsense\n"), (3, '{"a":2')],
            id="lines are handed on as they are",
        ),
        pytest.param(
            '{\n "a": 1\n}\n{"b":2}\n{"c":3}\n',
            [(1, '{\n "a": 1\n}'), (4, '{"b":2}'), (5, '{"c":3}')],
            id="one document over lines, then lines",
        ),
        pytest.param('{\n "a": 1\n}\n', [(1, '{\n "a": 1\n}\n')], id="one document over lines"),
        pytest.param(
            '\n{\n "a": "}"\n}\n{\n "b": 2\n}\n',
            [(2, '{\n "a": "}"\n}'), (5, '{\n "b": 2\n}')],
            id="several in a row",
        ),
        pytest.param(
            '{\n"a": 1\n}\nprinted: it\'s "fine\n{\n"b": 2\n}\n',
            [(1, '{\n"a": 1\n}'), (5, '{\n"b": 2\n}')],
            id="a program's output between them",
        ),
        pytest.param(
            '{\n "a": [1\n{\n "b": 2\n}\n',
            [(1, CUT), (3, '{\n "b": 2\n}')],
            id="the first is cut off",
        ),
        pytest.param(
            '{\n "b": 2\n}\n{\n "a": [1\n', [(1, '{\n "b": 2\n}'), (4, CUT)], id="the last is"
        ),
        pytest.param(
            '{"a": [\n{"b":1}\n{"c":2}\n',
            [(1, '{"a": [\n'), (2, '{"b":1}\n'), (3, '{"c":2}\n')],
            id="lines of which the first is damaged",
        ),
    ],
)
def test_documents(text: str, expected: list[tuple[int, str]]) -> None:
    found = [
        (int(part.where.removeprefix("line ")), part.why)
        if isinstance(part, Skipped)
        else (part.line, part.data.decode())
        for part in documents(io.BytesIO(text.encode()))
    ]
    assert found == expected


def test_lines_are_not_read_ahead() -> None:
    class Endless(io.RawIOBase):
        lines = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
            self.lines += 1
            buffer[:3] = b"{}\n"
            return 3

    source = Endless()
    stream = documents(io.BufferedReader(source, 3))
    assert [next(stream) for _ in range(2)] == [Document(b"{}\n", 1), Document(b"{}\n", 2)]
    assert source.lines < 5
