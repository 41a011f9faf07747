"""What the example agents can find out: four tool descriptions and a shelf of sources.

The sources stand for a search engine, a paper index and the web, so that the examples need no
service but the model's. How long such a service takes is up to the agent that asks it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anthropic.types import ToolParam

QUESTION = "How far will battery-electric airliners be able to fly by 2035?"

TOOL_SCHEMAS: list[ToolParam] = [
    {
        "name": "search_web",
        "description": "Search the web. Gives titles, addresses and a sentence of each hit.",
        "input_schema": {
            "type": "object",
            "properties": {"query": {"type": "string", "description": "What to look for"}},
            "required": ["query"],
        },
    },
    {
        "name": "search_papers",
        "description": "Search an index of scientific papers. Gives titles, years and abstracts.",
        "input_schema": {
            "type": "object",
            "properties": {
                "topic": {"type": "string", "description": "What the papers are about"},
                "since_year": {"type": "integer", "description": "Leave out older papers"},
            },
            "required": ["topic"],
        },
    },
    {
        "name": "fetch_page",
        "description": "Get the text of a web page.",
        "input_schema": {
            "type": "object",
            "properties": {"url": {"type": "string", "description": "An address from a search"}},
            "required": ["url"],
        },
    },
    {
        "name": "save_note",
        "description": "Keep a finding for the end of the research.",
        "input_schema": {
            "type": "object",
            "properties": {"note": {"type": "string", "description": "One or two sentences"}},
            "required": ["note"],
        },
    },
]

PAGES = {
    "https://flight-notes.example/electric-range": """\
Why range is an energy question

A regional turboprop burns about 900 kg of kerosene on a 500 km flight and lands with enough left
to divert and to circle for half an hour. Kerosene holds close to 12,000 Wh per kilogram, of which
an engine turns a third into thrust. A certified aviation battery pack holds 180 to 220 Wh per
kilogram today, cell, cooling, containment and wiring included, and an electric drive uses nine
tenths of it. Weight for weight that is still a factor of about twenty.

What the makers plan

Nineteen-seat designs with packs of 220 Wh/kg quote 160 to 200 km plus reserves. Thirty-seat
hybrids fly 200 km on the battery alone and 400 km with a turbine as range extender. Designs that
start from an empty sheet carry batteries in the wing and reach a battery share of 40 % of the
take-off weight; retrofits stay near 25 %.

What would have to change

Every extra 100 Wh/kg at the level of the pack adds 120 to 150 km to a clean-sheet design. Packs
have improved by 4 to 5 % a year over the past decade. At that pace 2035 brings 320 to 340 Wh/kg.
Reserves are the hidden lever: rules that count a diversion of 100 km take a third of the range of
a 300 km aircraft, and authorities are looking at reserves by flight phase instead.
""",
    "https://aero-weekly.example/commuter-certification": """\
Certification of the first electric commuters is expected in 2028. Battery containment tests take
most of the time: a pack has to burn out inside its case without harm to the cabin.
""",
}

WEB_HITS = """\
1. Why range is an energy question - https://flight-notes.example/electric-range
   Pack-level energy, reserves and the share of the battery decide how far an aircraft flies.
2. First electric commuters near certification - \
https://aero-weekly.example/commuter-certification
   Containment tests take most of the time; service entry is expected in 2028.
"""

PAPERS = """\
[P-1207] Pack-level energy density of aviation batteries, 2015 to 2025 (2025)
  A survey of 61 packs. Energy per kilogram rose by 4.6 % a year; certified packs trail automotive
  ones by 20 to 25 % because of containment and cooling. Extrapolation to 2035: 330 Wh/kg.
[P-1188] Clean-sheet electric regional aircraft: a design study (2024)
  With 330 Wh/kg and a battery share of 40 % a 70-seat aircraft reaches 420 km with today's reserves
  and 540 km with reserves by flight phase.
[P-0931] Life of fast-charged packs in short-haul service (2023)
  Forty-minute turnarounds cost 20 % of the capacity within 1,500 cycles.
"""


def web_hits(query: str) -> str:
    """The result list of a web search; the shelf is small, so every query finds the same."""
    return f"Results for {query!r}:\n{WEB_HITS}"


def papers(topic: str, since_year: int) -> str:
    """The papers of the index, which all are newer than 2022."""
    return f"Papers on {topic!r} since {since_year}:\n{PAPERS}"


def page(url: str) -> str:
    """The text of a page, or a sentence that there is none."""
    return PAGES.get(url, f"404: there is no page at {url}")
