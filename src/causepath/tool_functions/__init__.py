"""Functions that carry tools out: found, measured, and put back."""
