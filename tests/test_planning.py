"""Which platforms a run takes, by what the batch file says and what the destinations hold."""

from pathlib import Path

import pytest

from transship.pipeline.batch import read_batch
from transship.pipeline.errors import UsageError
from transship.pipeline.jobs import Plan
from transship.pipeline.planning import plan_batch

ARCHIVE, LAYOUT = "docker-archive:app.tar:app:v1", "oci:out:v1"


def plan(folder: Path, to: str, defaults: str = "", image: str = "") -> Plan:
    path = folder / "batch.yaml"
    path.write_text(
        f"version: 1\ndefaults: {{to: [{to}]{defaults}}}\nimages:\n  - {{from: 'docker://r.example/app:v1'{image}}}\n"
    )
    return plan_batch(read_batch(path, lambda _reference, _settings: []), "0")


@pytest.mark.parametrize("defaults", ["", ", platforms: all", ", platforms: host"])
def test_an_archive_gets_this_machines_platform_where_the_image_asks_for_none(tmp_path: Path, defaults: str) -> None:
    (job,) = plan(tmp_path, f"'{ARCHIVE}'", defaults).images.values()
    assert job.platforms == "host"


def test_default_of_all_platforms_reaches_the_layout_beside_an_archive(tmp_path: Path) -> None:
    made = plan(tmp_path, f"'{ARCHIVE}', '{LAYOUT}'", ", platforms: all")
    (job,) = made.images.values()
    assert job.platforms == "all"
    assert [delivery.members[0].shape.single for delivery in made.deliveries.values()] == [True, False]


@pytest.mark.parametrize(
    ("defaults", "image"),
    [("", ", platforms: all"), ("", ", platforms: [linux/amd64, linux/arm64]"), (", platforms: [a/b, c/d]", "")],
)
def test_several_platforms_asked_for_in_an_archive_are_refused_with_the_way_out(
    tmp_path: Path, defaults: str, image: str
) -> None:
    with pytest.raises(UsageError, match="holds one platform; say platforms: host, or linux/amd64, on this image"):
        plan(tmp_path, f"'{ARCHIVE}'", defaults, image)
