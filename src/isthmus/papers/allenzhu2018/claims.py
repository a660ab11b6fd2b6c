"""Claims about learning beyond the kernel regime.

Not claimed, because it does not always hold: that a two-layer network of which only the hidden weights train beats its own
tangent kernel.
"""

from isthmus.claims import Claim, Hypothesis
from isthmus.papers.allenzhu2018 import structure, trained

_DERIVED = "derived here"
_ABSTRACT = "the paper's abstract"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="two_layer_learns_class",
        kind="statistical",
        statement="A wide two-layer ReLU network, trained by SGD on its hidden weights, learns a two-layer target with fewer units and "
        "smooth activations.",
        source=f"{_ABSTRACT}; measured on one teacher (three units, square activation, six dimensions)",
        hypotheses=(),
        check=trained.check_two_layer,
        control=trained.control_two_layer,
    ),
    Claim(
        id="three_layer_learns_class",
        kind="statistical",
        statement="A wide three-layer ReLU network, trained by SGD on its hidden weights, learns a three-layer target with smooth "
        "activations.",
        source=f"{_ABSTRACT}; measured on one teacher",
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
        statement="On the composite target sincos the three-layer network has a clearly smaller test error than exact ridge regression "
        "with its own tangent and last-layer kernels on the same samples; at desk scale (1000 samples, width 100, 300 epochs) also than "
        "a Gaussian and the infinite-width kernel.",
        source=f"{_ABSTRACT} (beyond the linearization); target and dimension from a third-party reproduction. At 500 samples or fewer, or "
        "with short training, the Gaussian kernel is as good as the network: measured here",
        hypotheses=(),
        check=trained.check_beyond,
        control=trained.control_beyond,
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
        id="complexity_values",
        kind="exact",
        statement="The complexity measure C_s has its known values for tanh near its radius of convergence and for a scaled sine.",
        source="the paper's measure, by notes at second hand (as restated by Panigrahi and Goyal 2021); values derived here",
        hypotheses=(),
        check=structure.check_complexity,
        control=structure.control_complexity,
    ),
)
