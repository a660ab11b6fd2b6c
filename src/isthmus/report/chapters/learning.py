"""Chapter: what did it learn that its kernel cannot?"""

import math

from isthmus.plots.learning import plot_curves, plot_orders
from isthmus.report.chapter import Chapter, Headline, Plate, Records
from isthmus.report.numbers import count, number, percent
from isthmus.results.learning import LearningCurves, OrderShares, RemainderOrders

_ORDERS, _REMAINDER, _CURVES = "learning/orders", "learning/remainder", "learning/own_curves"


def _sentence(records: Records) -> str:
    words = _order_words(records[_ORDERS]) + "."
    return words if _CURVES not in records else f"{words} {_gain_words(records[_CURVES])}."


def _order_words(record: OrderShares) -> str:
    first = record.unexplained[-1, 1]
    if math.isnan(first):
        return "The parameters did not move"
    words = f"Of what training added to its outputs, the first-order (tangent kernel) expansion {_misses(record, 1)}"
    if record.unexplained.shape[1] > 2:
        words += f", the second-order one {_misses(record, 2)}"
    if not math.isnan(record.reach[0]):
        words += f"; the first order fails for more than half of it from epoch {number(record.reach[0])} on"
    return words


def _misses(record: OrderShares, k: int) -> str:
    value, (low, high) = record.unexplained[-1, k], record.unexplained_interval[k]
    interval = f"[{percent(low)}, {percent(high)}]"
    if value > 1:
        return f"is off by {percent(value)} {interval}, more than not moving at all"
    return f"misses {percent(value)} {interval}"


def _gain_words(record: LearningCurves) -> str:
    gain, low, high = record.headline
    at = f"Trained on {count(int(record.samples[-1]))} samples, it"
    kernel = "the better of its two fixed kernels on the same samples"
    if record.metric == "error":
        size = f"{100 * abs(gain):.1f} percentage points [{100 * min(abs(low), abs(high)):.1f}, {100 * max(abs(low), abs(high)):.1f}]"
        worse, better = f"makes {size} more test errors than {kernel}", f"makes {size} fewer test errors than {kernel}"
    else:
        size = f"{number(abs(gain))} [{number(min(abs(low), abs(high)))}, {number(max(abs(low), abs(high)))}]"
        worse = f"has a normalized test error {size} above that of {kernel}"
        better = f"has a normalized test error {size} below that of {kernel}"
    if not (low > 0 or high < 0):
        return f"{at} and {kernel} cannot be told apart (gain {_gain_value(record)})"
    return f"{at} {better if low > 0 else worse}"


def _gain_value(record: LearningCurves) -> str:
    gain, low, high = record.headline
    if record.metric == "error":
        return f"{100 * gain:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
    return f"{gain:+.3g} [{low:+.3g}, {high:+.3g}]"


def _headline(records: Records) -> list[Headline]:
    record: OrderShares = records[_ORDERS]
    lines = []
    for k in range(1, record.unexplained.shape[1]):
        low, high = record.unexplained_interval[k]
        value = f"{percent(record.unexplained[-1, k])} [{percent(low)}, {percent(high)}]"
        lines.append(Headline(f"unexplained by order {k}, of what was learned", value))
    if _CURVES in records:
        lines += _gain_lines(records[_CURVES])
    shares = " / ".join(percent(share) for share in record.share[-1])
    lines.append(Headline(f"share of {' / '.join(part.removeprefix('order ') for part in record.parts)} in the outputs", shares))
    if record.metric == "error":
        scores = " / ".join(percent(score) for score in record.scores[-1])
        lines.append(
            Headline(f"{record.data} error of the expansions to 0 / … / {len(record.parts) - 2}, and of the network", scores)
        )
    return lines


def _gain_lines(record: LearningCurves) -> list[Headline]:
    lines = [Headline(f"gain over its fixed kernels at N = {count(int(record.samples[-1]))}", _gain_value(record))]
    if not math.isnan(record.sample_ratio[0]):
        value = f"{'at least ' if record.ratio_is_bound[0] else ''}{record.sample_ratio[0]:.2g} times"
        lines.append(Headline("samples that its best fixed kernel needs, over its own", value))
    return lines


def _figures(records: Records) -> list[Plate]:
    record: OrderShares = records[_ORDERS]
    order = len(record.parts) - 2
    plates = [
        Plate(
            "orders",
            f"The outputs at each checkpoint, split by the Taylor expansion in the parameters around the start: "
            f"f = T₀ + (T₁ - T₀) + … + rest, to order {order}, on {count(record.samples)} {record.data} examples, float64, one run. Upper: "
            "squared norm of each part over the sum of all parts (parts overlap; the sum is "
            f"{number(record.cancellation[-1])} times the squared outputs at the end). Lower: squared distance between the network and the "
            "expansion, over the squared change since the start; bars: 95 % bootstrap interval over examples."
            + _smooth_words(records.get(_REMAINDER)),
            lambda: plot_orders(record),
            "Shares of Taylor orders over epochs, and what each order leaves unexplained",
            record,
            f"records/{_ORDERS}.safetensors",
        )
    ]
    return [*plates, _curves_plate(records[_CURVES])] if _CURVES in records else plates


def _curves_plate(record: LearningCurves) -> Plate:
    words = "; ".join(f"{name}: {text}" for name, text in zip(record.learners, record.words, strict=True))
    return Plate(
        "own-curves",
        f"Test error on {count(record.test_samples)} examples after learning from N samples, {record.seeds} subsets each; bars: 95 % "
        f"interval over subsets (not over test examples). {words}. Kernels by exact ridge regression on the same samples, ridge by KARE.",
        lambda: plot_curves(record),
        "Test error against training samples for the network and its kernels",
        record,
        f"records/{_CURVES}.safetensors",
    )


def _smooth_words(record: RemainderOrders | None) -> str:
    if record is None:
        return ""
    slopes = ", ".join("rounding" if math.isnan(s) else f"{s:.2f}" for s in record.slope)
    if bool(record.smooth.all()):
        return f" The remainder shrinks as a smooth network's must (exponents {slopes} for orders 0, 1, …)."
    return (
        f" The network has kinks within reach (remainder exponents {slopes} for orders 0, 1, …; a smooth network has 1, 2, 3, 4): the "
        "orders are then the derivatives between the kinks, and the rest holds what crosses them."
    )


LEARNING = Chapter(
    id="learning",
    title="Beyond the kernel",
    question="What did it learn that its kernel cannot?",
    needs={_ORDERS: OrderShares, _REMAINDER: RemainderOrders, _CURVES: LearningCurves},
    required=1,
    sentence=_sentence,
    strength=4,
    headline=_headline,
    figures=_figures,
)
