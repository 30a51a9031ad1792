"""The referrers API of ``transship serve``, and ``copy --referrers`` out of it."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from support.clients import client
from support.command import command
from support.images import OCI_INDEX, make_image, make_multi, write_layout
from support.referring import SBOM, SIGNATURE, dashed, list_of, make_cosign, make_referrer
from support.serving import Reply, pack, served, write_directory
from transship.pipeline.registry.referrers import subjected

IMAGE = make_multi("served", docker=False)
SIGNED = make_referrer(IMAGE, SIGNATURE, b"signed", {"by": "somebody"})
MADE_OF = make_referrer(IMAGE, SBOM, b"made of")
LARGE = [make_referrer(IMAGE.children[0], SBOM, b"%d" % n, {"much": "x" * 900_000}) for n in range(11)]
UNDER_TAG = make_referrer(IMAGE.children[1], SBOM, b"under the tag of the schema")
COSIGN = make_cosign(b"signed by cosign")


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("served") / "mirror"
    named = {"team/app:v1": IMAGE, f"team/app:{dashed(IMAGE, '.sig')}": COSIGN}
    lists = {f"team/app:{dashed(IMAGE.children[1])}": list_of(UNDER_TAG)}
    write_layout(path, {**named, **lists})
    entries = json.loads((path / "index.json").read_bytes())
    for artifact in (SIGNED, MADE_OF, *LARGE):
        write_layout(path, {"": artifact})
        entries["manifests"] += json.loads((path / "index.json").read_bytes())["manifests"]
    (path / "index.json").write_text(json.dumps(entries))
    return path


@pytest.fixture(scope="module")
def port(layout: Path) -> Iterator[int]:
    with served(layout) as number:
        yield number


def listed(port: int, digest: object, query: str = "") -> list[dict[str, object]]:
    got = Reply(port, f"/v2/team/app/referrers/{digest}{query}")
    assert (got.status, got.headers["Content-Type"]) == (200, OCI_INDEX)
    document = json.loads(got.body)
    assert (document["schemaVersion"], document["mediaType"]) == (2, OCI_INDEX)
    found: list[dict[str, object]] = document["manifests"]
    return found


def test_what_refers_to_a_manifest_is_listed_with_its_type_and_annotations(port: int) -> None:
    by_digest = {entry["digest"]: entry for entry in listed(port, IMAGE.digest)}
    assert set(by_digest) == {str(SIGNED.digest), str(MADE_OF.digest)}
    assert by_digest[str(SIGNED.digest)] == {
        "mediaType": SIGNED.media_type,
        "digest": str(SIGNED.digest),
        "size": len(SIGNED.manifest_raw),
        "artifactType": SIGNATURE,
        "annotations": {"by": "somebody"},
    }
    (under,) = listed(port, IMAGE.children[1].digest)
    assert under["digest"] == str(UNDER_TAG.digest)


def test_a_list_can_be_asked_for_one_type_alone(port: int) -> None:
    got = Reply(port, f"/v2/team/app/referrers/{IMAGE.digest}?artifactType={quote(SBOM)}")
    assert got.headers["OCI-Filters-Applied"] == "artifactType"
    assert [entry["digest"] for entry in json.loads(got.body)["manifests"]] == [str(MADE_OF.digest)]
    assert "OCI-Filters-Applied" not in Reply(port, f"/v2/team/app/referrers/{IMAGE.digest}").headers


def test_a_manifest_that_nothing_refers_to_or_that_is_not_there_has_an_empty_list(port: int) -> None:
    assert listed(port, SIGNED.digest) == listed(port, f"sha256:{'0' * 64}") == []
    assert Reply(port, "/v2/team/app/referrers/sha256:no").code == "DIGEST_INVALID"
    assert Reply(port, f"/v2/nowhere/referrers/{IMAGE.digest}").code == "NAME_UNKNOWN"


def test_a_long_list_comes_in_pages_that_a_client_puts_together(port: int) -> None:
    subject = IMAGE.children[0].digest
    first = Reply(port, f"/v2/team/app/referrers/{subject}")
    assert len(first.body) <= 4 << 20
    assert 'rel="next"' in first.headers["Link"]
    found = subjected(client(f"localhost:{port}"), "team/app", subject)
    assert [one.digest for one in found] == sorted(artifact.digest for artifact in LARGE)


def test_formats_that_hold_none_say_so(tmp_path: Path) -> None:
    image = make_image("alone", docker=False)
    write_directory(tmp_path / "folder", image)
    with served(tmp_path / "folder") as port:
        assert json.loads(Reply(port, f"/v2/folder/referrers/{image.digest}").body)["manifests"] == []


def test_copy_takes_along_what_a_server_lists_and_what_cosigns_tags_lead_to(tmp_path: Path, layout: Path) -> None:
    expected = {artifact.digest for artifact in (IMAGE, SIGNED, MADE_OF, COSIGN, UNDER_TAG, *LARGE)}
    for number, path in enumerate((layout, pack(layout, tmp_path / "mirror.tar"))):
        with served(path) as port:
            source = f"docker://localhost:{port}/team/app:v1"
            out = f"oci:out{number}:v1"
            done = command(tmp_path, "copy", "--referrers", "--all", "--src-tls-verify=false", source, out)
        assert done.returncode == 0, done.stderr
        entries = json.loads((tmp_path / f"out{number}/index.json").read_bytes())["manifests"]
        assert {entry["digest"] for entry in entries} == {str(digest) for digest in expected}
