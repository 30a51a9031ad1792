"""Finding a run folder."""

from pathlib import Path

from transship.pipeline.errors import UsageError
from transship.pipeline.jobs import Plan
from transship.pipeline.plan_file import read_plan


def open_run(argument: str) -> tuple[Path, Plan]:
    """Return the folder and the plan of a run given as a folder or as a name under ``runs/``.

    Raises:
        UsageError: there is no such run.
    """
    for root in (Path(argument), Path("runs") / argument):
        plan = read_plan(root.resolve())
        if plan is not None:
            return root.resolve(), plan
    raise UsageError(f"{argument}: no run folder here or under runs/", advice="start one with: transship run BATCH")
