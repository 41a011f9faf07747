"""The table: `python -m benchmarks.predictions [AGENT...] [--docs]`."""

from __future__ import annotations

import sys

from benchmarks.predictions.measure import main

sys.exit(main(sys.argv[1:]))
