"""The table: `python -m benchmarks.findings [CASE...] [--docs]`."""

from __future__ import annotations

import sys

from benchmarks.findings.measure import main

sys.exit(main(sys.argv[1:]))
