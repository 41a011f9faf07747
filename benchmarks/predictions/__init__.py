"""Real agents, a prediction for each, the same agents with the fix, and how far off it was.

`python -m benchmarks.predictions` prints the table of `docs/what-if.md` in a minute and a half.
`agents.py` holds the agents, `model.py` what the scripted model answers them, `measure.py` runs
both and compares.
"""
