"""Finished analyses in the formats of other programs: bytes out, nothing printed or sent."""
