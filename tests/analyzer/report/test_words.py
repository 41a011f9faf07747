"""Numbers as they are written, and words made harmless."""

from decimal import Decimal

import pytest

from causepath_analyzer.report import formatting


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0ns"),
        (999, "999ns"),
        (1_500, "1.5us"),
        (999_999, "1000us"),
        (1_000_000, "1.0ms"),
        (9_990_000, "10.0ms"),
        (512_000_000, "512ms"),
        (999_600_000, "1.00s"),
        (18_420_000_000, "18.42s"),
        (183_000_000_000, "183.0s"),
        (2_527_000_000_000, "42m07s"),
        (443_000_000_000_000, "123.1h"),
        (-5, "-5ns"),
    ],
)
def test_duration(ns: int, text: str) -> None:
    assert formatting.duration(ns) == text
    assert len(text) <= 7


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        ("0", "$0"),
        ("0.0368", "$0.0368"),
        ("0.2141", "$0.214"),
        ("0.000012345", "$0.0000123"),
        ("1", "$1.00"),
        ("2670.718", "$2,670.72"),
    ],
)
def test_money(usd: str, text: str) -> None:
    assert formatting.money(Decimal(usd)) == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("plain [red]", "plain [red]"),
        ("café 検索", "café 検索"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\r\nb\tc\x00", "a\\x0d\\x0ab\\x09c\\x00"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("zero\u200bwidth \u2028 \x9b31m", "zero\\u200bwidth \\u2028 \\x9b31m"),
        ("\ud800", "\\ud800"),
    ],
)
def test_harmless(raw: str, text: str) -> None:
    assert formatting.harmless(raw) == text


def test_fitted_has_exactly_the_width() -> None:
    assert formatting.fitted("abc", 5) == "abc  "
    assert formatting.fitted("abcdef", 5) == "abc.."
    assert formatting.fitted("検索検索", 5) == "検 .."


def test_tail_of_path() -> None:
    assert formatting.tail_of_path("/home/me/agent.py:41 run", 20) == "me/agent.py:41 run"
