"""Signatures of bundles: made, and verified by gpg and openssl too; who is not accepted, and what becomes of them."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.bundles import IMAGES, files_of, write_batch
from support.command import command
from support.keys import PASSPHRASE, Keys
from support.signed_bundles import (
    SIGSTORE,
    done,
    gpg_accepts,
    openssl_accepts,
    put_signatures,
    refused,
    sign,
)
from support.stepping import forked


@pytest.fixture
def place(signable: Path, tmp_path: Path, openpgp: Keys, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GNUPGHOME", str(openpgp.home))
    shutil.copytree(signable, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_what_is_signed_gpg_and_openssl_accept_and_the_bundle_is_the_same(place: Path, openpgp: Keys) -> None:
    before = files_of(place / "b.tar")
    assert f"b.tar: signed by OpenPGP key {openpgp['good']}\n" in sign(place, "--sign-by", openpgp["good"])
    assert "b.tar: signed by sigstore key " in sign(place, *SIGSTORE)
    assert gpg_accepts(place)
    assert openssl_accepts(place)
    assert not openssl_accepts(place, "other.pub")
    after = files_of(place / "b.tar")
    assert {name: after[name] for name in before} == before
    assert sorted(set(after) - set(before)) == ["b.tar.sums.asc", "b.tar.sums.sig"]
    checked = ("bundle", "verify", "b.tar")
    assert f"accepted: b.tar: signed by OpenPGP key {openpgp['good']}" in done(place, *checked, "--signed-by=good.gpg")
    assert "accepted: b.tar: signed by sigstore key" in done(place, *checked, "--key", "other.pub", "--key", "my.pub")
    # One will do, of whichever kind.
    done(place, *checked, "--signed-by", "other.gpg", "--key", "my.pub")
    done(place, *checked, "--signed-by", "other.gpg", "--signed-by", "good.gpg", "--key", "other.pub")


def test_gpg_and_openssl_sign_what_is_accepted(place: Path, openpgp: Keys) -> None:
    raw = (place / "b.tar.sums").read_bytes()
    (place / "b.tar.sums.asc").write_bytes(openpgp.gpg("-u", openpgp["good"], "--armor", "--detach-sign", data=raw))
    (place / "b.tar.sums.sig").write_bytes(base64.b64encode(_openssl_signed(place)))
    checked = ("bundle", "verify", "b.tar")
    done(place, *checked, "--signed-by", "good.gpg")
    done(place, *checked, "--key", "theirs.pub")
    # Not armored, by two, not in base64, with an end of line: all that gpg and cosign take.
    both = ("-u", openpgp["other"], "-u", openpgp["good"], "--detach-sign")
    (place / "b.tar.sums.asc").write_bytes(openpgp.gpg(*both, data=raw))
    for keyring in ("good.gpg", "other.gpg"):
        done(place, *checked, "--signed-by", keyring)
    (place / "b.tar.sums.sig").write_bytes(_openssl_signed(place))
    done(place, *checked, "--key", "theirs.pub")
    (place / "b.tar.sums.sig").write_bytes(base64.encodebytes(_openssl_signed(place)))
    done(place, *checked, "--key", "theirs.pub")


def _openssl_signed(place: Path) -> bytes:
    """Sign by an RSA key, theirs.pub, which openssl has made."""
    for words in (
        ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "theirs.key"],
        ["pkey", "-in", "theirs.key", "-pubout", "-out", "theirs.pub"],
        ["dgst", "-sha256", "-sign", "theirs.key", "-out", "theirs.raw", "b.tar.sums"],
    ):
        if words[0] != "genpkey" or not (place / "theirs.key").exists():
            subprocess.run(["openssl", *words], cwd=place, check=True, capture_output=True, timeout=60)
    return (place / "theirs.raw").read_bytes()


@pytest.mark.parametrize("command_line", [("verify",), ("load", "--to", "oci:out"), ("apply", "--to", "oci:out")])
def test_what_is_not_signed_by_one_of_the_keys_is_refused(
    place: Path, openpgp: Keys, command_line: tuple[str, ...]
) -> None:
    words = ("bundle", *command_line, "b.tar")
    for options, why in (
        (("--signed-by", "good.gpg"), "b.tar.sums.asc is not there"),
        (("--key", "my.pub"), "b.tar.sums.sig is not there"),
        (("--key", "my.pub", "--signed-by", "good.gpg"), "b.tar.sums.asc is not there and b.tar.sums.sig is not there"),
    ):
        assert why in refused(place, *words, *options)
    put_signatures(place)
    assert "by a key that is not among those accepted" in refused(place, *words, "--signed-by", "other.gpg")
    assert "by another key, or of something else" in refused(place, *words, "--key", "other.pub")
    raw = (place / "b.tar.sums").read_bytes()
    assert (place / "b.tar.sums").stat().st_size < 1000
    (place / "b.tar.sums").unlink()
    assert "so it is not signed" in refused(place, *words, "--signed-by", "good.gpg")
    (place / "b.tar.sums").write_bytes(raw)
    assert not (place / "out").exists()
    assert not (place / "runs" / "b.tar-load").exists()
    done(place, *words, "--signed-by", "good.gpg", "--key", "my.pub")


@pytest.mark.parametrize("name", ["expired", "revoked"])
def test_a_key_that_is_not_valid_any_more_signs_nothing(place: Path, openpgp: Keys, name: str) -> None:
    raw = (place / "b.tar.sums").read_bytes()
    past = ("--faked-system-time", "20200101T000000") if name == "expired" else ()
    signed = openpgp.gpg(*past, "-u", openpgp[name], "--armor", "--detach-sign", data=raw)
    (place / "b.tar.sums.asc").write_bytes(signed)
    why = refused(place, "bundle", "verify", "b.tar", "--signed-by", f"{name}.gpg")
    assert f"its key {'has expired' if name == 'expired' else 'is revoked'}" in why


def test_a_subkey_signs_for_its_key(place: Path, openpgp: Keys) -> None:
    loopback = ("--pinentry-mode", "loopback", "--passphrase", "")
    openpgp.gpg(*loopback, "--quick-add-key", openpgp["grown"], "ed25519", "sign", "never")
    (place / "with.gpg").write_bytes(openpgp.gpg("--export", openpgp["grown"]))
    by = sign(place, "--sign-by", openpgp["grown"])
    assert openpgp["grown"] not in by
    assert gpg_accepts(place, "with.gpg")
    state = (place / "b.tar.sums.asc").stat()
    assert sign(place, "--sign-by", openpgp["grown"]) == by
    assert (place / "b.tar.sums.asc").stat() == state
    said = done(place, "bundle", "verify", "b.tar", "--signed-by", "with.gpg")
    assert f"signed by OpenPGP key {openpgp['grown']}" in said


@pytest.mark.parametrize("file", ["b.tar.sums", "b.tar.sums.asc", "b.tar.sums.sig", "b.tar.001", "b.tar.002"])
def test_one_flipped_bit_is_refused_wherever_it_is(place: Path, file: str) -> None:
    put_signatures(place)
    keys_of = {"asc": [("--signed-by", "good.gpg")], "sig": [("--key", "my.pub")]}
    raw = (place / file).read_bytes()
    # In an armor: its body alone, which begins behind an empty line.
    start = raw.find(b"\n\n") + 2 if file.endswith(".asc") else 0
    end = raw.rfind(b"\n=") if file.endswith(".asc") else len(raw)
    # Where bits are in volumes, the tests of verify sweep.
    for offset in (start, (start + end) // 2, end - 4) if ".sums" in file else (start,):
        (place / file).write_bytes(raw[:offset] + bytes([raw[offset] ^ 1]) + raw[offset + 1 :])
        for options in keys_of.get(file[-3:], [*keys_of["asc"], *keys_of["sig"]]):
            ran = command(place, "bundle", "load", "b.tar", "--to", "oci:out", *options)
            assert ran.returncode == 1
            assert "transship: b.tar" in ran.stderr or f"{place}/b.tar" in ran.stderr
    assert not (place / "out").exists()


def test_a_bundle_is_signed_as_soon_as_it_is_made_and_not_again(place: Path, openpgp: Keys) -> None:
    before = files_of(place / "b.tar")
    making = ("bundle", "create", "week.json", "-o", "b.tar", "--split", "10K", "--progress", "none")
    by = ("--sign-by", openpgp["good"])
    # It is whole already, and gets what it lacks.
    assert f"signed by OpenPGP key {openpgp['good']}" in done(place, *making, *by)
    assert gpg_accepts(place)
    signed = files_of(place / "b.tar")
    states = {name: (place / name).stat() for name in signed}
    done(place, *making, *by)
    assert {name: (place / name).stat() for name in signed} == states
    # By another key.
    done(place, *making, "--sign-by", openpgp["other"])
    assert not gpg_accepts(place)
    assert gpg_accepts(place, "other.gpg")
    done(place, *making, *SIGSTORE)
    assert openssl_accepts(place)
    fresh = ("bundle", "create", "week.json", "-o", "fresh/b.tar", "--split", "10K", "--runs", "fresh/runs")
    (place / "fresh").mkdir()
    done(place, *fresh, *by)
    assert gpg_accepts(place, name="fresh/b.tar")
    after = files_of(place / "fresh/b.tar")
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"b.tar.sums.asc"}


def test_no_signature_of_an_older_bundle_stays_beside_a_new_one(place: Path) -> None:
    put_signatures(place)
    older = (place / "b.tar.sums").read_bytes()
    batch = json.loads((place / "week.json").read_text())
    (place / "week.json").write_text(json.dumps({**batch, "images": batch["images"][:1]}))
    making = ("bundle", "create", "week.json", "-o", "b.tar", "--split", "10K", "--progress", "none")
    done(place, *making)
    assert (place / "b.tar.sums").read_bytes() != older
    assert not (place / "b.tar.sums.asc").exists()
    assert not (place / "b.tar.sums.sig").exists()
    # As where somebody else put it there.
    (place / "b.tar.sums.sig").write_bytes(b"c3RhbGU=")
    assert "another key, or of something else" in refused(place, "bundle", "verify", "b.tar", "--key", "my.pub")
    done(place, *making, *SIGSTORE)
    assert openssl_accepts(place)


def test_killed_at_any_step_the_same_command_signs_it(place: Path, openpgp: Keys) -> None:
    words = ["bundle", "sign", str(place / "b.tar"), "--sign-by", openpgp["good"]]
    code, steps = forked(str(place), words)
    assert code == 0
    assert steps > 1
    whole = files_of(place / "b.tar")
    for k in range(1, steps + 1):
        (place / "b.tar.sums.asc").unlink()
        assert forked(str(place), words, k)[0] < 0
        done(place, *words)
        assert gpg_accepts(place)
        assert set(files_of(place / "b.tar")) == set(whole)
        assert not [name for name in os.listdir(place) if name.endswith(".partial")]


def test_what_is_damaged_is_not_signed(place: Path, openpgp: Keys) -> None:
    raw = (place / "b.tar.002").read_bytes()
    (place / "b.tar.002").write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    why = refused(place, "bundle", "sign", "b.tar", "--sign-by", openpgp["good"])
    assert "b.tar.002: damaged" in why
    # Nor by the command that has made it, and verified it then.
    making = ("bundle", "create", "week.json", "-o", "new.tar", "--progress", "none")
    done(place, *making)
    raw = (place / "new.tar").read_bytes()
    (place / "new.tar").write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    ran = command(place, *making, "--sign-by", openpgp["good"])
    assert ran.returncode == 1
    assert "new.tar: damaged" in ran.stderr
    assert not (place / "new.tar.sums.asc").exists()


BROKEN: dict[str, tuple[tuple[str, ...], int, str]] = {
    "no such key": (("--sign-by", "0" * 40), 2, "signing with key 000"),
    "no passphrase file": (("--sign-by", "LOCKED", "--sign-passphrase-file", "none"), 2, "none: cannot be read"),
    "a wrong passphrase": (("--sign-by", "LOCKED", "--sign-passphrase-file", "secret"), 2, "or a wrong passphrase"),
    "no key file": (("--sign-by-sigstore-private-key", "none", "--sign-passphrase-file", "secret"), 2, "cannot be"),
    "no key": (("--sign-by-sigstore-private-key", "my.pub", "--sign-passphrase-file", "secret"), 1, "PUBLIC KEY"),
    "another passphrase": (
        ("--sign-by-sigstore-private-key", "my.private", "--sign-passphrase-file", "phrase"),
        1,
        "passphrase",
    ),
    "a passphrase for two": (("--sign-by", "LOCKED", *SIGSTORE), 2, "goes with exactly one of"),
    "a passphrase for none": (("--sign-passphrase-file", "secret"), 2, "goes with exactly one of"),
    "no terminal": (("--sign-by-sigstore-private-key", "my.private"), 2, "no terminal to ask"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_key_that_cannot_sign_is_said_before_anything_is_made(place: Path, openpgp: Keys, case: str) -> None:
    words, code, why = BROKEN[case]
    openpgp.end_agent()
    words = tuple(openpgp["locked"] if word == "LOCKED" else word for word in words)
    making = ("bundle", "create", "week.json", "-o", "new.tar", "--runs", "elsewhere")
    assert why in refused(place, *making, *words, code=code)
    assert not (place / "new.tar").exists()
    assert not (place / "elsewhere").exists()
    assert why in refused(place, "bundle", "sign", "b.tar", *words, code=code)


def test_a_key_under_a_passphrase_signs_and_the_passphrase_is_nowhere(place: Path, openpgp: Keys) -> None:
    openpgp.end_agent()
    by = ("--sign-by", openpgp["locked"], "--sign-passphrase-file", "phrase")
    said = done(place, "bundle", "create", "week.json", "-o", "new.tar", "--runs", "elsewhere", *by)
    assert gpg_accepts(place, "locked.gpg", "new.tar")
    assert PASSPHRASE not in said
    for path in (place / "elsewhere").rglob("*"):
        assert not path.is_file() or PASSPHRASE.encode() not in path.read_bytes()


def test_to_sign_with_no_key_and_to_be_signed_by_none_are_errors(place: Path) -> None:
    assert "no key to sign with" in refused(place, "bundle", "sign", "b.tar", code=2)
    (place / "empty").write_bytes(b"")
    # Of several each is judged, and all that is not signed is named.
    done(place, "bundle", "create", "week.json", "-o", "more.tar", *SIGSTORE)
    ran = command(place, "bundle", "verify", "b.tar", "more.tar", "--key", "my.pub")
    assert ran.returncode == 1
    assert ran.stdout.startswith("more.tar: ")
    assert "transship: b.tar: not signed by a key that is accepted" in ran.stderr
    for options, why in (
        (("--key", "none.pub"), "none.pub: cannot be read"),
        (("--key", "my.private"), "expected a public key"),
        (("--key", "empty"), "empty"),
        (("--signed-by", "none.gpg"), "none.gpg: cannot be read"),
        (("--signed-by", "my.pub"), "no public key could be read"),
    ):
        assert why in refused(place, "bundle", "verify", "b.tar", *options, code=2)
    assert "no" in refused(place, "bundle", "verify", "none.tar", "--key", "my.pub", code=2)


def test_a_base_is_to_be_signed_too(place: Path, openpgp: Keys) -> None:
    more = write_batch(place, {**IMAGES})
    done(place, "bundle", "create", more.name, "-o", "new.tar", "--since", "b.tar", "--sign-by", openpgp["good"])
    words = ("bundle", "apply", "new.tar", "--base", "b.tar", "--to", "oci:out", "--signed-by", "good.gpg")
    assert "b.tar.sums.asc is not there" in command(place, *words).stderr
    assert not (place / "out").exists()
    sign(place, "--sign-by", openpgp["good"])
    done(place, *words)
