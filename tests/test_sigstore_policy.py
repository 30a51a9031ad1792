"""Requirements `sigstoreSigned`: whose signatures count, and what is refused though it looks like one."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from support.sigstore import (
    EMAIL,
    ISSUER,
    payload_of,
    signed,
)
from support.sigstore_policy import (
    GOOD,
    IMAGE,
    KEY,
    LOG,
    NAME,
    OTHER,
    PAYLOAD,
    PEM,
    altered,
    by_fulcio,
    by_key,
    by_pki,
    check,
    first_of,
    public,
    refused,
    text_of,
)
from transship.pipeline.errors import RefusedError, UsageError
from transship.pipeline.signature import SigstoreSignature
from transship.pipeline.trust.identity import (
    Exact,
    Identity,
    RepoDigestOrExact,
    Repository,
    exact_reference,
    exact_repository,
    remapped,
)
from transship.pipeline.trust.requirements import Fulcio, Keys, SigstoreSigned
from transship.pipeline.trust.sigstore import keys


def test_one_signature_by_one_of_the_keys_is_enough_and_the_key_is_named() -> None:
    wanted = f"key {keys.fingerprint(KEY.public_key())}"
    assert check(by_key(), GOOD) == wanted
    assert check(by_key(), altered(GOOD, signature=text_of(GOOD)[:60] + "\n" + text_of(GOOD)[60:] + "\r\n")) == wanted
    assert check(by_key(OTHER, KEY), signed(keys.fresh(), PAYLOAD), GOOD) == wanted


@pytest.mark.parametrize(
    ("identity", "signed_as", "asked_as"),
    [
        (RepoDigestOrExact(), NAME, f"registry.example/team/app@{IMAGE.digest}"),
        (Exact(), NAME, NAME),
        (Repository(), "registry.example/team/app:other", NAME),
        (exact_reference("vendor.example/app:v1"), "vendor.example/app:v1", NAME),
        (exact_repository("vendor.example/app"), "vendor.example/app:v9", NAME),
        (remapped("registry.example/team", "vendor.example"), "vendor.example/app:v1", NAME),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_every_kind_of_identity_accepts_its_names_and_no_others(
    identity: Identity, signed_as: str, asked_as: str
) -> None:
    what = by_key(identity=identity)
    assert check(what, signed(KEY, payload_of(IMAGE.digest, signed_as)), name=asked_as)
    other = signed(KEY, payload_of(IMAGE.digest, "evil.example/app:v1"))
    assert "evil.example/app:v1" in refused(what, other, name=asked_as)


def test_other_keys_digests_names_payloads_and_signatures_are_refused() -> None:
    assert "not by a key" in refused(by_key(OTHER), GOOD)
    digest = "sha256:" + "0" * 64
    assert digest in refused(by_key(), signed(KEY, payload_of(digest, NAME)))
    assert "identity" in refused(by_key(), GOOD, name="registry.example/team/app:v2")
    assert "not by a key" in refused(by_key(), GOOD._replace(payload=PAYLOAD.replace(b":v1", b":v2")))
    raw = base64.b64decode(text_of(GOOD))
    for bad in (raw + b"\0", raw[:-1], b"", bytes([raw[0] ^ 1]) + raw[1:]):
        assert refused(by_key(), altered(GOOD, signature=base64.b64encode(bad).decode()))
    for text in (text_of(GOOD) + " ", text_of(GOOD) + "AAAA", "!" + text_of(GOOD), "é"):
        assert refused(by_key(), altered(GOOD, signature=text))


def test_attestations_and_what_has_no_signature_do_not_count() -> None:
    assert "no signature" in refused(by_key(), GOOD._replace(media_type="application/vnd.dsse.envelope.v1+json"))
    assert "no signature" in refused(by_key(), GOOD._replace(annotations={}))


@pytest.mark.parametrize(
    "payload",
    [
        PAYLOAD + b"{}",
        PAYLOAD + b" x",
        PAYLOAD.replace(b'"critical"', b'"Critical"'),
        PAYLOAD.replace(b'{"critical"', b'{"critical":{},"critical"'),
        PAYLOAD.replace(b'"optional"', b'"more":1,"optional"'),
        PAYLOAD.replace(b"cosign container image signature", b"atomic container signature"),
        PAYLOAD.replace(b'"docker-reference"', b'"docker-reference":"a","docker-reference"'),
        b"",
        b"[]",
    ],
    ids=range(9),
)
def test_a_payload_that_could_be_read_in_two_ways_is_refused_though_it_is_signed(payload: bytes) -> None:
    refused(by_key(), signed(KEY, payload))


def test_a_key_of_another_kind_is_not_confused_with_the_one_that_signed() -> None:
    rsa_key, edwards = rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()
    for mine in (rsa_key, edwards, ec.generate_private_key(ec.SECP384R1())):
        assert check(by_key(mine), signed(mine, PAYLOAD))
        assert "not by a key" in refused(by_key(mine), GOOD)
        assert "not by a key" in refused(by_key(KEY), signed(mine, PAYLOAD))


@pytest.mark.parametrize(
    "what",
    [
        by_key()._replace(keys=Keys(paths=("/no/such/key.pub",))),
        by_key()._replace(keys=Keys(datas=(b"x",))),
        by_key()._replace(rekor=Keys(datas=(b"x",))),
        by_key()._replace(rekor=public(ed25519.Ed25519PrivateKey.generate())),
        SigstoreSigned(Keys(), Fulcio(Keys(datas=(b"x",)), ISSUER, EMAIL), None, Keys(datas=(LOG.pem,)), Exact()),
        SigstoreSigned(Keys(), Fulcio(Keys(datas=(PEM,)), ISSUER, EMAIL), None, Keys(datas=(LOG.pem,)), Exact()),
        by_pki(mail=EMAIL, between="x"),
    ],
    ids=range(7),
)
def test_a_policy_whose_keys_cannot_be_read_is_an_error_and_accepts_nothing(what: SigstoreSigned) -> None:
    with pytest.raises(UsageError):
        check(what, GOOD)


def test_an_image_without_a_name_matches_only_a_name_that_the_policy_gives() -> None:
    with pytest.raises(RefusedError, match="without a name"):
        first_of(by_key(), [GOOD], None)
    assert first_of(by_key(identity=exact_reference(NAME)), [GOOD], None)


@given(bundle=st.text(max_size=200), signature=st.text(max_size=100), certificate=st.text(max_size=200))
def test_any_annotations_are_accepted_or_refused_and_nothing_else(
    bundle: str, signature: str, certificate: str
) -> None:
    whole = altered(fulcio_shape(certificate), bundle=bundle, signature=signature)
    for what in (by_key(), by_key(log=LOG), by_fulcio(), by_pki(mail=EMAIL)):
        refused(what, whole)


def fulcio_shape(certificate: str) -> SigstoreSignature:
    names = ("dev.sigstore.cosign/certificate", "dev.sigstore.cosign/chain")
    return GOOD._replace(annotations={**GOOD.annotations, **dict.fromkeys(names, certificate)})
