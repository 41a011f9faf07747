"""From which size on a finding is worth a warning."""

from decimal import Decimal
from typing import Final

from msgspec import Struct


class Limits(Struct, frozen=True):
    """The sizes that calls and runs may have before findings warn of them."""

    llm_ns: int = 3_000_000_000
    """The time of one model call."""
    tool_ns: int = 1_000_000_000
    """The time of one tool, of a wait, or of what no span shows."""
    cost_usd: Decimal = Decimal("0.05")
    """The cost of one run."""
    iterations: int = 10
    """Model calls of one conversation, one for the results of another's tools."""
    calls: int = 20
    """Calls of one kind in a run."""
    prompt_share: Decimal = Decimal("0.8")
    """The part of a cost that is paid for prompts."""


LIMITS: Final = Limits()
