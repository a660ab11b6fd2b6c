"""Slow, obvious alignment of two multilayer perceptrons: every permutation (and sign) of every hidden layer is tried."""

import itertools

import numpy as np

Layers = list[tuple[np.ndarray, np.ndarray]]


def moved(layers: Layers, orders: list[tuple[int, ...]], signs: list[tuple[int, ...]]) -> Layers:
    """The layers ``(weight, bias)`` with hidden units in other orders and signs, by loops over units."""
    weights = [(w.copy(), b.copy()) for w, b in layers]
    for hidden, (order, sign) in enumerate(zip(orders, signs, strict=True)):
        (w, b), (reader, after) = weights[hidden], weights[hidden + 1]
        new_w, new_b, new_reader = w.copy(), b.copy(), reader.copy()
        for i, j in enumerate(order):
            new_w[i], new_b[i], new_reader[:, i] = sign[i] * w[j], sign[i] * b[j], sign[i] * reader[:, j]
        weights[hidden], weights[hidden + 1] = (new_w, new_b), (new_reader, after)
    return weights


def agreement(one: Layers, other: Layers) -> float:
    """``sum <a, b> / (|a| |b|)`` over weights and biases, but for the last bias, which belongs to no hidden unit."""
    a, b = (np.concatenate([x.ravel() for layer in layers for x in layer][:-1]) for layers in (one, other))
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def best_agreement(one: Layers, other: Layers, *, signs: bool) -> float:
    """The largest agreement over all permutations, and over all signs when they are free."""
    sizes = [len(w) for w, _ in one[:-1]]
    flips = [list(itertools.product((1, -1), repeat=n)) if signs else [(1,) * n] for n in sizes]
    choices = [itertools.product(itertools.permutations(range(n)), flip) for n, flip in zip(sizes, flips, strict=True)]
    best = -np.inf
    for choice in itertools.product(*map(list, choices)):
        best = max(best, agreement(one, moved(other, [order for order, _ in choice], [sign for _, sign in choice])))
    return best
