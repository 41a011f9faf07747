"""Where the money of a run went, and what it was paid for again and again."""
