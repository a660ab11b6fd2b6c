"""Errors, status, seeds and tolerances: the words every room uses. No torch here."""
