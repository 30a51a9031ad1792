"""Which policy counts, which commands ask it, and with which key is signed: what must not be passed by unseen."""

import pwd
from pathlib import Path

import pytest

from support.keys import Keys
from support.signing_site import NAME, Site, signing_site
from transship.pipeline.registry.config_files import policy_file


@pytest.fixture
def site(tmp_path: Path, openpgp: Keys, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("GNUPGHOME", str(openpgp.home))
    monkeypatch.setenv("HOME", str(tmp_path))
    return signing_site(tmp_path, openpgp)


def test_a_policy_is_found_where_skopeo_finds_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    own = site.folder / ".config/containers"
    own.mkdir(parents=True)
    (own / "policy.json").write_text('{"default": [{"type": "reject"}]}')
    monkeypatch.delenv("CONTAINERS_POLICY_JSON", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(site.folder / "elsewhere"))
    said = f"policy {own}/policy.json, default: reject"
    assert said in site.refused("copy", "dir:one", "dir:a")
    assert "rejected by policy" in site.refused_by_skopeo("copy", "dir:one", "dir:theirs")
    assert "--policy: names no file" in site.refused("--policy", "", "copy", "dir:one", "dir:a")
    # Found there too, where the home has none.
    other = site.folder / "elsewhere/containers/policy.json"
    other.parent.mkdir(parents=True)
    (own / "policy.json").rename(other)
    assert f"policy {other}, default: reject" in site.refused("copy", "dir:one", "dir:a")
    # What nobody can look into may hold one.
    own.rmdir()
    own.symlink_to("containers")
    assert f"policy {own}/policy.json: cannot be read" in site.refused("copy", "dir:one", "dir:a")
    assert not (site.folder / "a").exists()


def test_a_user_without_home_has_one_by_the_password_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / ".config/containers/policy.json"
    own.parent.mkdir(parents=True)
    own.touch()
    user = pwd.struct_passwd(("u", "x", 1, 1, "", str(tmp_path), "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: user)
    assert policy_file({}, ()) == own
    assert policy_file({"HOME": str(tmp_path / "other")}, ()) is None


def test_layers_are_read_of_no_image_that_the_policy_refuses(site: Site) -> None:
    by = ("--all", "--sign-by", site.keys["good"], "--sign-identity", NAME)
    for image in ("one", "many"):
        site.done("copy", *by, f"dir:{image}", f"dir:signed-{image}")
        policy = ("--policy", site.policy(identity=NAME), "layers")
        assert "a signature is required" in site.refused(*policy, f"dir:{image}", lines=2)
        assert not list(site.folder.glob("layers-*"))
        site.done(*policy, f"dir:signed-{image}")
        [made] = site.folder.glob("layers-*")
        made.rename(site.folder / f"of-{image}")


def test_a_name_that_several_keys_have_signs_nothing(site: Site) -> None:
    words = ("copy", "--sign-identity", NAME, "--sign-by")
    theirs = ("--insecure-policy", *words, "example.com", "dir:one", "dir:theirs")
    assert "Ambiguous name" in site.refused_by_skopeo(*theirs)
    said = site.refused(*words, "example.com", "dir:one", "dir:a")
    assert "signing with key example.com: several have that name: " in said
    assert "give the fingerprint of one" in said
    assert not (site.folder / "a").exists()
    for name in ("good@example.com", f"0x{site.keys['good']}", site.keys["good"].lower()[-16:]):
        site.done(*words, name, "dir:one", "dir:a")
        assert site.keys["good"] in site.done("--policy", site.policy(identity=NAME), "copy", "dir:a", "dir:b")
