"""Ids are found however they are written, and shown without the zeros that were added."""

from collections.abc import Sequence

import pytest

from causepath_analyzer.ids import begins_with, shown_id

SHORT = "00000000000000005af7183fb1d4cf5f"
OWN_ZERO = "00000000000000000af7183fb1d4cf5f"
WHOLE = "5af7183fb1d4cf5f5af7183fb1d4cf5f"
ZEROS = "0af7651916cd43dd8448eb211c80319c"
NAMED = "trace_1"


@pytest.mark.parametrize(
    ("trace_id", "shown"),
    [
        (SHORT, "5af7183fb1d4cf5f"),
        (OWN_ZERO, "af7183fb1d4cf5f"),
        (WHOLE, WHOLE),
        (ZEROS, ZEROS),
        (NAMED, NAMED),
        ("0" * 32, "0"),
    ],
)
def test_shown(trace_id: str, shown: str) -> None:
    assert shown_id(trace_id) == shown


@pytest.mark.parametrize(
    ("among", "start", "found"),
    [
        ([SHORT, WHOLE], SHORT, [SHORT]),
        ([SHORT, WHOLE], "5af7183fb1d4cf5f", [SHORT]),
        ([SHORT, WHOLE], "5AF7", [SHORT, WHOLE]),
        ([SHORT], "0x5af7", [SHORT]),
        ([SHORT], "0005af7", [SHORT]),
        ([SHORT, OWN_ZERO], "0af7183fb1d4cf5f", [OWN_ZERO]),
        ([SHORT, OWN_ZERO], "af7", [OWN_ZERO]),
        ([ZEROS], "0af7", [ZEROS]),
        ([ZEROS], "af7", [ZEROS]),
        ([NAMED, SHORT], "trace", [NAMED]),
        ([SHORT], "000", [SHORT]),
        ([SHORT], "5af8", []),
    ],
)
def test_found(among: Sequence[str], start: str, found: Sequence[str]) -> None:
    assert begins_with(among, start) == found
