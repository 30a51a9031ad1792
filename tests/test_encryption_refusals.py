"""What is refused of keys and of encrypted layers: one line each, and nothing is left; no secret is shown anywhere."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.command import ARGUMENTS, command, environment
from support.encryption_keys import LOCKED_PERSON, PASSPHRASE
from support.images import ImageBytes, write_layout
from test_encryption import ENC, IMAGE, Files, files
from transship.pipeline.digest import Digest
from transship.pipeline.trust.encryption.annotations import Secret
from transship.pipeline.trust.encryption.decryption_keys import load_decryption_keys

__all__ = ["files"]
PUBOPTS = f"{ENC}pubopts"


def failed(files: Files, capsys: pytest.CaptureFixture[str], *words: str, **keys: tuple[str, ...]) -> str:
    """Copy what cannot be copied; return the one line that is said."""
    before = sorted(os.listdir(files.folder))
    assert files.copy("sealed", "out", *words, **keys) == 1
    assert sorted(os.listdir(files.folder)) == before
    [line] = capsys.readouterr().err.splitlines()
    return line


@pytest.fixture
def sealed(files: Files) -> Files:
    assert files.copy("src", "sealed", encrypt=("jwe:{rsa.pub}", "pkcs7:{rsa.crt}", f"pgp:{LOCKED_PERSON}")) == 0
    return files


def changed(files: Files, change: Callable[[dict[str, Any], bytes], bytes]) -> None:
    """Let ``change`` spoil the first layer's descriptor and bytes; every digest is made right again after it."""
    document = files.manifest("sealed")
    layer = document["layers"][0]
    blobs = {Digest.parse(one["digest"]): files.blob("sealed", one["digest"]) for one in document["layers"][1:]}
    blobs[Digest.parse(document["config"]["digest"])] = files.blob("sealed", document["config"]["digest"])
    raw = change(layer, files.blob("sealed", layer["digest"]))
    layer |= {"digest": str(Digest.of(raw)), "size": len(raw)}
    shutil.rmtree(files.folder / "sealed")
    made = ImageBytes(json.dumps(document).encode(), document["mediaType"], {**blobs, Digest.of(raw): raw})
    write_layout(files.folder / "sealed", {"v1": made})


def flip(_layer: dict[str, Any], raw: bytes) -> bytes:
    return raw[:100] + bytes([raw[100] ^ 1]) + raw[101:]


def options(layer: dict[str, Any], **new: object) -> None:
    found = json.loads(base64.b64decode(layer["annotations"][PUBOPTS]))
    layer["annotations"][PUBOPTS] = base64.b64encode(json.dumps({**found, **new}).encode()).decode()


def other_mac(layer: dict[str, Any], raw: bytes) -> bytes:
    options(layer, hmac=base64.b64encode(bytes(32)).decode())
    return raw


def other_cipher(layer: dict[str, Any], raw: bytes) -> bytes:
    options(layer, cipher="ROT13")
    return raw


def other_nonce(layer: dict[str, Any], raw: bytes) -> bytes:
    options(layer, cipheroptions={"nonce": base64.b64encode(bytes(16)).decode()})
    return raw


def no_options(layer: dict[str, Any], raw: bytes) -> bytes:
    del layer["annotations"][PUBOPTS]
    return raw


def no_keys(layer: dict[str, Any], raw: bytes) -> bytes:
    layer["annotations"] = {PUBOPTS: layer["annotations"][PUBOPTS]}
    return raw


def no_base64(layer: dict[str, Any], raw: bytes) -> bytes:
    layer["annotations"][f"{ENC}keys.jwe"] = "***"
    return raw


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (flip, "does not match the HMAC"),
        (lambda _, raw: raw[:-1], "does not match the HMAC"),
        (lambda _, raw: raw + b"x", "does not match the HMAC"),
        (lambda _, _raw: b"", "does not match the HMAC"),
        (other_mac, "does not match the HMAC"),
        (other_cipher, "cipher 'ROT13' is not known"),
        (other_nonce, "layer sha256:"),
        (no_options, "pubopts is missing"),
        (no_keys, "is encrypted by nobody"),
        (no_base64, "not base64"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_layer_that_was_changed_is_refused_by_name(
    sealed: Files, change: Callable[[dict[str, Any], bytes], bytes], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(sealed, change)
    for words in ((), ("--dest-decompress",)):
        line = failed(sealed, capsys, *words, decrypt=("{rsa.pem}",))
        assert said in line
        assert sealed.manifest("sealed")["layers"][0]["digest"] in line


def test_bytes_that_are_not_their_digest_are_refused_before_the_key_is_of_use(
    sealed: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = sealed.manifest("sealed")["layers"][0]["digest"]
    path = sealed.folder / "sealed/blobs/sha256" / digest.removeprefix("sha256:")
    path.write_bytes(flip({}, path.read_bytes()))
    assert digest in failed(sealed, capsys, decrypt=("{rsa.pem}",))
    path.write_bytes(path.read_bytes()[:-1])
    assert digest in failed(sealed, capsys, decrypt=("{rsa.pem}",))


def test_another_layer_encrypted_in_its_place_is_found_by_the_diff_id(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    document: Any = json.loads(IMAGE.manifest_raw)
    document["layers"] = document["layers"][::-1]
    write_layout(
        files.folder / "wrong", {"v1": ImageBytes(json.dumps(document).encode(), IMAGE.media_type, IMAGE.blobs)}
    )
    assert files.copy("wrong", "sealed", encrypt=("jwe:{rsa.pub}",)) == 0
    assert "the config's diff ID says" in failed(files, capsys, decrypt=("{rsa.pem}",))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (("{stranger.pem}",), "none of the keys opens it (tried: stranger.pem)"),
        (("{rsa.crt}",), "none of the keys opens it (tried: none)"),
        (("{ann.sec}", "{ec.pem}"), "none of the keys opens it (tried: ann.sec, ec.pem)"),
        (("{bob.sec}",), "bob.sec: it needs a passphrase"),
        (("{bob.sec}:wrong",), "bob.sec: its passphrase is wrong"),
        (("{locked.pem}",), "it needs a passphrase"),
        (("{locked.pem}:wrong",), "its passphrase is wrong"),
        (("{locked8.pem}:pass=wrong",), "its passphrase is wrong"),
        (("{locked8.pem}:fd=99",), "cannot be read from fd=99"),
        (("{locked8.pem}:file=/none",), "key file: /none: cannot be read: No such file"),
        (("{rsa.pub}",), "no private key"),
        (("{passphrase}",), "no private key"),
        (("/none.pem",), "key file: /none.pem: cannot be read: No such file"),
        (("",), "names no key"),
        ((":x",), "names no file"),
        (("provider:x:y",), "key providers are not built"),
        (("pkcs11:x",), "PKCS #11"),
    ],
    ids=lambda value: "" if isinstance(value, tuple) else value.strip("/"),
)
def test_a_key_that_opens_nothing_is_one_line(
    sealed: Files, keys: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = failed(sealed, capsys, decrypt=keys)
    assert said in line
    assert "wrong:" not in line


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("rsa.pub", "no protocol"),
        ("rot13:rsa.pub", "unknown protocol"),
        ("jwe:{rsa.pem}", "no public key"),
        ("jwe:{rsa.crt}", "no public key"),
        ("jwe:/none", "key file: /none: cannot be read: No such file"),
        ("pkcs7:{rsa.pub}", "no X.509 certificate"),
        ("pkcs7:{ec.crt}", "its key is not RSA"),
        ("pgp:ann", "no key of that name or address"),
        ("pgp:--help", "no key of that name or address"),
        ("provider:x", "key providers are not built"),
        ("pkcs11:x", "PKCS #11"),
    ],
)
def test_a_recipient_that_is_none_is_one_line_and_nothing_is_written(
    files: Files, key: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert files.copy("src", "sealed", encrypt=(key,)) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert said in line
    assert sorted(os.listdir(files.folder)) == ["src"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--encryption-key=jwe:{rsa.pub}", "--decryption-key={rsa.pem}"], "cannot be specified together"),
        (["--encrypt-layer=0"], "goes with --encryption-key"),
        (["--encryption-key=jwe:{rsa.pub}", "--encrypt-layer=x"], "no number of a layer"),
        (["--encryption-key=jwe:{rsa.pub}", "--format=v2s2"], "no encrypted layers"),
        (["--encryption-key=jwe:{rsa.pub}", "--dest-compress-format=zstd:chunked"], "of no use in an encrypted layer"),
        (["--encryption-key=jwe:{rsa.pub}", "--preserve-digests"], "cannot be preserved"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_options_that_contradict_each_other_are_an_error(
    files: Files, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert files.copy("src", f"dir:{files.folder}/out", *map(files.named, words)) == 1
    assert said in capsys.readouterr().err
    assert sorted(os.listdir(files.folder)) == ["src"]


@pytest.mark.parametrize(
    "form", ["{locked.pem}:file={passphrase}", "{bob.sec}:file={passphrase}", "{locked8.pem}:fd=7"]
)
def test_a_passphrase_is_in_no_argument_of_a_child_no_output_and_no_file(
    sealed: Files, form: str, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    handle = os.open(sealed.keys["passphrase"], os.O_RDONLY)
    try:
        done = subprocess.run(
            ["strace", "-f", "-s", "65536", "-v", "-e", "trace=execve", "-o", str(trace), *ARGUMENTS, "--debug", "copy",
             f"--decryption-key={sealed.named(form)}", sealed.place("sealed"), sealed.place("out")],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
            preexec_fn=lambda: os.dup2(handle, 7),
            close_fds=False,
        )  # fmt: skip
    finally:
        os.close(handle)
    assert sealed.plain("out")
    said = trace.read_text() + done.stdout + done.stderr
    assert "execve" in said
    assert ("gpg" in said) == ("bob" in form)
    found = [path for path in sealed.folder.rglob("*") if path.is_file() and PASSPHRASE.encode() in path.read_bytes()]
    assert PASSPHRASE not in said
    assert found == []


def test_a_wrong_passphrase_is_in_no_message_and_no_secret_in_what_python_shows(sealed: Files) -> None:
    done = command(
        sealed.folder, "--debug", "copy", sealed.named("--decryption-key={locked.pem}:pass=planted-9217"),
        sealed.place("sealed"), sealed.place("out"),
    )  # fmt: skip
    assert done.returncode == 1
    assert "planted" not in done.stdout + done.stderr
    [key] = load_decryption_keys([sealed.named(f"{{bob.sec}}:{PASSPHRASE}")])
    assert PASSPHRASE not in repr(key)
    assert "k" * 32 not in repr(Secret(b"k" * 32, bytes(16)))


def test_without_the_extra_it_says_what_to_install(
    files: Files, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys  # noqa: PLC0415

    for name in [name for name in sys.modules if name.startswith("transship.pipeline.trust.encryption.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jwcrypto", None)
    assert files.copy("src", "sealed", encrypt=("jwe:{rsa.pub}",)) == 1
    assert "pip install 'transship[trust]'" in capsys.readouterr().err
    assert sorted(os.listdir(files.folder)) == ["src"]
