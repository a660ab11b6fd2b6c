"""Mapping tasks to workers and asking for memory before work starts."""
