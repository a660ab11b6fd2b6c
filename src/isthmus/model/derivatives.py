"""Every derivative of the package (training steps and layer capture aside).

First order: vector-Jacobian, Jacobian-vector, Jacobian. Second order: Hessian products by double backward and
Gauss-Newton products, with the graph of the gradient kept between products when it fits in memory. Nothing here
differentiates a forward-mode derivative again: that path is wrong through fused normalization layers in torch.

The file is longer than the house's 400 lines so that there is one place where derivatives are right or wrong.

All functions evaluate on chunks of samples and add up; the chunk size changes memory and speed, never the value
beyond rounding.
"""

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from isthmus._core.errors import NotTwiceDifferentiable, ShapeError
from isthmus._core.numerics import tolerance
from isthmus._core.seeds import Seed
from isthmus.engine.memory import available_bytes, chunks
from isthmus.linops.allocation import uninitialized
from isthmus.linops.random import gaussian
from isthmus.model.composed import ComposedNorms
from isthmus.model.network import Network
from isthmus.model.problem import Problem
from isthmus.model.tabulated import Tabulated

_KEEP_SHARE = 0.25
_CHUNK_BYTES = 2**29
_CACHE_BYTES = 2**23
_NO_SECOND = (
    "{} has a layer without a second derivative ({}). Replace the layer, or write its backward with differentiable "
    "operations; no Hessian exists through it as it stands."
)


@contextlib.contextmanager
def exact_kernels(network: Network) -> Iterator[None]:
    """Run attention by its formula and recurrent layers without fused kernels, which lack exact derivatives."""
    fast, onednn = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled
    torch.backends.mha.set_fastpath_enabled(False)
    if any(isinstance(sub, nn.RNNBase) for sub in network.module.modules()):
        torch.backends.mkldnn.enabled = False
    try:
        with sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        torch.backends.mkldnn.enabled = onednn


def output_vjp(network: Network, inputs: Tensor, cotangents: Tensor, *, chunk: int | None = None) -> Float[Tensor, " p"]:
    """``J^T u``: the gradient of ``sum_{n,c} u[n,c] f_c(x_n)``.

    Args:
        network: the network; its parameters are the point.
        inputs: ``(n, ...)``.
        cotangents: ``u``, ``(n, c)``.
        chunk: samples per backward pass; by default as many as fit.

    Returns:
        ``(p,)``, in the network's dtype. Cost: one forward and one backward pass.
    """
    total = torch.zeros(network.size, dtype=network.dtype, device=network.device)
    with exact_kernels(network):
        for rows in chunks(len(inputs), chunk or default_chunk(network, inputs)):
            leaves = _leaves(network)
            outputs = network.apply(leaves, inputs[rows])
            _require_shape("cotangents", cotangents[rows], outputs)
            total += _flat_gradient(network, outputs, leaves, cotangents[rows])
    return total


def output_jvp(
    network: Network, inputs: Shaped[Tensor, "n ..."], tangent: Float[Tensor, " p"], *, chunk: int | None = None
) -> Float[Tensor, "n c"]:
    """``J v``: the directional derivative of the outputs along a parameter direction.

    By forward mode; where a layer has none (LSTM), by transposing the backward pass twice.

    Args:
        network: the network; its parameters are the point.
        inputs: ``(n, ...)``.
        tangent: ``v``, ``(p,)``.
        chunk: samples per pass; by default as many as fit.

    Returns:
        ``(n, c)``.
    """
    direction = network.layout.unflatten(tangent)
    parts = []
    with exact_kernels(network):
        for rows in chunks(len(inputs), chunk or default_chunk(network, inputs)):
            part = inputs[rows]
            try:
                moved = _forward_mode(network, part, direction)
            except (RuntimeError, NotImplementedError):
                moved = _Linearization(network, part).jvp(direction)
            parts.append(moved.detach())
    return torch.cat(parts)


def jacobian(network: Network, inputs: Shaped[Tensor, "n ..."], *, chunk: int | None = None) -> Float[Tensor, "n c p"]:
    """The Jacobian of the outputs with respect to the flat parameters, ``J[n, c, :] = df_c(x_n)/dw``.

    Samples are mapped by `torch.func.vmap`; a module that cannot be mapped is looped over, sample by sample. So is one
    whose mapped Jacobian disagrees with plain reverse mode along random cotangents: torch 2.13 is silently up to 100 %
    wrong through PReLU when a chunk has as many samples as the network has outputs.

    Args:
        network: the network, whose outputs must be per-example functions.
        inputs: ``(n, ...)``.
        chunk: samples mapped at once.

    Returns:
        ``(n, c, p)``. Memory: that array, plus the rows of a chunk twice and c + 1 graphs of it (`jacobian_bytes`).

    Raises:
        BatchCoupled: outputs of one example depend on the others.
    """
    network.require_per_example(inputs)

    def of_one(parameters: dict[str, Tensor], example: Tensor) -> Tensor:
        return network.apply(parameters, example[None])[0]

    mapped = torch.func.vmap(torch.func.jacrev(of_one), in_dims=(None, 0))
    outputs = network(inputs[:1]).shape[1]
    made = uninitialized((len(inputs), outputs, network.size), network.flat)
    step = chunk or _samples_within(_chunk_budget(), _jacobian_each(network, graph_bytes(network, inputs), outputs))
    with exact_kernels(network):
        for rows in chunks(len(inputs), step):
            try:
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
                    blocks = mapped(network.parameters, inputs[rows])
                part = torch.cat([blocks[k].flatten(2) for k in network.parameters], dim=2)
            except RuntimeError:
                part = None
            if part is None or not _pulls_back(network, inputs[rows], part):
                part = torch.stack([_jacobian_of_one(network, x) for x in inputs[rows]])
            made[rows] = part.detach()
    return made


def jacobian_bytes(network: Network, graph: int, outputs: int, samples: int) -> float:
    """Peak bytes of `jacobian` on so many samples whose graph takes `graph` bytes each: its result and one chunk."""
    each = _jacobian_each(network, graph, outputs)
    chunk = each * min(samples, _samples_within(_chunk_budget(), each))
    return float(samples * outputs * network.size * network.flat[:1].element_size() + chunk)


def _jacobian_each(network: Network, graph: int, outputs: int) -> int:
    """Bytes held for a sample of a chunk: its rows in pieces and joined, and the graphs."""
    return (1 + outputs) * graph + 2 * outputs * network.size * network.flat[:1].element_size()


def loss_gradient(problem: Problem, *, chunk: int | None = None) -> Float[Tensor, " p"]:
    """The gradient ``(p,)`` of the loss that was given, over all training samples."""
    network = problem.network
    _require_deterministic(problem)
    total = torch.zeros(network.size, dtype=network.dtype, device=network.device)
    with exact_kernels(network):
        for rows in _loss_chunks(problem, chunk):
            leaves = _leaves(network)
            total += _flat_gradient(network, _loss_part(problem, leaves, rows), leaves)
    return total


def loss_value(problem: Problem, *, chunk: int | None = None) -> float:
    """The loss that was given, over all training samples; chunk sums are added in float64."""
    network = problem.network
    with exact_kernels(network), torch.no_grad():
        parts = [float(_loss_part(problem, network.parameters, rows)) for rows in _loss_chunks(problem, chunk)]
    return float(sum(parts))


def output_gradient(problem: Problem, outputs: Tensor) -> Tensor:
    """Gradient of the loss that was given in the outputs, ``(n, c)``, at outputs ``(n, c)`` of all training samples."""
    with torch.enable_grad():
        leaf = outputs.detach().clone().requires_grad_()
        (slope,) = _grad(_loss_of_outputs(problem, leaf), [leaf])
    return slope


def output_hessian(problem: Problem, outputs: Tensor) -> Tensor:
    """Hessian of the loss that was given in the outputs: one block per sample, ``(n, c, c)``, at outputs ``(n, c)``."""
    with torch.enable_grad():
        leaf = outputs.detach().clone().requires_grad_()
        (slope,) = _grad(_loss_of_outputs(problem, leaf), [leaf], create_graph=True)
        if not slope.requires_grad:
            return torch.zeros(*outputs.shape, outputs.shape[1], dtype=outputs.dtype, device=outputs.device)
        columns = [_grad(slope[:, c].sum(), [leaf], retain_graph=True)[0] for c in range(outputs.shape[1])]
    return torch.stack(columns, dim=2)


def curvature_gradient(
    problem: Problem, left: Float[Tensor, " p"], right: Float[Tensor, " p"], *, chunk: int | None = None
) -> Float[Tensor, " p"]:
    """``d/dw [u^T H(w) v]``: the third derivative of the loss that was given along two directions.

    Reverse mode three times, with layer and instance norm by their formula.

    Args:
        problem: network, data and loss; deterministic per example.
        left: u.
        right: v.
        chunk: samples per graph; by default as many as fit.

    Returns:
        ``(p,)``. Cost: about eight forward passes.
    """
    network = problem.network
    _require_deterministic(problem)
    total = torch.zeros(network.size, dtype=network.dtype, device=network.device)
    with exact_kernels(network), ComposedNorms():
        for rows in _loss_chunks(problem, chunk):
            leaves = _leaves(network)
            slopes = _grad(_loss_part(problem, leaves, rows), leaves.values(), create_graph=True)
            bent = _along(slopes, network.layout.unflatten(right))
            if bent.requires_grad:
                curved = _along(_grad(bent, leaves.values(), create_graph=True), network.layout.unflatten(left))
                total += _flat_gradient(network, curved, leaves)
    return total


class HessianProduct:
    """``v -> H v`` for the Hessian of the given loss, by double backward.

    Args:
        problem: network, data and loss; the network must be deterministic per example.
        chunk: samples per graph; by default as many as fit.
        keep_graph: keep the gradient's graph between products (each then costs one backward pass through it);
            by default when its estimated size is below a quarter of the free memory.

    Raises:
        BatchCoupled: batch statistics are in use.
        NotTwiceDifferentiable: a layer has no second derivative.
    """

    def __init__(self, problem: Problem, *, chunk: int | None = None, keep_graph: bool | None = None) -> None:
        _require_deterministic(problem)
        self.problem = problem
        size = graph_bytes(problem.network, problem.inputs) * 3
        self.keep_graph = keep_graph if keep_graph is not None else size * problem.samples < available_bytes() * _KEEP_SHARE
        self._rows = list(_loss_chunks(problem, chunk))
        self._graphs = [self._graph(rows) for rows in self._rows] if self.keep_graph else []

    def __call__(self, vectors: Float[Tensor, " p *k"]) -> Float[Tensor, " p *k"]:
        """``H V`` for ``V`` of shape ``(p,)`` or ``(p, k)``."""
        unflatten = self.problem.network.layout.unflatten
        columns = [vectors] if vectors.ndim == 1 else vectors.unbind(1)
        totals = [torch.zeros_like(column, memory_format=torch.contiguous_format) for column in columns]
        for index, rows in enumerate(self._rows):
            graph = self._graphs[index] if self.keep_graph else self._graph(rows)
            for column, total in zip(columns, totals, strict=True):
                self._add_product(unflatten(total), graph, unflatten(column))
        if vectors.ndim == 1:
            return totals[0]
        return torch.stack(totals, dim=1) if totals else torch.zeros_like(vectors)

    def _graph(self, rows: slice) -> tuple[list[Tensor], list[Tensor]]:
        network = self.problem.network
        with exact_kernels(network), Tabulated() if self.keep_graph else contextlib.nullcontext():
            leaves = _leaves(network)
            loss = _loss_part(self.problem, leaves, rows)
            grads = _grad(loss, leaves.values(), create_graph=True)
        if _holds_error_node(grads):
            raise NotTwiceDifferentiable(_NO_SECOND.format(type(network.module).__name__, "marked once_differentiable"))
        return list(leaves.values()), list(grads)

    def _add_product(
        self, total: Mapping[str, Tensor], graph: tuple[list[Tensor], list[Tensor]], direction: Mapping[str, Tensor]
    ) -> None:
        """Add the product of one chunk to `total`, in place: no second copy of all parameters is made."""
        network = self.problem.network
        leaves, grads = graph
        pairs = [(g, v) for g, v in zip(grads, direction.values(), strict=True) if g.requires_grad]
        if not pairs:
            return
        with exact_kernels(network):
            try:
                products = _grad([g for g, _ in pairs], leaves, [v for _, v in pairs], retain_graph=True)
            except RuntimeError as fault:
                reason = str(fault).splitlines()[0]
                raise NotTwiceDifferentiable(_NO_SECOND.format(type(network.module).__name__, reason)) from fault
        for part, product in zip(total.values(), products, strict=True):
            part.add_(product)


class GgnProduct:
    """``v -> J^T H_out J v``: the generalized Gauss-Newton matrix of the given loss.

    ``H_out`` is the Hessian of the loss in the outputs. One forward graph serves ``J`` (by double transposition) and
    ``J^T``, so that no forward-mode rule of any layer is needed.

    Args:
        problem: network, data and loss.
        chunk: samples per graph; by default as many as fit.
        keep_graph: as in `HessianProduct`.
    """

    def __init__(self, problem: Problem, *, chunk: int | None = None, keep_graph: bool | None = None) -> None:
        _require_deterministic(problem)
        self.problem = problem
        size = graph_bytes(problem.network, problem.inputs) * 3
        self.keep_graph = keep_graph if keep_graph is not None else size * problem.samples < available_bytes() * _KEEP_SHARE
        self._rows = list(_loss_chunks(problem, chunk))
        self._graphs = [_Linearization(problem.network, problem.inputs[rows]) for rows in self._rows] if self.keep_graph else []

    def __call__(self, vectors: Float[Tensor, " p *k"]) -> Float[Tensor, " p *k"]:
        """``G V`` for ``V`` of shape ``(p,)`` or ``(p, k)``."""
        network = self.problem.network
        columns = vectors[:, None] if vectors.ndim == 1 else vectors
        total = torch.zeros_like(columns)
        with exact_kernels(network):
            for index, rows in enumerate(self._rows):
                graph = self._graphs[index] if self.keep_graph else _Linearization(network, self.problem.inputs[rows])
                for k, column in enumerate(columns.unbind(1)):
                    moved = graph.jvp(network.layout.unflatten(column))
                    bent = self._output_product(graph, moved, rows)
                    total[:, k] += graph.vjp(bent)
        return total[:, 0] if vectors.ndim == 1 else total

    def _output_product(self, graph: "_Linearization", moved: Tensor, rows: slice) -> Tensor:
        outputs = graph.raw.detach().requires_grad_()
        total = self.problem.loss.total(outputs, self.problem.targets[rows]) / self.problem.normalizer
        (slope,) = _grad(total, [outputs], create_graph=True)
        if not slope.requires_grad:
            return torch.zeros_like(moved)
        (bent,) = _grad(slope, [outputs], moved.reshape(outputs.shape))
        return bent.reshape(moved.shape)


class _Linearization:
    """The outputs of some samples with a graph that gives both ``J v`` and ``J^T u``."""

    def __init__(self, network: Network, inputs: Tensor) -> None:
        named = _leaves(network)
        self.leaves = list(named.values())
        with exact_kernels(network):
            self.raw = network.forward(named, inputs)
            self.outputs = self.raw.reshape(len(inputs), -1)
            self._cotangent = torch.zeros_like(self.outputs, requires_grad=True)
            self._pulled = _grad(self.outputs, self.leaves, self._cotangent, create_graph=True)

    def jvp(self, direction: Mapping[str, Tensor]) -> Tensor:
        pairs = [(g, v) for g, v in zip(self._pulled, direction.values(), strict=True) if g.requires_grad]
        (moved,) = _grad([g for g, _ in pairs], [self._cotangent], [v for _, v in pairs], retain_graph=True)
        return moved

    def vjp(self, cotangent: Tensor) -> Tensor:
        pulled = _grad(self.outputs, self.leaves, cotangent, retain_graph=True)
        return torch.cat([g.reshape(-1) for g in pulled])


def default_chunk(network: Network, inputs: Tensor) -> int:
    """Samples whose graph fits in a processor's cache, 256 at least, and stays below half a GiB and an eighth of the free memory.

    Measured on a 670 000-parameter MLP: Hessian products take 5 % longer when all 1024 samples go at once.
    """
    return samples_at_once(graph_bytes(network, inputs))


def samples_at_once(each: int) -> int:
    """`default_chunk` for a graph of so many bytes a sample."""
    return min(_samples_within(_chunk_budget(), each), max(_samples_within(_CACHE_BYTES, each), 256))


def _chunk_budget() -> float:
    return min(_CHUNK_BYTES, available_bytes() / 8)


def _samples_within(budget: float, each: int) -> int:
    return max(1, int(budget // max(each, 1)))


def graph_bytes(network: Network, inputs: Tensor) -> int:
    """Bytes that autograd saves for one sample's forward pass, parameters excluded."""
    own = {t.untyped_storage().data_ptr() for t in network.parameters.values()}
    saved: dict[int, int] = {}
    alive: list[Tensor] = []

    def pack(tensor: Tensor) -> None:
        """Count, and keep the memory until all is counted, so that no address comes twice.

        What is kept is detached, and nothing is handed back: a saved output that holds its own graph is never freed.
        """
        alive.append(tensor.detach())
        try:
            storage = tensor.untyped_storage()
            key, size = storage.data_ptr(), storage.nbytes()
        except RuntimeError:  # a tensor inside a function transform has no storage of its own
            key, size = -len(saved) - 1, tensor.nbytes
        if key not in own:
            saved[key] = size

    few = inputs[: min(2, len(inputs))].clone()  # a view would be counted with all the data behind it
    with exact_kernels(network), torch.autograd.graph.saved_tensors_hooks(pack, lambda nothing: nothing):
        outputs = network.apply(_leaves(network), few)
    return (sum(saved.values()) + outputs.nbytes) // len(few)


def _leaves(network: Network) -> dict[str, Tensor]:
    return {name: value.detach().requires_grad_() for name, value in network.parameters.items()}


def _grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Sequence[Tensor] | Iterator[Tensor] | object,
    cotangents: Tensor | Sequence[Tensor] | None = None,
    *,
    create_graph: bool = False,
    retain_graph: bool | None = None,
) -> tuple[Tensor, ...]:
    return torch.autograd.grad(
        outputs,
        list(inputs),  # pyright: ignore[reportArgumentType]
        cotangents,
        create_graph=create_graph,
        retain_graph=retain_graph,
        allow_unused=True,
        materialize_grads=True,
    )


def _forward_mode(network: Network, inputs: Tensor, direction: Mapping[str, Tensor]) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, while it loads its forward rules
        return torch.func.jvp(lambda q: network.apply(q, inputs), (network.parameters,), (dict(direction),))[1]


def _holds_error_node(tensors: Sequence[Tensor]) -> bool:
    """Whether a graph holds the node that torch plants where a backward pass cannot be differentiated.

    The engine prunes this node away when only some inputs are asked for, and zeros would come back silently.
    """
    stack = [tensor.grad_fn for tensor in tensors]
    seen = set()
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name().endswith("Error"):
            return True
        stack += [following for following, _ in node.next_functions]
    return False


def _along(values: Sequence[Tensor], direction: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([(value * part).sum() for value, part in zip(values, direction.values(), strict=True)]).sum()


def _flat_gradient(network: Network, outputs: Tensor, leaves: dict[str, Tensor], cotangents: Tensor | None = None) -> Tensor:
    if not outputs.requires_grad:
        return torch.zeros(network.size, dtype=network.dtype, device=network.device)
    return torch.cat([g.reshape(-1) for g in _grad(outputs, leaves.values(), cotangents)])


def _pulls_back(network: Network, inputs: Tensor, rows: Tensor) -> bool:
    """Whether Jacobian rows ``(n, c, p)`` agree with one backward pass along random cotangents."""
    cotangents = gaussian(rows.shape[:2], Seed(0).child("jacobian"), rows.dtype, rows.device)
    gap = torch.einsum("nc,ncp->p", cotangents, rows) - output_vjp(network, inputs, cotangents, chunk=len(inputs))
    return float(gap.norm()) <= tolerance(rows.dtype, terms=rows.shape[:2].numel(), depth=16) * float(rows.norm())


def _jacobian_of_one(network: Network, example: Tensor) -> Tensor:
    leaves = _leaves(network)
    outputs = network.apply(leaves, example[None])[0]
    rows = [torch.cat([g.reshape(-1) for g in _grad(value, leaves.values(), retain_graph=True)]) for value in outputs]
    return torch.stack(rows)


def _loss_part(problem: Problem, parameters: Mapping[str, Tensor], rows: slice) -> Tensor:
    outputs = problem.network.forward(parameters, problem.inputs[rows])
    return problem.loss.total(outputs, problem.targets[rows]) / problem.normalizer


def _loss_of_outputs(problem: Problem, outputs: Tensor) -> Tensor:
    with torch.no_grad():
        shape = problem.network.forward(problem.network.parameters, problem.inputs[:1]).shape[1:]
    return problem.loss.total(outputs.reshape(len(outputs), *shape), problem.targets) / problem.normalizer


def _loss_chunks(problem: Problem, chunk: int | None) -> Iterator[slice]:
    return chunks(problem.samples, chunk or default_chunk(problem.network, problem.inputs))


def _require_deterministic(problem: Problem) -> None:
    problem.network.require_per_example(problem.inputs)


def _require_shape(what: str, found: Tensor, outputs: Tensor) -> None:
    if found.shape != outputs.shape:
        raise ShapeError(f"The {what} have shape {tuple(found.shape)}; the outputs they meet have {tuple(outputs.shape)}.")
