"""What a signature says, and the files that hold one: read strictly, written as other tools write it."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError
from transship.pipeline.signature import SigstoreSignature, SimpleSignature, from_file, to_file
from transship.pipeline.trust.payload import SIGSTORE, SIMPLE, Payload, parse, write

DIGEST = Digest.of(b"manifest")
GOOD = {
    "critical": {
        "type": SIMPLE,
        "image": {"docker-manifest-digest": str(DIGEST)},
        "identity": {"docker-reference": "registry.example/app:v1"},
    },
    "optional": {"creator": "atomic 5", "timestamp": 1458239713, "more": {"any": ["thing"]}},
}


def raw(**critical: object) -> bytes:
    return json.dumps({**GOOD, "critical": {**GOOD["critical"], **critical}}).encode()


@given(
    st.builds(
        Payload,
        st.binary().map(Digest.of),
        st.text(min_size=1, max_size=40),
        st.none() | st.text(min_size=1, max_size=9),
        st.none() | st.integers(0, 1 << 40),
    ),
    st.sampled_from([SIMPLE, SIGSTORE]),
)
def test_what_is_written_is_read_again(payload: Payload, kind: str) -> None:
    assert parse(write(payload, kind), kind, "payload") == payload


def test_a_payload_is_spelt_as_other_tools_spell_it() -> None:
    assert write(Payload(DIGEST, "registry.example/app:v1", "atomic 5", 7), SIMPLE) == (
        b'{"critical":{"identity":{"docker-reference":"registry.example/app:v1"},'
        b'"image":{"docker-manifest-digest":"' + str(DIGEST).encode() + b'"},'
        b'"type":"atomic container signature"},"optional":{"creator":"atomic 5","timestamp":7}}'
    )


def test_more_words_of_the_signer_are_passed_over() -> None:
    assert parse(raw(), SIMPLE, "payload") == Payload(DIGEST, "registry.example/app:v1", "atomic 5", 1458239713)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (raw() + b" {}", "not JSON"),
        (raw() + b"\0", "not JSON"),
        (raw()[:-1], "not JSON"),
        (b"[]", "expected a JSON object"),
        (raw(type="another"), "type 'another'"),
        (raw(type=SIGSTORE), "type 'cosign container image signature'"),
        (raw(type=[SIMPLE]), "type"),
        (raw(extra=1), "unknown key 'extra'"),
        (raw().replace(b'"critical"', b'"Critical"'), "unknown key 'Critical'"),
        (raw().replace(b'"identity": {', b'"Identity": {}, "identity": {'), "differ in case alone"),
        (raw().replace(b'"type": ', b'"type": "x", "type": ', 1), "stands twice"),
        (raw().replace(b'{"critical"', b'{"optional": {}, "critical"'), "stands twice"),
        (raw().replace(b'"docker-reference"', b'"docker-reference": "b", "docker-reference"'), "stands twice"),
        (raw(image={}), "'docker-manifest-digest' is missing"),
        (raw(image={"docker-manifest-digest": str(DIGEST), "x": 1}), "unknown key 'x'"),
        (raw(image={"docker-manifest-digest": str(DIGEST).upper()}), "not a digest"),
        (raw(image={"docker-manifest-digest": "sha256:00"}), "not a digest"),
        (raw(image=None), "critical.image is no object"),
        (raw(identity={"docker-reference": ""}), "docker-reference is no string, or empty"),
        (raw(identity={"docker-reference": 1}), "docker-reference is no string, or empty"),
        (json.dumps({"critical": GOOD["critical"]}).encode(), "'optional' is missing"),
        (json.dumps({**GOOD, "optional": None}).encode(), "optional is no object"),
        (json.dumps({**GOOD, "optional": {"timestamp": 1.5}}).encode(), "timestamp is no whole number"),
        (json.dumps({**GOOD, "optional": {"timestamp": True}}).encode(), "timestamp is no whole number"),
        (json.dumps({**GOOD, "optional": {"creator": 1}}).encode(), "creator is no string"),
        (b"\xef\xbb\xbf" + raw(), "payload"),
        (raw().replace(b"registry", b"\xff"), "not UTF-8"),
        (raw() + b" " * (64 << 10), "over the limit"),
    ],
)
def test_what_another_reader_could_take_otherwise_is_refused(bad: bytes, reason: str) -> None:
    with pytest.raises(ContentError, match=r".") as caught:
        parse(bad, SIMPLE, "payload")
    assert reason in str(caught.value)
    assert str(caught.value).startswith("payload: ")


@given(st.binary(max_size=300))
@example(raw())
def test_any_bytes_are_read_or_refused_in_one_line(data: bytes) -> None:
    try:
        found = parse(data, SIMPLE, "payload")
    except ContentError as refused:
        line = str(refused)
    else:
        line = found.reference and "payload"
    assert line.startswith("payload")
    assert "\n" not in line


def test_cosign_leaves_out_what_is_optional() -> None:
    bare = raw(type=SIGSTORE).replace(json.dumps(GOOD["optional"]).encode(), b"null")
    assert parse(bare, SIGSTORE, "payload") == Payload(DIGEST, "registry.example/app:v1")


@given(
    st.builds(
        SigstoreSignature,
        st.text(max_size=20),
        st.binary(max_size=60),
        st.dictionaries(st.text(max_size=9).map(str.casefold), st.text(max_size=20), max_size=3),
    )
)
def test_a_sigstore_signature_survives_its_file(signature: SigstoreSignature) -> None:
    assert from_file(to_file(signature), "signature-1") == signature


def test_the_file_of_an_openpgp_signature_is_its_bytes() -> None:
    for first in (0xA3, 0x90, 0xC4, 0x88):
        data = bytes((first,)) + b"rest"
        assert to_file(from_file(data, "signature-1")) == data
    assert from_file(b"\0simple-signing\nanything", "signature-1") == SimpleSignature(b"anything")


def test_the_file_of_a_sigstore_signature_is_spelt_as_other_tools_spell_it() -> None:
    signature = SigstoreSignature("text/x", b"{}", {"b": "<&>", "a": "\u00e9"})
    assert to_file(signature) == (
        '\0sigstore-json\n{"mimeType":"text/x","payload":"e30=",'
        '"annotations":{"a":"\u00e9","b":"\\u003c\\u0026\\u003e"}}'.encode()
    )


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"", "is empty"),
        (b"-----BEGIN PGP MESSAGE-----", "begins with byte 0x2d"),
        (b"\0sigstore-json", "unknown form"),
        (b"\0another\n{}", "unknown form of signature 'another'"),
        (b"\0sigstore-json\n{}", "mimeType or payload is missing"),
        (b'\0sigstore-json\n{"mimeType":"a","payload":"!"}', "not base64"),
        (b'\0sigstore-json\n{"mimeType":"a","payload":"","annotations":{"a":1}}', "an annotation is no string"),
        (b'\0sigstore-json\n{"mimeType":"a","payload":"","annotations":[]}', "annotations are no object"),
        (b'\0sigstore-json\n{"mimeType":"a","payload":""}x', "not JSON"),
        (b"\x88" + bytes(4 << 20), "over the limit"),
    ],
)
def test_a_file_of_no_known_form_is_refused(bad: bytes, reason: str) -> None:
    with pytest.raises(ContentError) as caught:
        from_file(bad, "signature-7")
    assert reason in str(caught.value)
    assert "signature-7" in str(caught.value)
