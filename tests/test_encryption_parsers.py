"""What reads the annotations of encrypted layers: whatever stands there, it is a value within bounds or an error."""

import base64
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jwcrypto import jwe as jose
from jwcrypto import jwk

from support.encryption_keys import KeyFolder
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError
from transship.pipeline.trust.encryption import annotations, jwe, pkcs7
from transship.pipeline.trust.encryption.annotations import KEYS, MAX_PACKET, MAX_PACKETS, PUBLIC, Public, Secret

B64 = st.binary(max_size=60).map(lambda raw: base64.b64encode(raw).decode())
TEXTS = st.text(max_size=40) | B64 | st.lists(B64, max_size=3).map(",".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | B64,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "cipher": st.just(annotations.CIPHER) | JSON,
        "hmac": st.binary(min_size=32, max_size=32).map(lambda raw: base64.b64encode(raw).decode()) | JSON,
        "cipheroptions": st.fixed_dictionaries({"nonce": B64 | JSON}) | JSON,
        "symkey": st.binary(min_size=32, max_size=32).map(lambda raw: base64.b64encode(raw).decode()) | JSON,
    },
)
with_keys = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


T = TypeVar("T")


def tried(call: Callable[[], T]) -> T | ContentError:
    try:
        return call()
    except ContentError as error:
        return error


def nothing(found: bytes | ContentError | None, or_this: bytes = b"") -> bool:
    """Say whether a packet was not opened, or gave ``or_this``, or was refused in words that name the layer."""
    return "layer x" in str(found) if isinstance(found, ContentError) else found in (None, or_this)


@given(st.dictionaries(st.sampled_from(["jwe", "pgp", "pkcs7", "provider.x", ""]).map(KEYS.__add__), TEXTS))
def test_wrapped_keys_are_read_or_refused(said: dict[str, str]) -> None:
    found = tried(lambda: annotations.wrapped_keys(said, "layer x"))
    if isinstance(found, ContentError):
        assert "layer x" in str(found)
        return
    for packets in found.values():
        assert len(packets) <= MAX_PACKETS
        assert all(len(packet) <= MAX_PACKET for packet in packets)


@given(OPTIONS | st.dictionaries(st.text(max_size=8), JSON, max_size=3), st.booleans())
def test_options_are_read_or_refused_and_a_secret_is_never_quoted(document: dict[str, object], public: bool) -> None:
    raw = json.dumps(document).encode()
    if public:
        said = tried(lambda: annotations.read_public({PUBLIC: base64.b64encode(raw).decode()}, "layer x"))
        assert len(said.mac) == 32 if isinstance(said, Public) else "layer x" in str(said)
        return
    secret = tried(lambda: annotations.read_secret(raw, Public(bytes(32), b""), "layer x"))
    if isinstance(secret, Secret):
        assert (len(secret.key), len(secret.nonce)) == (32, 16)
    else:
        assert str(secret) == f"layer x: the key that was unwrapped is no key of {annotations.CIPHER}"
        assert secret.__cause__ is None


def test_what_is_written_is_read_again() -> None:
    secret = Secret(b"k" * 32, b"n" * 16)
    said = annotations.made_annotations({"jwe": b"one", "pgp": b"two"}, b"m" * 32)
    public = annotations.read_public(said, "x")
    assert public == Public(b"m" * 32, b"")
    assert annotations.wrapped_keys(said, "x") == {"jwe": (b"one",), "pgp": (b"two",)}
    assert annotations.read_secret(annotations.secret_document(secret, Digest.of(b"")), public, "x") == secret


@pytest.mark.parametrize(
    "text", ["QUFB," * MAX_PACKETS + "QUFB", base64.b64encode(bytes(MAX_PACKET + 3)).decode(), "A\nA=", "é"]
)
def test_too_many_or_too_large_or_no_base64_is_refused(text: str) -> None:
    with pytest.raises(ContentError):
        annotations.wrapped_keys({f"{KEYS}jwe": text}, "layer x")


@pytest.fixture(scope="module")
def private(key_folder: KeyFolder) -> rsa.RSAPrivateKey:
    found = serialization.load_pem_private_key(Path(key_folder["rsa.pem"]).read_bytes(), None)
    assert isinstance(found, rsa.RSAPrivateKey)
    return found


@pytest.fixture(scope="module")
def key(private: rsa.RSAPrivateKey) -> jwk.JWK:
    return jwk.JWK.from_pyca(private)


@pytest.fixture(scope="module")
def packet(key: jwk.JWK) -> bytes:
    return jwe.wrap([(key, "RSA-OAEP")], b"a layer's key")


@with_keys
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
@example(b"{}")
@example(b'{"protected":1}')
@example(b'{"protected":"e30","recipients":[1,null]}')
def test_any_bytes_for_jwe_are_refused_or_for_no_key(key: jwk.JWK, raw: bytes) -> None:
    assert nothing(tried(lambda: jwe.unwrap(key, raw, "layer x")))


@with_keys
@given(st.sampled_from(["protected", "encrypted_key", "iv", "ciphertext", "tag", "header", "aad", "unprotected"]), JSON)
def test_a_jwe_with_another_part_gives_the_same_or_nothing(
    key: jwk.JWK, packet: bytes, part: str, value: object
) -> None:
    document = json.loads(packet)
    document[part] = value
    assert nothing(tried(lambda: jwe.unwrap(key, json.dumps(document).encode(), "layer x")), b"a layer's key")


@pytest.mark.parametrize("place", ["protected", "unprotected", "header", "recipients"])
def test_a_jwe_that_is_compressed_is_refused_before_it_is_opened(key: jwk.JWK, place: str) -> None:
    head = {"alg": "RSA-OAEP", "enc": "A256GCM"}
    made: Any = jose.JWE(bytes(1 << 20), protected=json.dumps({**head, "zip": "DEF"}))
    made.add_recipient(key)
    document = json.loads(made.serialize())
    assert len(zlib.compress(bytes(1 << 20))) < 2000
    if place != "protected":
        document["protected"] = base64.urlsafe_b64encode(json.dumps(head).encode()).decode().rstrip("=")
        one = {"encrypted_key": document["encrypted_key"], "header": {"zip": "DEF"}}
        document[place] = [one] if place == "recipients" else {"zip": "DEF"}
    with pytest.raises(ContentError, match="it is compressed"):
        jwe.unwrap(key, json.dumps(document).encode(), "layer x")


@pytest.mark.parametrize("name", ["RSA1_5", "dir", "A256KW", "PBES2-HS256+A128KW", "none"])
def test_other_algorithms_of_jose_open_nothing(key: jwk.JWK, packet: bytes, name: str) -> None:
    document = json.loads(packet)
    head = json.dumps({"alg": name, "enc": "A256GCM", "p2c": 1 << 30, "p2s": "AAAA"}).encode()
    document["protected"] = base64.urlsafe_b64encode(head).decode().rstrip("=")
    assert jwe.unwrap(key, json.dumps(document).encode(), "layer x") is None


def test_a_jwe_for_more_than_anybody_tries_is_refused(key: jwk.JWK, packet: bytes) -> None:
    document = json.loads(packet)
    document["recipients"] = [{}] * 65
    with pytest.raises(ContentError, match="recipients"):
        jwe.unwrap(key, json.dumps(document).encode(), "layer x")


@pytest.fixture(scope="module")
def enveloped(key_folder: KeyFolder) -> bytes:
    certificate = x509.load_pem_x509_certificate(Path(key_folder["rsa.crt"]).read_bytes())
    return pkcs7.wrap([certificate], b"a layer's key")


@with_keys
@given(st.binary(max_size=200))
@example(b"")
@example(b"\x30\x80" * 100)
@example(b"\x30\x84\xff\xff\xff\xff")
def test_any_bytes_for_pkcs7_are_refused_or_for_no_key(private: rsa.RSAPrivateKey, raw: bytes) -> None:
    assert nothing(tried(lambda: pkcs7.unwrap(private, raw, "layer x")))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(st.data())
def test_a_changed_byte_of_pkcs7_gives_the_same_or_nothing(
    private: rsa.RSAPrivateKey, enveloped: bytes, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(enveloped) - 1))
    raw = bytearray(enveloped)
    raw[place] ^= data.draw(st.integers(1, 255))
    assert nothing(tried(lambda: pkcs7.unwrap(private, bytes(raw), "layer x")), b"a layer's key")


def test_what_openssl_envelopes_is_opened_too(
    private: rsa.RSAPrivateKey, key_folder: KeyFolder, tmp_path: Path
) -> None:
    import subprocess  # noqa: PLC0415

    (tmp_path / "plain").write_bytes(b"a layer's key")
    for cipher in ("-aes128", "-aes256"):
        words = ["openssl", "smime", "-encrypt", "-binary", cipher, "-outform", "DER", "-in", "plain"]
        made = subprocess.run(
            [*words, key_folder["rsa.crt"]], cwd=tmp_path, check=True, capture_output=True, timeout=60
        )
        assert pkcs7.unwrap(private, made.stdout, "layer x") == b"a layer's key"
