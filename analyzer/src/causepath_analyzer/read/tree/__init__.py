"""The spans of a trace as one tree: records merged, clocks and lost parents repaired."""
