"""`--format`, `--max-bytes` and `--strict`: what can be said about reading."""

import gzip
from dataclasses import fields
from inspect import signature
from pathlib import Path

import pytest

from causepath_analyzer.cli import app, invoke
from causepath_analyzer.cli.source import EVERYTHING
from causepath_analyzer.errors import ExitStatus
from tests.analyzer.read.samples import SAMPLES

SOMETHING_LONG = b'{"a": "' + b"x" * 9000 + b'"}\n'


@pytest.mark.parametrize(
    ("options", "status", "told"),
    [
        ((), ExitStatus.FINE, "f:6: cut off"),
        (("--strict",), ExitStatus.UNREADABLE, "f:6: cut off"),
        (("--format", "zipkin-json"), ExitStatus.FINE, "f:6: cut off"),
        (("--format", "langfuse"), ExitStatus.NO_TRACES, "f:1: not in the format langfuse"),
        (("--format", "Zipkin"), ExitStatus.USAGE, "no format Zipkin; there are otlp-json, "),
        (("--max-bytes", "2K"), ExitStatus.FINE, "f:6: cut off"),  # a plain file has its size
        (("--max-bytes", "lots"), ExitStatus.USAGE, "--max-bytes lots is no size"),
        (("--max-bytes", "0"), ExitStatus.USAGE, "--max-bytes 0 is no size"),
    ],
)
def test_options(
    options: tuple[str, ...],
    status: ExitStatus,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    spans = SAMPLES["zipkin-json"][1:-1].replace(b'}}, {"traceId"', b'}}]\n[{"traceId"')
    Path("f").write_bytes(b"[" + spans + b"]\n[{\n")
    assert invoke(["f", "--json", *options]) == status
    assert told in capsys.readouterr().err


def test_what_compressed_data_unpacks_to_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f").write_bytes(
        gzip.compress(SAMPLES["zipkin-json"] + b"\n" + SOMETHING_LONG + b"\n" * 300_000)
    )
    assert invoke(["f", "--json", "--max-bytes", "200k"]) == ExitStatus.FINE
    told = capsys.readouterr().err
    assert "f:2: more than 6,400 bytes in one piece: raise --max-bytes" in told
    assert "f:end: more than 204,800 bytes when unpacked" in told


def test_every_command_that_reads_traces_has_one_source() -> None:
    reading = {}
    for name in app:
        command = app[name].default_command
        parameters = {} if command is None else signature(command).parameters
        if "paths" in parameters:
            reading[name] = parameters["source"].default is EVERYTHING
            assert not parameters.keys() & {field.name for field in fields(EVERYTHING)}
    assert all(reading.values())
    assert reading.keys() >= {"check", "doctor", "export", "list", "report", "verify", "whatif"}
