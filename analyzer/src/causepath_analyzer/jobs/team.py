"""Several processes that read and analyse together; the command itself is the first of them.

Each reads a share of the input. Traces that lie in several shares then go to the first one that has
a part of them, so that every trace is analysed whole; what calls do in other runs is told around
before findings are looked for. Whatever can not be shared is left to one process.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import BinaryIO, Final, Self, cast

import msgspec

from causepath_analyzer.analyses.proof.independence import Elsewhere, Orders
from causepath_analyzer.analyses.summary.sums import Sums
from causepath_analyzer.errors import UnreadableInputError
from causepath_analyzer.jobs.file_parts import Part, joined
from causepath_analyzer.jobs.messages import (
    ANSWERED,
    Analyse,
    Answered,
    Asked,
    Build,
    Find,
    Give,
    Holders,
    Read,
    Rows,
    Shown,
    Sides,
    Spans,
    Summed,
    Tell,
    WasRead,
    input_of,
    received,
    send,
    unpacked,
    unpacked_rows,
    unpacked_sums,
)
from causepath_analyzer.jobs.share import Row, Share, Task
from causepath_analyzer.model import Trace
from causepath_analyzer.read import Progress
from causepath_analyzer.read.formats.recognise import NotApartError
from causepath_analyzer.read.tree.joined_traces import (
    NO_JOINS,
    NOT_LOOSE,
    Loose,
    Side,
    handing_on,
    involved,
    joins,
)

_LAST_WORDS_S: Final = 5.0


class Worker:
    """A process with a share of its own. Raises `NotApartError` if none can be started here."""

    def __init__(self) -> None:
        try:
            # A group of its own: Ctrl-C is for the command, which then ends it.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "causepath_analyzer.jobs.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                process_group=0 if os.name == "posix" else None,
            )
        except OSError:
            raise NotApartError from None
        self.pid = self._process.pid
        self._asked = cast("BinaryIO", self._process.stdin)
        self._answers = cast("BinaryIO", self._process.stdout)

    def ask(self, *messages: Asked) -> None:
        try:
            for message in messages:
                send(self._asked, message)
            self._asked.flush()
        except OSError:
            raise self._lost() from None

    def answer(self) -> Answered:
        try:
            answer: Answered = ANSWERED.decode(received(self._answers))
        except (EOFError, OSError, msgspec.DecodeError):
            raise self._lost() from None
        return answer

    def _lost(self) -> UnreadableInputError:
        try:
            status = self._process.wait(_LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            how = "says what nobody understands"
        else:
            how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return UnreadableInputError(
            f"a process that helped to read {how}; with --jobs 1 there is only one, "
            "which takes less memory"
        )

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._asked, self._answers):
            with suppress(OSError):
                stream.close()


class Team:
    """All traces of an input, in this process and in workers; a context, which ends these.

    ``inputs`` tell what became of every file, ``trace_ids`` are in no order; ``held`` are those of
    which each process has read something, the first is this one.
    """

    def __init__(self, task: Task, parts: Sequence[Sequence[Part]], progress: Progress) -> None:
        """Reads `parts`, of which each is the share of one process.

        Raises `NotApartError` if they cannot be read apart.
        """
        self._task = task
        self._own = Share(task)
        self.workers: list[Worker] = []
        try:
            self._read(task, parts, progress)
        except BaseException:
            self.end()
            raise

    def _read(self, task: Task, parts: Sequence[Sequence[Part]], progress: Progress) -> None:
        for share in parts[1:]:
            worker = Worker()
            self.workers.append(worker)
            worker.ask(Read(task, tuple(share)))
        entries = [*self._own.read(parts[0], progress)]
        self.held: list[Sequence[str]] = [self._own.trace_ids]
        causes = [*self._own.causes()]
        for worker in self.workers:
            answer = worker.answer()
            if not isinstance(answer, WasRead):
                raise NotApartError
            entries += map(input_of, answer.inputs)
            self.held.append(answer.trace_ids)
            causes += answer.causes
        self.inputs = joined([part for share in parts for part in share], entries)
        every = {trace_id for held in self.held for trace_id in held}
        if not every:
            raise NotApartError
        self._joins = joins(causes, self._sides(involved(causes, every))) if causes else NO_JOINS
        self.lead = {trace_id: self._joins.lead.get(trace_id, trace_id) for trace_id in every}
        self.trace_ids = frozenset(self.lead.values())

    def _sides(self, trace_ids: set[str]) -> dict[str, Side]:
        """Collects what all shares say of these traces."""
        found = dict(self._own.sides(tuple(trace_ids)))
        for worker, held in zip(self.workers, self.held[1:], strict=True):
            own = trace_ids.intersection(held)
            if not own:
                continue
            worker.ask(Tell(tuple(own)))
            answer = worker.answer()
            assert isinstance(answer, Sides)
            for trace_id, side in answer.sides.items():
                found[trace_id] = found[trace_id] + side if trace_id in found else side
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Ends the workers, whatever they do."""
        for worker in self.workers:
            worker.end()

    def whole(self, trace_id: str) -> tuple[Trace, Elsewhere]:
        """Takes one of the traces out, and gives it with what all of them know of each other.

        Raises `NotApartError` if others have to be asked about it.
        """
        parts = [part for part, first in self.lead.items() if first == self.lead[trace_id]]
        one = Share(self._task)
        for part in parts:
            if part in self.held[0]:
                one.taken(part, self._own.given_away(part))
        for worker, held in zip(self.workers, self.held[1:], strict=True):
            for spans in self._given(worker, [part for part in parts if part in held]):
                one.taken(spans.trace_id, unpacked(spans))
        self.held = [[part for part in held if part not in parts] for held in self.held]
        self.lead = {part: lead for part, lead in self.lead.items() if part not in parts}
        one.build(self._joins.lead)
        if one.loose() != NOT_LOOSE:
            raise NotApartError
        orders = one.orders()
        if self._task.codes:
            orders.join(self._shown()[0])
        one.told(self._joins.named, {})
        (trace,) = one.build({})
        return trace, orders.elsewhere()

    def rows(self) -> list[Row]:
        """A row for every trace, in order of start; the traces themselves are dropped."""
        rows = list(self._own.rows(self._analysed(in_sums=False)))
        for worker in self.workers:
            while chunk := self._rows(worker):
                rows += chunk
        return sorted(rows, key=in_order)

    def sums(self) -> Sums:
        """Adds up all traces, which are dropped."""
        sums = self._own.sums(self._analysed(in_sums=True))
        for worker in self.workers:
            answer = worker.answer()
            assert isinstance(answer, Summed)
            sums.join(unpacked_sums(answer))
        return sums

    def _analysed(self, *, in_sums: bool) -> Elsewhere:
        """Lets the workers analyse their traces, and tells what all of them know of each other."""
        orders, loose = self._shown()
        others = orders.elsewhere()
        handing = self._joins.named | handing_on(loose.parts)
        parents = self._holders(loose.absent)
        for worker in self.workers:
            worker.ask(Analyse(others, handing, parents, in_sums))
        self._own.told(handing, parents)
        return others

    def _shown(self) -> tuple[Orders, Loose]:
        """Builds all traces, and tells what they show together."""
        self._exchange()
        for worker in self.workers:
            worker.ask(Build(self._joins.lead))
        self._own.build(self._joins.lead)
        orders, loose = self._own.orders(), self._own.loose()
        for worker in self.workers:
            answer = worker.answer()
            assert isinstance(answer, Shown)
            orders.join(answer.orders)
            loose += answer.loose
        return orders, loose

    def _holders(self, span_ids: frozenset[str]) -> dict[str, str]:
        """Finds in which traces spans with these ids are."""
        found: dict[str, str] = {}
        if span_ids:
            for worker in self.workers:
                worker.ask(Find(span_ids))
            found.update(self._own.holders(span_ids))
            for worker in self.workers:
                answer = worker.answer()
                assert isinstance(answer, Holders)
                found.update(answer.traces)
        return found

    def _exchange(self) -> None:
        """Gives what was read of a run to the first share that has something of it."""
        first: dict[str, int] = {}
        for share, held in enumerate(self.held):
            for trace_id in held:
                first.setdefault(self.lead[trace_id], share)
        owners = {trace_id: first[lead] for trace_id, lead in self.lead.items()}
        forwarded: list[list[Spans]] = [[] for _ in self.workers]
        for share, worker in enumerate(self.workers, start=1):
            given = [trace_id for trace_id in self.held[share] if owners[trace_id] != share]
            for spans in self._given(worker, given):
                owner = owners[spans.trace_id]
                if owner == 0:
                    self._own.taken(spans.trace_id, unpacked(spans))
                else:
                    forwarded[owner - 1].append(spans)
        # Only now: a worker that still gives away does not listen.
        for worker, messages in zip(self.workers, forwarded, strict=True):
            worker.ask(*messages)

    def _given(self, worker: Worker, trace_ids: Sequence[str]) -> Iterator[Spans]:
        worker.ask(Give(tuple(trace_ids)))
        for _ in trace_ids:
            answer = worker.answer()
            assert isinstance(answer, Spans)
            yield answer

    def _rows(self, worker: Worker) -> Sequence[Row]:
        answer = worker.answer()
        assert isinstance(answer, Rows)
        return unpacked_rows(answer)


def in_order(row: Row) -> tuple[int, str]:
    """Sorts rows as traces are sorted."""
    return row.brief.start_ns, row.brief.trace_id
