"""Folders of traces of which a person has said what they show only together."""
