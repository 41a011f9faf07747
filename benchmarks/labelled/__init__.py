"""Pairs of calls whose dependence is known, and what the product claims of them."""
