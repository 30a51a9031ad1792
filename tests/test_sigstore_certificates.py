"""Certificates beside signatures: Fulcio's by the time of the log, those of one's own authority by the clock."""

import time
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from support.sigstore import (
    CODE,
    EMAIL,
    ISSUER,
    NOW,
    SERVER,
    Authority,
    Log,
    authority,
    certificate,
    issuer,
    named,
    pem_of,
    signed,
    usage,
)
from support.sigstore_policy import (
    BETWEEN,
    GOOD,
    KEY,
    LOG,
    LOGGED,
    OTHER,
    PAYLOAD,
    ROOT,
    altered,
    by_fulcio,
    by_pki,
    check,
    logged,
    refused,
    text_of,
)
from transship.pipeline.signature import SigstoreSignature
from transship.pipeline.trust.sigstore import keys
from transship.pipeline.trust.sigstore.verification import BUNDLE, SIGNATURE


def fulcio_signed(
    by: Authority = BETWEEN,
    *,
    mail: str = EMAIL,
    extensions: list[x509.ExtensionType] | None = None,
    days: tuple[float, float] = (-0.001, 0.006),
    at: int = NOW,
    chain: str | None = None,
    key: Any = None,
) -> SigstoreSignature:
    """Return a signature with a certificate of minutes, recorded at a time."""
    key = key or keys.fresh()
    said = [issuer(ISSUER), issuer(ISSUER, old=True)] if extensions is None else extensions
    made = certificate("", key, by, [named(mail), CODE, usage(issuing=False), *said], days=days)
    text = pem_of(made)
    chain = BETWEEN.pem + ROOT.pem if chain is None else chain
    return logged(signed(key, PAYLOAD, certificate=text, chain=chain), text, LOG, integratedTime=at)


def test_a_certificate_of_minutes_counts_for_ever_by_the_time_of_the_log() -> None:
    assert check(by_fulcio(), fulcio_signed()) == f"certificate of {EMAIL} by {ISSUER}"
    assert check(by_fulcio(), fulcio_signed(extensions=[issuer(ISSUER, old=True)]))
    assert check(by_fulcio(), fulcio_signed(extensions=[issuer(ISSUER)]))
    assert check(by_fulcio(BETWEEN), fulcio_signed(chain=""))


def impostors() -> Mapping[str, SigstoreSignature]:
    stranger = authority("root", days=(-400, 400))
    not_issuing = authority(
        "between", ROOT, extensions=[x509.BasicConstraints(ca=True, path_length=None), usage(issuing=False)]
    )
    no_authority = authority("between", ROOT, extensions=[x509.BasicConstraints(ca=False, path_length=None)])
    for_servers = authority(
        "between", ROOT, extensions=[x509.BasicConstraints(ca=True, path_length=None), usage(issuing=True), SERVER]
    )
    elsewhere = authority(
        "between",
        ROOT,
        extensions=[
            x509.BasicConstraints(ca=True, path_length=None),
            x509.NameConstraints([x509.RFC822Name("other.example")], None),
        ],
    )
    past = authority("between", ROOT, days=(-10, -5))
    end = Authority(certificate("end", KEY, BETWEEN, [named(EMAIL), CODE]), KEY)
    good = fulcio_signed()

    def below(above: Authority) -> SigstoreSignature:
        return fulcio_signed(above, chain=above.pem + ROOT.pem)

    return {
        "recorded after it expired": fulcio_signed(at=NOW + 86400),
        "recorded before it was issued": fulcio_signed(at=NOW - 86400),
        "another mail address": fulcio_signed(mail="you@site.example"),
        "the address in another case": fulcio_signed(mail=EMAIL.upper()),
        "another issuer": fulcio_signed(extensions=[issuer("https://evil.example")]),
        "issuers that disagree": fulcio_signed(extensions=[issuer(ISSUER), issuer("https://evil.example", old=True)]),
        "no issuer": fulcio_signed(extensions=[]),
        "a stranger's root": fulcio_signed(stranger, chain=stranger.pem),
        "a chain without what is between": fulcio_signed(chain=ROOT.pem),
        "an authority that may not issue": below(not_issuing),
        "an authority that is none": below(no_authority),
        "an authority for servers": below(for_servers),
        "an authority for other names": below(elsewhere),
        "an authority that expired": below(past),
        "issued by a certificate of minutes": fulcio_signed(
            end, chain=pem_of(end.certificate) + BETWEEN.pem + ROOT.pem
        ),
        "no bundle": good._replace(annotations={k: v for k, v in good.annotations.items() if k != BUNDLE}),
        "no certificate": LOGGED,
        "a bundle of another certificate": altered(good, bundle=fulcio_signed().annotations[BUNDLE]),
        "a bundle by a log that nobody trusts": logged(
            good, good.annotations["dev.sigstore.cosign/certificate"], Log()
        ),
        "a key that did not sign": swapped(good),
        "two certificates": doubled(good),
        "a chain of eleven": fulcio_signed(chain=BETWEEN.pem * 11),
        "a chain that is none": fulcio_signed(chain="x"),
        "a weak key": fulcio_signed(key=ec.generate_private_key(ec.SECP256K1())),
    }


def swapped(good: SigstoreSignature) -> SigstoreSignature:
    """The certificate is real, and what it is beside was signed by another key."""
    bad = signed(OTHER, PAYLOAD)
    text = good.annotations["dev.sigstore.cosign/certificate"]
    return logged(good._replace(annotations={**good.annotations, SIGNATURE: text_of(bad)}), text)


def doubled(good: SigstoreSignature) -> SigstoreSignature:
    name = "dev.sigstore.cosign/certificate"
    return good._replace(annotations={**good.annotations, name: good.annotations[name] * 2})


@pytest.fixture(scope="module")
def fakes() -> Mapping[str, SigstoreSignature]:
    return impostors()


WHY = {
    "recorded after it expired": "not valid at validation time",
    "recorded before it was issued": "not valid at validation time",
    "another mail address": "is issued to you@site.example, not to",
    "the address in another case": "is issued to ME@SITE.EXAMPLE, not to",
    "another issuer": "OIDC issuer 'https://evil.example'",
    "issuers that disagree": "OIDC issuer 'https://evil.example'",
    "no issuer": "does not say who vouched",
    "a stranger's root": "signature does not match",
    "a chain without what is between": "leads to no trusted root",
    "an authority that may not issue": "may not issue certificates",
    "an authority that is none": "cA must be asserted",
    "an authority for servers": "not for signing code",
    "an authority for other names": "name constraints",
    "an authority that expired": "not valid at validation time",
    "issued by a certificate of minutes": "no basicConstraints",
    "no bundle": "has no bundle",
    "no certificate": "has no certificate",
    "a bundle of another certificate": "of another key or certificate",
    "a bundle by a log that nobody trusts": "none of the logs",
    "a key that did not sign": "not by a key",
    "two certificates": "there are 2",
    "a chain of eleven": "11 certificates",
    "a chain that is none": "not PEM",
    "a weak key": "not accepted",
}


@pytest.mark.parametrize("name", WHY)
def test_a_certificate_that_is_not_quite_the_one_is_refused(fakes: Mapping[str, SigstoreSignature], name: str) -> None:
    assert set(WHY) == set(fakes)
    assert WHY[name] in refused(by_fulcio(), fakes[name])


def pki_signed(
    by: Authority, *names: str, dns: tuple[str, ...] = (), days: tuple[float, float] = (-1, 1)
) -> SigstoreSignature:
    key = keys.fresh()
    made = certificate("", key, by, [named(*names, dns=dns), CODE], days=days, at=time.time())
    return signed(key, PAYLOAD, certificate=pem_of(made))


def test_a_certificate_of_ones_own_authority_counts_by_mail_address_and_host() -> None:
    root = authority("mine", at=time.time())
    between = authority("between", root, at=time.time())
    signature = pki_signed(root, EMAIL, dns=("*.build.example",))
    assert check(by_pki(root, mail=EMAIL), signature) == f"certificate of {EMAIL}"
    assert check(by_pki(root, EMAIL, "one.build.example"), signature) == f"certificate of {EMAIL} and one.build.example"
    assert check(by_pki(root, mail=EMAIL, between=between.pem), pki_signed(between, EMAIL))
    chained = pki_signed(between, EMAIL)
    chained = chained._replace(annotations={**chained.annotations, "dev.sigstore.cosign/chain": between.pem + root.pem})
    assert check(by_pki(root, mail=EMAIL), chained)


def test_a_certificate_of_ones_own_authority_is_refused_for_others_and_when_it_is_past() -> None:
    root = authority("mine", at=time.time())
    between = authority("between", root, at=time.time())
    signature = pki_signed(root, EMAIL, dns=("*.build.example",))
    for host in ("build.example", "two.one.build.example", "other.example", "127.0.0.1", "not a host"):
        assert refused(by_pki(root, host=host), signature)
    assert "not to you@site.example" in refused(by_pki(root, mail="you@site.example"), signature)
    assert refused(by_pki(root, "you@site.example", "one.build.example"), signature)
    assert refused(by_pki(authority("mine", at=time.time()), mail=EMAIL), signature)
    assert refused(by_pki(root, mail=EMAIL), pki_signed(between, EMAIL))
    assert "not valid" in refused(by_pki(root, mail=EMAIL), pki_signed(root, EMAIL, days=(-1, -0.5)))
    assert "not valid" in refused(by_pki(root, mail=EMAIL), pki_signed(root, EMAIL, days=(0.5, 1)))
    assert "no certificate" in refused(by_pki(root, mail=EMAIL), GOOD)
