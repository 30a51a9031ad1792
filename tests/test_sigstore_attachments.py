"""Sigstore signatures in a registry, as layers of an image beside the one that is signed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from support.images import OCI_MANIFEST, make_image
from support.peers import upload
from support.registry_server import RegistryServer, push_blob, put_manifest, running
from support.sigstore import signed
from support.sigstore_policy import GOOD, KEY, LOGGED, PAYLOAD
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, TransportError
from transship.pipeline.registry.client import RegistryClient
from transship.pipeline.registry.settings import HostSettings
from transship.pipeline.registry.tls import Certificates
from transship.pipeline.signature import MAX_SIGNATURES
from transship.pipeline.transports import attachments

ATTESTATION = GOOD._replace(media_type="application/vnd.dsse.envelope.v1+json", annotations={})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with running(tmp_path_factory.mktemp("registry"), access_log=True) as registry:
        yield registry


@pytest.fixture
def client(server: RegistryServer) -> Iterator[RegistryClient]:
    made = RegistryClient(server.name, HostSettings(tls_verify=False), Certificates(), lambda _: None)
    yield made
    made.close()


@pytest.fixture
def repository(request: pytest.FixtureRequest, server: RegistryServer) -> str:
    name = f"signed/{Digest.of(request.node.name.encode()).hex[:16]}"
    upload(server, name, "v1", make_image("signed", layers=1))
    return name


DIGEST = make_image("signed", layers=1).digest
TAG = f"sha256-{DIGEST.hex}.sig"


def fetched(server: RegistryServer, repository: str, path: str) -> Any:
    address = f"http://{server.name}/v2/{repository}/{path}"
    with urlopen(Request(address, headers={"Accept": OCI_MANIFEST}), timeout=30) as answer:
        return json.load(answer)


def test_what_is_written_is_read_and_has_the_shape_that_container_tools_give_it(
    server: RegistryServer, client: RegistryClient, repository: str
) -> None:
    assert attachments.read(client, repository, DIGEST) == []
    attachments.write(client, repository, DIGEST, [LOGGED, ATTESTATION])
    assert attachments.read(client, repository, DIGEST) == [LOGGED, ATTESTATION]
    manifest = fetched(server, repository, f"manifests/{TAG}")
    assert list(manifest) == ["schemaVersion", "mediaType", "config", "layers"]
    assert manifest["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    assert [layer["annotations"] for layer in manifest["layers"][:1]] == [dict(LOGGED.annotations)]
    assert "annotations" not in manifest["layers"][1]
    config = fetched(server, repository, f"blobs/{manifest['config']['digest']}")
    digest = str(Digest.of(PAYLOAD))
    assert config == {"architecture": "", "os": "", "rootfs": {"type": "layers", "diff_ids": [digest, digest]}}


def test_signatures_that_are_there_stay_and_none_is_written_twice(
    server: RegistryServer, client: RegistryClient, repository: str
) -> None:
    second = signed(KEY, PAYLOAD)
    attachments.write(client, repository, DIGEST, [GOOD, GOOD])
    attachments.write(client, repository, DIGEST, [GOOD, second])
    before = len(server.requests())
    attachments.write(client, repository, DIGEST, [second, GOOD])
    attachments.write(client, repository, DIGEST, [])
    assert not [asked for asked in server.asked()[before:] if asked.method in ("PUT", "POST", "PATCH")]
    assert attachments.read(client, repository, DIGEST) == [GOOD, second]


def attach(server: RegistryServer, repository: str, document: dict[str, Any], kind: str = OCI_MANIFEST) -> None:
    put_manifest(server, repository, TAG, json.dumps(document).encode(), kind)


def attached(server: RegistryServer, repository: str, config: Any = None, **changes: Any) -> dict[str, Any]:
    raw = json.dumps({"rootfs": {"type": "layers", "diff_ids": []}, "more": 1} if config is None else config).encode()
    push_blob(server, repository, raw)
    push_blob(server, repository, PAYLOAD)
    layer = {
        "mediaType": GOOD.media_type,
        "digest": str(Digest.of(PAYLOAD)),
        "size": len(PAYLOAD),
        "annotations": dict(GOOD.annotations),
        "data": "",
    }
    kind = "application/vnd.oci.image.config.v1+json"
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": kind, "digest": str(Digest.of(raw)), "size": len(raw)},
        "layers": [layer],
        "annotations": {"who": "cosign"},
        **changes,
    }


def test_what_others_wrote_there_is_kept_with_all_that_it_has(
    server: RegistryServer, client: RegistryClient, repository: str
) -> None:
    subject = {"mediaType": OCI_MANIFEST, "digest": str(DIGEST), "size": 1}
    before = attached(server, repository, subject=subject)
    attach(server, repository, before)
    attachments.write(client, repository, DIGEST, [LOGGED])
    after = fetched(server, repository, f"manifests/{TAG}")
    assert after["layers"][0] == before["layers"][0]
    assert (after["annotations"], after["subject"]) == (before["annotations"], subject)
    assert fetched(server, repository, f"blobs/{after['config']['digest']}")["more"] == 1
    assert attachments.read(client, repository, DIGEST) == [GOOD, LOGGED]


@pytest.mark.parametrize("what", ["index", "large", "many", "together"])
def test_what_is_no_list_of_signatures_is_refused_and_left_as_it_is(
    server: RegistryServer, client: RegistryClient, repository: str, what: str
) -> None:
    document = attached(server, repository)
    layer = document["layers"][0]
    if what == "index":
        document, kind = {"schemaVersion": 2, "manifests": []}, "application/vnd.oci.image.index.v1+json"
    else:
        kind = OCI_MANIFEST
        document["layers"] = {
            "large": [{**layer, "size": 5 << 20}],
            "many": [layer] * (MAX_SIGNATURES + 1),
            "together": [{**layer, "size": 3 << 20}] * 30,
        }[what]
    attach(server, repository, document, kind)
    with pytest.raises(ContentError):
        attachments.read(client, repository, DIGEST)
    if what != "large":
        with pytest.raises(ContentError):
            attachments.write(client, repository, DIGEST, [LOGGED])
    assert fetched(server, repository, f"manifests/{TAG}") == document


def test_a_payload_of_another_size_than_was_said_is_refused(
    server: RegistryServer, client: RegistryClient, repository: str
) -> None:
    document = attached(server, repository)
    document["layers"][0]["size"] += 1
    attach(server, repository, document)
    with pytest.raises((ContentError, TransportError)):
        attachments.read(client, repository, DIGEST)


def test_a_config_without_layers_is_refused_before_anything_is_written(
    server: RegistryServer, client: RegistryClient, repository: str
) -> None:
    attach(server, repository, attached(server, repository, config={"rootfs": {"diff_ids": {}}}))
    with pytest.raises(ContentError, match="no rootfs"):
        attachments.write(client, repository, DIGEST, [LOGGED])


def test_more_signatures_than_are_read_are_not_written(client: RegistryClient, repository: str) -> None:
    many = [GOOD._replace(annotations={"n": str(n)}) for n in range(MAX_SIGNATURES + 1)]
    with pytest.raises(ContentError, match="over the limit"):
        attachments.write(client, repository, DIGEST, many)
    assert attachments.read(client, repository, DIGEST) == []


def test_a_digest_that_no_tag_is_long_enough_for_has_none(client: RegistryClient, repository: str) -> None:
    long = Digest("sha512", "0" * 128)
    assert attachments.read(client, repository, long) == []
    with pytest.raises(TransportError, match="no tag is long enough"):
        attachments.write(client, repository, long, [GOOD])


def test_nothing_is_left_on_the_disk(
    client: RegistryClient, repository: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    attachments.write(client, repository, DIGEST, [GOOD])
    assert not list(tmp_path.iterdir())
