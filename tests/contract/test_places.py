"""What the arguments of tools name, to the plugin, which digests it, and to the analyzer."""

import json

import pytest

from causepath.content.named_places import places_in
from causepath_analyzer.analyses.proof.recorded_words import places_of
from causepath_analyzer.model import Content, ToolCall


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ("./src/a.py", "src/a.py"),
        (".\\src\\a.py", "src/a.py"),
        ("src\\a.py", "src/a.py"),
        ("src//./a.py", "src/a.py"),
        ("src/b/../a.py", "src/a.py"),
        ("./../src/a.py", "../src/a.py"),
        ("../../src/a.py", "../../src/a.py"),
        ("/src/a.py", "/src/a.py"),
        ("/../src/a.py", "/src/a.py"),
        ("C:\\src\\b\\..\\a.py", "C:/src/a.py"),
        ("C:\\..\\src\\a.py", "C:/../src/a.py"),
        ("host:../src/a.py", "host:../src/a.py"),
        ("\\\\host\\src\\a.py", "\\\\host\\src\\a.py"),
        ("https://example.com/b/../src/a.py", "https://example.com/b/../src/a.py"),
        ("./a.py", "a.py"),
        ("src/../a.py", "a.py"),
        ("./build", "build"),
        (".src/a.py", ".src/a.py"),
        (".env.local", ".env.local"),
        ("env.local", "env.local"),
    ],
)
def test_one_place_has_one_name_and_each_its_own(written: str, place: str) -> None:
    for arguments in (
        {"path": written},
        {"command": f"cat {written}"},
        {"q": f"look at ({written}). Then..."},
    ):
        tool = ToolCall(arguments=Content(1, 1, json.dumps(arguments)))
        for named in (places_of(tool), places_in(arguments)):
            assert {one[3:] for one in named or () if one.startswith("at:")} == {place}
