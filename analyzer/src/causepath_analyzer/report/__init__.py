"""Finished numbers become text or JSON. Nothing here computes an answer, and nothing prints."""
