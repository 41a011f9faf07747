"""Programs that run in forks of one process, which has imported already what they need.

An SDK takes a second or two to import, and a program of ten lines next to nothing. A fork of a
process that has only imported is what the program would be after its first lines: a main module,
arguments, an environment and files of its own, and an end as every interpreter's. What a test says
of the imports themselves, or of the start of the interpreter, needs a process of its own.
"""

from __future__ import annotations

import array
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Forks:
    """A process that has imported `modules` and does nothing but to fork."""

    def __init__(self, *modules: str) -> None:
        self._modules = modules
        self._socket: socket.socket | None = None

    def run(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        timeout: float = 60,
        stdin: int | None = None,
        stdout: int | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs `python ARGUMENTS`, as `subprocess.run` does, and gives what it printed.

        `stdin` and `stdout` are files that are open here; without them the program gets none, and
        what it prints is kept.
        """
        with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as said:
            with Path(os.devnull).open("rb") as nothing:
                files = [
                    nothing.fileno() if stdin is None else stdin,
                    printed.fileno() if stdout is None else stdout,
                    said.fileno(),
                ]
                status = self._run(
                    {"arguments": [*arguments], "cwd": str(cwd), "env": {**env}}, files, timeout
                )
            printed.seek(0)
            said.seek(0)
            return subprocess.CompletedProcess(
                [*arguments], status, printed.read().decode(), said.read().decode()
            )

    def _run(self, program: dict[str, Any], files: Sequence[int], timeout: float) -> int:
        connection = self._connected()
        request = json.dumps(program).encode()
        connection.settimeout(timeout)
        connection.sendmsg(
            [len(request).to_bytes(8, "big")],
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))],
        )
        connection.sendall(request)
        pid = _number(connection)
        try:
            status = _number(connection)
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            connection.settimeout(None)
            _number(connection)
            raise subprocess.TimeoutExpired(program["arguments"], timeout) from None
        return os.waitstatus_to_exitcode(status)

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket, theirs = socket.socketpair()
            with theirs:
                process = subprocess.Popen(
                    [sys.executable, "-m", __name__, str(theirs.fileno()), *self._modules],
                    cwd=Path(__file__).parents[2],
                    env={
                        name: value
                        for name, value in os.environ.items()
                        if not name.startswith(("CAUSEPATH", "OTEL_"))
                    },
                    pass_fds=[theirs.fileno()],
                )
            weakref.finalize(self, _end, self._socket, process)
        return self._socket


def _end(connection: socket.socket, process: subprocess.Popen[bytes]) -> None:
    connection.close()
    process.wait(60)


def _number(connection: socket.socket) -> int:
    return int.from_bytes(_exactly(connection, 8), "big")


def _exactly(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        piece = connection.recv(count - len(found))
        if not piece:
            raise EOFError("the process that forks has ended")
        found += piece
    return found


def _fork_on_request(connection: socket.socket) -> dict[str, Any] | None:
    """Forks for each request, and gives it in the child; gives nothing once there are no more."""
    while True:
        head, ancillary, _, _ = connection.recvmsg(8, socket.CMSG_SPACE(3 * 4))
        if not head:
            return None
        ((_, _, data),) = ancillary
        files = array.array("i", data)
        program: dict[str, Any] = json.loads(_exactly(connection, int.from_bytes(head, "big")))
        pid = os.fork()
        if not pid:
            connection.close()
            for i, file in enumerate(files):
                os.dup2(file, i)
                os.close(file)
            return program
        for file in files:
            os.close(file)
        connection.sendall(pid.to_bytes(8, "big"))
        connection.sendall(os.waitpid(pid, 0)[1].to_bytes(8, "big"))


def _become(program: dict[str, Any]) -> tuple[str, str]:
    """Makes this process what `python ARGUMENTS` begins as; gives what to run, and its kind."""
    os.environ.clear()
    os.environ.update(program["env"])
    os.chdir(program["cwd"])
    first, *rest = program["arguments"]
    kind = first if first in ("-c", "-m") else ""
    what = rest.pop(0) if kind else first
    sys.argv = [kind or what, *rest]
    sys.orig_argv = [sys.executable, *program["arguments"]]
    names, modes = ("stdin", "stdout", "stderr"), "rww"
    for file, (name, mode) in enumerate(zip(names, modes, strict=True)):
        buffering = 1 if file == 2 or os.isatty(file) else -1
        errors = "backslashreplace" if file == 2 else None
        stream = os.fdopen(file, mode, buffering, errors=errors, closefd=False)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.path[0] = {"": str(Path(what).parent), "-c": "", "-m": str(Path.cwd())}[kind]
    importlib.invalidate_caches()
    if os.environ.get("CAUSEPATH"):  # as `causepath.pth` does
        from causepath import startup

        startup.start()
    return kind, what


if __name__ == "__main__":
    for _module in sys.argv[2:]:
        importlib.import_module(_module)
    gc.freeze()  # else each fork would copy what its first collection looks at
    with socket.socket(fileno=int(sys.argv[1])) as _requests:
        _program = _fork_on_request(_requests)
    if _program is not None:
        _kind, _what = _become(_program)
        # What is below the program on the stack is nobody's application.
        __name__ = "runpy"
        _main = sys.modules["__main__"] = type(sys)("__main__")
        if _kind == "-m":
            runpy._run_module_as_main(_what)  # type: ignore[attr-defined]
        else:
            _main.__dict__["__builtins__"] = __builtins__
            if not _kind:
                _main.__file__ = _what
            _text = _what if _kind else Path(_what).read_text()
            exec(compile(_text, "<string>" if _kind else _what, "exec"), _main.__dict__)
