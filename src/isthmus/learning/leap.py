"""Leap and merged staircase of a Boolean function from its Fourier support.

The leap is the smallest number L such that the monomials can be ordered so that each brings at most L coordinates that
no earlier one had; leap at most 1 is the merged staircase property, under which gradient descent on a wide network
needs of order d samples where every linear method needs more (Abbe, Boix-Adsera, Misiakiewicz 2022, 2023). Boolean
inputs only: for Gaussian inputs degrees count too.
"""

from collections.abc import Collection, Hashable, Iterable

from isthmus._core.errors import InputError


def leap(support: Iterable[Collection[Hashable]]) -> int:
    """The leap of a function with these monomials.

    Adding the monomial with the fewest unseen coordinates next is optimal.

    Args:
        support: each monomial with a non-zero coefficient, as the set of its coordinates; the constant is the empty set.

    Returns:
        0 for a constant.

    Raises:
        InputError: there is no monomial (the zero function has no leap).
    """
    left = [frozenset(monomial) for monomial in support]
    if not left:
        raise InputError("The zero function has no monomials and no leap; pass the sets of coordinates of its monomials.")
    seen: set[Hashable] = set()
    worst = 0
    while left:
        following = min(left, key=lambda monomial: len(monomial - seen))
        worst = max(worst, len(following - seen))
        seen |= following
        left = [monomial for monomial in left if not monomial <= seen]
    return worst


def is_merged_staircase(support: Iterable[Collection[Hashable]]) -> bool:
    """Whether the leap is at most 1."""
    return leap(support) <= 1
