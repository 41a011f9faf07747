"""Archives are read whole, or what is missing of them is told."""

import bz2
import gzip
import io
import os
import random
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from causepath_analyzer.cli import invoke
from causepath_analyzer.errors import CausepathError, ExitStatus
from causepath_analyzer.read import DEFAULTS, read
from tests.analyzer.read.samples import SAMPLES
from tests.analyzer.read.test_read import LINE, OTHER

ONE, TWO = LINE.encode() + b"\n", OTHER.encode() + b"\n"


def gzipped(data: bytes) -> bytes:
    """Compresses without the time, as workers have to agree on the names of tests."""
    return gzip.compress(data, mtime=0)


def tar(files: dict[str, bytes], kind: str = "w", format: int = tarfile.PAX_FORMAT) -> bytes:  # noqa: A002
    if kind == "w:gz":
        return gzipped(tar(files, format=format))
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=kind, format=format) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return made.getvalue()


def zipped(files: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", how) as archive:
        for name, data in files.items():
            # The same at each time, as tests are named after what they are given.
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data, how)
    return made.getvalue()


BOTH = {"a/one.jsonl": ONE, "two.json": TWO}
LONG = {"x/" * 120 + "one.jsonl": ONE, "two.json": TWO}


@pytest.mark.parametrize(
    "data",
    [
        tar(BOTH),
        tar(BOTH, "w:gz"),
        gzipped(gzipped(tar(BOTH))),
        tar(LONG, format=tarfile.GNU_FORMAT),
        tar(LONG, format=tarfile.PAX_FORMAT),
        tar({"one.jsonl.gz": gzipped(ONE), "two.json": TWO}),
        tar({**BOTH, ".hidden": b"\x01", "._two.json": b"\x00\x05\x16\x07"}),
        zipped(BOTH),
        zipped(BOTH, zipfile.ZIP_STORED),
        zipped(BOTH, zipfile.ZIP_LZMA),
        zipped({**BOTH, "__MACOSX/._two.json": b"\x00\x05\x16\x07"}),
        gzipped(zipped(BOTH, zipfile.ZIP_STORED)),
    ],
)
def test_an_archive_is_read_as_the_folder_it_is_of(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "traces.bin"
    path.write_bytes(data)
    found = read([str(path)])
    assert len(found.traces) == 2
    (entry,) = found.inputs
    assert (entry.spans, entry.unread, entry.skipped, entry.format) == (2, 0, (), "otlp-json")


def encrypted() -> bytes:
    """An archive whose second file says that it is encrypted."""
    data = bytearray(zipped(BOTH, zipfile.ZIP_STORED))
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    data[data.rindex(b"PK\x03\x04") + 6] |= 1
    return bytes(data)


def wrong_sum() -> bytes:
    data = zipped(BOTH, zipfile.ZIP_STORED)
    at = data.index(TWO) + TWO.index(b"chat")
    return data[:at] + b"shat" + data[at + 4 :]


FIRST = 512 + -(-len(ONE) // 512) * 512
"""Where the second file of an archive begins."""


def much_of_a_header() -> bytes:
    """A header of some megabytes, which is no file."""
    about = tarfile.TarInfo("long")
    about.type, about.size = tarfile.XHDTYPE, 3 << 20
    return tar({"one.jsonl": ONE})[:FIRST] + about.tobuf() + b" " * (3 << 20)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (
            tar(BOTH, format=tarfile.GNU_FORMAT)[: FIRST + 100],
            "t:end: the archive is cut off or damaged",
        ),
        (tar({"one.jsonl": ONE})[:FIRST], "t:end: the archive is cut off or damaged"),
        (tar({"a.jsonl": ONE, "b.jsonl": TWO[:60] + b"\n"}), "t:b.jsonl:1: cut off: the JSON"),
        (tar(BOTH, "w:gz")[:-20], "t:end: cut off or damaged"),
        (tar({"one.jsonl": ONE, "t.zip": zipped(BOTH)}), "t:t.zip: an archive in an archive"),
        (zipped({"one.jsonl": ONE, "t.tar": tar(BOTH)}), "t:t.tar: an archive in an archive"),
        (tar({"one.jsonl": ONE, "two.bz2": bz2.compress(TWO)}), "t:two.bz2:1: compressed, but not"),
        (encrypted(), "t:two.json: encrypted: unpack it first"),
        (wrong_sum(), "t:two.json:end: cut off or damaged: Bad CRC-32"),
        (much_of_a_header(), "t:end: the archive is cut off or damaged"),
    ],
)
def test_what_is_missing_of_an_archive_keeps_a_check_from_passing(
    data: bytes,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t").write_bytes(data)
    assert invoke(["check", "t", "--max", "wall=1h"]) == ExitStatus.INCONCLUSIVE
    printed = capsys.readouterr()
    assert told in printed.err
    assert "INCONCLUSIVE input" in printed.out
    assert printed.out.splitlines()[-1] == "1 inconclusive, 1 passed"
    assert invoke(["check", "t", "--max", "wall=1ns"]) == ExitStatus.BUDGET_BROKEN
    assert invoke(["t"]) == ExitStatus.FINE
    assert "not read (t): spans may be missing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "status", "told"),
    [
        (tar({}), ExitStatus.NO_TRACES, ""),
        (zipped({}), ExitStatus.NO_TRACES, "t: an archive without a trace"),
        (tar({"a.json": b'{"resourceLogs": []}'}), ExitStatus.NO_TRACES, "(a.json: OTLP logs"),
        (zipped(BOTH)[:40], ExitStatus.UNREADABLE, "t:end: the archive is cut off or damaged"),
        (tar({"b": b"\xff" * 99}), ExitStatus.UNREADABLE, "t:b:1: "),
    ],
)
def test_an_archive_without_a_trace_is_told(
    data: bytes,
    status: ExitStatus,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t").write_bytes(data)
    if not told:
        assert invoke(["t"]) in (ExitStatus.NO_TRACES, ExitStatus.UNREADABLE)
        return
    assert invoke(["t"]) == status
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("how", [tar, zipped])
def test_all_files_together_are_bounded(
    how: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"one.jsonl": ONE, **{f"{i}.jsonl": ONE + b"\n" * 300_000 for i in range(9)}}
    path = tmp_path / "t"
    path.write_bytes(gzipped(how(files)))  # type: ignore[operator]
    assert invoke(["check", str(path), "--max", "wall=1h", "--max-bytes", "900k"]) == 3
    assert "more than 921,600 bytes when unpacked" in capsys.readouterr().err


@pytest.mark.parametrize("how", [tar, zipped])
def test_a_limit_is_not_called_damage(
    how: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {f"{i}.jsonl": ONE + b"\n" * 300_000 for i in range(5)}
    path = tmp_path / "t"
    path.write_bytes(how(files))  # type: ignore[operator]
    assert invoke(["check", str(path), "--max", "wall=1h", "--max-bytes", "900k"]) == 3
    limit = "more than 921,600 bytes when unpacked: raise --max-bytes if that is right"
    assert capsys.readouterr().err.splitlines() == [
        f"causepath: {path}:{i}.jsonl:end: {limit}" for i in (3, 4)
    ]


@pytest.mark.parametrize("seed", range(150))
def test_a_damaged_archive_is_never_read_in_silence(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    made = (tar(BOTH), tar(BOTH, "w:gz"), zipped(BOTH), zipped(BOTH, zipfile.ZIP_STORED))
    data = bytearray(chance.choice(made))
    whole = len(read_spans(bytes(data), tmp_path))
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(data))
        data[at] = chance.randrange(256)
    if chance.random() < 0.5:
        del data[chance.randrange(len(data)) :]
    (tmp_path / "t").write_bytes(data)
    try:
        found = read([str(tmp_path / "t")])
    except CausepathError:
        return
    spans = [span for trace in found.traces for span in trace.spans]
    assert len(spans) == whole or found.inputs[0].unread or found.inputs[0].notes


def read_spans(data: bytes, folder: Path) -> list[object]:
    (folder / "t").write_bytes(data)
    return [span for trace in read([str(folder / "t")]).traces for span in trace.spans]


def test_an_archive_through_a_pipe(tmp_path: Path) -> None:
    for data in (tar(BOTH, "w:gz"), zipped(BOTH), tar(BOTH)):
        done = subprocess.run(
            [sys.executable, "-m", "causepath_analyzer", "-", "--json"],
            input=data,
            capture_output=True,
            timeout=60,
            check=True,
        )
        assert done.stdout.count(b'"trace_id"') >= 2


def test_the_originals_of_an_archive_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "t.tgz"
    path.write_bytes(tar(BOTH, "w:gz"))
    kept: list[bytes] = []
    read([str(path)], None, DEFAULTS, lambda _, data: kept.append(data))
    assert kept == [ONE, TWO]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (ONE + TWO[:80], ExitStatus.FINE),  # somebody is still writing
        (ONE + TWO[:80] + b"\n", ExitStatus.INCONCLUSIVE),
        (ONE + TWO[:80] + b"\n" + TWO, ExitStatus.INCONCLUSIVE),
        (ONE + b"some words\n" + TWO, ExitStatus.INCONCLUSIVE),
        (gzipped(ONE + TWO)[:-10], ExitStatus.INCONCLUSIVE),
        (gzipped(ONE + TWO[:80]), ExitStatus.FINE),
        (SAMPLES["python-sdk"] + SAMPLES["python-sdk"][:90], ExitStatus.FINE),
    ],
)
def test_only_an_unfinished_last_line_is_nothing_missing(
    data: bytes, status: ExitStatus, tmp_path: Path
) -> None:
    (tmp_path / "t").write_bytes(data)
    assert invoke(["check", str(tmp_path / "t"), "--max", "wall=1h"]) == status


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives up its rights")
def test_a_folder_that_cannot_be_entered_is_told_and_counted(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "one.jsonl").write_bytes(ONE)
    for name, mode in (("shut", 0o000), ("seen", 0o444)):
        (tmp_path / "in" / name).mkdir()
        (tmp_path / "in" / name / "two.jsonl").write_bytes(TWO)
        (tmp_path / "in" / name).chmod(mode)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == "root" and folder != Path(folder.anchor) and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o055)
    code = (
        # What is imported later may be where this user cannot read.
        "import os, sys; from causepath_analyzer.cli import check, invoke; os.chdir(sys.argv[1]);"
        "os.setuid(65534); sys.exit(invoke(['check', 'in', '--max', 'wall=1h']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == ExitStatus.INCONCLUSIVE, done.stderr
    assert "in/shut: cannot be entered: Permission denied" in done.stderr
    assert "in/seen/two.jsonl: cannot be opened: Permission denied" in done.stderr
    assert "2 places were not read" in done.stdout
