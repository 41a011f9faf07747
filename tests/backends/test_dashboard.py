"""The dashboard, as Grafana's own schema reads it: what that does not know is left out silently.

What the queries find is the matter of test_metrics.py.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.backends.programs import CONFIGURATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.backends

SHIPPED: dict[str, Any] = json.loads(
    (CONFIGURATIONS / "grafana" / "dashboards" / "causepath.json").read_text()
)
COLUMNS = 24


def understood(dashboard: dict[str, Any]) -> Any:
    """Give what is left of a dashboard that Grafana's types have read and written again."""
    register_default_plugins()
    return json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))


def lost(before: Any, after: Any, place: str = "") -> Iterator[str]:
    """Name what is in `before` and not, or otherwise, in `after`."""
    if isinstance(before, dict):
        for key, of in before.items():
            if isinstance(after, dict) and key in after:
                yield from lost(of, after[key], f"{place}.{key}")
            else:
                yield f"{place}.{key}"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{place}.{number}")
    elif before != after:
        yield place


def test_grafana_understands_all_of_it() -> None:
    # What a variable's query was written as is for Grafana's editor, which writes it itself.
    assert list(lost(SHIPPED, understood(SHIPPED))) == [".templating.list.1.definition"]


@pytest.mark.parametrize(
    ("panel", "misspelt", "place"),
    [
        ("stat", {"descripton": ""}, ".panels.0.descripton"),
        ("stat", {"options": {"graphmode": "none"}}, ".panels.0.options.graphmode"),
        ("stat", {"targets": [{"expression": "up"}]}, ".panels.0.targets.0.expression"),
        (
            "timeseries",
            {"fieldConfig": {"defaults": {"uint": "s"}, "overrides": []}},
            ".panels.0.fieldConfig.defaults.uint",
        ),
    ],
)
def test_what_is_misspelt_is_seen(panel: str, misspelt: dict[str, Any], place: str) -> None:
    prometheus = {"type": "prometheus", "uid": "prometheus"}
    for target in misspelt.get("targets", ()):
        target["datasource"] = prometheus
    wrong = {"panels": [{"type": panel, "datasource": prometheus, **misspelt}]}
    assert list(lost(wrong, understood(wrong))) == [place]


def test_panels_are_side_by_side_and_say_what_they_show() -> None:
    panels = SHIPPED["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    titles = [panel["title"] for panel in panels if panel["type"] != "row"]
    assert len(set(titles)) == len(titles)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = set(
            itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"]))
        )
        assert at["x"] + at["w"] <= COLUMNS
        assert not cells & taken, panel["title"]
        taken |= cells
    # No hole: each line is full.
    assert taken == set(itertools.product(range(COLUMNS), range(max(y for _, y in taken) + 1)))


def test_every_panel_asks_the_data_source_that_was_chosen() -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in SHIPPED["panels"]:
        if panel["type"] != "row":
            assert [panel["datasource"], *(one["datasource"] for one in panel["targets"])] == [
                chosen
            ] * (len(panel["targets"]) + 1)
    (datasource, service) = SHIPPED["templating"]["list"]
    assert (datasource["type"], datasource["query"]) == ("datasource", "prometheus")
    assert service["datasource"] == chosen
