"""The real programs, built once from their Go modules and started on ports of this machine.

    python -m tests.backends.programs          builds what is missing (`make backends`)
    python -m tests.backends.programs stack    runs collector, Jaeger and a page here (`make stack`)

They live outside the tree, in `$XDG_CACHE_HOME/causepath/backends/`, each under a digest of what it
is built from.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import string
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATIONS = ROOT / "collector-config"
PHOENIX = ROOT / ".sdk" / "phoenix" / "bin" / "phoenix"
PROGRAMS = ("otelcol", "jaeger", "prometheus", "promtool", "compose")
MODULES = {
    "jaeger": ("github.com/jaegertracing/jaeger", "JAEGER_MODULE_VERSION", "./cmd/jaeger"),
    "prometheus": (
        "github.com/prometheus/prometheus",
        "PROMETHEUS_MODULE_VERSION",
        "./cmd/prometheus",
    ),
    "promtool": (
        "github.com/prometheus/prometheus",
        "PROMETHEUS_MODULE_VERSION",
        "./cmd/promtool",
    ),
    "compose": ("github.com/compose-spec/compose-go/v2", "COMPOSE_MODULE_VERSION", "./cmd"),
}
START_SECONDS = 30
PHOENIX_START_SECONDS = 300  # it imports a lot, the first time for half a minute of processor time
STOP_SECONDS = 20


class ProgramError(Exception):
    """A program could not be built or did not start; the text says which and why."""


def versions() -> dict[str, str]:
    """What collector-config/versions.env pins."""
    lines = (CONFIGURATIONS / "versions.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def path_of(name: str) -> Path:
    """Where the program of that name is, or will be: other versions of it are other files."""
    made_from = hashlib.blake2b(digest_size=8)
    pinned = versions()
    if name == "otelcol":
        made_from.update((CONFIGURATIONS / "builder.yaml").read_bytes())
        made_from.update(
            f"{pinned['COLLECTOR_VERSION']} {pinned['COLLECTOR_STABLE_VERSION']}".encode()
        )
    else:
        module, version, package = MODULES[name]
        made_from.update(f"{module} {pinned[version]} {package}".encode())
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "causepath" / "backends" / f"{name}-{made_from.hexdigest()}"


def program(name: str) -> Path:
    """Find the built program of that name.

    Raises ProgramError where it was not built.
    """
    if name == "phoenix":
        if not PHOENIX.exists():
            raise ProgramError(
                "there is no page to look at: `make stack` installs Phoenix, or set JAEGER_ASSETS "
                "to a folder with the files of Jaeger's page"
            )
        return PHOENIX
    path = path_of(name)
    if not path.exists():
        raise ProgramError(f"{name} is not built yet: run `make backends`")
    return path


def build() -> None:
    """Build what is missing.

    Raises ProgramError where Go is missing or says no.
    """
    missing = [name for name in PROGRAMS if not path_of(name).exists()]
    if not missing:
        return
    if shutil.which("go") is None:
        raise ProgramError(
            "the programs are built with Go 1.26 or newer, and there is no `go` here"
        )
    place = path_of(missing[0]).parent
    place.mkdir(parents=True, exist_ok=True)
    with (place / ".lock").open("w") as lock, tempfile.TemporaryDirectory() as scratch:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in missing:
            path = path_of(name)
            if not path.exists():
                print(f"building {name} (minutes, the first time) ...", flush=True)
                built = _build_one(name, Path(scratch))
                shutil.move(built, place / f".{path.name}")
                (place / f".{path.name}").rename(path)  # whole or not at all


def _build_one(name: str, scratch: Path) -> Path:
    pinned = versions()
    built = scratch / name
    if name == "otelcol":
        source, plan = scratch / "source", scratch / "builder.yaml"
        template = string.Template((CONFIGURATIONS / "builder.yaml").read_text())
        plan.write_text(template.substitute(pinned, OUTPUT_PATH=source))
        # The builder writes the program. Its `go mod tidy` asks for the modules of all tests too,
        # which need not be to be had: so the list of modules is written here.
        builder = f"go.opentelemetry.io/collector/cmd/builder@v{pinned['COLLECTOR_VERSION']}"
        _go("run", builder, "--config", plan, "--skip-get-modules", "--skip-compilation")
        modules = re.findall(r"- gomod: (.+)", plan.read_text())
        modules.append(f"go.opentelemetry.io/collector/otelcol v{pinned['COLLECTOR_VERSION']}")
        (source / "go.mod").write_text(
            "module otelcol\ngo 1.25.0\n" + "".join(f"require {module}\n" for module in modules)
        )
        _go("build", "-C", source, "-mod=mod", "-trimpath", "-ldflags=-s -w", "-o", built, ".")
        return built
    module, version, package = MODULES[name]
    # In the module's own folder, so that its own list of dependencies holds, replacements too.
    source = json.loads(_go("mod", "download", "-json", f"{module}@v{pinned[version]}"))["Dir"]
    # Prometheus without the service discovery of every cloud there is.
    options = ["-trimpath", "-tags=remove_all_sd", "-ldflags=-s -w", "-o", str(built)]
    _go("build", "-C", source, *options, package)
    return built


def _go(*arguments: object) -> str:
    command = ["go", *map(str, arguments)]
    environment = {**os.environ, "GOFLAGS": "-buildvcs=false", "GOWORK": "off", "CGO_ENABLED": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        end = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise ProgramError(f"`{' '.join(command[:3])} ...` failed:\n{end}")
    return done.stdout


class Running:
    """A program under way, with what it printed; ends with the block."""

    def __init__(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str], *, log: Path
    ) -> None:
        self._command = [str(program(name)), *arguments]
        self._environment = {**os.environ, **environment}
        self.name = name
        self.log = log
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_until_ready(self, url: str, seconds: float = START_SECONDS) -> None:
        """Return once `url` answers 200.

        Raises ProgramError where the program ends, or that many seconds have passed.
        """
        deadline = time.monotonic() + seconds
        while not _answers(url):
            if self._process.poll() is not None:
                raise ProgramError(f"{self.name} did not start: {self._reason()}")
            if time.monotonic() > deadline:
                self.kill()
                raise ProgramError(f"{self.name} does not answer at {url}; see {self.log}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ask it to end, which makes it write what it still has."""
        if self._process.poll() is None:
            self.resume()
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Let it take connections and answer nothing, until `resume`."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Start it once more, with the same arguments."""
        self._process = self._start()

    def wait(self) -> int:
        """Its exit status, once it has ended."""
        return self._process.wait()

    def memory_mib(self) -> float:
        """Resident memory now."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024

    def _reason(self) -> str:
        """What it said last, as one sentence."""
        text = self.log.read_text(errors="replace")
        # Up to the line that has a date and says it again.
        errors = re.findall(r"(?ms)^Error: (.+?)(?=^\d{4}/|\Z)", text)
        said = errors[-1] if errors else next(reversed(text.splitlines()), "it said nothing")
        return f"{' '.join(said.split())} (see {self.log})"


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nothing listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def check_free(variables: Mapping[str, str], usual: Mapping[str, str]) -> None:
    """See that nothing listens on any `*_ENDPOINT`, or `*_HOST` and `*_PORT`, of `variables`.

    Raises ProgramError with the variable to change.
    """
    for name, of in variables.items():
        if name.endswith(("_ENDPOINT", "_PORT")):
            above = variables.get(name.replace("_PORT", "_HOST")) if name.endswith("_PORT") else ""
            endpoint = f"{above}:{of}" if above else of
            host, _, port = endpoint.rpartition(":")
            is_port = port.isdecimal() and int(port) < 65536
            if not (host and is_port) or (above and not of.isdecimal()):
                needed = "a port is" if above else "a host and a port are"
                raise ProgramError(f"{name} is {of!r}, but {needed} needed: {usual[name]}")
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((host, int(port)))
                except OSError as error:
                    if error.errno == errno.EADDRINUSE:
                        why = f"{endpoint} is in use: end what listens there, or"
                    else:
                        why = f"nothing can listen on {endpoint} ({error.strerror}):"
                    raise ProgramError(f"{why} set {name} to another") from None


def defaults(configuration: Path) -> dict[str, str]:
    """The variables of a configuration with their defaults."""
    return dict(re.findall(r"\$\{env:(\w+):-([^}]*)\}", configuration.read_text()))


@contextlib.contextmanager
def started(
    name: str,
    arguments: Sequence[str],
    variables: Mapping[str, str],
    ready: str,
    log: Path,
    seconds: float = START_SECONDS,
) -> Iterator[Running]:
    """The program, ready, as long as the block lasts."""
    # Ctrl-C in the moment of the start would leave the program behind: it is held until then.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        running = Running(name, arguments, variables, log=log)
    except BaseException:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        raise
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        running.wait_until_ready(ready, seconds)
        yield running
    finally:
        running.stop()


def check_writable(file: Path) -> None:
    """See that files can be made where `file` will be.

    The collector would go on without, and only its log would tell.
    Raises ProgramError with the variable to change.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=file.parent):
            pass
    except OSError as error:
        raise ProgramError(
            f"nothing can be written to {file.parent} ({error.strerror}): give the folder to "
            "yourself, or set TRACES_FILE to another place"
        ) from None


def check_assets(folder: str) -> None:
    """See that Jaeger's page is in `folder`.

    Raises ProgramError where it is not.
    """
    if not (Path(folder) / "index.html").is_file():
        raise ProgramError(
            f"JAEGER_ASSETS is {folder!r}, but there is no index.html: name the folder that "
            "`npm run build` of jaeger-ui makes (packages/jaeger-ui/build)"
        )


@contextlib.contextmanager
def phoenix_running(ui: str, otlp: str, logs: Path) -> Iterator[str]:
    """Run Phoenix, which forgets everything at its end; its address.

    It is told to open no connection of its own and to carry out nothing.
    """
    host, _, port = ui.rpartition(":")
    variables = {
        "PHOENIX_HOST": "127.0.0.1" if host == "localhost" else host,
        "PHOENIX_PORT": port,
        "PHOENIX_GRPC_PORT": otlp.rpartition(":")[2],
        "PHOENIX_WORKING_DIR": str(logs / "phoenix"),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
        "PHOENIX_DISABLE_AGENT_ASSISTANT": "true",
        "PHOENIX_AGENTS_DISABLE_BASH": "true",
        "PHOENIX_AGENTS_DISABLE_WEB_ACCESS": "true",
        "PHOENIX_ENABLE_MCP_SERVER": "false",
    }
    url, log = f"http://{ui}", logs / "phoenix.log"
    print("Phoenix takes up to a minute to start ...", flush=True)
    with started("phoenix", ["serve"], variables, f"{url}/healthz", log, PHOENIX_START_SECONDS):
        yield url


def stack() -> None:
    """Collector, Jaeger and a page on their usual ports, until interrupted.

    The page is Jaeger's own where JAEGER_ASSETS names its files, else that of Phoenix: Jaeger built
    from its module has none.
    Raises ProgramError where they are not built, or the environment says something impossible.
    """
    jaeger_configuration = CONFIGURATIONS / "jaeger" / "config.yaml"
    configuration = CONFIGURATIONS / f"{os.environ.get('PIPELINE', 'jaeger')}.yaml"
    beside = CONFIGURATIONS / "phoenix.yaml"
    none = {"builder", beside.stem}
    known = sorted(path.stem for path in CONFIGURATIONS.glob("*.yaml") if path.stem not in none)
    if configuration.stem not in known:
        raise ProgramError(
            f"no pipeline {configuration.stem!r}: PIPELINE is one of {', '.join(known)}"
        )
    for name in ("jaeger", "otelcol"):
        program(name)
    usual = defaults(jaeger_configuration) | defaults(configuration) | defaults(beside)
    usual |= {
        "JAEGER_UI_CONFIG": str(jaeger_configuration.with_name("ui.json")),
        "PHOENIX_UI_ENDPOINT": "localhost:6006",
    }
    values = {name: os.environ.get(name, of) for name, of in usual.items()}
    assets = values["JAEGER_ASSETS"]
    with_phoenix = not assets and configuration.stem != "metrics"
    others = {"JAEGER_ENDPOINT"} | (
        set() if with_phoenix else {"PHOENIX_UI_ENDPOINT"} | {*defaults(beside)}
    )
    check_free({name: of for name, of in values.items() if name not in others}, usual)
    if "TRACES_FILE" in values:
        values["TRACES_FILE"] = str(Path(values["TRACES_FILE"]).resolve())
        check_writable(Path(values["TRACES_FILE"]))
    if assets:
        check_assets(assets)
    if with_phoenix:
        program("phoenix")
    logs = Path(tempfile.mkdtemp(prefix="causepath-stack-"))
    with contextlib.ExitStack() as running:
        page = f"http://{values['JAEGER_UI_ENDPOINT']}"
        running.enter_context(
            started(
                "jaeger",
                [f"--config={jaeger_configuration}"],
                values,
                f"http://{values['JAEGER_HEALTH_ENDPOINT']}/status",
                logs / "jaeger.log",
            )
        )
        configurations = [configuration]
        if with_phoenix:
            configurations.append(beside)
            page = running.enter_context(
                phoenix_running(values["PHOENIX_UI_ENDPOINT"], values["PHOENIX_ENDPOINT"], logs)
            )
        running.enter_context(
            started(
                "otelcol",
                [f"--config={path}" for path in configurations],
                values,
                f"http://{values['HEALTH_ENDPOINT']}",
                logs / "otelcol.log",
            )
        )
        endpoint = f"OTEL_EXPORTER_OTLP_ENDPOINT=http://{values['OTLP_HTTP_ENDPOINT']}"
        print(f"{endpoint} CAUSEPATH=1 python agent.py sends its runs here; to try it:")
        print(f"{endpoint} CAUSEPATH=1 .venv/bin/python examples/research_agent.py")
        if with_phoenix or assets:  # Jaeger built from its module has none
            print(f"the page of {'Phoenix' if with_phoenix else 'Jaeger'}: {page}")
        print(
            f"causepath http://{values['JAEGER_UI_ENDPOINT']} --service NAME asks Jaeger; "
            f"files: {Path(values.get('TRACES_FILE', '-')).parent}; logs: {logs}"
        )
        print("until Ctrl-C", flush=True)
        signal.pause()


def main(arguments: Sequence[str]) -> int:
    """Build, or run the stack; a ProgramError becomes one line and status 2."""
    try:
        if arguments == ["stack"]:
            # Ctrl-C ends it at any time, also while something starts; a job begins without it.
            # So does `kill`, and a terminal that is closed: the programs would stay.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for other in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(other, lambda *_: signal.raise_signal(signal.SIGINT))
            with contextlib.suppress(KeyboardInterrupt):
                stack()
        elif not arguments:
            build()
        else:
            raise ProgramError("usage: python -m tests.backends.programs [stack]")
    except ProgramError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
