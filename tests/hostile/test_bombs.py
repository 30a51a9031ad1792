"""Layers that unpack to more than they should: rows 23, 28 and 46, case 36."""

import gzip
import hashlib
import json
from pathlib import Path

import pytest
import pyzstd

from support.hostile_place import Place

ZEROS = 200 << 20
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
WINDOW = b"\x28\xb5\x2f\xfd\x00\xa8" + ((1 << 17) << 3 | 0b011).to_bytes(3, "little") + b"\0"
"""A frame that wants a window of 2 GiB and has one block."""
DESTINATIONS = ("docker-archive:out", "oci:out:x", "dir:out", "oci-archive:out")


@pytest.fixture(autouse=True)
def case(place: Place) -> None:
    place.case = 36


@pytest.fixture(scope="module")
def bombs() -> dict[str, bytes]:
    def zeros() -> bytes:
        return bytes(ZEROS)

    packed = gzip.compress(zeros(), 9)
    return {
        "gzip": packed,
        "members": gzip.compress(bytes(1 << 20), 9) * 200,
        "nested": gzip.compress(gzip.compress(zeros(), 9), 9),
        "zstd": pyzstd.compress(zeros(), 3),
        "cut-gzip": packed[:-9],
        "cut-zstd": pyzstd.compress(b"some text " * 1000)[:-5],
        "window": WINDOW,
    }


def write(folder: Path, packed: bytes, media_type: str, tar: bytes) -> None:
    """Write a layout of an image with one layer that is ``packed``."""

    def put(raw: bytes) -> dict[str, object]:
        name = hashlib.sha256(raw).hexdigest()
        (folder / "blobs/sha256" / name).write_bytes(raw)
        return {"digest": f"sha256:{name}", "size": len(raw)}

    (folder / "blobs/sha256").mkdir(parents=True)
    diff_id = f"sha256:{hashlib.sha256(tar).hexdigest()}"
    config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **put(json.dumps(config).encode())},
        "layers": [{"mediaType": media_type, **put(packed)}],
    }
    root = {"mediaType": manifest["mediaType"], **put(json.dumps(manifest).encode())}
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [root]}))


@pytest.mark.parametrize("kind", ["gzip", "members", "zstd"])
def test_row_28_a_bomb_ends_at_the_budget_and_leaves_nothing(place: Place, bombs: dict[str, bytes], kind: str) -> None:
    """Case 36: by the ratio that stands without being asked for, and by a size that is asked for."""
    write(place.folder / "in", bombs[kind], ZSTD if kind == "zstd" else GZIP, b"")
    place.copy_refused("oci:in", "docker-archive:out", "refused as a decompression bomb")
    for destination in DESTINATIONS:
        extra = ("--max-layer-size=1000000", *(() if "docker" in destination else ("--dest-decompress",)))
        place.copy_refused("oci:in", destination, "refused as a decompression bomb", *extra)


def test_row_28_a_bomb_in_a_batch_ends_at_the_batchs_budget(place: Place, bombs: dict[str, bytes]) -> None:
    write(place.folder / "in", bombs["gzip"], GZIP, b"")
    (place.folder / "b.yaml").write_text(
        "version: 1\ndefaults: {layers: uncompressed, max-layer-size: 1000000}\n"
        "images: [{from: 'oci:in', to: ['oci:out:x', 'docker-archive:out.tar:x']}]\n"
    )
    done = place.run("run", "b.yaml", may_change=("runs", "out"))
    assert done.code == 1
    assert "refused as a decompression bomb" in done.err
    kept = sum(path.stat().st_size for path in place.folder.rglob("*") if path.is_file())
    assert kept < 4 << 20
    assert not (place.folder / "out.tar").exists()


def test_row_28_what_is_packed_twice_is_unpacked_once(place: Place, bombs: dict[str, bytes]) -> None:
    write(place.folder / "in", bombs["nested"], GZIP, gzip.decompress(bombs["nested"]))
    assert place.run("copy", "--dest-decompress", "oci:in", "oci:out:x").code == 0
    assert sum(path.stat().st_size for path in (place.folder / "out").rglob("*")) < 1 << 20


def test_row_28_a_sound_layer_of_zeros_passes_under_a_raised_ratio(place: Place, bombs: dict[str, bytes]) -> None:
    write(place.folder / "in", bombs["gzip"], GZIP, bytes(ZEROS))
    place.copy_refused("oci:in", "docker-archive:out", "--max-layer-ratio")
    done = place.run("copy", "--max-layer-ratio=2000", "oci:in", "docker-archive:out")
    assert done.code == 0, done.err
    assert (place.folder / "out").stat().st_size > ZEROS


@pytest.mark.parametrize("kind", ["cut-gzip", "cut-zstd", "window"])
def test_row_46_a_stream_that_is_cut_or_wants_too_much_is_refused(
    place: Place, bombs: dict[str, bytes], kind: str
) -> None:
    """Row 23 too: no memory is given to what a stream only asks for."""
    write(place.folder / "in", bombs[kind], GZIP if kind == "cut-gzip" else ZSTD, b"")
    for destination in DESTINATIONS[:2]:
        extra = () if "docker" in destination else ("--dest-decompress",)
        place.copy_refused("oci:in", destination, "layer", *extra)
