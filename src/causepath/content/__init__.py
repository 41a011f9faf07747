"""What calls were given and answered: digests and provenance, and the texts on request only."""
