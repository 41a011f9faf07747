"""When the last answer of a run begins: what a person who waits for it sees.

That is its first token, if the answer is shown as it is written; else nothing is seen of it before
it is whole.
"""

from collections.abc import Mapping

from causepath_analyzer.analyses.path.critical_path import first_token_ns
from causepath_analyzer.analyses.predictions.model_times import ModelTime
from causepath_analyzer.analyses.predictions.studied import Studied
from causepath_analyzer.analyses.replay.operations import Turns
from causepath_analyzer.analyses.replay.schedule import Changes, Replayed


def last_answer(run: Studied) -> int:
    """The last model call of the outermost agent, `NO_SPAN` if no agent makes one."""
    return Turns(run.trace, run.kinds, run.causes).last_answer()


def streams(run: Studied, call: int) -> bool:
    """Tells whether the reply of `call` was read as it was written."""
    told = run.trace.spans[call].model_call
    return told is not None and (told.streamed is True or told.ttft_ns is not None)


def begins_ns(run: Studied, call: int) -> int | None:
    """Measures from the start of the run until the answer of `call` began to be seen, if it is
    known."""
    if not streams(run, call):
        return run.trace.spans[call].ended_ns - run.trace.start_ns
    first = first_token_ns(run.trace, run.kinds, call)
    return None if first is None else first - run.trace.start_ns


def would_begin_ns(
    run: Studied,
    call: int,
    changes: Changes,
    times: Replayed,
    models: Mapping[str, ModelTime] | None,
) -> int | None:
    """The same with `changes`; if `models` are given the answer is streamed in any case, and they
    tell how long its first token takes."""
    start, end = times.starts_ns[call], times.ends_ns[call]
    told = changes.calls.get(call, run.trace.spans[call].model_call)
    if streams(run, call):
        waited = told.ttft_ns if told is not None else None
    elif models is not None:
        waited = first_token_would_take_ns(run, call, models)
    else:
        waited = end - start
    if waited is None:
        return None
    return start + min(waited, end - start) - run.trace.start_ns


def first_token_would_take_ns(
    run: Studied, call: int, models: Mapping[str, ModelTime]
) -> int | None:
    """Estimates the first token of `call` from other calls of its model: of those that were
    streamed, else from what an answer without any token takes."""
    told, sizes = run.trace.spans[call].model_call, run.sizes.get(call)
    model = models.get(told.model or "") if told is not None else None
    if model is None or sizes is None:
        return None
    retried = run.trace.spans[call].duration_ns - sizes.spent_ns
    if model.pace.split:
        return retried + min(model.first_ns(sizes), sizes.spent_ns)
    line = model.slopes.output
    if line is None or sizes.output_tokens is None:
        return None
    return retried + max(0, round(sizes.spent_ns - line.slope_ns * sizes.output_tokens))
