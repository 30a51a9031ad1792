"""Cases 17 and 29 of docs/reliability.md: every step of a small run is its last, or fails; the same command heals."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.fault_job import RUN
from support.figures import FULL, figure
from support.images import make_base, make_image, write_layout

ROOT = Path(__file__).parents[1]
EVERY = 1 if FULL else 17
BASE = make_base("sweep", 1, 20_000)


@pytest.mark.parametrize(("case", "kind"), [(17, "kill"), (29, "fail")])
@pytest.mark.parametrize("to", [["oci:out/mirror:{tag}", "dir:out/dir-{tag}"], ["docker-archive:out/all.tar:x:{tag}"]])
def test_a_run_that_ends_or_fails_at_any_step_is_completed_by_the_same_command(
    tmp_path: Path, case: int, kind: str, to: list[str]
) -> None:
    """The scaled sweep takes every 17th step, TRANSSHIP_FULL=1 each; both in forks of one process, for speed."""
    images = {f"v{n}": make_image(n, layers=1, layer_size=20_000, base_layers=BASE) for n in range(2)}
    write_layout(tmp_path / "source", images)
    work = tmp_path / "work"
    (work / "out").mkdir(parents=True)
    listed = [
        {"from": f"oci:{tmp_path}/source:{name}", "to": [one.replace("{tag}", name) for one in to]} for name in images
    ]
    (work / "batch.yaml").write_text(json.dumps({"version": 1, "images": listed}))
    done = subprocess.run(
        [sys.executable, "-m", "faults.sweep", str(work), kind, str(EVERY), *RUN, "--workers", "1"],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'path'}"},
        capture_output=True,
        text=True,
        timeout=3600 if FULL else 280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    figure(case, f"{found['met']} of {found['steps']} steps: {len(found['wrong'])} not healed")
    assert found["wrong"] == []
    assert found["steps"] > 20
    assert found["met"] > found["steps"] // EVERY // 2
