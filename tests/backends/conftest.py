"""One Jaeger for all tests; each has services of its own."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from tests.backends.stack import Jaeger, jaeger_running

if TYPE_CHECKING:
    from collections.abc import Iterator


if find_spec("grafana_foundation_sdk") is None:  # `make test-backends` installs it
    collect_ignore = [
        "test_action.py",
        "test_compose.py",
        "test_dashboard.py",
        "test_kubernetes.py",
        "test_metrics.py",
    ]


@pytest.fixture(scope="session")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    with jaeger_running(tmp_path_factory.mktemp("jaeger"), JAEGER_MAX_TRACES="20000") as running:
        yield running
