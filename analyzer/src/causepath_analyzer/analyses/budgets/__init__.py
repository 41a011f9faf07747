"""Budgets: what runs may use, held against what they used.

wording    what a budget is called in settings and on the command line
measures   how much of it a run used, as far as that is known
intervals  what the runs at hand say about all runs of their kind
verdicts   pass, fail or inconclusive
"""
