"""The exception tree.

::

    IsthmusError
    ├── InputError (also ValueError)     what was passed cannot be used            exit code 2
    │   ├── ShapeError
    │   ├── DtypeError
    │   └── DeviceError
    ├── ModelError                       the network cannot be treated exactly     exit code 2
    │   ├── BatchCoupled                 one example's output depends on the others
    │   ├── NotTwiceDifferentiable
    │   └── UnsupportedLayer
    ├── HypothesisError                  a statement was applied outside its hypotheses, exit code 2
    ├── BudgetError                      would need more memory than there is      exit code 2
    ├── NumericalError                   carries a `Status`                        exit code 1
    └── VerificationError                a self-check failed: do not trust this    exit code 3

Every message says what was asked, what was found, why it matters and what to write instead.
"""

from isthmus._core.status import Status


class IsthmusError(Exception):
    """Base of everything isthmus raises on purpose."""

    exit_code = 3


class InputError(IsthmusError, ValueError):
    """What was passed cannot be used."""

    exit_code = 2


class ShapeError(InputError):
    """Two shapes do not fit together."""


class DtypeError(InputError):
    """A tensor has a dtype that the computation cannot take."""


class DeviceError(InputError):
    """Tensors live on different devices, or the device does not exist."""


class ModelError(IsthmusError):
    """The network cannot be treated exactly as it stands."""

    exit_code = 2


class BatchCoupled(ModelError):
    """The output of one example depends on the other examples of its batch."""


class NotTwiceDifferentiable(ModelError):
    """A second derivative was asked of something that has none."""


class UnsupportedLayer(ModelError):
    """A layer cannot be handled exactly, and no fallback exists."""


class HypothesisError(IsthmusError):
    """A statement was applied where its hypotheses do not hold."""

    exit_code = 2


class BudgetError(IsthmusError):
    """The computation would need more memory than there is."""

    exit_code = 2


class NumericalError(IsthmusError):
    """A numerical method stopped without an answer; `status` says how."""

    exit_code = 1

    def __init__(self, status: Status, message: str = "") -> None:
        super().__init__(f"{status.value}{': ' + message if message else ''}")
        self.status = status


class VerificationError(IsthmusError):
    """A self-check on a result failed: the result must not be used."""

    exit_code = 3
