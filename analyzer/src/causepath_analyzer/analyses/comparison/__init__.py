"""Runs before a change against runs after it.

work          how often and how long a run did what, and how long it waited for it
attribution   the change of the mean wall, taken apart into causes that add up to it
compared      which figures changed, with the range that each change is in
"""
