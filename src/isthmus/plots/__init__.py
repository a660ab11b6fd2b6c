"""Figures from records; nothing is computed here that is not drawing."""
