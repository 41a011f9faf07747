"""What the stand-in API answers to processes that tests start."""

from __future__ import annotations

from tests.support.script import Reply, Request, Usage


def hello(request: Request) -> Reply:
    """The same short answer, whatever is asked."""
    return Reply("Hello.", usage=Usage(input_tokens=3, output_tokens=2))
