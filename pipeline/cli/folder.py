"""Finding a run folder, and the registries that a plan names."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from transship.pipeline.errors import UsageError
from transship.pipeline.jobs import Plan, RegistryAccess
from transship.pipeline.plan_file import read_plan

if TYPE_CHECKING:
    from transship.pipeline.registry.registries import Registries
    from transship.pipeline.registry.settings import HostSettings


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


def connect(access: Mapping[str, RegistryAccess], default: "HostSettings | None" = None) -> "Registries":
    """Return connections to registries under a plan's settings and this process's environment."""
    from transship.pipeline.registry.registries import Registries  # noqa: PLC0415 - 50 ms, and status needs none
    from transship.pipeline.registry.settings import HostSettings  # noqa: PLC0415

    settings = {
        host: HostSettings(
            tls_verify=found.tls_verify,
            cert_dir=found.cert_dir,
            authfile=found.authfile,
            concurrency=found.concurrency,
        )
        for host, found in access.items()
    }
    return Registries(settings, default or HostSettings(), os.environ)
