"""Every command against registries with TLS and a login, beside skopeo, Docker and Podman; what a second copy asks for.

One registry knows a password (htpasswd), the other one tokens of a token server.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.certificates import Certificates, issued
from support.command import command, tree
from support.corpus import pack, sample
from support.engines import Docker, Podman
from support.fixtures import PASSWORD, READER, USER
from support.images import make_multi, write_layout
from support.peers import ours, skopeo
from support.registry_server import Asked, RegistryServer, running
from support.serving import write_directory
from support.token_server import ISSUER, SERVICE, Account, TokenServer, issuing
from transship.pipeline.digest import Digest

MULTI = make_multi("end to end")
PRINTS = "from end to end"


@dataclass(frozen=True)
class Place:
    """A registry that somebody is logged into; ``folder`` holds images, and the auth file."""

    server: RegistryServer
    folder: Path
    certs: Path
    prefix: str

    def reach(self, *sides: str) -> list[str]:
        return ["--authfile", "auth.json", *(f"--{side}cert-dir={self.certs}" for side in sides or ("",))]

    def image(self, name: str) -> str:
        return f"{self.server.name}/{self.prefix}/{name}"

    @contextlib.contextmanager
    def asking(self) -> Iterator[list[Asked]]:
        """Collect what the registry is asked inside."""
        before = len(self.server.asked())
        seen: list[Asked] = []
        yield seen
        seen += self.server.asked()[before:]


def logged_in(folder: Path, server: RegistryServer, certificates: Certificates, user: str = USER) -> Place:
    words = ["login", "--username", user, "--password", PASSWORD, "--authfile", "auth.json"]
    assert ours(folder, *words, "--cert-dir", str(certificates.trusted), server.name) == "Login Succeeded!\n"
    return Place(server, folder, certificates.trusted, folder.name.replace("_", "-").strip("-").lower())


@pytest.fixture(params=["tls_registry", "token_registry"])
def place(request: pytest.FixtureRequest, tmp_path: Path, certificates: Certificates) -> Place:
    shell = Path("/bin/busybox").read_bytes()
    runs = sample("app", "v1", [pack({"bin/echo": shell}, {"bin/echo": 0o755})], PRINTS)
    write_directory(tmp_path / "multi", MULTI)
    (tmp_path / "runs.dir").mkdir()
    (tmp_path / "runs.dir/version").write_text("Directory Transport Version: 1.1\n")
    (tmp_path / "runs.dir/manifest.json").write_bytes(runs.manifest)
    for blob in runs.blobs:
        (tmp_path / "runs.dir" / Digest.of(blob).hex).write_bytes(blob)
    return logged_in(tmp_path, request.getfixturevalue(request.param), certificates)


def test_the_second_copy_uploads_nothing_and_a_copy_beside_it_mounts_every_blob(place: Place) -> None:
    blobs = len(MULTI.blobs) - len(MULTI.children)
    target = f"docker://{place.image('app:v1')}"
    with place.asking() as first:
        ours(place.folder, "copy", "--all", "-q", *place.reach("dest-"), "dir:multi", target)
    assert sum(one.uploads and one.status == 201 for one in first) == blobs
    with place.asking() as second:
        ours(place.folder, "copy", "--all", "-q", *place.reach("dest-"), "dir:multi", target)
    assert {one.method for one in second} <= {"HEAD", "GET"}
    # What is read are the manifests, to verify: no blob.
    assert sum(one.sent for one in second if "/blobs/" in one.target and one.method == "GET") == 0
    with place.asking() as beside:
        there = f"docker://{place.image('beside:v1')}"
        ours(place.folder, "copy", "--all", "-q", *place.reach("src-", "dest-"), target, there)
    assert not [one for one in beside if one.uploads]
    assert sum(one.mounts for one in beside) == blobs
    # Of the source's blobs the configs are read, to choose by and to convert; no layer.
    fetched = {one.target.rpartition("/")[2] for one in beside if "/blobs/" in one.target and one.method == "GET"}
    assert fetched == {str(Digest.of(child.config)) for child in MULTI.children}
    raw = ("inspect", "--raw", *place.reach(), f"docker://{place.image('beside:v1')}")
    assert skopeo(place.folder, *raw) == MULTI.manifest_raw == ours(place.folder, *raw).encode()


def push_two_tags(place: Place) -> None:
    for tag in ("v1", "v2"):
        target = f"docker://{place.image('app')}:{tag}"
        ours(place.folder, "copy", "--all", "-q", *place.reach("dest-"), "dir:multi", target)


def test_what_is_pushed_is_listed_pulled_and_deleted_as_by_skopeo(place: Place) -> None:
    push_two_tags(place)
    listing = ("list-tags", *place.reach(), f"docker://{place.image('app')}")
    assert ours(place.folder, *listing) == skopeo(place.folder, *listing).decode()
    assert json.loads(ours(place.folder, *listing))["Tags"] == ["v1", "v2"]
    pull = ["copy", "--all", "-q", *place.reach("src-"), f"docker://{place.image('app:v1')}"]
    ours(place.folder, *pull, "dir:ours")
    skopeo(place.folder, "--insecure-policy", *pull, "dir:theirs")
    pulled = [{name: digest for name, (_, digest) in tree(place.folder / who).items()} for who in ("ours", "theirs")]
    assert pulled[0] == pulled[1]
    ours(place.folder, "delete", *place.reach(), f"docker://{place.image('app:v1')}")
    gone = command(place.folder, "inspect", *place.reach(), f"docker://{place.image('app:v2')}")
    assert gone.returncode == 2, "both tags were of one digest"


def test_a_sync_brings_a_repository_out_and_into_another(place: Place) -> None:
    push_two_tags(place)
    out = ["sync", "--src", "docker", "--dest", "dir", "--all", *place.reach("src-"), place.image("app")]
    ours(place.folder, *out, "ours")
    (place.folder / "theirs").mkdir()
    skopeo(place.folder, "--insecure-policy", *out, "theirs")
    for name in ("app:v1", "app:v2"):
        assert (place.folder / "ours" / name / "manifest.json").read_bytes() == MULTI.manifest_raw
        assert tree(place.folder / "ours" / name).keys() == tree(place.folder / "theirs" / name).keys()
    back = ["sync", "--src", "dir", "--dest", "docker", "--all", *place.reach("dest-"), "ours", place.image("mirror")]
    with place.asking() as asked:
        ours(place.folder, *back)
    # Two tags of one image: each blob once.
    assert sum(one.uploads and one.status == 201 for one in asked) == len(MULTI.blobs) - len(MULTI.children)
    with place.asking() as again:
        ours(place.folder, *back)
    assert {one.method for one in again} <= {"HEAD", "GET"}


def test_docker_and_podman_pull_what_was_pushed_and_push_what_is_pulled(
    place: Place, docker: Docker, podman: Podman
) -> None:
    name = place.image("runs:v1")
    ours(place.folder, "copy", "-q", *place.reach("dest-"), "dir:runs.dir", f"docker://{name}")
    login = ["login", "-u", USER, "-p", PASSWORD, f"--cert-dir={place.certs}"]
    ours(place.folder, *login, "--compat-auth-file", "login/config.json", place.server.name)
    config = f"--config={place.folder}/login"
    docker(config, "pull", name)
    assert docker("run", "--rm", "--network=none", name).decode() == f"{PRINTS}\n"
    podman("pull", "-q", "--authfile", place.folder / "auth.json", f"--cert-dir={place.certs}", name)
    (shown,) = json.loads(podman("image", "inspect", name))
    assert (
        f"sha256:{shown['Id']}" == json.loads((place.folder / "runs.dir/manifest.json").read_text())["config"]["digest"]
    )
    pushed = place.image("pushed")
    docker("tag", name, f"{pushed}:docker")
    docker(config, "push", f"{pushed}:docker")
    podman(
        "push", "-q", "--authfile", place.folder / "auth.json", f"--cert-dir={place.certs}", name, f"{pushed}:podman"
    )
    for tag in ("docker", "podman"):
        ours(place.folder, "copy", "-q", *place.reach("src-"), f"docker://{pushed}:{tag}", f"dir:{tag}")
        config_of = json.loads((place.folder / tag / "manifest.json").read_text())["config"]["digest"]
        assert config_of == f"sha256:{shown['Id']}"


def test_who_has_logged_out_is_refused(place: Place) -> None:
    words = ("copy", "-q", *place.reach("dest-"), "dir:runs.dir", f"docker://{place.image('denied:v1')}")
    ours(place.folder, "logout", "--authfile", "auth.json", place.server.name)
    before = tree(place.folder)
    with place.asking() as asked:
        done = command(place.folder, *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "401" in done.stderr
    assert not [one for one in asked if one.status < 400]
    assert tree(place.folder) == before


def test_certificates_are_found_in_certs_d_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("list-tags", "--authfile", "auth.json", f"docker://{place.image('app')}")
    ours(place.folder, "copy", "-q", *place.reach("dest-"), "dir:runs.dir", f"docker://{place.image('app:v1')}")
    refused = command(place.folder, *words)
    assert refused.returncode == 1
    assert "not trusted" in refused.stderr
    monkeypatch.setenv("HOME", str(place.folder))
    trusted = place.folder / ".config/containers/certs.d"
    trusted.mkdir(parents=True)
    (trusted / place.server.name).symlink_to(place.certs)
    assert ours(place.folder, *words) == skopeo(place.folder, *words).decode()


def test_a_token_is_asked_for_as_much_as_is_needed_and_no_more(
    tmp_path: Path, token_registry: RegistryServer, token_server: TokenServer, certificates: Certificates
) -> None:
    write_directory(tmp_path / "multi", MULTI)
    place = logged_in(tmp_path, token_registry, certificates)
    asked = len(token_server.asked)
    ours(tmp_path, "copy", "-q", *place.reach("dest-"), "dir:multi", f"docker://{place.image('app:v1')}")
    ours(tmp_path, "list-tags", *place.reach(), f"docker://{place.image('app')}")
    repository = f"{place.prefix}/app"
    # To write, to read back; and the second command begins anew.
    assert token_server.asked[asked:] == [
        (USER, (f"repository:{repository}:pull,push",)),
        (USER, (f"repository:{repository}:pull",)),
        (USER, (f"repository:{repository}:pull",)),
    ]


def test_an_account_that_may_only_pull_pulls_and_does_not_push_or_delete(
    tmp_path: Path, token_registry: RegistryServer, certificates: Certificates
) -> None:
    write_directory(tmp_path / "multi", MULTI)
    place = logged_in(tmp_path, token_registry, certificates)
    image = f"docker://{place.image('app:v1')}"
    ours(tmp_path, "copy", "-q", *place.reach("dest-"), "dir:multi", image)
    logged_in(tmp_path, token_registry, certificates, READER)
    ours(tmp_path, "copy", "-q", *place.reach("src-"), image, "dir:out")
    for words in (["copy", *place.reach("dest-"), "dir:multi", image + "2"], ["delete", *place.reach(), image]):
        done = command(tmp_path, *words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert "401" in done.stderr
    ours(tmp_path, "inspect", *place.reach(), image)


def test_a_token_signed_by_a_key_that_the_registry_does_not_trust_opens_nothing(
    tmp_path: Path, token_server: TokenServer, certificates: Certificates
) -> None:
    account = {USER: Account(PASSWORD, frozenset({"pull", "push"}))}
    foreign = issued(tmp_path / "foreign", "token.example")
    trusted = str(token_server.signer.trusted / "ca.crt")
    write_layout(tmp_path / "layout", {"v1": MULTI.children[0]})
    with issuing(foreign, account, certificates) as issuer:
        settings = {"realm": issuer.realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": trusted}
        with running(tmp_path / "registry", certificate=certificates.pair, token=settings) as server:
            words = ["--dest-creds", f"{USER}:{PASSWORD}", f"--dest-cert-dir={certificates.trusted}"]
            done = command(tmp_path, "copy", *words, "oci:layout:v1", f"docker://{server.name}/a/b:c")
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
            assert set(issuer.asked) == {(USER, ("repository:a/b:pull,push",))}
            assert not (tmp_path / "registry/data").exists()
