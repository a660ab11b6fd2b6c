"""The survey's last stage: the claims, checked on the network as it ended."""

from isthmus.claims import check_claim
from isthmus.papers import all_claims
from isthmus.studies.stage import Context, Stage, always


def claims_stage() -> Stage:
    """A stage that checks every claim at smoke scale; claims stand above studies, so the stage is made here."""
    names = tuple(f"claims/{name}" for name in all_claims())

    def run(context: Context) -> None:
        problem = context.trajectory.problem_at(context.trajectory.steps[-1])
        for index, (name, (paper, claim)) in enumerate(all_claims().items()):
            context.progress("claims", claim.id.replace("_", " "), index, len(names))
            if not context.run.has(f"claims/{name}"):
                context.run.save(f"claims/{name}", check_claim(claim, problem, paper=paper.key, scale="smoke", seed=context.seed))

    return Stage("claims", names, always, run)
