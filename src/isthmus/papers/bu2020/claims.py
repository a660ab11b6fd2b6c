"""The statements of the paper, and what is derived from them here."""

from isthmus.claims import Claim, Hypothesis
from isthmus.papers.bu2020 import modes, networks

_ABSTRACT = "the paper's abstract"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="heavy_ball_linear",
        kind="asymptotic",
        statement="Heavy ball brings wide two-layer ReLU networks to a global minimum of the squared error at a linear rate, "
        "like gradient descent; the rate is the one that the smallest eigenvalue of the initial kernel predicts. "
        "On random unit vectors, from zero output.",
        source=f"{_ABSTRACT}; the rate is derived here",
        hypotheses=(),
        check=networks.check_heavy_ball,
        control=networks.control_heavy_ball,
    ),
    Claim(
        id="nesterov_sublinear",
        kind="asymptotic",
        statement="The limiting equation of Nesterov's method with schedule d converges sublinearly: its squared error falls like t^-d. "
        "The algorithm itself is another matter: nesterov_algorithm_linear.",
        source=f"{_ABSTRACT} (Nesterov's method 'may' only converge sublinearly); the exponent is derived here",
        hypotheses=(),
        check=modes.check_sublinear,
        control=modes.control_sublinear,
    ),
    Claim(
        id="limiting_odes",
        kind="asymptotic",
        statement="Heavy ball on a wide network follows the limiting equation D'' + b D' + H D = 0 of its initial kernel, at order "
        "sqrt(lr).",
        source=f"{_ABSTRACT}; the order is derived here",
        hypotheses=(),
        check=networks.check_limiting,
        control=networks.control_limiting,
    ),
    Claim(
        id="strongly_convex_in_prediction",
        kind="exact",
        statement="Over the prediction error D, training the linearization of this network on squared error is the same method on the "
        "quadratic D.H D / 2, strongly convex with modulus lambda_0.",
        source=f"{_ABSTRACT}; the quadratic is derived here",
        hypotheses=(Hypothesis("each example's output depends on that example alone", modes.linearizable),),
        check=modes.check_convex,
        control=modes.control_convex,
    ),
    Claim(
        id="other_optimizers_and_architectures",
        kind="asymptotic",
        statement="The approach carries over to optimizers that act on weights: Adam on the linearized network predicts Adam on the "
        "network, the better the wider.",
        source=f"{_ABSTRACT}; Adam and the rate are derived here",
        hypotheses=(),
        check=networks.check_adam,
        control=networks.control_adam,
    ),
    Claim(
        id="cross_entropy_and_convolutions",
        kind="asymptotic",
        statement="The approach carries over to other losses and architectures: with the initial kernel, gradient descent on cross-entropy "
        "in function space predicts a convolution with an error that falls like m^-1/2 in its filters.",
        source=f"{_ABSTRACT} (other architectures); cross-entropy and the rate are derived here",
        hypotheses=(),
        check=networks.check_convolution,
        control=networks.control_convolution,
    ),
    Claim(
        id="stability_limits",
        kind="statistical",
        statement="On a kernel's modes every method shrinks the error below its own limit of lr x largest eigenvalue: 2 for gradient "
        "descent, 2 (1 + beta) for heavy ball, 2 (1 + beta) / (1 + 2 beta) for Nesterov, 2 (1 + beta) / (1 + beta - 2 nu beta) for "
        "quasi-hyperbolic momentum.",
        source="derived here",
        hypotheses=(),
        check=modes.check_limits,
        control=modes.control_limits,
    ),
    Claim(
        id="friction_gives_speed",
        kind="asymptotic",
        statement="Two momenta that leave friction (beta1 + beta2 < 1) converge linearly and faster than gradient descent on the slowest "
        "mode; with beta1 + beta2 = 1 they do not.",
        source="the authors' notebook (its third setting, dropped from the figure); the statement is derived here",
        hypotheses=(),
        check=modes.check_friction,
        control=modes.control_friction,
    ),
    Claim(
        id="nesterov_algorithm_linear",
        kind="asymptotic",
        statement="The discrete Nesterov method with schedule d is linear on the modes: |D_k| falls like k^{-d/2} (1 - lr lambda_0)^{k/2}. "
        "The sublinear rate belongs to the limit of vanishing steps.",
        source="derived here",
        hypotheses=(),
        check=modes.check_algorithm,
        control=modes.control_algorithm,
    ),
    Claim(
        id="high_resolution_order",
        kind="asymptotic",
        statement="With the term sqrt(lr) H D' the limiting equation of Nesterov's method is reached at order lr instead of sqrt(lr).",
        source="derived here, after Shi, Du, Jordan, Su 2018",
        hypotheses=(),
        check=modes.check_order,
        control=modes.control_order,
    ),
    Claim(
        id="width_error_law",
        kind="asymptotic",
        statement="The error of the prediction from the initial kernel falls like m^-1/2 with the width m in NTK parametrization.",
        source="derived here",
        hypotheses=(),
        check=networks.check_width,
        control=networks.control_width,
    ),
)
