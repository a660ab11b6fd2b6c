"""The exception tree: it is the one drawn, and every branch has its exit code."""

import inspect

import pytest

from isthmus._core import errors
from isthmus._core.status import Status

TREE = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, errors.IsthmusError)}
EXIT_CODES = {
    "InputError": 2, "ShapeError": 2, "DtypeError": 2, "DeviceError": 2, "ModelError": 2, "BatchCoupled": 2,
    "NotTwiceDifferentiable": 2, "UnsupportedLayer": 2, "HypothesisError": 2, "BudgetError": 2, "NumericalError": 1,
    "VerificationError": 3, "IsthmusError": 3,
}  # fmt: skip


def test_every_error_has_the_exit_code_of_the_house() -> None:
    assert {name: kind.exit_code for name, kind in TREE.items()} == EXIT_CODES


@pytest.mark.parametrize("name", [name for name in EXIT_CODES if name != "IsthmusError"])
def test_the_drawing_in_the_docstring_shows_each_error_under_its_parent(name: str) -> None:
    lines = (errors.__doc__ or "").splitlines()
    drawn = next(index for index, line in enumerate(lines) if f"── {name}" in line)
    depth = lines[drawn].index("──")
    parents = [line.split("── ")[-1].split()[0] for line in lines[:drawn] if "──" in line and line.index("──") < depth]
    assert TREE[name].__bases__[0].__name__ == (parents[-1] if parents else "IsthmusError")


def test_an_input_error_is_a_value_error() -> None:
    assert issubclass(errors.ShapeError, ValueError)


def test_a_numerical_error_carries_its_status_and_says_it() -> None:
    fault = errors.NumericalError(Status.NOT_FINITE, "the loss")
    assert fault.status is Status.NOT_FINITE
    assert str(fault) == f"{Status.NOT_FINITE.value}: the loss"
    assert str(errors.NumericalError(Status.MAX_STEPS)) == Status.MAX_STEPS.value


def test_only_unfinished_statuses_warn() -> None:
    assert {status for status in Status if not status.ok} == {Status.MAX_STEPS, Status.NOT_FINITE, Status.UNRESOLVED}
