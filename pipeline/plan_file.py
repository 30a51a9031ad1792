"""The plan of a run on disk: ``batch.json`` in the run folder, durable before any task begins."""

import json
from pathlib import Path
from typing import Final

from transship import schemas
from transship.pipeline.durable import write_durably
from transship.pipeline.errors import ContentError, UsageError
from transship.pipeline.jobs import Plan

PLAN: Final = "batch.json"


def save_plan(root: Path, plan: Plan) -> None:
    """Write ``plan`` into the run folder, durable on return."""
    write_durably(root / PLAN, json.dumps(plan.document(), ensure_ascii=False, indent=1).encode())


def read_plan(root: Path) -> Plan | None:
    """Return the plan of a run folder, None where there is none that can be read.

    Raises:
        UsageError: it was written by another version of transship.
    """
    path = root / PLAN
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    try:
        document = json.loads(raw)
        schemas.validate("plan", document, str(path))
        plan = Plan.read(document)
        if any(member.image not in plan.images for found in plan.deliveries.values() for member in found.members):
            raise ValueError("a delivery of an image that is not in it")
    except (ValueError, RecursionError, ContentError, schemas.SchemaError) as error:
        raise UsageError(f"{path}: not a plan of this version of transship: {error}", advice="remove it") from error
    return plan
