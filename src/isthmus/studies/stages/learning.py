"""What the run learned beyond its kernel: orders of its expansion."""

from isthmus.learning import order_shares, remainder_orders
from isthmus.studies.stage import Context, Stage, spread

_POINTS = {"smoke": 6, "desk": 20}
_EXAMPLES = {"smoke": 200, "desk": 1000}
_REMAINDER_EXAMPLES = 200


def _moved(context: Context) -> bool:
    """A run with one checkpoint has no displacement to expand."""
    return len(context.trajectory.steps) > 1


def _run_orders(context: Context) -> None:
    trajectory, name = context.trajectory, context.scale.name
    record = order_shares(
        trajectory,
        steps=spread(trajectory.steps, _POINTS[name]),
        samples=_EXAMPLES[name],
        seed=context.seed.child("learning", "orders"),
        tell=lambda done, total: context.progress("learning", "Taylor orders along the run", done, total),
    )
    context.run.save("learning/orders", record)
    start = trajectory.problem_at(trajectory.steps[0])
    few = start.inputs[:_REMAINDER_EXAMPLES]
    context.run.save("learning/remainder", remainder_orders(start, few, seed=context.seed.child("learning", "remainder")))


ORDERS = Stage("orders", ("learning/orders", "learning/remainder"), _moved, _run_orders)
