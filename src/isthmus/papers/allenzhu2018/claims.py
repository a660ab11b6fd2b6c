"""Claims about learning beyond the kernel regime.

Not claimed, because it does not always hold: that a two-layer network of which only the hidden weights train beats its own
tangent kernel.
"""

from isthmus.claims import Claim, Hypothesis
from isthmus.papers.allenzhu2018 import structure, trained

_DERIVED = "derived here"
_ABSTRACT = "the paper's abstract"

_TEACHERS = "measured on one teacher, six padded dimensions"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="two_layer_learns_class",
        kind="statistical",
        statement="A wide two-layer ReLU network, trained by SGD on its hidden weights, learns a two-layer target with fewer units and "
        "smooth activations.",
        source=f"{_ABSTRACT}; {_TEACHERS} (three units, square activation)",
        hypotheses=(),
        check=trained.check_two_layer,
        control=trained.control_two_layer,
    ),
    Claim(
        id="three_layer_learns_class",
        kind="statistical",
        statement="A wide three-layer ReLU network, trained by SGD on its hidden weights, learns a three-layer target with smooth "
        "activations.",
        source=f"{_ABSTRACT}; {_TEACHERS}",
        hypotheses=(),
        check=trained.check_three_layer,
        control=trained.control_three_layer,
    ),
    Claim(
        id="sgd_polynomial",
        kind="asymptotic",
        statement="On a target of the class the test error falls at least like the inverse root of the number of SGD steps.",
        source=f"{_ABSTRACT} says polynomially many steps; the exponent is that of the two-layer theorem as recalled in the notes",
        hypotheses=(),
        check=trained.check_steps,
        control=trained.control_steps,
    ),
    Claim(
        id="samples_polynomial",
        kind="asymptotic",
        statement="On a target of the class the test error falls at least like the inverse root of the number of samples.",
        source=f"{_ABSTRACT} says polynomially many samples; the exponent is that of the notes' second three-layer variant, recalled",
        hypotheses=(),
        check=trained.check_samples,
        control=trained.control_samples,
    ),
    Claim(
        id="samples_independent_of_width",
        kind="asymptotic",
        statement="At a fixed number of samples the test error of the three-layer network does not grow with its number of parameters.",
        source=f"{_ABSTRACT} (sample complexity almost independent of the number of parameters)",
        hypotheses=(),
        check=trained.check_width,
        control=trained.control_width,
    ),
    Claim(
        id="beyond_ntk",
        kind="statistical",
        statement="On the composite target sincos the three-layer network reaches a test error that exact ridge regression with its own "
        "tangent and last-layer kernels does not reach on the same samples.",
        source=f"{_ABSTRACT} (beyond the linearization); target and dimension from a third-party reproduction. Own kernels only: a "
        "Gaussian kernel with a ridge near rounding level is better than the network on this noiseless target, measured here",
        hypotheses=(),
        check=trained.check_beyond,
        control=trained.control_beyond,
    ),
    Claim(
        id="beyond_every_kernel_here",
        kind="statistical",
        statement="On a staircase of three among twenty signs the three-layer network reaches a test error that none of its tangent "
        "kernel, the infinite-width kernel and a Gaussian kernel reaches on the same samples; on the composite target in four dimensions "
        "the Gaussian kernel does.",
        source=f"{_DERIVED}: which kernels a network goes beyond depends on the target",
        hypotheses=(),
        check=trained.check_staircase,
        control=trained.control_staircase,
    ),
    Claim(
        id="quadratic_model_between",
        kind="statistical",
        statement="On the composite target the second-order model, trained like the network, has a test error between those of the "
        "linearized network and of the network.",
        source=f"{_DERIVED}, after the notes' scaled-down experiment",
        hypotheses=(),
        check=trained.check_between,
        control=trained.control_between,
    ),
    Claim(
        id="quadratic_approximation",
        kind="asymptotic",
        statement="Averaged over random signs, a wide displaced three-layer network approaches its start plus the part bilinear across "
        "its layers.",
        source=f"{_ABSTRACT} (a second-order variant of the tangent kernel); this form recalled in the notes",
        hypotheses=(),
        check=structure.check_coupling,
        control=structure.control_coupling,
    ),
    Claim(
        id="quadratic_model_of_this_network",
        kind="statistical",
        statement="Near its parameters, the second-order Taylor model is closer to this network than the first-order one.",
        source=f"{_DERIVED}: the same statement for the network at hand",
        hypotheses=(
            Hypothesis("the network has at most 5 million parameters", lambda problem: problem.network.size <= 5_000_000),
            Hypothesis("the outputs are not linear in the parameters along a random direction", structure.bends),
            Hypothesis("the network is smooth (no kinks within reach: not ReLU)", structure.is_smooth),
        ),
        check=structure.check_own_orders,
        control=structure.control_own_orders,
    ),
    Claim(
        id="escaping_saddles",
        kind="statistical",
        statement="The start is a saddle of the bilinear objective that noisy gradient descent leaves.",
        source=f"{_ABSTRACT} (an optimization that escapes saddle points)",
        hypotheses=(),
        check=trained.check_escape,
        control=trained.control_escape,
    ),
    Claim(
        id="saddle_certificate",
        kind="exact",
        statement="At the start the bilinear objective has the eigenvalue -max_j |M_j|, an operator norm for each first-layer unit, with "
        "the singular pair as its direction.",
        source=_DERIVED,
        hypotheses=(),
        check=structure.check_saddle,
        control=structure.control_saddle,
    ),
    Claim(
        id="sign_mixing",
        kind="exact",
        statement="Mixing in a displacement with random signs, the mean of the bilinear part is the mean of the two: along such mixtures "
        "the objective behaves as a convex one.",
        source=f"{_DERIVED}; the idea is the paper's, recalled in the notes",
        hypotheses=(),
        check=structure.check_mixing,
        control=structure.control_mixing,
    ),
    Claim(
        id="frozen_signs_decomposition",
        kind="exact",
        statement="A three-layer ReLU network with the signs of its start is exactly start + linear part + bilinear part.",
        source=_DERIVED,
        hypotheses=(),
        check=structure.check_decomposition,
        control=structure.control_decomposition,
    ),
    Claim(
        id="explicit_weights",
        kind="asymptotic",
        statement="Weights written down in closed form realize a smooth two-layer target in the linear part, with an error that falls with "
        "the width; biases are necessary.",
        source=f"{_DERIVED}, from the indicator lemma as restated by Panigrahi and Goyal (2021)",
        hypotheses=(),
        check=structure.check_realized,
        control=structure.control_realized,
    ),
    Claim(
        id="coupling_of_two_layers",
        kind="asymptotic",
        statement="Displaced by rows of norm 1/m, a two-layer network approaches its model with the signs of the start faster than signs "
        "stop flipping.",
        source=f"{_DERIVED}; the coupling is the paper's tool, recalled in the notes",
        hypotheses=(),
        check=structure.check_two_layer_coupling,
        control=structure.control_two_layer_coupling,
    ),
    Claim(
        id="complexity_order",
        kind="exact",
        statement="C_s is at most C_eps for sin, exp and the square once C* is 10 or more; for the identity it is not (eps = 0.1).",
        source="stated for all functions by Panigrahi and Goyal (2021) with a constant left open; where it holds is derived here",
        hypotheses=(),
        check=structure.check_order,
        control=structure.control_order,
    ),
    Claim(
        id="complexity_values",
        kind="exact",
        statement="The complexity measure C_s has its known values for tanh near its radius of convergence and for a scaled sine.",
        source="the paper's measure, by notes at second hand (as restated by Panigrahi and Goyal 2021); values derived here",
        hypotheses=(),
        check=structure.check_complexity,
        control=structure.control_complexity,
    ),
)
