"""Signatures of sigstore that are made: by keys and by Fulcio's certificates, recorded by a log on loopback."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.sigstore import EMAIL, ISSUER, Log, Servers, serving, token
from support.sigstore_policy import IMAGE, NAME, check, refused
from transship.pipeline.errors import ContentError, DeniedError, Error, RefusedError, TransportError, UsageError
from transship.pipeline.signature import from_file, to_file
from transship.pipeline.trust.identity import RepoDigestOrExact
from transship.pipeline.trust.requirements import Fulcio, Keys, SigstoreSigned
from transship.pipeline.trust.sigstore import keys
from transship.pipeline.trust.sigstore.parameters import Parameters, read
from transship.pipeline.trust.sigstore.signing import SigstoreSigner
from transship.pipeline.trust.sigstore.verification import BUNDLE

SECRET = "correct horse 78"
TOKEN = token(email=EMAIL, email_verified=True, iss=ISSUER)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    private, public = keys.generate(SECRET.encode())
    (folder / "my.private").write_bytes(private)
    (folder / "my.pub").write_bytes(public)
    (folder / "secret").write_text(f"{SECRET}\n")
    return folder


@pytest.fixture(scope="module")
def any_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any") / "param.yaml"


@pytest.fixture
def servers() -> Iterator[Servers]:
    with serving(Servers()) as running:
        yield running


def by_key(home: Path, log: Log | None = None) -> SigstoreSigned:
    logs = Keys(datas=(log.pem,)) if log else Keys()
    return SigstoreSigned(Keys(paths=(str(home / "my.pub"),)), None, None, logs, RepoDigestOrExact())


def by_fulcio(servers: Servers) -> SigstoreSigned:
    roots = Keys(datas=(servers.root.pem.encode(),))
    logs = Keys(datas=(servers.log.pem,))
    return SigstoreSigned(Keys(), Fulcio(roots, ISSUER, EMAIL), None, logs, RepoDigestOrExact())


def with_key(home: Path, **more: str) -> Parameters:
    return Parameters(str(home / "my.private"), str(home / "secret"), **more)


def with_fulcio(servers: Servers) -> Parameters:
    return Parameters(fulcio=f"{servers.url}/fulcio", token=TOKEN, rekor=f"{servers.url}/rekor")


def signer(said: Parameters, **more: Any) -> SigstoreSigner:
    return SigstoreSigner(said, {}, **more)


def test_a_signature_by_a_key_is_accepted_and_survives_its_file(home: Path) -> None:
    made = signer(with_key(home))
    signature = made.sign(IMAGE.digest, NAME)
    assert f"sigstoreSigned {check(by_key(home), signature)}" == made.says
    assert from_file(to_file(signature), "file") == signature
    assert BUNDLE not in signature.annotations
    assert json.loads(signature.payload)["optional"].keys() == {"creator", "timestamp"}


def test_a_passphrase_that_is_in_no_file_is_asked_for_once(home: Path) -> None:
    asked = list[str]()

    def ask(key: str) -> bytes:
        asked.append(key)
        return SECRET.encode()

    made = signer(Parameters(str(home / "my.private")), ask=ask)
    for _ in range(2):
        assert check(by_key(home), made.sign(IMAGE.digest, NAME))
    assert asked == [str(home / "my.private")]
    with pytest.raises(UsageError, match="passphrase is not given"):
        signer(Parameters(str(home / "my.private"))).sign(IMAGE.digest, NAME)


def test_a_log_records_what_a_key_signs(home: Path, servers: Servers) -> None:
    signature = signer(with_key(home, rekor=f"{servers.url}/rekor/")).sign(IMAGE.digest, NAME)
    assert check(by_key(home, servers.log), signature)
    assert "none of the logs" in refused(by_key(home, Log()), signature)


def test_an_answer_of_the_log_that_got_lost_is_asked_for_again(home: Path, servers: Servers) -> None:
    servers.lose = 1
    signature = signer(with_key(home, rekor=f"{servers.url}/rekor")).sign(IMAGE.digest, NAME)
    assert check(by_key(home, servers.log), signature)
    assert len(servers.log.entries) == 1


def test_a_certificate_is_got_by_a_token_and_serves_until_it_is_nearly_past(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = signer(with_fulcio(servers))
    clock = [float(servers.log.at)]
    monkeypatch.setattr("transship.pipeline.trust.sigstore.signing.time.time", lambda: clock[0])
    for later, certificates in ((0, 1), (60, 1), (14 * 60, 2)):
        clock[0] = servers.log.at + later
        signature = made.sign(IMAGE.digest, NAME)
        assert len(servers.tokens) == certificates
    assert set(servers.tokens) == {TOKEN}
    assert check(by_fulcio(servers), signature) == f"certificate of {EMAIL} by {ISSUER}"
    assert made.says == f"sigstoreSigned certificate of {EMAIL} by {servers.url}/fulcio"


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_server_that_refuses_is_named_and_the_token_is_not(servers: Servers, status: int) -> None:
    servers.refuse = status
    with pytest.raises(TransportError) as caught:
        signer(with_fulcio(servers)).sign(IMAGE.digest, NAME)
    assert f"{servers.url}/fulcio/api/v1/signingCert: {status}" in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_a_log_that_answers_the_entry_of_something_else_gives_no_signature(
    home: Path, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = signer(with_key(home, rekor=f"{servers.url}/rekor"))
    made.sign(IMAGE.digest, NAME)
    first = next(iter(servers.log.entries))
    monkeypatch.setattr(servers.log, "record", lambda _: (first, True))
    with pytest.raises(RefusedError, match="of another"):
        made.sign(IMAGE.digest, f"{NAME}.2")
    for entries in ({}, {first: {}}, {first: servers.log.entries[first], "b": {}}, {first: []}):
        monkeypatch.setattr(servers.log, "entries", {first: entries.get(first)})
        with pytest.raises((ContentError, RefusedError)):
            made.sign(IMAGE.digest, NAME)


def test_a_certificate_for_another_key_is_refused(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "certify", lambda _: servers.between.pem.encode())
    with pytest.raises(ContentError, match="for another key"):
        signer(with_fulcio(servers)).sign(IMAGE.digest, NAME)
    monkeypatch.setattr(servers, "certify", lambda _: b"{}")
    with pytest.raises(ContentError, match="not PEM"):
        signer(with_fulcio(servers)).sign(IMAGE.digest, NAME)


def test_nothing_secret_is_shown(home: Path, servers: Servers) -> None:
    for said in (with_key(home), with_fulcio(servers)):
        made = signer(said)
        made.sign(IMAGE.digest, NAME)
        shown = f"{said!r} {said} {made!r} {made} {made.says}"
        assert SECRET not in shown
        assert TOKEN not in shown
    (home / "wrong").write_text("wrong 4711")
    with pytest.raises(DeniedError) as caught:
        signer(Parameters(str(home / "my.private"), str(home / "wrong"))).sign(IMAGE.digest, NAME)
    assert "4711" not in str(caught.value)


KEY = "privateKeyFile: my.private\n"
FULCIO = f"""
rekorURL: https://rekor.example
fulcio:
  fulcioURL: https://fulcio.example/path
  oidcMode: staticToken
  oidcIDToken: {TOKEN}
"""


def test_a_parameter_file_says_how_to_sign(tmp_path: Path) -> None:
    path = tmp_path / "param.yaml"
    path.write_text(f"# a comment\n{KEY}privateKeyPassphraseFile: 'secret'\nrekorURL: https://rekor.example\n")
    assert read(str(path)) == Parameters("my.private", "secret", rekor="https://rekor.example")
    path.write_text(FULCIO)
    assert read(str(path)) == Parameters("", "", "https://fulcio.example/path", TOKEN, "https://rekor.example")
    path.write_text(f"{KEY}fulcio: null\nrekorURL:\n")
    assert read(str(path)) == Parameters("my.private")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no mapping"),
        ("- a", "no mapping"),
        ("a: [", "not YAML"),
        ("\xff", "nothing|no mapping"),
        ("{}", "nothing to sign with"),
        (f"{KEY}PrivateKeyFile: a", "line 2: unknown key 'PrivateKeyFile'"),
        (f"{KEY}{KEY}", "line 2: key 'privateKeyFile' stands twice"),
        ("privateKeyFile: [a]", "is no text"),
        (f"{KEY}{FULCIO}", "two ways"),
        (f"privateKeyPassphraseFile: x{FULCIO}", "goes with privateKeyFile"),
        (f"{KEY}rekorURL: ftp://a", "rekorURL: not an http"),
        (FULCIO.replace("rekorURL: https://rekor.example", ""), "fulcio needs rekorURL"),
        (FULCIO.replace("staticToken", "interactive"), "at a browser is not built"),
        (FULCIO.replace("staticToken", "deviceGrant"), "at a browser is not built"),
        (FULCIO.replace("staticToken", "magic"), "oidcMode is 'magic'"),
        (FULCIO.replace("oidcMode: staticToken", "oidcClientID: x"), "oidcMode is missing"),
        (FULCIO.replace(f"oidcIDToken: {TOKEN}", ""), "oidcIDToken is missing"),
        (FULCIO.replace("fulcioURL: https://fulcio.example/path", ""), "fulcioURL is missing"),
        (FULCIO.replace("https://fulcio", "http://fulcio"), "in plain"),
        (FULCIO.replace(TOKEN, "sesame"), "is no ID token"),
        (FULCIO.replace(TOKEN, "a.c2VzYW1l.b"), "is no ID token"),
        (FULCIO.replace(TOKEN, token(email=EMAIL)), "not verified by the issuer"),
        (FULCIO.replace(TOKEN, token(iss=ISSUER)), "names nobody"),
        (FULCIO.replace("oidcMode", "oidcMode: staticToken\n  oidcMode"), "stands twice"),
        (FULCIO + "  more: x\n", "unknown key 'more'"),
        ("x" * (2 << 20), "over the limit"),
    ],
    ids=range(26),
)
def test_a_parameter_file_that_is_not_understood_is_an_error_without_the_token(
    tmp_path: Path, text: str, why: str
) -> None:
    path = tmp_path / "param.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=why) as caught:
        read(str(path))
    assert str(path) in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert "sesame" not in str(caught.value)


@given(
    st.one_of(
        st.text(max_size=200), st.lists(st.sampled_from([*FULCIO.splitlines(), KEY.strip(), "- x"])).map("\n".join)
    )
)
def test_any_text_is_parameters_or_an_error(any_file: Path, text: str) -> None:
    any_file.write_text(text, encoding="utf-8", newline="")
    with contextlib.suppress(UsageError):
        assert read(str(any_file)).key or read(str(any_file)).fulcio


def test_files_that_cannot_be_read_are_errors(tmp_path: Path, home: Path) -> None:
    (tmp_path / "long").write_bytes(b"x" * (65 << 10))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for make in (
        lambda: read(str(tmp_path / "none.yaml")),
        lambda: read(str(tmp_path / "binary.yaml")),
        lambda: signer(Parameters(str(tmp_path / "none"), str(home / "secret"))).says,
        lambda: signer(Parameters(str(tmp_path / "long"), str(home / "secret"))).says,
        lambda: signer(Parameters(str(home / "my.pub"), str(home / "secret"))).says,
        lambda: signer(Parameters(str(home / "my.private"), str(tmp_path / "none"))).says,
    ):
        with pytest.raises(Error):
            make()
