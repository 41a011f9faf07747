"""Prompt caches that break, of which the provider itself says why."""
