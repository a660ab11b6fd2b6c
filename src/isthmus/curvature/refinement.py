"""Which points of a rectangle to evaluate next, when cells are split where a function changes."""

import numpy as np

_DEPTH = 6
_SHARE = 0.2

Node = tuple[int, int]


class Quadtree:
    """Cells of a rectangle, split in four by need; every node is evaluated once.

    Nodes live on the integer lattice of the finest cells, so that neighbors share them exactly.

    Args:
        spans: intervals of the two coordinates.
        start: nodes of the first grid along each axis.
    """

    def __init__(self, spans: list[tuple[float, float]], start: int) -> None:
        self.spans, self.side = spans, 2**_DEPTH
        self.last = (start - 1) * self.side
        self.cells: dict[tuple[int, int, int], float] = {
            (i * self.side, j * self.side, self.side): 0.0 for i in range(start - 1) for j in range(start - 1)
        }
        self.values: dict[Node, tuple[float, float, int]] = {}
        self.generation, self._logarithmic = 0, True
        self._asked: list[Node] = [(i * self.side, j * self.side) for i in range(start) for j in range(start)]
        self._split: list[tuple[int, int, int]] = []

    @property
    def count(self) -> int:
        """Nodes with values."""
        return len(self.values)

    def first(self) -> np.ndarray:
        """Coordinates of the first grid, ``(s, 2)``."""
        return self._coordinates(self._asked)

    def tell(self, loss: np.ndarray, wrong: np.ndarray) -> None:
        """The values at the nodes that were asked for last."""
        for node, a, b in zip(self._asked, loss, wrong, strict=True):
            self.values[node] = (float(a), float(b), self.generation)
            self._logarithmic &= not a <= 0
        for cell in self._split:
            i, j, side = cell
            half = side // 2
            surprise = self._surprise(cell)
            del self.cells[cell]
            self.cells |= {(i + a * half, j + b * half, half): surprise for a in (0, 1) for b in (0, 1)}

    def ask(self, left: int) -> np.ndarray:
        """Coordinates of the next nodes, at most `left`; none when nothing is worth it."""
        self._asked, self._split = [], []
        ranked = sorted(self.cells, key=self._need, reverse=True)
        wanted: dict[Node, None] = {}
        for cell in ranked[: max(1, round(_SHARE * len(ranked)))]:
            fresh = [node for node in _inner(cell) if node not in self.values and node not in wanted]
            if not self._need(cell) > 0 or len(wanted) + len(fresh) > left:
                break
            wanted |= dict.fromkeys(fresh)
            self._split.append(cell)
        self._asked = list(wanted)
        self.generation += bool(wanted)
        return self._coordinates(self._asked)

    def samples(self) -> np.ndarray:
        """Rows ``(x, y, loss, wrong, generation)`` in the order of evaluation."""
        return np.hstack([self._coordinates(list(self.values)), np.array(list(self.values.values()))])

    def _need(self, cell: tuple[int, int, int]) -> float:
        if cell[2] == 1:
            return -1.0
        corners = self._heights([self.values[node][0] for node in _corners(cell)])
        finite = np.isfinite(corners)
        if not finite.any():
            return -1.0
        return float(np.ptp(corners)) + self.cells[cell] if finite.all() else np.inf

    def _surprise(self, cell: tuple[int, int, int]) -> float:
        corners = self._heights([self.values[node][0] for node in _corners(cell)])
        middle = self._heights([self.values[_inner(cell)[0]][0]])[0]
        gap = abs(middle - corners.mean())
        return float(gap) if np.isfinite(gap) else 0.0

    def _heights(self, losses: list[float]) -> np.ndarray:
        return np.log(losses) if self._logarithmic else np.array(losses)

    def _coordinates(self, nodes: list[Node]) -> np.ndarray:
        low, high = np.array(self.spans).T
        return low + (high - low) * (np.array(nodes, dtype=np.float64).reshape(-1, 2) / self.last)


def _corners(cell: tuple[int, int, int]) -> list[Node]:
    i, j, side = cell
    return [(i, j), (i + side, j), (i, j + side), (i + side, j + side)]


def _inner(cell: tuple[int, int, int]) -> list[Node]:
    """The middle first, then the middles of the edges."""
    i, j, side = cell
    half = side // 2
    return [(i + half, j + half), (i + half, j), (i, j + half), (i + side, j + half), (i + half, j + side)]
