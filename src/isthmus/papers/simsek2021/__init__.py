"""Simsek et al. 2021, on what the permutation symmetry of hidden units does to the loss landscape."""
