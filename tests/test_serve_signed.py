"""``serve`` of bundles that must be signed: names follow from what was signed, or nothing is served."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from support.bundles import IMAGES, create
from support.command import begin, command
from support.keys import Keys
from support.serving import Reply, served
from support.signed_bundles import sign
from transship.pipeline.cli.main import main
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, Error
from transship.pipeline.serve.formats import open_contents
from transship.pipeline.transports.checksums import read_checksums
from transship.pipeline.transports.tar import Archive


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, signable: Path) -> Path:
    folder = tmp_path_factory.mktemp("made")
    shutil.copytree(signable, folder, dirs_exist_ok=True)
    create(folder / "week.json", folder / "one.tar")
    create(folder / "week.json", folder / "packed.tar.zst", "--split", "10K")
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path, openpgp: Keys, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GNUPGHOME", str(openpgp.home))
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_what_is_signed_is_served_and_what_is_not_is_refused(place: Path, openpgp: Keys) -> None:
    words = ("serve", "b.tar", "one.tar", "--signed-by", "good.gpg")
    sign(place, "--sign-by", openpgp["good"])
    ran = command(place, *words)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "one.tar.sums.asc is not there" in ran.stderr
    # Through a link to its first volume too: what counts is the file that this leads to.
    (place / "elsewhere").mkdir()
    (place / "elsewhere" / "any").symlink_to(place / "b.tar.001")
    assert command(place, "bundle", "sign", "packed.tar.zst", "--sign-by", openpgp["good"]).returncode == 0
    for name, path in (("b.tar", "b.tar"), ("elsewhere/any", "b.tar.001"), ("packed.tar.zst", "packed.tar.zst")):
        server = begin(place, "serve", name, "--signed-by", "good.gpg")
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line.startswith(f"serving {name} on http://127.0.0.1:")
        port = int(line.partition("127.0.0.1:")[2].split()[0])
        assert Reply(port, "/v2/team/app/manifests/v1").body == IMAGES["team/app:v1"].manifest_raw
        server.send_signal(signal.SIGTERM)
        _, said = server.communicate(timeout=60)
        assert server.returncode == 0
        assert f"/{path}: signed by OpenPGP key {openpgp['good']}" in said


def test_what_is_no_bundle_is_not_signed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("from", "none"):
        code = main(["serve", str(place / name), "--key", str(place / "my.pub")])
        said = capsys.readouterr().err
        assert (code, "checksums of the bundle are not there" in said) == (1 if name == "from" else 2, True), said


def opens(path: Path, signed: Digest) -> None:
    with served(path):
        pass
    open_contents([path], {path: signed}).close()


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """Return what puts ``new`` for ``old`` at every place outside bundle.json, which is signed."""
    assert len(old) == len(new)

    def change(raw: bytes) -> bytes:
        begin = raw.index(b'{\n "blobs"')
        end = raw.index(b"\n}\n", begin)
        return raw[:begin].replace(old, new) + raw[begin:end] + raw[end:].replace(old, new)

    return change


APP, WEB = (str(IMAGES[name].digest).encode() for name in ("team/app:v1", "team/web:v2"))
FORGED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "nothing": (lambda raw: raw, ""),
    "a name that leads to another image": (replaced(APP, WEB), "index.json or a manifest is not what was signed"),
    "another name": (replaced(b"team/app:v1", b"team/new:v1"), "index.json or a manifest is not what was signed"),
    "a manifest": (replaced(b"v1.tar+gzip", b"v1.tar+gzap"), "index.json or a manifest is not what was signed"),
    "bundle.json": (
        lambda raw: raw.replace(b'"name": "team/app:v1"', b'"name": "team/new:v1"'),
        "bundle.json: not the one that its signed checksums name",
    ),
    "its end": (lambda raw: raw + bytes(512), "bundle.json"),
}


@pytest.mark.parametrize("case", FORGED)
def test_each_name_leads_to_what_was_signed(place: Path, case: str) -> None:
    change, why = FORGED[case]
    path = place / "one.tar"
    signed = read_checksums(path).document
    opens(path, signed)
    before = path.read_bytes()
    path.write_bytes(change(before))
    assert (path.read_bytes() == before) is (not why)
    if why:
        with pytest.raises(ContentError, match=why):
            open_contents([path], {path: signed})
    else:
        opens(path, signed)


def test_an_archive_that_lost_its_bundle_json_is_not_what_was_signed(place: Path) -> None:
    archive = Archive(place / "one.tar")
    member = archive.members["bundle.json"]
    archive.close()
    path = place / "one.tar"
    signed = read_checksums(path).document
    raw = path.read_bytes()
    at = member.offset - 512
    path.write_bytes(raw[:at] + raw[member.offset + member.size + -member.size % 512 :])
    with pytest.raises(Error, match="not the one that its signed checksums name"):
        open_contents([path], {path: signed})
