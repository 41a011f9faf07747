"""Runs of real agents of which a person has said what is to be found in them."""
