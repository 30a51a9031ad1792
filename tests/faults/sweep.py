"""Kills or fails a small run at every k-th step, runs it again, and says where that did not end as a calm run did."""

import json
import shutil
import sys
from pathlib import Path

from support.command import tree
from support.forking import load
from support.stepping import fail, forked, kill


def leftovers(work: Path) -> list[str]:
    return [str(path) for path in work.rglob("*") if path.name.endswith(".partial") or path.parent.name == "ingest"]


def sweep(work: Path, kind: str, every: int, words: list[str]) -> dict[str, object]:
    """Sweep a run of ``words`` in a copy of ``work``, from the first step to the last."""
    load()
    calm = work.parent / "calm"
    shutil.copytree(work, calm)
    code, steps = forked(str(calm), words)
    whole = tree(calm / "out")
    wrong: list[str] = []
    met = 0
    for k in range(1, steps + 1, every):
        room = work.parent / f"k{k}"
        shutil.copytree(work, room)
        code, _ = forked(str(room), words, k, kill if kind == "kill" else fail)
        said = (room / "said").read_text()
        met += code != 0
        if kind == "kill" and code not in (-9, 0):
            wrong.append(f"{k}: exit {code}, {said[-300:]}")
        if kind == "fail" and code != 0 and ("Traceback" in said or "No space left" not in said):
            wrong.append(f"{k}: exit {code}, {said[-300:]}")
        again, _ = forked(str(room), words)
        if again or tree(room / "out") != whole or leftovers(room):
            wrong.append(f"{k}: then exit {again}, {leftovers(room)}, {(room / 'said').read_text()[-300:]}")
        shutil.rmtree(room)
    return {"code": code, "steps": steps, "met": met, "wrong": wrong}


if __name__ == "__main__":
    print(json.dumps(sweep(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:])))
