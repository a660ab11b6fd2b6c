"""Slow, obvious oracles; they import nothing from the views."""
