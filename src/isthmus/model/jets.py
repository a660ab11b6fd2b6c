"""Truncated Taylor polynomials in one step length, carried through a module's own operations (Taylor mode).

A `Jet` stands for ``x(h) = sum_j x_j h^j`` up to a degree of at most 3. Operations that are linear or bilinear (all that cost
much: dense layers, convolutions, matrix products) act on the coefficients directly, common activations by the chain rule
of higher order, and every other operation is expanded on its own by the nested derivatives that it is given.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils import _pytree as tree

Curve = Callable[[Tensor], tuple[Tensor, ...]]
Expand = Callable[[Curve, int, Tensor], Sequence[Sequence[Tensor]]]
_Terms = Sequence[Tensor]


class NoJet(RuntimeError):
    """An operation whose polynomial cannot be followed: in place, without gradient, or outside torch's function protocol."""


class Jet(Tensor):
    """``x(h) = sum_j terms[j] h^j``; to the module that computes with it, a tensor of the shape of ``terms[0]``.

    Attributes:
        terms: the first coefficients; those left out are zero.
        degree: where products are cut off.
        shared: whether another jet may be a view of this one, so that nothing may be written into it.
        expand: derivatives ``(f(0), f'(0), ...)`` of a function of h, for operations without a rule.
    """

    terms: tuple[Tensor, ...]
    degree: int
    expand: Expand
    shared: bool

    def __init__(self, terms: _Terms, degree: int, expand: Expand, shared: bool = False) -> None:
        """Nothing more than `__new__` does."""

    @staticmethod
    def __new__(cls: type["Jet"], terms: _Terms, degree: int, expand: Expand, shared: bool = False) -> "Jet":
        """A tensor without storage that carries the coefficients."""
        first = terms[0]
        made = Tensor._make_wrapper_subclass(cls, first.shape, dtype=first.dtype, device=first.device)
        made.terms, made.degree, made.expand, made.shared = tuple(terms[: degree + 1]), degree, expand, shared
        return made

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: Sequence = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        """The operation on polynomials."""
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if not torch.is_grad_enabled():
            raise NoJet(f"{name} runs without gradient: its derivative may be another one")
        if name in _CONSTANT or (name == "__get__" and func not in _TRANSPOSED):
            return func(*tree.tree_map_only(Jet, lambda jet: jet.terms[0], tuple(args)), **kwargs)
        if name in _WRITES or (name.endswith("_") and not name.endswith("__")) or kwargs.get("inplace") or "out" in kwargs:
            return _written(func, name, args, kwargs)
        rule = _RULES.get(name) if name != "__get__" else _linear
        found = NotImplemented if rule is None else rule(func, args, kwargs)
        return _expanded(func, args, kwargs) if found is NotImplemented else found

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Sequence = (), kwargs: Any = None) -> Any:
        """Nothing may compute with the empty tensor that stands for a polynomial."""
        raise NoJet(f"{func} went past torch's function protocol")

    def like(self, terms: _Terms) -> "Jet":
        """A jet of the same degree with other coefficients."""
        return Jet(terms, self.degree, self.expand)


def _jets(args: Any) -> list[Jet]:
    return [leaf for leaf in tree.tree_leaves(args) if isinstance(leaf, Jet)]


def _written(func: Callable, name: str, args: Sequence, kwargs: Mapping[str, Any]) -> Any:
    """An operation in place: the same out of place, written into its first argument where nothing else looks at that."""
    plain = _WRITES.get(name) or (name.removesuffix("_") if not kwargs.get("inplace") else name)
    target, rule = args[0], _RULES.get(plain)
    if rule is None or "out" in kwargs or not isinstance(target, Jet) or target.shared:
        raise NoJet(f"{name} writes in place where that cannot be followed")
    kwargs = {key: value for key, value in kwargs.items() if key != "inplace"}
    found = rule(func if plain == name else getattr(torch, plain), args, kwargs)
    if found is NotImplemented or found.terms[0].shape != target.terms[0].shape:
        raise NoJet(f"{name} writes in place where that cannot be followed")
    target.terms = found.terms
    return target


def _linear(func: Callable, args: Sequence, kwargs: Mapping[str, Any]) -> Any:
    """Linear in its first argument, the only jet: coefficient by coefficient."""
    if not args or len(_jets((args, kwargs))) > 1 or not isinstance(args[0], Jet):
        return NotImplemented
    if kwargs.get("value"):
        return NotImplemented  # padding with something else than zero
    jet: Jet = args[0]
    jet.shared, found = True, [func(term, *args[1:], **kwargs) for term in jet.terms]
    if not isinstance(found[0], Tensor):
        return tuple(Jet(parts, jet.degree, jet.expand, shared=True) for parts in zip(*found, strict=True))
    return Jet(found, jet.degree, jet.expand, shared=True) if found[0].is_floating_point() else found[0]


def _joined(func: Callable, args: Sequence, kwargs: Mapping[str, Any]) -> Any:
    """Concatenations and stacks: linear in all entries of the list together."""
    if not isinstance(args[0], Sequence):
        return NotImplemented
    terms = [entry.terms if isinstance(entry, Jet) else (entry,) for entry in args[0]]
    rows = ([t[j] if j < len(t) else torch.zeros_like(t[0]) for t in terms] for j in range(max(map(len, terms))))
    return _jets(args[0])[0].like([func(row, *args[1:], **kwargs) for row in rows])


def _added(signs: tuple[int, int]) -> Callable:
    """Sums and differences; a constant joins the first coefficient only."""

    def rule(func: Callable, args: Sequence, kwargs: Mapping[str, Any]) -> Any:
        if kwargs or len(args) != 2:
            return NotImplemented
        sides = [arg.terms if isinstance(arg, Jet) else (arg,) for arg in args]
        found = [func(sides[0][0], sides[1][0])]
        for j in range(1, max(map(len, sides))):
            parts = [side[j] if sign > 0 else -side[j] for sign, side in zip(signs, sides, strict=True) if j < len(side)]
            found.append(sum(parts[1:], parts[0]).expand(found[0].shape))
        return _jets(args)[0].like(found)

    return rule


def _bilinear(func: Callable, args: Sequence, kwargs: Mapping[str, Any]) -> Any:
    """Bilinear in its first two tensors: ``z_j = sum_i func(x_i, y_{j-i})``; a bias after them is added."""
    operands = [at for at, arg in enumerate(args) if isinstance(arg, Tensor)]
    if operands == [0]:
        return args[0].like([func(term, *args[1:], **kwargs) for term in args[0].terms])
    if kwargs.get("bias") is not None or _jets(kwargs) or len(operands) not in (2, 3):
        return NotImplemented
    first, second, *bias = operands
    if bias and getattr(func, "__name__", "") not in _BIASED:
        return NotImplemented
    jet = _jets(args)[0]
    x, y = (args[at].terms if isinstance(args[at], Jet) else (args[at],) for at in (first, second))
    b = [] if not bias else args[bias[0]].terms if isinstance(args[bias[0]], Jet) else (args[bias[0]],)
    found = []
    for j in range(min(max(len(x) + len(y) - 1, len(b)), jet.degree + 1)):
        parts = []
        for i in range(max(0, j - len(y) + 1), min(j, len(x) - 1) + 1):
            row = list(args)
            row[first], row[second] = x[i], y[j - i]
            if bias:
                row[bias[0]] = b[j] if not parts and j < len(b) else None
            parts.append(func(*row, **kwargs))
        parts = parts or [func(torch.zeros_like(x[0]), y[0], b[j], *args[3:], **kwargs)]
        found.append(sum(parts[1:], parts[0]))
    return jet.like(found)


def _divided(func: Callable, args: Sequence, kwargs: Mapping[str, Any]) -> Any:
    """``q = x / y`` from ``q y = x``: ``q_j = (x_j - sum_{i>=1} y_i q_{j-i}) / y_0``."""
    if kwargs or len(args) != 2 or not isinstance(args[0], Tensor):
        return NotImplemented
    jet = _jets(args)[0]
    x, y = (arg.terms if isinstance(arg, Jet) else (arg,) for arg in args)
    found: list[Tensor] = []
    for j in range(len(x) if len(y) == 1 else jet.degree + 1):
        rest = [x[j]] if j < len(x) else []
        rest += [-y[i] * found[j - i] for i in range(1, min(j, len(y) - 1) + 1)]
        found.append(sum(rest[1:], rest[0]) / y[0])
    return jet.like(found)


def _elementwise(derivatives: Callable[[Tensor], Sequence[Any]]) -> Callable:
    """An activation from its value and first three derivatives (None: zero), by the chain rule of higher order."""

    def rule(func: Callable, args: Sequence, kwargs: Mapping[str, Any]) -> Any:
        if len(args) != 1 or any(kwargs.get(key, plain) != plain for key, plain in _PLAIN.items()) or set(kwargs) - set(_PLAIN):
            return NotImplemented
        x = [*args[0].terms, *[None] * 3]
        value, *d = derivatives(x[0])
        found = [value]
        if args[0].degree >= 1:
            found.append(_total((d[0], x[1]), like=value))
        if args[0].degree >= 2:
            found.append(_total((d[0], x[2]), (d[1], 0.5, x[1], x[1]), like=value))
        if args[0].degree >= 3:
            found.append(_total((d[0], x[3]), (d[1], x[1], x[2]), (d[2], 1 / 6, x[1], x[1], x[1]), like=value))
        return args[0].like(found)

    return rule


def _total(*products: tuple, like: Tensor) -> Any:
    """The sum of products of which none has a factor None."""
    kept = [math.prod(factors[1:], start=factors[0]) for factors in products if not any(f is None for f in factors)]
    return sum(kept[1:], kept[0]) if kept else torch.zeros_like(like)


def _expanded(func: Callable, args: Sequence, kwargs: Mapping[str, Any]) -> Any:
    """Any operation: its own expansion in h, by nested derivatives; what is not a floating tensor is constant."""
    jet, outer = _jets((args, kwargs))[0], {}

    def along(h: Tensor) -> tuple[Tensor, ...]:
        here = tree.tree_map_only(
            Jet, lambda x: sum((c * h**j for j, c in enumerate(x.terms[1:], 1)), x.terms[0]), (args, kwargs)
        )
        outer["leaves"], outer["shape"] = tree.tree_flatten(func(*here[0], **here[1]))
        return tuple(leaf for leaf in outer["leaves"] if isinstance(leaf, Tensor))

    for argument in _jets((args, kwargs)):
        argument.shared = True
    levels = jet.expand(along, jet.degree, torch.zeros((), dtype=jet.dtype, device=jet.device))
    found = iter(zip(*levels, strict=True))
    leaves = [_leaf(jet, next(found)) if isinstance(leaf, Tensor) else leaf for leaf in outer["leaves"]]
    return tree.tree_unflatten(leaves, outer["shape"])


def _leaf(jet: Jet, derivatives: _Terms) -> Tensor:
    if not derivatives[0].is_floating_point():
        return derivatives[0]
    return Jet([value / math.factorial(j) for j, value in enumerate(derivatives)], jet.degree, jet.expand, shared=True)


def _normalized(func: Callable, args: Sequence, kwargs: Mapping[str, Any]) -> Any:
    """`batch_norm` in evaluation mode, as a product and a sum."""
    given = dict(
        zip(("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"), args, strict=False)
    ) | dict(kwargs)
    x, mean, variance, weight, bias = (given.get(name) for name in ("input", "running_mean", "running_var", "weight", "bias"))
    if given.get("training", False) or x is None or mean is None or variance is None or _jets((mean, variance)):
        return NotImplemented
    axes = (1, -1, *(1,) * (x.dim() - 2))
    scaled = (x - mean.reshape(axes)) * torch.rsqrt(variance + given.get("eps", 1e-5)).reshape(axes)
    scaled = scaled if weight is None else scaled * weight.reshape(axes)
    return scaled if bias is None else scaled + bias.reshape(axes)


def _dropout(func: Callable, args: Sequence, kwargs: Mapping[str, Any]) -> Any:
    """Nothing, in evaluation mode."""
    return NotImplemented if kwargs.get("training", args[2] if len(args) > 2 else True) else args[0]


def _softmax(func: Callable, args: Sequence, kwargs: Mapping[str, Any]) -> Any:
    """``exp(x) / sum exp(x)``, shifted by a constant against overflow."""
    dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
    if dim is None or kwargs.get("dtype") is not None or not isinstance(args[0], Jet):
        return NotImplemented
    raised = torch.exp(args[0] - args[0].terms[0].detach().amax(dim, keepdim=True))
    return raised / raised.sum(dim, keepdim=True)


def _attention(func: Callable, args: Sequence, kwargs: Mapping[str, Any]) -> Any:
    """`scaled_dot_product_attention` by its formula."""
    given = dict(zip(("query", "key", "value", "attn_mask", "dropout_p", "is_causal"), args, strict=False)) | dict(kwargs)
    if given.get("dropout_p", 0.0) or given.get("enable_gqa"):
        return NotImplemented
    query, key, value, scale = given["query"], given["key"], given["value"], given.get("scale")
    scores = (query @ key.transpose(-2, -1)) * (scale or query.shape[-1] ** -0.5)
    mask = given.get("attn_mask")
    if given.get("is_causal"):
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    return torch.softmax(scores if mask is None else scores + _additive(mask, scores.dtype), dim=-1) @ value


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask to be added to scores: minus infinity where a boolean one is False."""
    return (
        mask
        if mask.is_floating_point()
        else torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, -math.inf)
    )


def _many_heads(func: Callable, args: Sequence, kwargs: Mapping[str, Any]) -> Any:
    """`nn.MultiheadAttention` in evaluation mode with one input projection; nested over its whole body it would cost more."""
    given = inspect.signature(functional.multi_head_attention_forward).bind(*args, **kwargs)
    given.apply_defaults()
    g = given.arguments
    plain = all(g[name] is None for name in ("bias_k", "key_padding_mask", "static_k", "static_v"))
    if (
        not plain
        or g["add_zero_attn"]
        or g["use_separate_proj_weight"]
        or (g["training"] and g["dropout_p"])
        or g["query"].dim() != 3
    ):
        raise NoJet("this kind of attention has no rule")
    length, batch, width = g["query"].shape
    biases = (None,) * 3 if g["in_proj_bias"] is None else g["in_proj_bias"].chunk(3)
    sides = (g["query"], g["key"], g["value"])
    projected = [functional.linear(x, w, b) for x, w, b in zip(sides, g["in_proj_weight"].chunk(3), biases, strict=True)]
    heads, each = g["num_heads"], width // g["num_heads"]
    query, key, value = (x.reshape(x.shape[0], batch * heads, each).transpose(0, 1) for x in projected)
    scores = (query @ key.transpose(-2, -1)) * each**-0.5
    mask = g["attn_mask"]
    mask = ~mask if mask is not None and not mask.is_floating_point() else mask  # True hides here, and shows in `_attention`
    weights = torch.softmax(scores if mask is None else scores + _additive(mask, scores.dtype), dim=-1)
    output = (weights @ value).transpose(0, 1).reshape(length, batch, width)
    output = functional.linear(output, g["out_proj_weight"], g["out_proj_bias"])
    if not g["need_weights"]:
        return output, None
    shown = weights.reshape(batch, heads, length, -1)
    return output, shown.mean(1) if g["average_attn_weights"] else shown


def _relu(x: Tensor) -> Sequence[Tensor | None]:
    return torch.relu(x), (x > 0).to(x.dtype), None, None


def _tanh(x: Tensor) -> Sequence[Tensor]:
    t = torch.tanh(x)
    slope = 1 - t * t
    return t, slope, -2 * t * slope, (6 * t * t - 2) * slope


def _sigmoid(x: Tensor) -> Sequence[Tensor]:
    s = torch.sigmoid(x)
    slope = s * (1 - s)
    return s, slope, slope * (1 - 2 * s), slope * (1 - 6 * slope)


def _gelu(x: Tensor) -> Sequence[Tensor]:
    density = torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    below = torch.special.ndtr(x)
    return functional.gelu(x), below + x * density, (2 - x * x) * density, (x * x - 4) * x * density


def _erf(x: Tensor) -> Sequence[Tensor]:
    slope = torch.exp(-x * x) * (2 / math.sqrt(math.pi))
    return torch.erf(x), slope, -2 * x * slope, (4 * x * x - 2) * slope


def _exp(x: Tensor) -> Sequence[Tensor]:
    return (torch.exp(x),) * 4


def _rsqrt(x: Tensor) -> Sequence[Tensor]:
    root = torch.rsqrt(x)
    return root, -root / (2 * x), 3 * root / (4 * x * x), -15 * root / (8 * x * x * x)


def _square(x: Tensor) -> Sequence[Tensor | None]:
    return x * x, 2 * x, torch.full_like(x, 2.0), None


_LINEAR = (
    "reshape view flatten unflatten transpose swapaxes movedim permute t squeeze unsqueeze expand expand_as broadcast_to repeat "
    "contiguous clone neg __neg__ sum mean __getitem__ narrow select index_select chunk split unbind roll flip to double float pad "
    "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d"
)
_BIASED = ("linear", "conv1d", "conv2d", "conv3d")
_PLAIN = {"inplace": False, "approximate": "none"}
_READ = (
    "size dim ndimension numel nelement stride __len__ is_floating_point is_complex is_contiguous __bool__ __int__ __float__ item "
    "__gt__ __lt__ __ge__ __le__ __eq__ __ne__ gt lt ge le eq ne argmax argmin argsort isnan isfinite isinf zeros_like ones_like "
    "new_zeros new_ones new_empty new_full empty_like __hash__ __repr__ get_device"
)
_CONSTANT = frozenset(_READ.split())
_WRITES = {"__iadd__": "add", "__isub__": "sub", "__imul__": "mul", "__itruediv__": "div"} | dict.fromkeys(
    ("__idiv__", "__ipow__", "__imatmul__", "__setitem__", "__set__", "detach"), "nothing"
)
_TRANSPOSED = tuple(vars(torch._C.TensorBase)[name].__get__ for name in ("T", "mT"))
_RULES: dict[str, Callable] = {
    **dict.fromkeys(_LINEAR.split(), _linear),
    **dict.fromkeys(("cat", "concat", "concatenate", "stack"), _joined),
    **dict.fromkeys(("add", "__add__", "__radd__"), _added((1, 1))),
    **dict.fromkeys(("sub", "__sub__"), _added((1, -1))),
    "__rsub__": _added((-1, 1)),
    **dict.fromkeys((*_BIASED, "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "einsum"), _bilinear),
    **dict.fromkeys(("mul", "__mul__", "__rmul__", "multiply"), _bilinear),
    **dict.fromkeys(("div", "__truediv__", "true_divide"), _divided),
    "batch_norm": _normalized,
    "dropout": _dropout,
    "softmax": _softmax,
    "scaled_dot_product_attention": _attention,
    "multi_head_attention_forward": _many_heads,
    "relu": _elementwise(_relu),
    "tanh": _elementwise(_tanh),
    "sigmoid": _elementwise(_sigmoid),
    "gelu": _elementwise(_gelu),
    "erf": _elementwise(_erf),
    "exp": _elementwise(_exp),
    "rsqrt": _elementwise(_rsqrt),
    "square": _elementwise(_square),
}
