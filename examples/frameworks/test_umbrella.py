"""A test of an agent; the trace says where its time went.

causepath run -- pytest test_umbrella.py
"""

from weather_agent import ask


def test_nobody_needs_an_umbrella_in_the_sun() -> None:
    assert "umbrella" in ask("Do I need an umbrella in Lisbon?")
