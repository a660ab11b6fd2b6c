"""Protocols that combine the views into one run."""
