"""Record of the alignment of two networks."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isthmus.results.record import Record


@dataclass(frozen=True, kw_only=True)
class NetworkAlignment(Record):
    """The second network's units in the order (sign, scale) in which they match those of the first.

    Attributes:
        permutation: unit i of a group of the aligned network is unit ``permutation[i]`` of the second network; all groups
            one after the other, ``(unit,)``.
        factor: what that unit was multiplied by (and divided by where it is read): 1 where only permutations are free.
        sizes: units per group.
        names: of the groups.
        kinds: of their units.
        freedoms: of their units: none, sign, positive, both.
        objectives: what each start of the search reached, cosine of the angle between the compared tensors.
        distance: ``|a - b|`` over the parameters, before and after.
        output_change: largest change of the second network's outputs, relative to the largest; in float64.
        alpha: positions on the line from the second network (0) to the first (1); empty when no barrier was asked for.
        before: quantities along the line from the second network as it was, ``(quantity, a)``.
        after: the same from the aligned network.
        chord_before: barriers over the chord, ``(quantity,)``.
        chord_after: the same after alignment.
        quantities: names of the rows.
    """

    schema: ClassVar[str] = "symmetry/alignment"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "permutation": ("unit",),
        "factor": ("unit",),
        "sizes": ("group",),
        "objectives": ("start",),
        "distance": ("state",),
        "alpha": ("a",),
        "before": ("quantity", "a"),
        "after": ("quantity", "a"),
        "chord_before": ("quantity",),
        "chord_after": ("quantity",),
    }

    permutation: np.ndarray
    factor: np.ndarray
    sizes: np.ndarray
    objectives: np.ndarray
    distance: np.ndarray
    alpha: np.ndarray
    before: np.ndarray
    after: np.ndarray
    chord_before: np.ndarray
    chord_after: np.ndarray
    names: list[str]
    kinds: list[str]
    freedoms: list[str]
    quantities: list[str]
    output_change: float

    def units(self, name: str) -> slice:
        """Where the units of a group lie in `permutation` and `factor`."""
        index = self.names.index(name)
        start = int(self.sizes[:index].sum())
        return slice(start, start + int(self.sizes[index]))


@dataclass(frozen=True, kw_only=True)
class AlignedBarriers(Record):
    """Barriers between a run and runs from other initializations, as they are and with their units aligned.

    Attributes:
        alpha: positions on the line from the other run (0) to the run (1).
        before: quantities along the line from each other run, ``(pair, quantity, a)``.
        after: the same from the aligned runs, ``(method, pair, quantity, a)``.
        chord_before: barriers over the chord.
        chord_after: the same after alignment.
        distance: ``|a - b|`` over the parameters, as they are.
        distance_after: the same after alignment.
        quantities: train_loss, train_error, test_loss, test_error, as far as they exist.
        methods: ways of matching, in words.
        units: exchangeable units in all, and their groups.
        headline: training-loss barrier averaged over pairs: as they are, and aligned by the first method.
    """

    schema: ClassVar[str] = "symmetry/aligned_barriers"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "alpha": ("a",),
        "before": ("pair", "quantity", "a"),
        "after": ("method", "pair", "quantity", "a"),
        "chord_before": ("pair", "quantity"),
        "chord_after": ("method", "pair", "quantity"),
        "distance": ("pair",),
        "distance_after": ("method", "pair"),
    }

    alpha: np.ndarray
    before: np.ndarray
    after: np.ndarray
    chord_before: np.ndarray
    chord_after: np.ndarray
    distance: np.ndarray
    distance_after: np.ndarray
    quantities: list[str]
    methods: list[str]
    units: tuple[int, int]
    headline: tuple[float, float]
