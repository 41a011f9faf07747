"""The table: `python -m benchmarks.labelled [PAIR...] [--write]`."""

from __future__ import annotations

import sys

from benchmarks.labelled.measure import main

sys.exit(main(sys.argv[1:]))
