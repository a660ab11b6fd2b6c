"""Second derivatives of the loss that belong to single units: the frozen-error functional of a layer.

The units of a group enter their readers additively, ``h = sum_k U_k phi(p_k; x)``. With the errors ``e = dL/dh`` and
everything before the units held fixed, ``F(p, u) = sum_x <e, h>`` has no second derivative between different units: one
Hessian product of F serves every unit of the layer at once. Together with `derivatives` this file holds the autograd
calls of the package.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isthmus._core.errors import UnsupportedLayer
from isthmus.engine.memory import chunks
from isthmus.model.derivatives import default_chunk, exact_kernels
from isthmus.model.problem import Problem
from isthmus.model.units import Slot, UnitGroup


@dataclass(frozen=True)
class UnitBlocks:
    """Where the trainable entries of each unit lie in the tensors of a group.

    Attributes:
        incoming: tensor name to flat positions ``(m, d)`` of each unit's own parameters p.
        outgoing: tensor name to flat positions ``(m, d)`` of each unit's outgoing weights u.
        shapes: of these tensors.
    """

    incoming: dict[str, Tensor]
    outgoing: dict[str, Tensor]
    shapes: dict[str, torch.Size]

    @classmethod
    def of(cls, problem: Problem, group: UnitGroup) -> "UnitBlocks":
        """The blocks of a group; tensors that are not trainable are left out."""
        free = problem.network.parameters
        incoming = _positions(free, (*group.incoming, *group.state), group.size)
        outgoing = _positions(free, group.outgoing, group.size)
        return cls(incoming, outgoing, {name: free[name].shape for name in [*incoming, *outgoing]})

    @property
    def sizes(self) -> tuple[int, int]:
        """``(d_p, d_u)``: trainable entries of one unit, own and outgoing."""
        return sum(i.shape[1] for i in self.incoming.values()), sum(i.shape[1] for i in self.outgoing.values())

    def gather(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """``(m, d_p)`` and ``(m, d_u)`` out of tensors by name."""
        own = [tensors[name].reshape(-1)[index] for name, index in self.incoming.items()]
        out = [tensors[name].reshape(-1)[index] for name, index in self.outgoing.items()]
        return torch.cat(own, dim=1), torch.cat(out, dim=1)

    def scatter(self, own: Tensor, out: Tensor) -> dict[str, Tensor]:
        """Tensors by name from ``(m, d_p)`` and ``(m, d_u)``; entries of no unit are zero."""
        made = {name: own.new_zeros(shape.numel()) for name, shape in self.shapes.items()}
        for block, indices in ((own, self.incoming), (out, self.outgoing)):
            parts = block.split([index.shape[1] for index in indices.values()], dim=1)
            for (name, index), part in zip(indices.items(), parts, strict=True):
                made[name] = made[name].index_put((index,), part)
        return {name: value.view(self.shapes[name]) for name, value in made.items()}


class FrozenErrors:
    """Hessian products of the frozen-error functional of one group, batch by batch.

    Args:
        problem: network (deterministic per example), data and loss.
        group: whose units; their outgoing tensors must be weights of `nn` layers that run once.
        batches: parts of the training data that are kept apart, for intervals.

    Attributes:
        blocks: positions of the units' entries.
        weights: share of the samples in each part, ``(batches,)``.
        products: Hessian products made so far.

    Raises:
        UnsupportedLayer: the readers of the units are not such layers.
    """

    def __init__(self, problem: Problem, group: UnitGroup, *, batches: int = 1) -> None:
        self.problem, self.group, self.blocks = problem, group, UnitBlocks.of(problem, group)
        self.readers = list(dict.fromkeys(slot.tensor.removesuffix(".weight") for slot in group.outgoing))
        self.require(problem, group)
        self.products = 0
        self._links: Tensor | None = None
        size = -(-problem.samples // min(batches, problem.samples))
        parts = list(chunks(problem.samples, size))
        self.weights = [(part.stop - part.start) / problem.samples for part in parts]
        step = default_chunk(problem.network, problem.inputs)
        self._graphs = [
            [self._graph(slice(part.start + s.start, part.start + s.stop)) for s in chunks(part.stop - part.start, step)]
            for part in parts
        ]

    def __call__(self, own: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
        """``(S v + D^T c, D v)`` for every unit: ``v (m, d_p)``, ``c (m, d_u)``, over all samples."""
        parts = self.by_batch(own, out)
        return sum((p[0] for p in parts), torch.zeros_like(own)), sum((p[1] for p in parts), torch.zeros_like(out))

    def by_batch(self, own: Tensor, out: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The same for each part of the data; the parts add up to the whole."""
        self.products += 1
        direction = self.blocks.scatter(own, out)
        found = []
        for graphs in self._graphs:
            total = {name: torch.zeros_like(value) for name, value in direction.items()}
            for leaves, slopes in graphs:
                for name, value in self._product(leaves, slopes, direction).items():
                    total[name] += value
            found.append(self.blocks.gather(total))
        return found

    def missing_links(self) -> Tensor | None:
        """``sum_x e (x) input``, ``(d_u, d_in)``: what a null unit would couple to; None unless all layers are Linear."""
        return None if self._links is None else self._links.clone()

    def _product(self, leaves: dict[str, Tensor], slopes: dict[str, Tensor], direction: dict[str, Tensor]) -> dict[str, Tensor]:
        pairs = [(slopes[name], direction[name]) for name in leaves if slopes[name].requires_grad]
        if not pairs:
            return {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
        with exact_kernels(self.problem.network):
            grads = torch.autograd.grad(
                [s for s, _ in pairs], list(leaves.values()), [d for _, d in pairs],
                retain_graph=True, allow_unused=True, materialize_grads=True,
            )  # fmt: skip
        return dict(zip(leaves, grads, strict=True))

    def _graph(self, rows: slice) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        network, part = self.problem.network, self.problem.inputs[rows]
        errors = self._errors(rows)
        leaves = {name: network.parameters[name].detach().requires_grad_() for name in self.blocks.shapes}
        with exact_kernels(network):
            reached = self._readings(part, {**network.parameters, **leaves})
            total = torch.stack([(errors[name] * reached[name]).sum() for name in errors]).sum()
            slopes = torch.autograd.grad(
                total, list(leaves.values()), create_graph=True, allow_unused=True, materialize_grads=True
            )
        return leaves, dict(zip(leaves, slopes, strict=True))

    def _errors(self, rows: slice) -> dict[str, Tensor]:
        """``e = dL/dh`` at each reader's output, the loss's own normalization included."""
        network, shifts, seen = self.problem.network, {}, []

        def shifted(name: str) -> Callable[[nn.Module, tuple, Tensor], Tensor]:
            def hook(_: nn.Module, arguments: tuple, output: Tensor) -> Tensor:
                if name in shifts:
                    raise UnsupportedLayer(f"{name} runs more than once, so its units cannot be treated one by one.")
                shifts[name] = torch.zeros_like(output, requires_grad=True)
                seen.append(name)
                return output.detach() + shifts[name] if len(seen) == 1 else output + shifts[name]

            return hook

        with exact_kernels(network), self._hooked(shifted):
            outputs = network.forward(network.parameters, self.problem.inputs[rows])
            loss = self.problem.loss.total(outputs, self.problem.targets[rows]) / self.problem.normalizer
            found = torch.autograd.grad(loss, [shifts[name] for name in seen])
        self._last = seen[-1]
        errors = dict(zip(seen, found, strict=True))
        self._add_links(rows, errors)
        return errors

    def _add_links(self, rows: slice, errors: dict[str, Tensor]) -> None:
        network, (reader, error) = self.problem.network, next(iter(errors.items()))
        modules = dict(network.module.named_modules())
        layer = modules.get(self.group.name)
        if len(errors) != 1 or not isinstance(layer, nn.Linear) or not isinstance(modules[reader], nn.Linear):
            return
        caught: list[Tensor] = []
        handle = layer.register_forward_pre_hook(lambda _, arguments: caught.append(arguments[0]))
        try:
            network(self.problem.inputs[rows])
        finally:
            handle.remove()
        links = torch.einsum("uo,ui->oi", error.reshape(-1, error.shape[-1]), caught[0].reshape(-1, caught[0].shape[-1]))
        self._links = links if self._links is None else self._links + links

    def _readings(self, inputs: Tensor, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
        """Each reader's output h as a function of this group's tensors; what follows a reader sees a constant."""
        network, reached = self.problem.network, {}

        def caught(name: str) -> Callable[[nn.Module, tuple, Tensor], Tensor]:
            def hook(_: nn.Module, arguments: tuple, output: Tensor) -> Tensor:
                reached[name] = output
                if name == self._last:
                    raise _Reached
                return output.detach()

            return hook

        with self._hooked(caught):
            try:
                network.forward(parameters, inputs)
            except _Reached:
                return reached
        return reached

    @contextmanager
    def _hooked(self, make: Callable[[str], Callable]) -> Iterator[None]:
        module = self.problem.network.module
        handles = [module.get_submodule(name).register_forward_hook(make(name)) for name in self.readers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @staticmethod
    def require(problem: Problem, group: UnitGroup) -> None:
        """Raise unless the units are read through modules whose output errors can be caught.

        Raises:
            UnsupportedLayer: a reader is no Linear or convolution module.
        """
        modules = dict(problem.network.module.named_modules())
        for slot in group.outgoing:
            name = slot.tensor.removesuffix(".weight")
            reader = modules.get(name)
            inside = isinstance(reader, nn.modules.linear.NonDynamicallyQuantizableLinear)  # attention reads its weight itself
            if inside or not isinstance(reader, nn.Linear | nn.modules.conv._ConvNd):
                raise UnsupportedLayer(
                    f"the units of {group.name} are read through {slot.tensor}, which is not the weight of a Linear or "
                    "convolution module, so the error at its output cannot be caught; use an nn.Linear there"
                )


def _positions(tensors: dict[str, Tensor], slots: tuple[Slot, ...], size: int) -> dict[str, Tensor]:
    """Flat positions ``(m, d)`` of each unit's entries in each trainable tensor."""
    found: dict[str, list[Tensor]] = {}
    for slot in slots:
        if slot.tensor in tensors:
            shape = tensors[slot.tensor].shape
            places = torch.arange(shape.numel()).view(shape).movedim(slot.axis, 0)
            found.setdefault(slot.tensor, []).append(places[slot.entries(size)].reshape(size, -1))
    return {name: torch.cat(parts, dim=1) for name, parts in found.items()}


class _Reached(Exception):
    """Raised inside a forward pass when nothing after this point is needed."""
