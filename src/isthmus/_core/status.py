"""How a computation ended; the value is the sentence a person reads."""

import enum


class Status(enum.Enum):
    """How a computation ended."""

    EXACT = "exact up to floating-point rounding"
    CONVERGED = "converged to the requested tolerance"
    ESTIMATED = "Monte-Carlo estimate; its standard error is recorded"
    MAX_STEPS = "stopped at the step limit before reaching the requested tolerance"
    BREAKDOWN = "stopped early: the Krylov space was exhausted"
    NOT_FINITE = "a value was not finite (NaN or infinity)"
    UNRESOLVED = "the data do not decide; no answer is given"

    @property
    def ok(self) -> bool:
        """Whether the result may be quoted without a warning."""
        return self in {Status.EXACT, Status.CONVERGED, Status.ESTIMATED, Status.BREAKDOWN}
