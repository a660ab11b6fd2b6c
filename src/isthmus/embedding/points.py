"""Parameter points of a two-layer network as lists of units, modulo the order and sign of units."""

import itertools
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from isthmus._core.errors import HypothesisError
from isthmus.embedding.vectors import is_odd, unit_outputs
from isthmus.model.problem import Problem
from isthmus.model.resizing import Recipe, resized, unit_groups
from isthmus.model.unit_derivatives import UnitBlocks
from isthmus.model.units import UnitGroup

Label = Literal["genuine", "split", "null", "inactive", "numerically constant"]
_SAME = 1e-5
_SILENT = 1e-6
_STEADY = 1e-9


@dataclass(frozen=True)
class Point:
    """A point with its redundancy removed.

    Attributes:
        labels: of each unit.
        core: rows ``(own, outgoing)`` of the units that remain after joining, sign-folded and sorted.
        rest: parameters of no unit (an output bias).
        essence: the core with each constant unit written as zero own parameters and its constant contribution.
    """

    labels: tuple[Label, ...]
    core: Tensor
    rest: Tensor
    essence: Tensor

    @property
    def composition(self) -> tuple[Label, ...]:
        """The labels of the units, sorted."""
        return tuple(sorted(self.labels))

    def same_core(self, other: "Point") -> bool:
        """Whether both have the same remaining units."""
        if self.essence.shape != other.essence.shape:
            return False
        mine, theirs = (torch.cat([p.essence.reshape(-1), p.rest]) for p in (self, other))
        size = max(1.0, float(mine.abs().max())) if len(mine) else 1.0
        return bool(((mine - theirs).abs() <= 10 * _SAME * size).all())


class TwoLayer:
    """Where the units of a network with one hidden dense layer lie in its flat parameters.

    Args:
        problem: whose network it is.

    Raises:
        HypothesisError: the network is not one layer of exchangeable dense units between inputs and outputs.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        groups = [g for g in unit_groups(problem) if g.kind == "dense neuron"]
        linear = [sub for sub in problem.network.module.modules() if isinstance(sub, nn.Linear)]
        if len(groups) != 1 or len(linear) != 2 or groups[0].obstacle is not None:
            raise HypothesisError(
                f"A network of one hidden layer of dense units (Linear, activation, Linear) is needed; this one has {len(linear)} "
                f"Linear layers and {len(groups)} layers of exchangeable dense units."
            )
        self.group: UnitGroup = groups[0]
        self.odd = is_odd(self.group)
        sizes = [tensor.numel() for tensor in problem.network.parameters.values()]
        starts = dict(zip(problem.network.parameters, itertools.accumulate([0, *sizes[:-1]]), strict=True))
        blocks = UnitBlocks.of(problem, self.group)
        self.own = torch.cat([index + starts[name] for name, index in blocks.incoming.items()], dim=1)
        self.outgoing = torch.cat([index + starts[name] for name, index in blocks.outgoing.items()], dim=1)
        used = torch.cat([self.own.reshape(-1), self.outgoing.reshape(-1)])
        self.rest = torch.tensor(sorted(set(range(problem.network.size)) - set(used.tolist())), dtype=torch.long)
        self._spread = float(problem.inputs.reshape(problem.samples, -1).std().clamp_min(1e-300))
        self._scale = float(problem.targets.double().square().mean().sqrt()) if problem.targets.is_floating_point() else 1.0
        self.biased = any(slot.tensor.endswith("bias") for slot in self.group.incoming)

    @property
    def width(self) -> int:
        """Hidden units."""
        return self.group.size

    def at_width(self, width: int) -> "TwoLayer":
        """The same network with another number of hidden units; its parameter values mean nothing."""
        rows = torch.zeros(width, self.width, dtype=torch.float64)
        rows[torch.arange(width), torch.arange(width) % self.width] = 1
        network = resized(self.problem.network, self.group, Recipe(rows, rows, torch.zeros(width)), inputs=self.problem.inputs)
        return TwoLayer(self.problem._with(network=network))

    def flat(self, core: Tensor, rest: Tensor) -> Tensor:
        """The flat parameters ``(p,)`` with these units, rows ``(own, outgoing)``."""
        vector = core.new_zeros(self.problem.network.size)
        vector[self.own], vector[self.outgoing] = core[:, : self.own.shape[1]], core[:, self.own.shape[1] :]
        vector[self.rest] = rest
        return vector

    def folded(self, point: Tensor) -> Tensor:
        """Units as rows ``(own, outgoing)``; for odd activations the first own entry of size is positive."""
        rows = torch.cat([point[self.own], point[self.outgoing]], dim=1)
        if not self.odd:
            return rows
        own = rows[:, : self.own.shape[1]]
        large = own.abs() > 1e-6 * own.abs().amax(1, keepdim=True)
        first = large.double().argmax(1)
        sign = torch.sign(own[torch.arange(len(own)), first])
        return rows * torch.where(sign == 0, torch.ones_like(sign), sign)[:, None]

    def analyzed(self, point: Tensor) -> Point:
        """Label every unit, join clones and drop units without output."""
        rows, cut = self.folded(point), self.own.shape[1]
        own, out = rows[:, :cut], rows[:, cut:]
        signals = unit_outputs(self.problem.at(point), self.group)
        assert signals is not None  # a Linear reads these units, which the constructor has checked
        loud = signals.square().mean(0).sqrt() * out.norm(dim=1) > _SILENT * self._scale
        steady = signals.std(0) <= _STEADY * signals.abs().amax(0)
        labels: list[Label] = ["genuine"] * len(rows)
        kept: list[int] = []
        core: list[Tensor] = []
        for unit in torch.argsort(out.norm(dim=1), descending=True).tolist():
            twin = next((k for k, j in enumerate(kept) if _close(own[unit], own[j])), None)
            if not loud[unit]:
                labels[unit] = "split" if twin is not None else "null" if self._null(own[unit]) else "inactive"
            elif twin is not None:
                labels[unit] = labels[kept[twin]] = "split"
                core[twin] = torch.cat([core[twin][:cut], core[twin][cut:] + out[unit]])
            else:
                labels[unit] = "numerically constant" if bool(steady[unit]) else "genuine"
                kept.append(unit)
                core.append(rows[unit])
        found = torch.stack(core) if core else rows[:0]
        essence = found.clone()
        for row, unit in enumerate(kept):
            if steady[unit]:
                essence[row, :cut], essence[row, cut:] = 0, found[row, cut:] * signals[:, unit].mean().abs()
        order = sorted(range(len(found)), key=lambda k: [round(float(v), 6) for v in essence[k]])
        return Point(tuple(labels), found[order], point[self.rest], essence[order])

    def _null(self, own: Tensor) -> bool:
        weights = own[:-1] if self.biased else own
        return bool(weights.norm() <= _SAME / self._spread)


def _close(one: Tensor, other: Tensor) -> bool:
    return float((one - other).norm()) <= _SAME * max(float(one.norm()), float(other.norm()), 1e-300)
