"""One process of several that read together: ``python -m causepath_analyzer.jobs.worker``.

It does what it is told on standard input and answers on standard output, in `messages`.
"""

import os
import sys
from contextlib import suppress
from typing import BinaryIO, Final

from causepath_analyzer.jobs.messages import (
    ASKED,
    Analyse,
    Build,
    Find,
    Give,
    Holders,
    NotApart,
    Read,
    Shown,
    Sides,
    Spans,
    Tell,
    WasRead,
    input_read,
    packed,
    packed_rows,
    packed_sums,
    received,
    send,
    unpacked,
)
from causepath_analyzer.jobs.share import Row, Share, Task
from causepath_analyzer.read.formats.recognise import NotApartError

_ROWS: Final = 256
"""So many rows to a message."""


def work(asked: BinaryIO, answers: BinaryIO) -> None:
    """Answers until nothing more is asked."""
    share = Share(Task())
    while True:
        try:
            message = ASKED.decode(received(asked))
        except EOFError:
            return
        if isinstance(message, Read):
            share = Share(message.task)
            try:
                inputs = share.read(message.parts)
            except NotApartError:
                send(answers, NotApart())
            else:
                told = tuple(map(input_read, inputs))
                causes = tuple(share.causes())
                send(answers, WasRead(told, tuple(share.trace_ids), causes))
        elif isinstance(message, Tell):
            send(answers, Sides(share.sides(message.trace_ids)))
        elif isinstance(message, Give):
            for trace_id in message.trace_ids:
                send(answers, packed(trace_id, share.given_away(trace_id)))
        elif isinstance(message, Spans):
            share.taken(message.trace_id, unpacked(message))
            continue
        elif isinstance(message, Build):
            share.build(message.lead)
            send(answers, Shown(share.orders(), share.loose()))
        elif isinstance(message, Find):
            send(answers, Holders(share.holders(message.span_ids)))
        elif isinstance(message, Analyse):
            _analyse(share, message, answers)
        answers.flush()


def _analyse(share: Share, message: Analyse, answers: BinaryIO) -> None:
    # All of it before the first is sent: whoever asked is analysing as well, and not listening.
    share.told(message.handing, message.parents)
    if message.in_sums:
        send(answers, packed_sums(share.sums(message.others)))
        return
    rows: list[Row] = list(share.rows(message.others))
    for first in range(0, len(rows), _ROWS):
        send(answers, packed_rows(rows[first : first + _ROWS]))
    send(answers, packed_rows(()))


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what else is printed in this process is no answer
    with suppress(BrokenPipeError):  # whoever asked is gone, and waits for nothing
        work(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
