"""One file per question. Each has a function from a trace to a frozen value, and that value."""
