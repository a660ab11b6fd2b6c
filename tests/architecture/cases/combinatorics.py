"""Counting sees no module."""

CASES = {}
WITHOUT = {"critical_subspaces", "minima_subspaces"}
