"""Traffic equilibrium by a convex-programming library: slow, independent, for cross-checks (extra ``games``)."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from isthmus._core.errors import InputError, NumericalError
from isthmus._core.status import Status
from isthmus.games.traffic.network import RoadNetwork
from isthmus.games.traffic.paths import PathSet, relative_gap


@dataclass(frozen=True)
class ConvexProgram:
    """Beckmann's program with one flow vector per origin, handed to cvxpy.

    Attributes:
        backend: name of a conic solver that cvxpy knows.
        accuracy: feasibility and gap tolerance asked of it.
    """

    backend: str = "CLARABEL"
    accuracy: float = 1e-9
    name: str = "convex program through cvxpy"

    def solve(self, network: RoadNetwork, tolerance: float) -> tuple[np.ndarray, list[float], PathSet | None]:
        """Link flows and their relative gap; the tolerance is only measured against, `accuracy` is what is asked.

        Raises:
            InputError: cvxpy is not installed.
            NumericalError: the backend gives up.
        """
        try:
            import cvxpy
        except ImportError as missing:
            raise InputError("ConvexProgram needs cvxpy: pip install 'isthmus[games]'.") from missing
        search, unit = network.search, float(network.demand.sum())
        flows = cvxpy.Variable((network.links, len(search.starts)), nonneg=True)
        rows = np.concatenate([search.tail, network.head])
        columns = np.tile(np.arange(network.links), 2)
        signs = np.concatenate([np.ones(network.links), -np.ones(network.links)])
        incidence = sparse.csr_array((signs, (rows, columns)), shape=(search.size, network.links))
        balance = np.zeros((search.size, len(search.starts)))
        np.add.at(balance, (search.starts[search.row], search.row), network.demand / unit)
        np.add.at(balance, (network.destination, search.row), -network.demand / unit)
        load: Any = cvxpy.sum(flows, axis=1)
        conserved: Any = incidence @ flows == balance
        objective = _potential(cvxpy, network, load, unit)
        problem = cvxpy.Problem(cvxpy.Minimize(objective), [conserved])
        options = {"tol_gap_abs": self.accuracy, "tol_gap_rel": self.accuracy, "tol_feas": self.accuracy}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # how accurate the solution is, is measured below
            problem.solve(solver=self.backend, **(options if self.backend == "CLARABEL" else {}))
        if load.value is None:
            raise NumericalError(Status.UNRESOLVED, f"{self.backend} ended with {problem.status}")
        found = np.maximum(load.value * unit, 0.0)
        price = network.costs.value(found)
        return found, [relative_gap(network, found, price, search.trees(price)[0])], None


def _potential(cvxpy: Any, network: RoadNetwork, load: Any, unit: float) -> Any:
    """``sum_e int_0^{x_e} c_e`` in units of the total free-flow cost scale, one power at a time."""
    costs = network.costs
    total = (costs.constant * unit) @ load
    for power in np.unique(costs.power):
        chosen = np.flatnonzero((costs.power == power) & (costs.coefficient > 0))
        if chosen.size:
            weight = costs.coefficient[chosen] * unit ** (power + 1) / (power + 1)
            total += weight @ cvxpy.power(load[chosen], power + 1)
    scale = float(np.abs(costs.value(np.full(network.links, unit / network.links))).max()) * unit
    return total / scale
