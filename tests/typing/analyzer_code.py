"""The analyzer's API as users call it, for the type checker."""

from __future__ import annotations

from typing_extensions import assert_type

import causepath_analyzer

runs = causepath_analyzer.read("traces.jsonl", "more/", format="otlp-json")
assert_type(runs, causepath_analyzer.Runs)
assert_type(runs[0], causepath_analyzer.Run)
assert_type(runs[1:], causepath_analyzer.Runs)
assert_type(runs.report(width=120), str)
assert_type([run.wall_ns for run in runs.where(lambda run: run.status != "ok")], "list[int]")
assert_type(runs.whatif("CP101").p50.then, int)
