"""The paper's statements as claims, and what the theory of the kernel adds to them."""

import math

from isthmus.claims import Claim, Hypothesis
from isthmus.papers.fort2020 import lazy, learners, symmetries, training, transient

_TRAINABLE = (
    Hypothesis("the inputs are real numbers", lambda problem: problem.inputs.is_floating_point()),
    Hypothesis(
        "fresh parameters can be drawn, and there are at least 50 samples and at most 200,000 parameters",
        training.can_start_again,
    ),
)
_VECTORS = (
    Hypothesis("the inputs are real vectors", lambda problem: problem.inputs.is_floating_point()),
    Hypothesis("there are at least 8 samples", lambda problem: problem.samples >= 8),
    Hypothesis("an input has at most 4096 entries", lambda problem: math.prod(problem.inputs.shape[1:]) <= 4096),
)
_MLP = "two-layer ReLU perceptrons on one-dimensional signals (MNIST-1D at desk scale), constant learning rate"
_CNN = "small convolutional networks on one-dimensional signals (MNIST-1D at desk scale), constant learning rate"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="lazy_limit",
        kind="asymptotic",
        statement="Wide networks in NTK parametrization at a small learning rate follow their linear expansion, the better the wider; "
        "two-layer networks on this problem's inputs, fitted over widths.",
        source="the paper's abstract; the measure and the rate are ours",
        hypotheses=_VECTORS,
        check=lazy.check_function,
        control=lazy.control_function,
    ),
    Claim(
        id="standard_training_diverges",
        kind="statistical",
        statement="Standard training leaves the linear expansion: this architecture, trained from fresh starts on these data with SGD "
        "(rate 0.05, momentum 0.9), ends elsewhere than its tangent model trained alike.",
        source="the paper's abstract; the measure and the line are ours",
        hypotheses=(*_TRAINABLE, Hypothesis("no layer behaves otherwise in training", training.same_in_training)),
        check=training.check_diverges,
        control=training.control_diverges,
    ),
    Claim(
        id="chaotic_transient_fixes_basin",
        kind="statistical",
        statement="Within 2 to 3 epochs a transient fixes the final linearly connected basin: the barrier between children of a run is "
        f"there before and has fallen by half then; {_MLP}.",
        source="the paper's abstract; that half of the fall counts is ours",
        hypotheses=(),
        check=transient.check_basin,
        control=transient.control_basin,
    ),
    Claim(
        id="twins_separate",
        kind="statistical",
        statement="The transient is sensitive: runs that start a small distance apart and see the same batches separate exponentially in "
        f"the first 3 epochs; {_MLP}.",
        source="derived here: a number for the abstract's word chaotic",
        hypotheses=(),
        check=transient.check_twins,
        control=transient.control_twins,
    ),
    Claim(
        id="kernel_changes_fast_early",
        kind="statistical",
        statement="In the transient the tangent kernel changes fast, faster than later, and learns useful features: its alignment with "
        f"the labels rises; {_MLP}.",
        source="the paper's abstract; the two ratios are ours",
        hypotheses=(),
        check=transient.check_fast,
        control=transient.control_fast,
    ),
    Claim(
        id="factor_three",
        kind="statistical",
        statement=f"The learned kernel beats the initial one by a factor 3 in test error in under 3 to 4 epochs; {_CNN}.",
        source="the paper's abstract",
        hypotheses=(),
        check=learners.check_factor,
        control=learners.control_factor,
    ),
    Claim(
        id="constant_velocity_after",
        kind="statistical",
        statement=f"After the transient the tangent kernel changes at constant velocity; {_MLP}.",
        source="the paper's abstract; that a trend in time is what would refute it is ours",
        hypotheses=(),
        check=transient.check_constant,
        control=transient.control_constant,
    ),
    Claim(
        id="matches_network",
        kind="statistical",
        statement=f"After 15 to 45 % of training the learned kernel performs as well as the fully trained network; {_CNN}.",
        source="the paper's abstract",
        hypotheses=(),
        check=learners.check_match,
        control=learners.control_match,
    ),
    Claim(
        id="measures_correlate",
        kind="statistical",
        statement=f"Landscape and kernel measures evolve in a highly correlated manner; {_MLP}.",
        source="the paper's abstract; the measures that are ranked, and the line, are ours",
        hypotheses=(),
        check=transient.check_correlation,
        control=transient.control_correlation,
    ),
    Claim(
        id="kernel_motion_shrinks_with_width",
        kind="asymptotic",
        statement="In NTK parametrization the relative change of the tangent kernel over training shrinks with the width; two-layer "
        "networks on this problem's inputs, fitted over widths.",
        source="derived here; sharpens the abstract's statement that wide networks at suitable initialization follow their "
        "linear expansion",
        hypotheses=_VECTORS,
        check=lazy.check_kernel,
        control=lazy.control_kernel,
    ),
    Claim(
        id="permutation_invariant_kernel",
        kind="exact",
        statement="Permuting the hidden units of a layer, incoming and outgoing tensors together, leaves the tangent kernel unchanged.",
        source="derived here",
        hypotheses=(
            Hypothesis("the traced network has a layer of exchangeable units", lambda problem: bool(symmetries.groups(problem))),
        ),
        check=symmetries.check_permutation,
        control=symmetries.control_permutation,
    ),
    Claim(
        id="scale_law",
        kind="exact",
        statement="In a ReLU network of L linear layers without biases, multiplying all weights by c multiplies the tangent kernel by "
        "c^(2 (L - 1)) and turns it not at all.",
        source="derived here",
        hypotheses=(),
        check=symmetries.check_scale,
        control=symmetries.control_scale,
    ),
)
