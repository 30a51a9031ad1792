"""OpenPGP signatures of images: made here and verified by skopeo, made by skopeo and verified here, carried along."""

import functools
import http.server
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command import tree
from support.engines import tool
from support.keys import PASSPHRASE, Keys
from support.listening import listening
from support.registry_server import RegistryServer
from support.signing_site import NAME, Site, signing_site


@pytest.fixture
def site(tmp_path: Path, openpgp: Keys, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("GNUPGHOME", str(openpgp.home))
    monkeypatch.setenv("HOME", str(tmp_path))
    return signing_site(tmp_path, openpgp)


def signatures(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if "signature" in path.name)


@pytest.mark.parametrize("image", ["one", "many"])
def test_what_one_signs_the_other_accepts(site: Site, image: str) -> None:
    by = ("--all", "--sign-by", site.keys["good"], "--sign-identity", NAME)
    said = site.done("copy", *by, f"dir:{image}", "dir:ours")
    assert f"signed: signedBy {site.keys['good']}" in said
    site.theirs("--insecure-policy", "copy", *by, f"dir:{image}", "dir:theirs")
    assert signatures(site.folder / "ours") == signatures(site.folder / "theirs")
    assert len(signatures(site.folder / "ours")) == (1 if image == "one" else 4)
    policy = site.policy(identity=NAME)
    site.theirs("--policy", policy, "copy", "--all", "dir:ours", "dir:a")
    said = site.done("--policy", policy, "copy", "--all", "dir:theirs", "dir:b")
    assert f"accepted: signedBy {site.keys['good']}" in said
    for source, copy in (("ours", "a"), ("theirs", "b")):
        for name in signatures(site.folder / source):
            assert (site.folder / copy / name).read_bytes() == (site.folder / source / name).read_bytes()


def test_one_platform_of_a_signed_index_is_judged_by_its_own_signature(site: Site) -> None:
    site.done("copy", "--all", "--sign-by", site.keys["good"], "--sign-identity", NAME, "dir:many", "dir:signed")
    policy = ("--policy", site.policy(identity=NAME), "copy", "--platform", "linux/arm64/v8")
    site.done(*policy, "dir:signed", "dir:chosen")
    assert signatures(site.folder / "chosen") == ["signature-1"]
    (gone,) = [
        path
        for path in (site.folder / "signed").glob("*.signature-1")
        if path.read_bytes() == (site.folder / "chosen/signature-1").read_bytes()
    ]
    gone.unlink()
    # The index has one, which says nothing of the image.
    assert "a signature is required" in site.refused(*policy, "dir:signed", "dir:again")
    assert "a signature is required" in site.refused(*policy[:3], "--all", "dir:signed", "dir:again")


@pytest.fixture
def lookaside(site: Site, open_registry: RegistryServer) -> Path:
    """Have both tools keep the signatures of the registry's images in a folder; return it."""
    folder = site.folder / "lookaside"
    (site.folder / "registries.d").mkdir()
    said = {"docker": {open_registry.name: {"lookaside": f"file://{folder}"}}}
    (site.folder / "registries.d/one.yaml").write_text(json.dumps(said))
    return folder


@pytest.fixture
def served(site: Site, lookaside: Path, open_registry: RegistryServer) -> Iterator[str]:
    """Serve that folder by HTTP; return the options that read it so."""
    lookaside.mkdir(exist_ok=True)
    handler = functools.partial(Quiet, directory=str(lookaside))
    with listening(server := http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)):
        (site.folder / "web.d").mkdir()
        said = {"docker": {open_registry.name: {"lookaside": f"http://127.0.0.1:{server.server_port}"}}}
        (site.folder / "web.d/one.yaml").write_text(json.dumps(said))
        yield "--registries.d=web.d"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


FILES = "--registries.d=registries.d"
FROM, TO = "--src-tls-verify=false", "--dest-tls-verify=false"


def test_signatures_beside_a_registry_go_both_ways(
    site: Site, lookaside: Path, served: str, open_registry: RegistryServer
) -> None:
    by = ("--all", "--sign-by", site.keys["good"], TO)
    mine, other = (f"docker://{open_registry.name}/signed/{name}:v1" for name in ("ours", "theirs"))
    site.done(FILES, "copy", *by, "dir:many", mine)
    site.theirs("--insecure-policy", FILES, "copy", *by, "dir:many", other)
    listed = {name.partition("@")[2] for name in tree(lookaside / "signed") if name.endswith("/signature-1")}
    assert len(listed) == 4
    both = ("--policy", site.policy(), "copy", "--all", FROM)
    for places in (FILES, served):
        out = places[-5:-2]
        site.theirs(places, *both, mine, f"dir:theirs{out}")
        site.done(places, *both, other, f"dir:ours{out}")
        assert len(signatures(site.folder / f"ours{out}")) == 4
        assert "not among those" in site.refused(
            places, "--policy", site.policy("other"), "copy", FROM, mine, "dir:none"
        )
    # Under a name that the signature is not for.
    again = f"docker://{open_registry.name}/signed/again:v1"
    site.done(FILES, "copy", "--all", FROM, TO, mine, again)
    assert "is not accepted for" in site.refused(FILES, "--policy", site.policy(), "copy", FROM, again, "dir:none")
    digest = tool("skopeo", "manifest-digest", site.folder / "many/manifest.json").decode().strip()
    site.done(FILES, *both, f"docker://{open_registry.name}/signed/ours@{digest}", "dir:digest")


def test_what_is_written_to_a_store_replaces_what_was_there(
    site: Site, lookaside: Path, open_registry: RegistryServer
) -> None:
    place = f"docker://{open_registry.name}/signed/replaced:v1"
    for names in (("good", "other"), ("good",)):
        image = "dir:one"
        for name in names:
            site.done(FILES, "copy", FROM, TO, "--sign-by", site.keys[name], image, place)
            image = place
        found = [path for path in lookaside.rglob("signature-*") if "replaced" in str(path)]
        assert len(found) == len(names)
    site.done(FILES, "copy", TO, "dir:one", place)
    assert len([path for path in lookaside.rglob("signature-*") if "replaced" in str(path)]) == 1


def test_deleting_an_image_removes_its_signatures(site: Site, lookaside: Path, open_registry: RegistryServer) -> None:
    place = f"docker://{open_registry.name}/signed/deleted:v1"
    site.done(FILES, "copy", TO, "--sign-by", site.keys["good"], "dir:one", place)
    assert [path for path in lookaside.rglob("signature-*") if "deleted" in str(path)]
    site.done(FILES, "delete", "--tls-verify=false", place)
    assert not [path for path in lookaside.rglob("*") if "deleted@" in str(path)]


def test_a_store_that_is_read_by_http_cannot_be_written(site: Site, served: str, open_registry: RegistryServer) -> None:
    place = f"docker://{open_registry.name}/signed/http:v1"
    said = site.refused(served, "copy", TO, "--sign-by", site.keys["good"], "dir:one", place)
    assert "lookaside-staging" in said


def test_an_image_that_is_refused_costs_no_layer_and_leaves_nothing(
    site: Site, lookaside: Path, open_registry: RegistryServer
) -> None:
    place = f"docker://{open_registry.name}/signed/unsigned:v1"
    site.done(FILES, "copy", TO, "dir:one", place)
    before = len(open_registry.asked())
    said = site.refused(FILES, "--policy", site.policy(), "copy", FROM, place, "dir:none")
    assert f"{place}: policy {site.policy()}, default: signedBy: a signature is required" in said
    assert not (site.folder / "none").exists()
    assert not [asked for asked in open_registry.asked()[before:] if "/blobs/" in asked.target]


def test_signatures_are_never_lost_unasked(site: Site) -> None:
    site.done("copy", "--sign-by", site.keys["good"], "--sign-identity", NAME, "dir:one", "dir:signed")
    assert "would invalidate" in site.refused("copy", "--dest-decompress", "dir:signed", "dir:changed")
    assert "would invalidate" in site.refused("copy", "--format", "oci", "dir:signed", "dir:changed")
    for place in ("oci:layout:v1", "oci-archive:a.tar:v1", "docker-archive:b.tar:a:v1"):
        assert "signatures cannot be copied there" in site.refused("copy", "dir:signed", place)
        assert "cannot be signed" in site.refused("copy", "--sign-by", site.keys["good"], "dir:one", place)
    assert sorted(os.listdir(site.folder)) == ["many", "one", "signed"]
    site.done("copy", "--remove-signatures", "--dest-decompress", "dir:signed", "dir:changed")
    site.done("copy", "--remove-signatures", "dir:signed", "oci:layout:v1")
    assert signatures(site.folder / "changed") == []
    # With one's own in their place.
    by = ("--sign-by", site.keys["other"], "--sign-identity", NAME)
    site.done("copy", "--remove-signatures", *by, "dir:signed", "dir:anew")
    site.theirs("--policy", site.policy("other", NAME), "copy", "dir:anew", "dir:read")
    site.done("copy", *by, "dir:signed", "dir:both")
    assert signatures(site.folder / "both") == ["signature-1", "signature-2"]


def test_an_image_needs_a_name_to_be_signed(site: Site) -> None:
    by = ("copy", "--sign-by", site.keys["good"])
    assert "no name that could be signed" in site.refused(*by, "dir:one", "dir:signed")
    for name in ("registry.example/app", "UPPER:v1"):
        assert name in site.refused(*by, "--sign-identity", name, "dir:one", "dir:signed")
    assert not (site.folder / "signed").exists()


def test_a_key_that_is_not_there_or_stays_locked_is_one_line(site: Site) -> None:
    named = ("copy", "--sign-identity", NAME)
    nobody = "F" * 40
    assert nobody in site.refused(*named, "--sign-by", nobody, "dir:one", "dir:signed")
    (site.folder / "wrong").write_text("wrong\n")
    (site.folder / "right").write_text(f"{PASSPHRASE}\nmore\n")
    locked = (*named, "--sign-by", site.keys["locked"])
    site.keys.end_agent()
    said = site.refused(*locked, "--sign-passphrase-file", "wrong", "dir:one", "dir:signed")
    assert "signing with key" in said
    assert "or a wrong passphrase" in said
    (site.folder / "wrong").write_bytes(f"{PASSPHRASE}\r\n".encode())
    said = site.refused(*locked, "--sign-passphrase-file", "wrong", "dir:one", "dir:signed")
    assert "has a character that gpg takes in none; a line that ends with \\r has one" in said
    assert "cannot be read" in site.refused(*locked, "--sign-passphrase-file", "none", "dir:one", "dir:signed")
    assert not (site.folder / "signed").exists()
    site.done(*locked, "--sign-passphrase-file", "right", "dir:one", "dir:signed")
    site.theirs("--policy", site.policy("locked", NAME), "copy", "dir:signed", "dir:read")
    assert "exactly one of" in site.refused("copy", "--sign-passphrase-file", "right", "dir:one", "dir:x")


def test_standalone_signatures_go_both_ways(site: Site) -> None:
    good, file = site.keys["good"], "one/manifest.json"
    site.done("standalone-sign", file, NAME, good, "-o", "ours")
    site.theirs("standalone-sign", file, NAME, good, "-o", "theirs")
    site.theirs("standalone-verify", file, NAME, good, "ours")
    digest = tool("skopeo", "manifest-digest", site.folder / file).decode().strip()
    said = f"Signature verified using fingerprint {good}, digest {digest}\n"
    assert site.done("standalone-verify", file, NAME, good, "theirs") == said
    assert site.done("standalone-verify", file, NAME, f"{'0' * 40},{good}", "theirs") == said
    public = ("--public-key-file", str(site.keys.file("good")))
    assert site.done("standalone-verify", *public, file, NAME, "any", "theirs") == said
    assert site.done("standalone-verify", *public, file, NAME, good, "theirs") == said


def test_standalone_verify_refuses_what_does_not_hold(site: Site) -> None:
    good, file = site.keys["good"], "one/manifest.json"
    site.done("standalone-sign", file, NAME, good, "-o", "signature")
    verify = "standalone-verify"
    other = ("--public-key-file", str(site.keys.file("other")))
    assert "says nothing without" in site.refused(verify, file, NAME, "any", "signature")
    assert "not among those accepted" in site.refused(verify, file, NAME, site.keys["other"], "signature")
    assert "not among those accepted" in site.refused(verify, *other, file, NAME, "any", "signature")
    # Keys of the file alone count, also where GnuPG has the one that is named.
    assert "not among those accepted" in site.refused(verify, *other, file, NAME, good, "signature")
    assert "is not accepted" in site.refused(verify, file, "registry.example/app:v2", good, "signature")
    assert "signature for digest" in site.refused(verify, "many/manifest.json", NAME, good, "signature")
    (site.folder / "long").write_bytes((site.folder / "signature").read_bytes() + b"\n")
    assert "followed by something else" in site.refused(verify, file, NAME, good, "long")
    assert "cannot be read" in site.refused(verify, file, NAME, good, "none")
    assert "--output" in site.refused("standalone-sign", file, NAME, good)


def test_the_dump_of_a_signature_is_skopeos(site: Site) -> None:
    site.theirs("standalone-sign", "one/manifest.json", NAME, site.keys["good"], "-o", "signature")
    command = ("untrusted-signature-dump-without-verification", "signature")
    assert site.done(*command) == site.theirs(*command)


def test_the_users_keyring_is_neither_read_nor_changed_where_keys_are_given(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.done("standalone-sign", "one/manifest.json", NAME, site.keys["good"], "-o", "signature")
    empty = site.folder / "empty"
    empty.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(empty))
    public = ("--public-key-file", str(site.keys.file("good")))
    site.done("standalone-verify", *public, "one/manifest.json", NAME, "any", "signature")
    assert os.listdir(empty) == []
    assert not (site.folder / ".gnupg").exists()


def test_sequoias_command_is_asked_for_where_it_is_missing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(site.folder))
    words = ("copy", "--sign-by-sq-fingerprint", site.keys["good"], "--sign-identity", NAME)
    assert "sq is not installed" in site.refused(*words, "dir:one", "dir:signed")
    assert not (site.folder / "signed").exists()


def test_without_gpg_nothing_is_accepted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.done("copy", "--sign-by", site.keys["good"], "--sign-identity", NAME, "dir:one", "dir:signed")
    policy = site.policy(identity=NAME)
    monkeypatch.setenv("PATH", str(site.folder))
    assert "install GnuPG" in site.refused("--policy", policy, "copy", "dir:signed", "dir:read")
    assert not (site.folder / "read").exists()


def test_which_policy_counts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    reject = site.folder / "reject.json"
    reject.write_text('{"default": [{"type": "reject"}]}')
    own = site.folder / ".config/containers"
    own.mkdir(parents=True)
    (own / "policy.json").write_text(reject.read_text())
    assert f"policy {own}/policy.json, default: reject" in site.refused("copy", "dir:one", "dir:a")
    accept = site.folder / "accept.json"
    accept.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    monkeypatch.setenv("CONTAINERS_POLICY_JSON", str(accept))
    site.done("copy", "dir:one", "dir:a")
    assert "reject" in site.refused("--policy", str(reject), "copy", "dir:one", "dir:b")
    site.done("--insecure-policy", "--policy", str(reject), "copy", "dir:one", "dir:b")
    assert "asks for no signature" in site.refused("--require-signed", "copy", "dir:one", "dir:c")
    assert "exclude each other" in site.refused("--require-signed", "--insecure-policy", "copy", "dir:one", "dir:c")
    assert "cannot be read" in site.refused("--policy", "none.json", "copy", "dir:one", "dir:c")
    (own / "policy.json").write_text("{")
    monkeypatch.delenv("CONTAINERS_POLICY_JSON")
    assert f"policy {own}/policy.json: not JSON" in site.refused("copy", "dir:one", "dir:c")
    (own / "policy.json").unlink()
    (own / "policy.json").symlink_to("gone")
    assert f"policy {own}/policy.json: cannot be read" in site.refused("copy", "dir:one", "dir:c")
    assert not (site.folder / "c").exists()


def test_a_passphrase_comes_from_a_file(site: Site) -> None:
    (site.folder / "secret").write_text(f"{PASSPHRASE}\n")
    site.keys.end_agent()
    words = ("--passphrase-file", "secret", "-o", "signature")
    site.done("standalone-sign", *words, "one/manifest.json", NAME, site.keys["locked"])
    site.theirs("standalone-verify", "one/manifest.json", NAME, site.keys["locked"], "signature")
