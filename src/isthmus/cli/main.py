"""Entry point: lazy subcommands, one clear line for every error, exit codes that mean something."""

import sys
import traceback
from collections.abc import Sequence

import cyclopts
from rich.console import Console

from isthmus._core.errors import IsthmusError

app = cyclopts.App(
    name="isthmus",
    help="Maps the loss landscape of your own neural network.",
    help_epilogue="Exit codes: 0 done, 1 a claim fails or a result did not converge, 2 wrong input, 3 internal error, 130 interrupted.",
)
_COMMANDS = {
    "survey": ("isthmus.cli.survey:survey", "Train or replay a network, measure its landscape, draw atlas.html."),
    "evolve": ("isthmus.cli.evolve:evolve", "Kernel evolution: when the basin was decided, and what the kernel learned."),
    "render": ("isthmus.cli.render:render", "Draw atlas.html again from saved records."),
    "ntk": ("isthmus.cli.ntk:ntk", "The empirical tangent kernel."),
    "hessian": ("isthmus.cli.hessian:hessian", "Hessian eigenvalues or spectral density."),
    "census": ("isthmus.cli.census:census", "The critical points of a two-layer network by width."),
    "certify": ("isthmus.cli.certify:certify", "What kind of critical point a small network stands at."),
    "grow": ("isthmus.cli.grow:grow", "Add units without changing the function; predict the inertia."),
    "plateau": ("isthmus.cli.plateau:plateau", "Which narrower network's critical point a run is near."),
    "shrink": ("isthmus.cli.shrink:shrink", "Join units that do the same thing."),
    "barrier": ("isthmus.cli.barrier:barrier", "The error barrier between two checkpoints."),
    "surface": ("isthmus.cli.surface:surface", "The loss on a plane or a line in parameter space."),
    "align": ("isthmus.cli.align:align", "Bring the units of one network into the order of another's."),
    "complexity": (
        "isthmus.cli.complexity:complexity",
        "Complexity measures of a smooth function, or a Boolean function's leap.",
    ),
    "learn": ("isthmus.cli.learn:learn", "Learning curves of networks and kernels on a known target."),
    "taylor": ("isthmus.cli.taylor:taylor", "What each order of the Taylor expansion contributes to a run."),
    "game": ("isthmus.cli.game:game", "The network as a routing game: gap to equilibrium, path flows, removals."),
    "count": ("isthmus.cli.count:count", "How many subspaces of minima and of saddles a wide layer has; exact."),
    "predict": ("isthmus.cli.predict:predict", "The loss curve of full-batch training, predicted from the tangent kernel."),
    "stability": ("isthmus.cli.stability:stability", "The largest stable step size, and whether a prediction can be trusted."),
    "tune": ("isthmus.cli.tune:tune", "The best step size and momentum, and optimizers ranked by predicted steps."),
    "claims": ("isthmus.cli.claims:app", "List the refutable statements, or check them on a network."),
}
for _name, (_path, _help) in _COMMANDS.items():
    app.command(_path, name=_name, help=_help)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; ``--debug`` anywhere shows the traceback of an error."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    sys.exit(_run(words, debug))


def _run(words: list[str], debug: bool) -> int:
    console = Console(stderr=True, highlight=False)
    try:
        result = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except IsthmusError as fault:
        return _say(console, type(fault).__name__, str(fault), fault.exit_code, debug)
    except cyclopts.CycloptsError as fault:
        return _say(console, "Usage", f"{fault} Try: isthmus --help", 2, debug)
    except KeyboardInterrupt:
        return _say(console, "Interrupted", "finished parts are kept; the same command goes on from there.", 130, False)
    except Exception as fault:
        text = f"{type(fault).__name__}: {fault}. This is a fault of isthmus; --debug shows where."
        return _say(console, "Internal error", text, 3, debug)
    return result if isinstance(result, int) else 0


def _say(console: Console, kind: str, text: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    console.print(f"[bold red]{kind}:[/bold red] ", end="")
    console.print(text, markup=False, soft_wrap=True)
    return code
