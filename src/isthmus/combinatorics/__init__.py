"""Exact integers about exchangeable units: how many pieces a set of equivalent networks has. No torch, no numpy."""
