"""``copy --referrers``: what hangs on an image goes with it, tied to the digest it belongs to, or is said to stay."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.clients import client
from support.command import command, tree
from support.images import make_image, make_multi, write_layout
from support.peers import upload
from support.referring import SBOM, SIGNATURE, dashed, list_of, make_cosign, make_referrer, make_referring_index
from support.registry_server import RegistryServer, running
from transship.pipeline.digest import Digest
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import MediaType
from transship.pipeline.manifest.referrer import schema_tag

IMAGE = make_multi("referred", docker=False)
CHILD = IMAGE.children[0]
ON_INDEX = make_referrer(IMAGE, SIGNATURE, b"signature of the index", {"made.by": "nobody"})
ON_CHILD = make_referrer(CHILD, SBOM, b"what the child is made of")
ON_SBOM = make_referrer(ON_CHILD, SIGNATURE, b"signature of the sbom")
LISTING = make_referring_index(IMAGE, [make_referrer(None, SBOM, b"one of two"), make_referrer(None, SBOM, b"two")])
COSIGN = make_cosign(b"cosign's signature")
ATTESTATION = make_cosign(b"cosign's attestation of the child")
SUBJECTED = (ON_INDEX, ON_CHILD, ON_SBOM, LISTING)
PLAIN = ("--src-tls-verify=false", "--dest-tls-verify=false")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with running(tmp_path_factory.mktemp("registry"), access_log=True) as registry:
        fill(registry, "from/app")
        yield registry


def fill(registry: RegistryServer, repository: str) -> None:
    """Put the image and all that hangs on it into a registry that has no API for it."""
    upload(registry, repository, "v1", IMAGE)
    upload(registry, repository, dashed(IMAGE), list_of(ON_INDEX, LISTING))
    upload(registry, repository, dashed(CHILD), list_of(ON_CHILD))
    upload(registry, repository, dashed(ON_CHILD), list_of(ON_SBOM))
    upload(registry, repository, dashed(IMAGE, ".sig"), COSIGN)
    upload(registry, repository, dashed(CHILD, ".att"), ATTESTATION)


def copy(folder: Path, *words: str, code: int = 0) -> str:
    done = command(folder, "copy", "--referrers", *PLAIN, *words)
    assert done.returncode == code, done.stderr
    return done.stderr


def listed(registry: RegistryServer, repository: str, tag: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(client(registry.name).get_manifest(repository, tag).raw)["manifests"]
    return found


def holds_all(registry: RegistryServer, repository: str) -> None:
    """Assert that the repository has the image with all that hangs on it, tied to what it belongs to."""
    asked = client(registry.name)
    for subject, hanging in ((IMAGE, [ON_INDEX, LISTING]), (CHILD, [ON_CHILD]), (ON_CHILD, [ON_SBOM])):
        entries = listed(registry, repository, dashed(subject))
        assert {entry["digest"] for entry in entries} == {str(one.digest) for one in hanging}
    assert asked.get_manifest(repository, dashed(IMAGE, ".sig")).raw == COSIGN.manifest_raw
    assert asked.get_manifest(repository, dashed(CHILD, ".att")).raw == ATTESTATION.manifest_raw
    for manifest in (*SUBJECTED, *LISTING.children, COSIGN, ATTESTATION):
        assert asked.get_manifest(repository, manifest.digest).raw == manifest.manifest_raw
        for digest, raw in manifest.blobs.items():
            if digest not in {child.digest for child in manifest.children}:
                with asked.open_blob(repository, blob(digest, raw)) as stream:
                    assert stream.read() == raw


def test_without_the_option_nothing_but_the_image_is_copied(tmp_path: Path, server: RegistryServer) -> None:
    done = command(tmp_path, "copy", "--all", *PLAIN, f"docker://{server.name}/from/app:v1", "oci:out:v1")
    assert done.returncode == 0, done.stderr
    assert len(json.loads((tmp_path / "out/index.json").read_bytes())["manifests"]) == 1


def test_between_registries_all_that_hangs_on_an_image_goes_with_it(tmp_path: Path, server: RegistryServer) -> None:
    source, target = (f"docker://{server.name}/{name}/app:v1" for name in ("from", "to"))
    assert copy(tmp_path, "--all", source, target) == f"{target}: {IMAGE.digest}\n"
    holds_all(server, "to/app")
    entry = next(one for one in listed(server, "to/app", dashed(IMAGE)) if one["digest"] == str(ON_INDEX.digest))
    assert (entry["artifactType"], entry["annotations"]) == (SIGNATURE, {"made.by": "nobody"})


def test_a_layout_keeps_what_hangs_on_an_image_and_gives_it_back(tmp_path: Path, server: RegistryServer) -> None:
    copy(tmp_path, "--all", f"docker://{server.name}/from/app:v1", "oci:out:team/app:v1")
    entries = json.loads((tmp_path / "out/index.json").read_bytes())["manifests"]
    names = {
        entry["digest"]: entry.get("annotations", {}).get("org.opencontainers.image.ref.name") for entry in entries
    }
    assert names == {
        str(IMAGE.digest): "team/app:v1",
        str(COSIGN.digest): f"team/app:{dashed(IMAGE, '.sig')}",
        str(ATTESTATION.digest): f"team/app:{dashed(CHILD, '.att')}",
        **{str(one.digest): None for one in SUBJECTED},
    }
    kinds = {entry["digest"]: entry.get("artifactType") for entry in entries}
    assert kinds[str(ON_CHILD.digest)] == SBOM
    for number, middle in enumerate(("oci-archive:middle.tar:v2", "oci:middle:v2")):
        copy(tmp_path, "--all", "oci:out:team/app:v1", middle)
        copy(tmp_path, "--all", middle, f"docker://{server.name}/back/app{number}:v1")
        holds_all(server, f"back/app{number}")


def blob(digest: Digest, raw: bytes) -> Descriptor:
    return Descriptor(MediaType("application/octet-stream"), digest, len(raw))


def test_a_second_copy_writes_nothing_anew(tmp_path: Path, server: RegistryServer) -> None:
    source, target = (f"docker://{server.name}/{name}/app:v1" for name in ("from", "again"))
    copy(tmp_path, "--all", source, target)
    before = len(server.requests())
    copy(tmp_path, "--all", source, target)
    assert not [line for line in server.requests()[before:] if '"PUT ' in line or '"POST ' in line or '"PATCH ' in line]
    holds_all(server, "again/app")


def test_a_list_that_others_began_at_the_destination_is_added_to(tmp_path: Path, server: RegistryServer) -> None:
    theirs = make_referrer(IMAGE, SBOM, b"of another tool")
    upload(server, "shared/app", "v1", IMAGE)
    upload(server, "shared/app", dashed(IMAGE), list_of(theirs))
    copy(tmp_path, "--all", f"docker://{server.name}/from/app:v1", f"docker://{server.name}/shared/app:v1")
    entries = [entry["digest"] for entry in listed(server, "shared/app", dashed(IMAGE))]
    assert sorted(entries) == sorted(str(one.digest) for one in (theirs, ON_INDEX, LISTING))
    assert entries[0] == str(theirs.digest)


def test_an_image_of_that_name_is_not_overwritten_by_a_list(tmp_path: Path, server: RegistryServer) -> None:
    other = make_image("not a list", docker=False)
    upload(server, "taken/app", dashed(IMAGE), other)
    said = copy(
        tmp_path, "--all", f"docker://{server.name}/from/app:v1", f"docker://{server.name}/taken/app:v1", code=1
    )
    assert "no index of referrers" in said
    assert client(server.name).get_manifest("taken/app", dashed(IMAGE)).raw == other.manifest_raw


def test_one_platform_takes_what_hangs_on_it_and_not_what_hangs_on_the_index(
    tmp_path: Path, server: RegistryServer
) -> None:
    copy(tmp_path, "--platform=linux/amd64", f"docker://{server.name}/from/app:v1", "oci:out:v1")
    entries = json.loads((tmp_path / "out/index.json").read_bytes())["manifests"]
    assert {entry["digest"] for entry in entries} == {
        str(one.digest) for one in (CHILD, ON_CHILD, ON_SBOM, ATTESTATION)
    }


def test_what_belongs_to_a_digest_that_conversion_changes_is_left_behind_and_said(
    tmp_path: Path, server: RegistryServer
) -> None:
    image = make_image("converted")
    signature = make_referrer(image, SIGNATURE, b"holds for the docker manifest alone")
    on_signature = make_referrer(signature, SBOM, b"made of ink")
    upload(server, "docker/app", "v1", image)
    upload(server, "docker/app", dashed(image), list_of(signature))
    upload(server, "docker/app", dashed(signature), list_of(on_signature))
    upload(server, "docker/app", dashed(image, ".sig"), make_cosign(b"so does this"))
    said = copy(tmp_path, f"docker://{server.name}/docker/app:v1", "oci:out:v1").splitlines()
    (entry,) = json.loads((tmp_path / "out/index.json").read_bytes())["manifests"]
    why = f"of {image.digest}: conversion made {entry['digest']} of what it belongs to"
    assert said[:-1] == [
        f"transship: left behind: {signature.digest} ({SIGNATURE}) {why}",
        f"transship: left behind: {make_cosign(b'so does this').digest} ({dashed(image, '.sig')}) {why}",
        f"transship: left behind: {on_signature.digest} ({SBOM}) of {signature.digest}: "
        "what it belongs to is left behind",
    ]


def test_a_docker_manifest_of_cosigns_is_not_converted_for_a_layout(tmp_path: Path, server: RegistryServer) -> None:
    image, signature = make_image("oci", docker=False), make_image("docker signature")
    upload(server, "mixed/app", "v1", image)
    upload(server, "mixed/app", dashed(image, ".sig"), signature)
    said = copy(tmp_path, f"docker://{server.name}/mixed/app:v1", "oci:out:v1")
    assert "it is not converted" in said
    copy(tmp_path, f"docker://{server.name}/mixed/app:v1", f"docker://{server.name}/mixed/to:v1")
    assert client(server.name).get_manifest("mixed/to", dashed(image, ".sig")).raw == signature.manifest_raw


def test_what_a_list_names_and_the_source_has_not_or_says_otherwise_is_left_behind(tmp_path: Path) -> None:
    image, other = make_image("subject", docker=False), make_image("another subject", docker=False)
    stray = make_referrer(other, SBOM, b"of another image")
    lost, good = make_referrer(image, SBOM, b"gone"), make_referrer(image, SBOM, b"good")
    with running(tmp_path / "registry") as registry:
        upload(registry, "app", "v1", image)
        upload(registry, "app", dashed(image), list_of(stray, lost, good))
        blobs = tmp_path / "registry/data/docker/registry/v2/repositories/app/_manifests/revisions/sha256"
        (blobs / lost.digest.hex / "link").unlink()
        said = copy(tmp_path, f"docker://{registry.name}/app:v1", "oci:out:v1")
    assert f"{stray.digest} ({SBOM}) of {image.digest}: the source lists it there" in said
    assert f"{lost.digest} ({SBOM}) of {image.digest}: the source names it and has it not" in said
    entries = json.loads((tmp_path / "out/index.json").read_bytes())["manifests"]
    assert {entry["digest"] for entry in entries} == {str(image.digest), str(good.digest)}


def test_a_damaged_referrer_fails_the_copy_and_names_no_image(tmp_path: Path) -> None:
    image = make_image("sound", docker=False)
    signature = make_referrer(image, SIGNATURE, b"to be damaged")
    write_layout(tmp_path / "from", {"v1": image, "": signature})
    blob_file = tmp_path / "from/blobs/sha256" / Digest.of(b"to be damaged").hex
    blob_file.write_bytes(b"to be DAMAGED")
    assert str(Digest.of(b"to be damaged")) in copy(tmp_path, "oci:from:v1", "oci:out:v1", code=1)
    assert not (tmp_path / "out/index.json").exists()


def test_cosign_tags_that_lead_to_each_other_end(tmp_path: Path) -> None:
    image, signature = make_image("tagged", docker=False), make_cosign(b"signs itself")
    write_layout(
        tmp_path / "from", {"v1": image, dashed(image, ".sig"): signature, dashed(signature, ".sig"): signature}
    )
    copy(tmp_path, "oci:from:v1", "oci:out:v1")
    entries = json.loads((tmp_path / "out/index.json").read_bytes())["manifests"]
    assert len(entries) == 3


def test_a_layout_that_lists_referrers_by_the_schemas_tag_is_read_too(tmp_path: Path) -> None:
    image = make_image("regctl", docker=False)
    signature = make_referrer(image, SIGNATURE, b"below a list")
    write_layout(tmp_path / "from", {"v1": image, dashed(image): list_of(signature)})
    copy(tmp_path, "oci:from:v1", "oci:out:v1")
    entries = json.loads((tmp_path / "out/index.json").read_bytes())["manifests"]
    assert {entry["digest"] for entry in entries} == {str(image.digest), str(signature.digest)}


@pytest.mark.parametrize(
    ("destination", "words"),
    [
        ("docker-archive:out.tar:app:v1", "no place"),
        ("dir:out", "no place"),
        ("oci:out", "give the image a name"),
        ("oci-archive:out.tar", "give the image a name"),
    ],
)
def test_a_destination_that_cannot_hold_them_is_refused_before_anything_is_written(
    tmp_path: Path, destination: str, words: str
) -> None:
    write_layout(tmp_path / "from", {"v1": make_image("refused", docker=False)})
    before = tree(tmp_path)
    assert words in copy(tmp_path, "oci:from:v1", destination, code=1)
    assert tree(tmp_path) == before


def test_a_source_that_knows_of_none_is_said(tmp_path: Path) -> None:
    write_layout(tmp_path / "from", {"v1": make_image("in a folder", docker=False)})
    assert command(tmp_path, "copy", "oci:from:v1", "dir:middle").returncode == 0
    assert "knows of no referrers" in copy(tmp_path, "dir:middle", "oci:out:v1")


def test_fail_on_loss_refuses_to_leave_anything_behind(tmp_path: Path, server: RegistryServer) -> None:
    image = make_image("lossless")
    signature = make_referrer(image, SIGNATURE, b"not to be lost")
    upload(server, "lossless/app", "v1", image)
    upload(server, "lossless/app", dashed(image), list_of(signature))
    said = copy(tmp_path, "--fail-on-loss", f"docker://{server.name}/lossless/app:v1", "oci:out:v1", code=1)
    assert str(signature.digest) in said
    assert not (tmp_path / "out").exists()
    copy(tmp_path, "--fail-on-loss", f"docker://{server.name}/lossless/app:v1", f"docker://{server.name}/kept/app:v1")


def test_what_hangs_too_deep_is_left_behind(tmp_path: Path) -> None:
    chain = [make_image("deep", docker=False)]
    for depth in range(12):
        chain.append(make_referrer(chain[-1], SBOM, b"%d deep" % depth))
    write_layout(tmp_path / "from", {"v1": chain[0]})
    entries = json.loads((tmp_path / "from/index.json").read_bytes())
    for artifact in chain[1:]:
        write_layout(tmp_path / "from", {"": artifact})
        entries["manifests"] += json.loads((tmp_path / "from/index.json").read_bytes())["manifests"]
    (tmp_path / "from/index.json").write_text(json.dumps(entries))
    said = copy(tmp_path, "oci:from:v1", "oci:out:v1")
    assert f"{chain[9].digest} ({SBOM}) of {chain[8].digest}: more than 8 deep" in said
    made = json.loads((tmp_path / "out/index.json").read_bytes())["manifests"]
    assert {entry["digest"] for entry in made} == {str(one.digest) for one in chain[:9]}


def test_tags_of_the_schema_are_those_of_the_spec() -> None:
    assert schema_tag(Digest("sha256", "a" * 64)) == f"sha256-{'a' * 64}"
    assert schema_tag(Digest("sha512", "a" * 128)) == f"sha512-{'a' * 64}"
