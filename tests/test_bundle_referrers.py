"""What hangs on images, in bundles: packed with them, verified, loaded and served with them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command import command
from support.images import OCI_INDEX, make_multi
from support.peers import upload
from support.referring import SBOM, SIGNATURE, dashed, list_of, make_cosign, make_referrer
from support.registry_server import RegistryServer, running
from support.serving import Reply
from transship.pipeline.serve.formats import open_contents
from transship.pipeline.transports.checksums import read_checksums

IMAGE = make_multi("in a bundle", docker=False)
SIGNED = make_referrer(IMAGE, SIGNATURE, b"signature in a bundle")
MADE_OF = make_referrer(IMAGE.children[0], SBOM, b"sbom in a bundle")
COSIGN = make_cosign(b"cosign in a bundle")
HANGING = (SIGNED, MADE_OF, COSIGN)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with running(tmp_path_factory.mktemp("registry")) as registry:
        upload(registry, "from/app", "v1", IMAGE)
        upload(registry, "from/app", dashed(IMAGE), list_of(SIGNED))
        upload(registry, "from/app", dashed(IMAGE.children[0]), list_of(MADE_OF))
        upload(registry, "from/app", dashed(IMAGE, ".sig"), COSIGN)
        yield registry


def done(folder: Path, *words: str) -> str:
    ran = command(folder, *words)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_what_hangs_on_an_image_is_carried_with_it(server: RegistryServer, tmp_path: Path) -> None:
    document = {
        "version": 1,
        "images": [{"from": f"docker://{server.name}/from/app:v1", "referrers": True}],
        "registries": {server.name: {"tls-verify": False}},
    }
    (tmp_path / "batch.json").write_text(json.dumps(document))
    done(tmp_path, "bundle", "create", "batch.json", "-o", "b.tar", "--progress=none")
    done(tmp_path, "bundle", "verify", "b.tar")
    assert done(tmp_path, "bundle", "list", "b.tar").count("  with: ") == len(HANGING)
    done(tmp_path, "bundle", "load", "b.tar", "--to", "oci:out", "--progress=none")
    for one in HANGING:
        assert (tmp_path / "out/blobs/sha256" / one.digest.hex).read_bytes() == one.manifest_raw
    to = ("--to", f"docker://{server.name}/mirror", "--tls-verify=false")
    done(tmp_path, "bundle", "load", "b.tar", *to, "--progress=none", "--name", "again")
    port = int(server.name.rpartition(":")[2])
    for tag, wanted in ((dashed(IMAGE), SIGNED), (dashed(IMAGE.children[0]), MADE_OF)):
        listed = json.loads(Reply(port, f"/v2/mirror/from/app/manifests/{tag}", Accept=OCI_INDEX).body)["manifests"]
        assert [entry["digest"] for entry in listed] == [str(wanted.digest)]
    there = Reply(port, f"/v2/mirror/from/app/manifests/{dashed(IMAGE, '.sig')}", Accept=COSIGN.media_type)
    assert there.body == COSIGN.manifest_raw
    path = tmp_path / "b.tar"
    # Also where the names must follow from what somebody has signed.
    contents = open_contents([path], {path: read_checksums(path).document})
    assert contents.referrers(IMAGE.digest) == [SIGNED.digest]
    contents.close()
