"""Bundles of a transparency log: what it recorded, and that of nothing else."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.sigstore import (
    NOW,
    Log,
    payload_of,
    recorded,
    signed,
)
from support.sigstore_policy import (
    GOOD,
    IMAGE,
    KEY,
    LOG,
    LOGGED,
    OTHER,
    PAYLOAD,
    PEM,
    altered,
    by_key,
    check,
    refused,
    text_of,
)
from transship.pipeline.errors import RefusedError
from transship.pipeline.trust.sigstore import keys
from transship.pipeline.trust.sigstore.verification import BUNDLE


def test_a_log_that_is_asked_for_must_have_recorded_it() -> None:
    assert check(by_key(log=LOG), LOGGED)
    assert check(by_key(OTHER, KEY, log=LOG), LOGGED)
    assert "has no bundle" in refused(by_key(log=LOG), GOOD)
    assert "none of the logs" in refused(by_key(log=Log()), LOGGED)


def test_a_bundle_holds_for_the_signature_payload_and_key_that_it_is_of() -> None:
    other_payload = payload_of(IMAGE.digest, "registry.example/team/app:v2")
    for foreign, why in (
        (recorded(PEM, text_of(GOOD), other_payload), "another payload"),
        (recorded(PEM, text_of(signed(KEY, PAYLOAD)), PAYLOAD), "another signature"),
        (recorded(keys.public_pem(OTHER.public_key()), text_of(GOOD), PAYLOAD), "another key"),
    ):
        assert why in refused(by_key(log=LOG), altered(GOOD, bundle=LOG.bundle(foreign)))
    # A log's entry of a good signature does not make another one good.
    assert refused(by_key(log=LOG), altered(signed(OTHER, PAYLOAD), bundle=LOGGED.annotations[BUNDLE]))


def bundles() -> Mapping[str, str]:
    body = recorded(PEM, text_of(GOOD), PAYLOAD)
    good = LOG.bundle(body)
    document = json.loads(good)
    payload = document["Payload"]
    spec = body["spec"]

    def with_spec(**changes: Any) -> str:
        return LOG.bundle({**body, "spec": {**spec, **changes}})

    def unsigned(**changes: Any) -> str:
        return json.dumps({**document, "Payload": {**payload, **changes}})

    return {
        "no JSON": "x",
        "trailing data": good + "{}",
        "a list": "[]",
        "unknown key": json.dumps({**document, "more": 1}),
        "no stamp": json.dumps({"Payload": payload}),
        "key in another case": good.replace('"Payload"', '"payload"'),
        "key twice": good.replace('"Payload"', '"Payload": {}, "Payload"'),
        "unknown key within": unsigned(more=1),
        "another time": unsigned(integratedTime=NOW + 1),
        "another index": unsigned(logIndex=99),
        "another log": unsigned(logID="x"),
        "no base64": unsigned(body="!"),
        "time of text": LOG.bundle(body, integratedTime=str(NOW)),
        "time as a fraction": LOG.bundle(body, integratedTime=NOW + 0.5),
        "time true": LOG.bundle(body, integratedTime=True),
        "time too large": LOG.bundle(body, integratedTime=1 << 60),
        "body no JSON": LOG.bundle(b"x"),
        "body of another kind": LOG.bundle({**body, "kind": "intoto"}),
        "body of another version": LOG.bundle({**body, "apiVersion": "0.0.2"}),
        "body key twice": LOG.bundle(json.dumps(body).replace('"spec"', '"spec": {}, "spec"').encode()),
        "no signature": with_spec(signature=None),
        "no data": with_spec(data={}),
        "hash of another kind": with_spec(data={"hash": {"algorithm": "sha512", "value": "00"}}),
        "key no PEM": with_spec(signature={"content": text_of(GOOD), "publicKey": {"content": "AAAA"}}),
        "two keys": with_spec(
            signature={"content": text_of(GOOD), "publicKey": {"content": base64.b64encode(PEM + PEM).decode()}}
        ),
        "stamp over other bytes": json.dumps({**document, "SignedEntryTimestamp": LOG.stamp({})}),
        "deep": "[" * 10000,
        "long": json.dumps({**document, "Payload": {**payload, "body": "A" * (2 << 20)}}),
    }


@pytest.mark.parametrize("name", bundles())
def test_a_malformed_bundle_is_refused(name: str) -> None:
    assert refused(by_key(log=LOG), altered(GOOD, bundle=bundles()[name]))


@given(st.data())
def test_no_change_of_a_good_bundle_is_accepted_unless_it_means_the_same(data: st.DataObject) -> None:
    text = LOGGED.annotations[BUNDLE]
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.sampled_from(list('A0"{}[]:,. x'))) + text[at + 1 :]
    try:
        check(by_key(log=LOG), altered(GOOD, bundle=changed))
    except RefusedError:
        return
    assert json.loads(changed) == json.loads(text)
