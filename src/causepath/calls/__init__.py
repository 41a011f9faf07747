"""Runs, model calls and tool calls: which span belongs where, and what it says."""
