"""Keys of sigstore: the pair that is made, what is read, what is refused."""

import base64
import errno
import json
import os
import stat
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from support.command import command, tree
from transship.pipeline.cli import generate_sigstore_key as generating
from transship.pipeline.cli.main import main
from transship.pipeline.errors import ContentError, DeniedError, Error, UsageError
from transship.pipeline.trust.material import passphrase
from transship.pipeline.trust.sigstore import keys, pem, sealed

SECRET = "correct horse 77"


@pytest.fixture(scope="module")
def pair() -> tuple[bytes, bytes]:
    return keys.generate(SECRET.encode())


def rewritten(private: bytes, **changes: object) -> bytes:
    """Return the key with parts of its JSON exchanged; dots lead below."""
    label, raw = pem.block(private, "key")
    document = json.loads(raw)
    for path, value in changes.items():
        *above, last = path.split("__")
        at = document
        for key in above:
            at = at[key]
        at[last] = value
    return pem.written(label, json.dumps(document).encode())


def test_a_pair_is_made_for_the_owner_alone_and_says_where_as_skopeo_does(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\nanother line\n")
    words = ("generate-sigstore-key", "--output-prefix", "my", "--passphrase-file", "secret")
    done = command(tmp_path, *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, 'Key written to "my.private" and "my.pub"\n', "")
    assert stat.S_IMODE((tmp_path / "my.private").stat().st_mode) == 0o600
    private, public = ((tmp_path / f"my.{kind}").read_bytes() for kind in ("private", "pub"))
    key = keys.private_key(private, SECRET.encode(), "my")
    assert keys.public_pem(key.public_key()) == public
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"
    assert private.startswith(b"-----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----\n")
    assert SECRET not in private.decode() + base64.b64decode(private.split(b"-----")[2]).decode()


@pytest.mark.parametrize("kind", ["private", "pub"])
def test_a_key_that_is_there_is_never_overwritten(tmp_path: Path, kind: str) -> None:
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / f"my.{kind}").write_text("mine")
    before = tree(tmp_path)
    done = command(tmp_path, "generate-sigstore-key", "--output-prefix", "my", "--passphrase-file", "secret")
    assert done.returncode == 1
    assert f'Refusing to overwrite existing "my.{kind}"' in done.stderr
    assert tree(tmp_path) == before


def test_without_a_terminal_and_a_file_nothing_is_made(tmp_path: Path) -> None:
    done = command(tmp_path, "generate-sigstore-key", "--output-prefix", "my")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "--passphrase-file" in done.stderr
    assert command(tmp_path, "generate-sigstore-key").returncode == 1
    assert not tree(tmp_path)


def test_half_a_pair_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    before, real, written = tree(tmp_path), generating.write_all, list[bytes]()

    def full(handle: int, raw: bytes) -> None:
        written.append(raw)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle, raw)

    monkeypatch.setattr(generating, "write_all", full)
    monkeypatch.chdir(tmp_path)
    assert main(["generate-sigstore-key", "--output-prefix", "my", "--passphrase-file", "secret"]) == 1
    assert "my.pub" in capsys.readouterr().err
    assert tree(tmp_path) == before


def test_the_passphrase_is_asked_for_at_a_terminal(tmp_path: Path) -> None:
    import pty  # noqa: PLC0415

    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        from support.command import environment  # noqa: PLC0415

        words = ["-m", "transship.pipeline.cli.main", "generate-sigstore-key", "--output-prefix", "my"]
        os.execve(sys.executable, [sys.executable, *words], environment())
    heard = b""
    until = time.monotonic() + 60
    while b"Passphrase for key my.private: " not in heard and time.monotonic() < until:
        heard += os.read(terminal, 1024)
    os.write(terminal, f"{SECRET}\n".encode())
    try:
        while part := os.read(terminal, 1024):
            heard += part
    except OSError:
        pass
    assert os.waitpid(pid, 0)[1] == 0, heard
    os.close(terminal)
    assert SECRET.encode() not in heard
    keys.private_key((tmp_path / "my.private").read_bytes(), SECRET.encode(), "my")


@pytest.mark.parametrize("label", ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"])
@pytest.mark.parametrize("cost", [1 << 15, 1 << 16, 1 << 17])
def test_both_labels_and_the_costs_of_all_versions_are_read(
    label: str, cost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed, "_COST", cost)
    private, _ = keys.generate(b"")
    assert f'"N":{cost},' in pem.block(private, "key").raw.decode()
    keys.private_key(pem.written(label, pem.block(private, "key").raw), b"", "key")


@pytest.mark.parametrize("kind", ["rsa", "ed25519", "p384"])
def test_other_kinds_of_keys_sign_and_verify(kind: str) -> None:
    made = {
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    }[kind]()
    form = serialization
    der = made.private_bytes(form.Encoding.DER, form.PrivateFormat.PKCS8, form.NoEncryption())
    read = keys.private_key(pem.written("ENCRYPTED SIGSTORE PRIVATE KEY", sealed.seal(der, b"x")), b"x", "key")
    signature = keys.sign(read, b"message")
    public = keys.public_key(keys.public_pem(read.public_key()), "key")
    assert keys.signed_by(public, signature, b"message")
    assert not keys.signed_by(public, signature, b"another")
    assert not keys.signed_by(keys.fresh().public_key(), signature, b"message")


def test_a_wrong_passphrase_and_a_changed_byte_are_refused_without_a_word_of_the_secret(
    pair: tuple[bytes, bytes],
) -> None:
    ciphertext = json.loads(pem.block(pair[0], "key").raw)["ciphertext"]
    damaged = base64.b64encode(base64.b64decode(ciphertext)[:-1] + b"x").decode()
    for private, said in ((pair[0], b"wrong 4711"), (rewritten(pair[0], ciphertext=damaged), SECRET.encode())):
        with pytest.raises(DeniedError) as caught:
            keys.private_key(private, said, "my.private")
        assert "passphrase is wrong" in str(caught.value)
        assert caught.value.__cause__ is None
        assert "4711" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"kdf__name": "argon2"},
        {"cipher__name": "none"},
        {"kdf__params__N": 1 << 30},
        {"kdf__params__N": 2},
        {"kdf__params__N": "32768"},
        {"kdf__params__r": 1 << 20},
        {"kdf__params__p": 2},
        {"kdf__salt": ""},
        {"kdf__salt": "!"},
        {"cipher__nonce": "AAAA"},
        {"ciphertext": None},
        {"kdf": []},
    ],
    ids=str,
)
def test_parameters_that_no_tool_writes_are_refused(pair: tuple[bytes, bytes], changes: dict[str, object]) -> None:
    with pytest.raises(ContentError):
        keys.private_key(rewritten(pair[0], **changes), SECRET.encode(), "key")


def weak(kind: str) -> bytes:
    made = {
        "rsa": lambda: rsa.generate_private_key(65537, 1024),
        "curve": lambda: ec.generate_private_key(ec.SECP256K1()),
    }[kind]()
    public = made.public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN PUBLIC KEY-----\nA\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "rsa",
        "curve",
        b"x" * (pem.MAX_PEM + 1),
    ],
    ids=lambda raw: repr(raw[:12]),
)
def test_what_is_no_public_key_or_a_weak_one_is_refused(raw: bytes | str) -> None:
    with pytest.raises(ContentError):
        keys.public_key(weak(raw) if isinstance(raw, str) else raw, "key.pub")


def test_of_two_keys_in_one_file_none_is_taken(pair: tuple[bytes, bytes]) -> None:
    _, other = keys.generate(b"")
    with pytest.raises(ContentError, match="2 PEM blocks"):
        keys.public_key(pair[1] + other, "key.pub")
    assert keys.fingerprint(keys.public_key(b"my key:\n" + pair[1], "key.pub"))


def test_an_unencrypted_key_is_refused() -> None:
    form = serialization
    raw = keys.fresh().private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    with pytest.raises(ContentError, match="expected an encrypted key"):
        keys.private_key(raw, b"", "key")


def test_a_passphrase_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    for raw, found in ((b"a b\nc", b"a b"), (b"", b""), (b"a\r\n", b"a\r"), (b"\n", b"")):
        (tmp_path / "file").write_bytes(raw)
        assert passphrase(str(tmp_path / "file"), "key") == found
    (tmp_path / "file").write_bytes(b"x" * (5 << 20))
    for name in ("file", "none"):
        with pytest.raises(UsageError):
            passphrase(str(tmp_path / name), "key")


@given(st.binary(max_size=300))
def test_any_bytes_are_a_key_or_an_error(raw: bytes) -> None:
    for text in (raw, pem.written("PUBLIC KEY", raw), pem.written("ENCRYPTED SIGSTORE PRIVATE KEY", raw)):
        for read in (lambda text: keys.public_key(text, "key"), lambda text: keys.private_key(text, b"", "key")):
            with pytest.raises(Error):
                read(text)


@given(st.lists(st.tuples(st.sampled_from(["A", "B C"]), st.binary(max_size=200)), min_size=1, max_size=4))
def test_pem_is_read_as_it_is_written(wanted: list[tuple[str, bytes]]) -> None:
    raw = b"".join(pem.written(label, data) for label, data in wanted)
    assert pem.blocks(raw, "file") == wanted
    with pytest.raises(ContentError):
        pem.blocks(raw + b"x", "file")
    assert pem.blocks(b"words\n" + raw, "file", text=True) == wanted
