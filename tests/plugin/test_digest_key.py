"""The key of the digests: given, or made once for an installation, or for a process."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from causepath.content.digest_key import digest_key

if TYPE_CHECKING:
    from pathlib import Path

MAKE = """
import sys
from causepath.content.digest_key import digest_key
sys.stdin.readline()
print(digest_key(None).hex())
"""


def environ(folder: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(folder)}


def key_file(folder: Path) -> Path:
    return folder / "causepath" / "digest-key"


def test_a_given_key_is_used_and_nothing_is_written(tmp_path: Path) -> None:
    keys = {digest_key(given, environ(tmp_path)) for given in ("a", "a", "b", "ü" * 100, "\ud800")}
    assert {len(key) for key in keys} == {32}
    assert len(keys) == 4
    assert list(tmp_path.iterdir()) == []


def test_a_key_is_made_once_and_only_its_user_can_read_it(tmp_path: Path) -> None:
    key = digest_key(None, environ(tmp_path))
    assert digest_key(None, environ(tmp_path)) == key
    file = key_file(tmp_path)
    assert bytes.fromhex(file.read_text()) == key
    assert list(file.parent.iterdir()) == [file]
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_the_folder_may_be_there_or_not(tmp_path: Path) -> None:
    key_file(tmp_path).parent.mkdir()
    for folder in (tmp_path, tmp_path / "not" / "yet"):
        key = digest_key(None, environ(folder))
        assert digest_key(None, environ(folder)) == key


def test_processes_that_start_together_have_one_key(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MAKE],
            env={**os.environ, **environ(tmp_path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    keys = {process.communicate(timeout=60)[0] for process in processes}
    assert keys == {key_file(tmp_path).read_text()}


def test_where_there_are_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", link)
    key = digest_key(None, environ(tmp_path))
    assert digest_key(None, environ(tmp_path)) == key
    assert list(key_file(tmp_path).parent.iterdir()) == [key_file(tmp_path)]


@pytest.mark.parametrize("content", ["", "no key", "ab", "ab" * 31, "é", "ab" * 100_000])
def test_a_file_that_holds_no_key_is_left_alone(content: str, tmp_path: Path) -> None:
    file = key_file(tmp_path)
    file.parent.mkdir()
    file.write_text(content, encoding="utf-8")
    assert digest_key(None, environ(tmp_path)) != digest_key(None, environ(tmp_path))
    assert file.read_text(encoding="utf-8") == content


def test_where_no_file_can_be_written_the_process_has_a_key(tmp_path: Path) -> None:
    (tmp_path / "causepath").write_text("a file where the folder should be")
    assert len(digest_key(None, environ(tmp_path))) == 32
    assert digest_key(None, environ(tmp_path)) != digest_key(None, environ(tmp_path))


def test_a_relative_state_folder_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    digest_key(None, {"XDG_STATE_HOME": "here"})
    assert not (tmp_path / "here").exists()
