"""``run`` with encrypted layers: made once, kept by the checkpoint, the same at every destination, and reported."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from support.command import command, tree
from support.encryption_keys import PASSPHRASE, PERSON, KeyFolder
from support.images import make_image, make_multi, write_layout

IMAGE = make_image("encrypted in a run", docker=False, layers=2)


def run(folder: Path, document: dict[str, Any], code: int = 0) -> str:
    (folder / "batch.json").write_text(json.dumps({"version": 1, **document}))
    done = command(folder, "run", "batch.json", "--progress=none")
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stderr


def report(folder: Path) -> list[Any]:
    images: list[Any] = json.loads((folder / "runs/batch/report.json").read_bytes())["images"]
    return images


def layers(folder: Path) -> list[Any]:
    digest = json.loads((folder / "index.json").read_bytes())["manifests"][0]["digest"].removeprefix("sha256:")
    found: list[Any] = json.loads((folder / "blobs/sha256" / digest).read_bytes())["layers"]
    return found


@pytest.fixture
def folder(tmp_path: Path, key_folder: KeyFolder, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GNUPGHOME", str(key_folder.gnupg))
    write_layout(tmp_path / "src", {"v1": IMAGE})
    for name in ("rsa.pub", "rsa.pem", "rsa.crt", "locked.pem", "passphrase"):
        shutil.copy(key_folder[name], tmp_path / name)
    return tmp_path


SEALING = {"encrypt": ["jwe:rsa.pub", "pkcs7:rsa.crt", f"pgp:{PERSON}"], "encrypt-layers": [-1]}


def test_every_destination_gets_the_same_and_a_run_again_changes_nothing(folder: Path) -> None:
    batch = {"defaults": SEALING, "images": [{"from": "oci:src:v1", "to": ["oci:one:v1", "oci:two:v1"]}]}
    run(folder, batch)
    assert layers(folder / "one") == layers(folder / "two")
    assert [layer["mediaType"].endswith("+encrypted") for layer in layers(folder / "one")] == [False, True]
    before = tree(folder / "one")
    for line in report(folder):
        [found] = line["encrypted"]
        assert found == {
            "layer": layers(folder / "one")[1]["digest"],
            "keys": ["jwe:rsa.pub", "pkcs7:rsa.crt", f"pgp:{PERSON}"],
        }
    said = command(folder, "report", "runs/batch").stdout
    assert f"encrypted: {layers(folder / 'one')[1]['digest']} for jwe:rsa.pub, pkcs7:rsa.crt, pgp:{PERSON}" in said
    run(folder, batch)
    # A destination more is written of what was encrypted then.
    batch["images"][0]["to"].append("oci:three:v1")  # type: ignore[index, attr-defined]
    run(folder, batch)
    assert tree(folder / "one") == before
    assert layers(folder / "three") == layers(folder / "one")


def test_what_a_run_encrypts_a_run_decrypts_and_the_key_is_named(folder: Path) -> None:
    multi = make_multi("encrypted platforms", docker=False, layers=1)
    write_layout(folder / "multi", {"v1": multi})
    run(folder, {"images": [{"from": "oci:multi:v1", "to": ["oci:sealed:v1"], "encrypt": ["jwe:rsa.pub"]}]})
    run(
        folder,
        {
            "defaults": {"decrypt": ["locked.pem:file=passphrase"]},
            "images": [{"from": "oci:sealed:v1", "to": ["oci:open:v1", "docker-archive:open.tar:a/b:c"]}],
        },
    )
    lines = {line["destination"].partition(":")[0]: line for line in report(folder)}
    expected = {str(layer.digest) for child in multi.children for layer in child.layers}
    assert {one["layer"] for one in lines["oci"]["decrypted"]} == expected
    assert {tuple(one["keys"]) for one in lines["oci"]["decrypted"]} == {("locked.pem",)}
    assert "encrypted" not in lines["oci"]
    assert (folder / "open.tar").exists()
    kept = [
        path for path in (folder / "runs").rglob("*") if path.is_file() and PASSPHRASE.encode() in path.read_bytes()
    ]
    assert kept == []


def test_what_was_encrypted_is_not_encrypted_again_after_a_destination_failed(folder: Path) -> None:
    (folder / "two").write_text("in the way")
    batch = {"defaults": SEALING, "images": [{"from": "oci:src:v1", "to": ["oci:one:v1", "oci:two:v1"]}]}
    run(folder, batch, code=1)
    (folder / "two").unlink()
    run(folder, batch)
    assert layers(folder / "one") == layers(folder / "two")
    assert {line["state"] for line in report(folder)} == {"verified"}


def test_a_wrong_key_fails_its_image_alone(folder: Path, key_folder: KeyFolder) -> None:
    shutil.copy(key_folder["stranger.pem"], folder / "stranger.pem")
    run(folder, {"images": [{"from": "oci:src:v1", "to": ["oci:sealed:v1"], "encrypt": ["jwe:rsa.pub"]}]})
    images = [
        {"from": "oci:sealed:v1", "to": [f"oci:{name.partition('.')[0]}:v1"], "decrypt": [name]}
        for name in ("stranger.pem", "rsa.pem")
    ]
    run(folder, {"images": images}, code=1)
    first, second = report(folder)
    assert first["state"] == "failed"
    assert "none of the keys opens it (tried: stranger.pem)" in first["error"]["message"]
    assert first["error"]["retriable"] is False
    assert second["state"] == "verified"
    assert not (folder / "stranger").exists()


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ({"encrypt": ["rsa.pub"]}, "no protocol"),
        ({"encrypt": ["provider:x"]}, "key providers are not built"),
        ({"encrypt": ["jwe:rsa.pub"], "decrypt": ["rsa.pem"]}, "either encrypted or decrypted"),
        ({"encrypt-layers": [0]}, "goes with encrypt"),
        ({"encrypt": ["jwe:none.pub"]}, "none.pub: cannot be read: No such file"),
        ({"decrypt": ["locked.pem"]}, "it needs a passphrase"),
        ({"decrypt": ["rsa.pem:planted-5523"]}, "a passphrase never stands in a batch file"),
        ({"decrypt": ["rsa.pem:pass=planted-5523"]}, "a passphrase never stands in a batch file"),
        ({"encrypt": ["jwe:rsa.pub"], "manifests": "docker"}, "no encrypted layers"),
        ({"encrypt": ["jwe:rsa.pub"], "to": ["docker-archive:a.tar:b:c"]}, "no encrypted layers"),
    ],
    ids=str,
)
def test_what_cannot_be_is_said_before_anything_starts(folder: Path, image: dict[str, Any], said: str) -> None:
    batch = {"images": [{"from": "oci:src:v1", "to": ["dir:out"], **image}]}
    line = run(folder, batch, code=2)
    assert said in line
    assert "planted" not in line
    assert not (folder / "runs").exists()
    assert not (folder / "out").exists()


def test_an_image_may_undo_what_the_defaults_say(folder: Path) -> None:
    images = [
        {"from": "oci:src:v1", "to": ["oci:sealed:v1"]},
        {"from": "oci:src:v1", "to": ["oci:open:v1"], "encrypt": [], "encrypt-layers": []},
    ]
    run(folder, {"defaults": SEALING, "images": images})
    assert layers(folder / "open") == IMAGE.document["layers"]
