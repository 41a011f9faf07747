"""Budgets at run time: limits of time, tokens, money and turns, and what was spent of them."""
