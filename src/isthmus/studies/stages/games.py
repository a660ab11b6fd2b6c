"""The network as a routing game: certificates along the run, flows and removals at its end."""

import math

from isthmus.games.pathgame import PathGame
from isthmus.games.timeline import game_timeline, some_samples
from isthmus.model.problem import Problem
from isthmus.studies.stage import Context, Stage, always, spread

_POINTS = {"smoke": 5, "desk": 14}
_EXAMPLES = {"smoke": 200, "desk": 1000}
_REMOVALS = 256


def _run(context: Context) -> None:
    name, trajectory = context.scale.name, context.trajectory
    seed, samples = context.seed.child("games"), _EXAMPLES[context.scale.name]
    timeline = game_timeline(
        trajectory,
        steps=spread(trajectory.steps, _POINTS[name]),
        samples=samples,
        seed=seed,
        tell=lambda done, total: context.progress("games", "gap along the run", done, total),
    )
    if not timeline.reason:
        final = trajectory.problem_at(trajectory.steps[-1])
        _measure_end(context, some_samples(final, timeline.samples, seed), exact=timeline.kind == "exact")
    context.run.save("games/timeline", timeline)


def _measure_end(context: Context, final: Problem, *, exact: bool) -> None:
    context.progress("games", "flows, certificate and removals at the end", 0, 1)
    game = PathGame(final)
    found = game.certificate(prices="exact" if exact else "bound", limit=math.inf)
    context.run.save("games/certificate", found)
    context.run.save("games/flows", game.flows(top=60))
    if len(game.chain.affines) < 2:
        return
    context.run.save("games/braess-train", game.braess_scan(limit=_REMOVALS))
    if final.test_inputs is not None:
        context.run.save("games/braess-heldout", game.braess_scan(on="heldout", limit=_REMOVALS))


GAMES = Stage("games", ("games/timeline",), always, _run)
