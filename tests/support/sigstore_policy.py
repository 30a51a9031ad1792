"""Requirements `sigstoreSigned`, an image, and signatures of it that are good; what a test changes is its own."""

from collections.abc import Sequence
from typing import Any

import pytest

from support.images import make_image
from support.sigstore import (
    EMAIL,
    ISSUER,
    Authority,
    Log,
    authority,
    payload_of,
    recorded,
    signed,
)
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.docker_name import named as name_of
from transship.pipeline.errors import RefusedError
from transship.pipeline.manifest import views
from transship.pipeline.manifest.views import Manifest
from transship.pipeline.signature import SigstoreSignature
from transship.pipeline.trust.identity import (
    Identity,
    RepoDigestOrExact,
)
from transship.pipeline.trust.requirements import Fulcio, Keys, Pki, SigstoreSigned
from transship.pipeline.trust.sigstore import keys
from transship.pipeline.trust.sigstore.verification import BUNDLE, SIGNATURE, accepted, trusted

NAME = "registry.example/team/app:v1"
IMAGE = make_image("signed", layers=1)
MANIFEST: Manifest = views.parse(IMAGE.manifest_raw, IMAGE.media_type, "manifest")
KEY, OTHER = keys.fresh(), keys.fresh()
PAYLOAD = payload_of(IMAGE.digest, NAME)
LOG = Log()
ROOT = authority("root", days=(-400, 400))
BETWEEN = authority("between", ROOT, days=(-300, 300))


def public(*made: Any) -> Keys:
    return Keys(datas=tuple(keys.public_pem(key.public_key()) for key in made))


def by_key(*made: Any, log: Log | None = None, identity: Identity | None = None) -> SigstoreSigned:
    logs = Keys(datas=(log.pem,)) if log else Keys()
    return SigstoreSigned(public(*(made or (KEY,))), None, None, logs, identity or RepoDigestOrExact())


def by_fulcio(root: Authority = ROOT, mail: str = EMAIL, vouched: str = ISSUER, log: Log = LOG) -> SigstoreSigned:
    fulcio = Fulcio(Keys(datas=(root.pem.encode(),)), vouched, mail)
    return SigstoreSigned(Keys(), fulcio, None, Keys(datas=(log.pem,)), RepoDigestOrExact())


def by_pki(root: Authority = ROOT, mail: str = "", host: str = "", between: str = "") -> SigstoreSigned:
    middle = Keys(datas=(between.encode(),)) if between else Keys()
    pki = Pki(Keys(datas=(root.pem.encode(),)), middle, mail, host)
    return SigstoreSigned(Keys(), None, pki, Keys(), RepoDigestOrExact())


def check(what: SigstoreSigned, *signatures: SigstoreSignature, name: str = NAME) -> str:
    return first_of(what, signatures, name_of(name))


def first_of(what: SigstoreSigned, signatures: Sequence[SigstoreSignature], name: DockerReference | None) -> str:
    """Return who signed by the first signature that is accepted."""
    reasons = []
    for signature in signatures:
        try:
            return accepted(trusted(what), signature, MANIFEST, name)
        except RefusedError as error:
            reasons.append(error.message)
    raise RefusedError("; ".join(reasons))


def refused(what: SigstoreSigned, *signatures: SigstoreSignature, name: str = NAME) -> str:
    with pytest.raises(RefusedError) as caught:
        check(what, *signatures, name=name)
    return str(caught.value)


def text_of(signature: SigstoreSignature) -> str:
    return signature.annotations[SIGNATURE]


def altered(whole: SigstoreSignature, /, **annotations: str) -> SigstoreSignature:
    names = {"bundle": BUNDLE, "signature": SIGNATURE}
    more = {names[name]: value for name, value in annotations.items()}
    return whole._replace(annotations={**whole.annotations, **more})


def logged(signature: SigstoreSignature, signer: str | bytes, log: Log = LOG, **changes: Any) -> SigstoreSignature:
    body = recorded(signer, text_of(signature), signature.payload)
    return altered(signature, bundle=log.bundle(body, **changes))


GOOD = signed(KEY, PAYLOAD)
PEM = keys.public_pem(KEY.public_key())
LOGGED = logged(GOOD, PEM)
