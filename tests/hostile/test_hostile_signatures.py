"""Files beside a bundle that are no signatures of it, or of another one: refused in one line, and replaced."""

import base64
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from support.bundles import IMAGES, create, write_batch
from support.command import command
from support.keys import Keys
from support.signed_bundles import gpg_accepts, put_signatures, refused, sign

SECOND = dict(list(IMAGES.items())[:1])


@pytest.fixture
def place(signable: Path, tmp_path: Path, openpgp: Keys, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GNUPGHOME", str(openpgp.home))
    shutil.copytree(signable, tmp_path, dirs_exist_ok=True)
    return tmp_path


def clearsigned(raw: bytes) -> bytes:
    return b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nx\n" + raw


HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "garbage": lambda _: bytes(range(256)),
    "huge": lambda raw: raw + b"\n" * (64 << 10),
    "huge base64": lambda _: b"A" * (64 << 10),
    "half": lambda raw: raw[: len(raw) // 2],
    "text before": lambda raw: b"# signed by me\n" + raw,
    "text after": lambda raw: raw + b"# signed by me\n",
    "in a clear text": clearsigned,
    "twice": lambda raw: raw + raw,
    "no end": lambda raw: raw.replace(b"-----END PGP SIGNATURE-----", b""),
    "nine": lambda raw: _packets(raw) * 9,
    "a marker before": lambda raw: b"\xca\x03PGP" + _packets(raw),
    "another text inside": lambda raw: b"\xcb\x07b\x00\x00\x00\x00\x00x" + _packets(raw),
}


def _packets(raw: bytes) -> bytes:
    return base64.b64decode(raw.partition(b"\n\n")[2].rpartition(b"\n=")[0])


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_no_signature_is_refused_in_one_line(place: Path, openpgp: Keys, case: str) -> None:
    put_signatures(place)
    path = place / "b.tar.sums.asc"
    path.write_bytes(HOSTILE[case](path.read_bytes()))
    shutil.copy(path, place / "b.tar.sums.sig")
    both = ("--signed-by", "good.gpg", "--key", "my.pub")
    assert "not signed by a key that is accepted" in refused(place, "bundle", "verify", "b.tar", *both)
    # And whoever signs replaces it.
    sign(place, "--sign-by", openpgp["good"])
    assert gpg_accepts(place)


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_a_signature_is_a_file(place: Path, openpgp: Keys, kind: str) -> None:
    put_signatures(place)
    path = place / "b.tar.sums.asc"
    path.rename(place / "elsewhere")
    if kind == "link":
        path.symlink_to("elsewhere")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    ran = command(place, "bundle", "verify", "b.tar", "--signed-by", "good.gpg")
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
    if kind != "folder":
        sign(place, "--sign-by", openpgp["good"])
        assert not path.is_symlink()
        assert gpg_accepts(place)


def test_sound_signatures_under_another_name_vouch_for_nothing(place: Path, openpgp: Keys) -> None:
    put_signatures(place)
    for end in (".sums", ".sums.asc"):
        shutil.copy(place / f"b.tar{end}", place / f"c.tar{end}")
    (place / "evil").mkdir()
    create(write_batch(place / "evil", SECOND), place / "evil" / "c.tar")
    shutil.copy(place / "evil/c.tar", place / "c.tar")
    ran = command(place, "bundle", "load", "c.tar", "--to", "oci:out", "--signed-by", "good.gpg")
    assert ran.returncode == 1
    assert "names b.tar.001, which is no file of c.tar" in ran.stderr
    # Beside the volumes that were signed: it would be read in their place.
    shutil.copy(place / "evil/c.tar", place / "b.tar")
    ran = command(place, "bundle", "load", "b.tar", "--to", "oci:out", "--signed-by", "good.gpg")
    assert ran.returncode == 1
    assert "b.tar: would be read, and its checksums do not name it" in ran.stderr
    assert not (place / "out").exists()
