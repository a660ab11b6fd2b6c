import numpy as np
import pytest

from isthmus.dynamics import closed_forms as forms
from isthmus.dynamics.limits import high_resolution_equation, limiting_equation
from isthmus.dynamics.methods import CanonicalNesterov, QuasiHyperbolic, TorchSgd, TwoMomentum
from tests.dynamics.test_methods import path
from tests.reference import dynamics as oracle

LAM = np.array([0.05, 0.3, 1.0, 2.5])
TIMES = np.linspace(1e-3, 40, 60)


def test_reference_values():
    assert forms.heavy_ball_ode(np.ones(1), 0.6, np.array([10.0]))[0, 0] == pytest.approx(-0.05125103644682, abs=1e-13)
    assert forms.nesterov_ode(np.ones(1), 3, np.array([5.0]))[0, 0] == pytest.approx(-0.13103165503659, abs=1e-13)
    assert forms.nesterov_ode(np.ones(1), 2, np.array([5.0]))[0, 0] == pytest.approx(-0.19178485493263, abs=1e-13)


def test_heavy_ball_ode_against_an_integrator():
    for lam in LAM:
        for b in (0.1, 0.5, 2 * lam**0.5, 2.0, 5.0):
            want = oracle.integrate(lambda t, b=b: b, lambda t, lam=lam: lam, (0.0, 1.0, 0.0), TIMES)
            assert np.abs(forms.heavy_ball_ode(np.array([lam]), b, TIMES)[:, 0] - want).max() < 1e-8


def test_nesterov_ode_against_an_integrator():
    for lam in LAM:
        for d in (1, 2, 3, 4.5, 6, 8, 10):
            t0 = 1e-3
            series = 1 - lam * t0**2 / (2 * (d + 1)), -lam * t0 / (d + 1)
            want = oracle.integrate(lambda t, d=d: d / t, lambda t, lam=lam: lam, (t0, *series), TIMES)
            assert np.abs(forms.nesterov_ode(np.array([lam]), d, TIMES)[:, 0] - want).max() < 1e-8


@pytest.mark.parametrize("d", [2.0, 3.0, 6.0])
def test_high_resolution_nesterov_against_an_integrator(d):
    lr, lam = 0.04, 1.3
    h = lr**0.5
    times = np.linspace(d * h / 2, 30, 80)
    want = oracle.integrate(lambda t: d / t + h * lam, lambda t: lam * (1 + d * h / (2 * t)), (times[0], 1.0, -h * lam), times)
    assert np.abs(forms.nesterov_high_resolution(np.array([lam]), lr, d, times)[:, 0] - want).max() < 1e-8


def test_oscillator_with_a_start_speed():
    for b, w in ((0.3, 1.0), (3.0, 1.0), (2.0, 1.0)):
        want = oracle.integrate(lambda t, b=b: b, lambda t, w=w: w, (0.0, 1.0, -0.4), TIMES)
        found = forms.oscillator(np.array([b]), np.array([w]), np.array([-0.4]), TIMES)[:, 0]
        assert np.abs(found - want).max() < 1e-8


def test_discrete_forms_are_the_recursions():
    x, steps = np.array([1e-6, 0.01, 0.1, 0.5, 0.9, 1.0, 1.2, 1.3]), np.arange(301)
    root = (1 - 0.9**0.5) ** 2
    x = np.append(x, root)  # heavy ball's double root
    assert np.abs(forms.heavy_ball_steps(x, 0.9, steps) - path(TorchSgd(lr=1, momentum=0.9), x, 300)).max() < 1e-10
    assert np.abs(forms.nesterov_steps(x, 0.9, steps) - path(TorchSgd(lr=1, momentum=0.9, nesterov=True), x, 300)).max() < 1e-10
    assert np.abs(forms.descent_steps(x, steps) - path(TorchSgd(lr=1), x, 300)).max() < 1e-12


@pytest.mark.parametrize("d", [2, 3, 6, 8])
def test_gegenbauer_form_is_the_canonical_recursion(d):
    x = np.array([0.0, 0.01, 0.1, 0.5, 0.9, 0.999])
    want = np.stack([oracle.canonical_nesterov(value, d, 300) for value in x], axis=1)
    assert np.abs(forms.canonical_nesterov_steps(x, d, np.arange(301)) - want).max() < 1e-12


def gaps(make, equation, rates):
    found = []
    for lr in rates:
        method, count = make(lr), round(10 / lr**0.5)
        exact = path(method, np.ones(1), count)
        found.append(np.abs(equation(method).amplitude(np.ones(1), np.arange(count + 1)) - exact).max())
    return found


SECOND_ORDER = {
    "heavy ball": lambda lr: TorchSgd(lr=lr, momentum=1 - 0.6 * lr**0.5),
    "nesterov": lambda lr: TorchSgd(lr=lr, momentum=1 - 0.6 * lr**0.5, nesterov=True),
    "schedule d=3": lambda lr: CanonicalNesterov(lr=lr, d=3),
    "schedule d=6": lambda lr: CanonicalNesterov(lr=lr, d=6),
}


@pytest.mark.parametrize("name", SECOND_ORDER)
def test_the_limits_are_reached_at_their_orders(name):
    rates = [1e-2, 1e-3, 1e-4, 1e-5]
    low = np.polyfit(np.log(rates), np.log(gaps(SECOND_ORDER[name], limiting_equation, rates)), 1)[0]
    high = np.polyfit(np.log(rates), np.log(gaps(SECOND_ORDER[name], high_resolution_equation, rates)), 1)[0]
    assert 0.45 < low < 0.55 and 0.95 < high < 1.05


def test_values_of_the_step_size_law():
    assert gaps(SECOND_ORDER["heavy ball"], limiting_equation, [1e-1, 1e-3, 1e-5]) == pytest.approx(
        [1.5e-1, 1.4e-2, 1.4e-3], rel=0.05
    )
    assert gaps(SECOND_ORDER["schedule d=3"], limiting_equation, [1e-1, 1e-3]) == pytest.approx([2.9e-1, 3.4e-2], rel=0.02)
    high = gaps(SECOND_ORDER["schedule d=3"], high_resolution_equation, [1e-1, 1e-3])
    assert high == pytest.approx([2.1e-2, 2.5e-4], rel=0.02)


def test_momentum_held_fixed_tends_to_gradient_flow():
    worst = []
    for lr in (1e-2, 1e-3, 1e-4):
        count = round(10 / lr)
        exact = path(TorchSgd(lr=lr, momentum=0.9), np.ones(1), count)[:, 0]
        worst.append(np.abs(exact - np.exp(-np.arange(count + 1) * lr / 0.1)).max())
    assert worst == pytest.approx([0.283, 0.064, 0.0084], rel=0.02)
    for method, speed in (
        (TwoMomentum(lr=1e-4, beta1=0.2, beta2=0.2), 1 / 0.6),
        (QuasiHyperbolic(lr=1e-4, nu=0.5, beta=0.5), 1.0),
    ):
        found = limiting_equation(method).amplitude(np.ones(1), np.array([5000.0]))[0, 0]
        assert found == pytest.approx(np.exp(-0.5 * speed), rel=1e-9)


def test_squared_error_of_the_nesterov_ode_falls_like_t_to_minus_d():
    for d in (2, 3, 6, 8):
        edges = np.geomspace(60, 4000, 25)
        peaks = [np.max(forms.nesterov_ode(np.ones(1), d, np.linspace(a, 1.5 * a, 400)) ** 2) for a in edges]
        assert np.polyfit(np.log(edges), np.log(peaks), 1)[0] == pytest.approx(-d, abs=0.05)


def test_discrete_scheduled_nesterov_is_linear():
    x, steps = 0.05, np.arange(200, 2001)
    z = forms.canonical_nesterov_steps(np.array([x]), 3, steps)[:, 0]
    width = 40
    peaks = np.array([np.abs(z[i : i + width]).max() for i in range(0, len(z) - width, width)])
    mids = steps[: len(peaks) * width : width] + width / 2
    rate = np.polyfit(mids, np.log(peaks) + 1.5 * np.log(mids), 1)[0]
    assert rate == pytest.approx(0.5 * np.log1p(-x), rel=2e-3)
