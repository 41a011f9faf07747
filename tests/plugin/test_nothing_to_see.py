"""Programs whose traces lack something, or all: each ends with the reason and what to type."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import causepath
from tests.plugin.test_ways_in import CALL, OWN_SETUP
from tests.support.forked import Forks
from tests.support.messages_api import messages_api_process
from tests.support.traced_programs import plain_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.programs, pytest.mark.timeout(60)]

FORKS = Forks("anthropic", "opentelemetry.sdk.trace")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with messages_api_process("tests.plugin.scripts:hello") as found:
        yield found


def run(
    program: str, folder: Path, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = plain_environment(**{"CAUSEPATH": "1", **variables})
    (folder / "agent.py").write_text(program)
    if not arguments and "client.messages" in program:  # else it matters what is imported
        return FORKS.run(["agent.py"], cwd=folder, env=environment, timeout=50)
    return subprocess.run(
        [sys.executable, *(arguments or ("agent.py",))],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


OWN_PROVIDER = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace import sampling
trace.set_tracer_provider(TracerProvider({}))
"""

NOTHING = "causepath: no spans are written: "
NO_CALL = "causepath: no model call was seen: "
DECLARE = "declare them with @causepath.agent and @causepath.tool"
WRITTEN = "causepath: 2 spans written to {file}"

SAID: dict[str, tuple[str, dict[str, str], list[str]]] = {
    # What is written nowhere.
    "all is well": ("{call}", {}, [WRITTEN]),
    "os._exit": ("import os\n{call}\nos._exit(0)", {}, [WRITTEN]),
    "a server that has handled a signal, and then raises it": (
        (
            "import signal\nbefore = signal.signal(signal.SIGTERM, lambda *_: None)\n{call}\n"
            "signal.signal(signal.SIGTERM, before)\nsignal.raise_signal(signal.SIGTERM)"
        ),
        {},
        [WRITTEN],
    ),
    "the SDK is disabled": (
        "{call}",
        {"OTEL_SDK_DISABLED": "true"},
        [NOTHING + "OTEL_SDK_DISABLED=true; unset it"],
    ),
    "no exporter": (
        "{call}",
        {"OTEL_TRACES_EXPORTER": "none"},
        [NOTHING + "OTEL_TRACES_EXPORTER=none; unset it, or name an exporter"],
    ),
    "sampled off": (
        "{call}",
        {"OTEL_TRACES_SAMPLER": "always_off"},
        [NOTHING + "none was sampled (OTEL_TRACES_SAMPLER=always_off); unset it"],
    ),
    "sampled none of so few": (
        "{call}",
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"},
        [NOTHING + "none was sampled (OTEL_TRACES_SAMPLER=traceidratio); unset it"],
    ),
    "a batch that is larger than the queue": (
        "{call}",
        {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "100000"},
        [WRITTEN],
    ),
    "a limit that is no number": (
        "{call}",
        {"OTEL_SPAN_LINK_COUNT_LIMIT": "many"},
        [
            (
                "causepath: no spans are written, as OpenTelemetry cannot be set up: "
                "OTEL_SPAN_LINK_COUNT_LIMIT must be a non-negative integer but got many"
            )
        ],
    ),
    "a provider without an exporter": (
        OWN_PROVIDER.format("") + "{call}",
        {},
        [
            NOTHING + "the application's TracerProvider has no span processor; add one with an "
            "exporter, or set up none, and they are written to causepath-traces.jsonl"
        ],
    ),
    "a provider that samples nothing": (
        OWN_PROVIDER.format("sampler=sampling.ALWAYS_OFF") + "{call}",
        {},
        [NOTHING + "the application's TracerProvider (AlwaysOffSampler) recorded none"],
    ),
    "a provider that does nothing": (
        (
            "from opentelemetry import trace\n"
            "trace.set_tracer_provider(trace.NoOpTracerProvider())\n{call}"
        ),
        {},
        [NOTHING + "the application's NoOpTracerProvider records none"],
    ),
    "a provider of somebody else's, which nobody can look into": (
        (
            "from opentelemetry import trace\n"
            "class Theirs(trace.TracerProvider):\n"
            "    def get_tracer(self, *_, **__): return trace.NoOpTracer()\n"
            "trace.set_tracer_provider(Theirs())\n{call}"
        ),
        {},
        [],
    ),
    "calls in a forked child alone": (
        "import os\nif not os.fork():\n    import anthropic\n    os._exit(0)\nos.wait()",
        {},
        [],
    ),
    "calls in a program that this one starts": (
        'import subprocess, sys\nsubprocess.run([sys.executable, \'-c\', """{call}"""], check=True)',
        {},
        [WRITTEN],
    ),
    "no model call": (
        "import anthropic",
        {},
        [NO_CALL + "anthropic was imported, but no model was called with it"],
    ),
    "no model SDK": (
        "print('hello')",
        {},
        [
            NO_CALL
            + "none of anthropic, openai and google.genai was imported. Calls over HTTP are not "
            f"seen: {DECLARE}"
        ],
    ),
    "another model SDK": (
        "import sys, types; sys.modules['mistralai'] = types.ModuleType('mistralai')",
        {},
        [
            NO_CALL
            + "calls of mistralai are not seen, only those of anthropic, openai, google-genai and MCP; "
            f"{DECLARE}"
        ],
    ),
    "an exception before the first call": (
        "import anthropic\nraise SystemExit",
        {},
        [NO_CALL + "anthropic was imported, but no model was called with it"],
    ),
    "a program below one that is traced": (
        (
            "import subprocess, sys\n{call}\n"
            "said = subprocess.check_output([sys.executable, '-c', ''], stderr=subprocess.STDOUT)\n"
            "sys.exit(said != b'')"
        ),
        {},
        [WRITTEN],
    ),
    "no model call, and spans of the application's own": (
        "import anthropic\n"
        + OWN_SETUP.replace("span.attributes['causepath.category']", "'of mine'")
        + "with provider.get_tracer('mine').start_as_current_span('mine'): pass",
        {},
        [NO_CALL + "anthropic was imported, but no model was called with it"],
    ),
    "an application's own set-up, and no model call": (OWN_SETUP, {"CAUSEPATH": "0"}, []),
    # What is asked for in vain.
    "content in a way that has no meaning": (
        "{call}",
        {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "yes"},
        [
            (
                "causepath: OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=yes has no meaning, and "
                "nothing that is said is recorded: write span_only, event_only or span_and_event"
            ),
            WRITTEN,
        ],
    ),
    "content that is not asked for": (
        "{call}",
        {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "NO_CONTENT"},
        [WRITTEN],
    ),
    "bytes that are no number": (
        "{call}",
        {"CAUSEPATH_CONTENT_SPAN_BYTES": "1k", "CAUSEPATH_CONTENT_PROCESS_BYTES": "-1"},
        [
            (
                "causepath: CAUSEPATH_CONTENT_SPAN_BYTES=1k is no whole number of bytes, and is not "
                "used"
            ),
            (
                "causepath: CAUSEPATH_CONTENT_PROCESS_BYTES=-1 is no whole number of bytes, and is not "
                "used"
            ),
            WRITTEN,
        ],
    ),
    "digests that have no meaning": (
        "{call}",
        {"CAUSEPATH_DIGESTS": "none"},
        ["causepath: CAUSEPATH_DIGESTS=none has no meaning: write off, or leave it out", WRITTEN],
    ),
    "a setting that is misspelt": (
        "{call}",
        {"CAUSEPATH_FLIE": "mine.jsonl", "CAUSEPATH_COLOR": "never"},
        [
            "causepath: CAUSEPATH_FLIE is no setting of the plugin; did you mean CAUSEPATH_FILE?",
            WRITTEN,
        ],
    ),
    "tools of a module that is not there": (
        "{call}",
        {"CAUSEPATH_TOOLS": "anthropc:*"},
        [
            (
                "causepath: CAUSEPATH_TOOLS: the module 'anthropc' was never imported; did you mean "
                "'anthropic'?"
            ),
            WRITTEN,
        ],
    ),
    "tools that a module has not": (
        "{call}\nimport textwrap",
        {"CAUSEPATH_TOOLS": "textwrap:wrp"},
        [
            (
                "causepath: CAUSEPATH_TOOLS=textwrap:wrp: no function of that module has such a name; "
                "did you mean 'wrap'?"
            ),
            WRITTEN,
        ],
    ),
    "few attributes": (
        "{call}",
        {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "5"},
        [
            (
                "causepath: OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=5 cuts off what spans say, models, tools "
                "and causes too: unset it, or set it to 64 or more"
            ),
            WRITTEN,
        ],
    ),
    "short attributes": (
        "{call}",
        {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "10"},
        [
            (
                "causepath: OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT=10 cuts off what spans say, models, "
                "tools and causes too: unset it, or set it to 256 or more"
            ),
            WRITTEN,
        ],
    ),
}


OF_THE_SDK = ("Attributes dict is full", "String attribute value exceeds")
"""What it logs itself for each attribute that it cuts off."""


@pytest.mark.parametrize("kind", SAID)
def test_a_program_is_told(kind: str, tmp_path: Path, url: str) -> None:
    program, variables, said = SAID[kind]
    done = run(program.replace("{call}", CALL.format(url=url)), tmp_path, **variables)
    file = tmp_path / "causepath-traces.jsonl"
    expected = [line.format(file=file) for line in said]
    lines = [line for line in done.stderr.splitlines() if not line.startswith(OF_THE_SDK)]
    assert sorted(lines) == sorted(expected)
    assert done.returncode == (-signal.SIGTERM if "raise_signal" in program else 0)
    if WRITTEN in said:
        assert file.exists()


def test_a_provider_that_is_given_later_takes_over(tmp_path: Path, url: str) -> None:
    given = OWN_SETUP.replace("trace.set_tracer_provider(provider)", "")
    later = "import causepath\ncausepath.instrument(tracer_provider=provider)\n"
    done = run(given + later + CALL.format(url=url), tmp_path)
    assert done.stdout.splitlines() == ["chat m llm", "invoke_agent agent agent"]
    assert done.stderr == ""
    done = run(CALL.format(url=url) + given + later + CALL.format(url=url), tmp_path)
    assert done.stdout.splitlines() == ["chat m llm", "invoke_agent agent agent"]
    assert done.stderr == f"causepath: 2 spans written to {tmp_path}/causepath-traces.jsonl\n"


# -- what `causepath run` is told


LOADED = {
    "event": "loaded",
    "version": causepath.__version__,
    "python": sys.executable,
    "complaints": [],
}


def events(path: Path) -> list[dict[str, Any]]:
    told = [json.loads(line) for line in path.read_text().splitlines()]
    for one in told:
        assert one.pop("pid") > 0
        assert one.pop("time_ns") > 0
        if one.get("sdk_ns") is not None:
            one["sdk_ns"] = "then"
    return told


def test_the_account_of_a_program_with_spans_and_of_one_without(tmp_path: Path, url: str) -> None:
    account = tmp_path / "account"
    account.touch()
    run(CALL.format(url=url), tmp_path, CAUSEPATH_ACCOUNT=str(account), CAUSEPATH_PROGRAM_ID="abc")
    told = {"calls": 1, "sdks": ["anthropic"], "sdk_ns": "then", "nothing": None, "lost": []}
    file = str(tmp_path / "causepath-traces.jsonl")
    assert events(account) == [LOADED, {"event": "ended", **told, "to": [file]}]
    (line,) = (tmp_path / "causepath-traces.jsonl").read_text().splitlines()
    attributes = json.loads(line)["resourceSpans"][0]["resource"]["attributes"]
    assert {"key": "causepath.program.id", "value": {"stringValue": "abc"}} in attributes

    account.write_text("")
    done = run("import anthropic", tmp_path, CAUSEPATH_ACCOUNT=str(account))
    assert done.stderr == ""
    nothing = "no model call was seen: anthropic was imported, but no model was called with it"
    told |= {"calls": 0, "nothing": nothing}
    assert events(account)[1] == {"event": "ended", **told, "to": [file]}


def test_the_account_says_why_nothing_could_be_set_up(tmp_path: Path, url: str) -> None:
    account = tmp_path / "account"
    account.touch()
    limit = {"OTEL_SPAN_LINK_COUNT_LIMIT": "many"}
    done = run(CALL.format(url=url), tmp_path, CAUSEPATH_ACCOUNT=str(account), **limit)
    ended = events(account)[1]
    assert done.stderr.splitlines() == [f"causepath: {ended['nothing']}"]
    assert ended["nothing"].startswith("no spans are written, as OpenTelemetry cannot be set up: ")


@pytest.mark.parametrize(
    ("variables", "to", "lost"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:b@127.0.0.1:9"}, ["http://127.0.0.1:9"], 1),
        ({"OTEL_TRACES_EXPORTER": "none"}, [], 0),
        ({"OTEL_SDK_DISABLED": "true"}, [], 0),
    ],
)
def test_the_account_says_where_spans_go(
    variables: dict[str, str], to: list[str], lost: int, tmp_path: Path, url: str
) -> None:
    account = tmp_path / "account"
    account.touch()
    run(CALL.format(url=url), tmp_path, CAUSEPATH_ACCOUNT=str(account), **variables)
    ended = events(account)[1]
    assert (ended["to"], len(ended["lost"])) == (to, lost)


# -- what is wrong in code


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: causepath.instrument(redcat=str.upper),  # type: ignore[call-arg]
            "causepath.instrument() has no argument 'redcat'; did you mean 'redact'?",
        ),
        (
            lambda: causepath.instrument(file="x.jsonl"),  # type: ignore[call-arg]
            (
                "causepath.instrument() has no argument 'file': the trace file is set by the variable "
                "CAUSEPATH_FILE"
            ),
        ),
        (
            lambda: causepath.instrument("http://localhost"),  # type: ignore[arg-type]
            (
                "causepath.instrument(tracer_provider=...) takes a TracerProvider of OpenTelemetry, "
                "not str"
            ),
        ),
        (
            lambda: causepath.instrument(redact=True),  # type: ignore[arg-type]
            (
                "causepath.instrument(redact=...) takes a function that is given a text and gives what "
                "to record in its place, not bool"
            ),
        ),
        (
            lambda: causepath.CausepathInstrumentor().instrument(redcat=str.upper),
            "causepath.instrument() has no argument 'redcat'; did you mean 'redact'?",
        ),
        (
            lambda: causepath.agent(None),  # type: ignore[call-overload]
            (
                "causepath.agent takes the name of the agent, or the function that it decorates, not "
                "NoneType"
            ),
        ),
        (
            lambda: causepath.tool(readonly=True),  # type: ignore[call-overload]
            "causepath.tool() has no argument 'readonly'; did you mean 'read_only'?",
        ),
        (
            lambda: causepath.tool("search"),  # type: ignore[call-overload]
            (
                "causepath.tool decorates a function, not str; to name the tool write "
                "@causepath.tool(name=...), for a dict or list of functions causepath.tools(...)"
            ),
        ),
        (
            lambda: causepath.tool(name=3),  # type: ignore[call-overload]
            "causepath.tool takes name=<text> and read_only=<True or False>",
        ),
        (
            lambda: causepath.tools([], read_only="yes"),  # type: ignore[arg-type]
            "causepath.tools takes read_only=<True or False>",
        ),
    ],
)
def test_a_wrong_argument_is_an_error_and_nothing_is_enabled(call: Any, message: str) -> None:
    with pytest.raises(TypeError) as raised:
        call()
    assert str(raised.value) == message
    assert not causepath.CausepathInstrumentor().is_instrumented_by_opentelemetry
