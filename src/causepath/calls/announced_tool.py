"""A tool call that a framework says it is about to carry out, before anything measures it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from opentelemetry import context as otel

if TYPE_CHECKING:
    from opentelemetry.context import Context

ANNOUNCED_KEY = otel.create_key("causepath-announced-tool")


class Announced(NamedTuple):
    """A tool call that is about to be carried out."""

    name: str
    call_id: str | None


def announced(name: str, call_id: object) -> Context:
    """Makes the context in which the call is about to be carried out."""
    return otel.set_value(
        ANNOUNCED_KEY, Announced(name, call_id if isinstance(call_id, str) else None)
    )


def told_in(context: Context) -> Announced | None:
    told = otel.get_value(ANNOUNCED_KEY, context)
    return told if isinstance(told, Announced) else None
