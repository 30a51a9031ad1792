"""--tls-details and --user-agent-prefix, against TLS servers that allow one thing alone."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.certificates import Certificates
from support.command import command
from support.hostile import Reply, Seen, serving
from support.images import make_image
from transship.pipeline.cli.config_yaml import read_tls_details
from transship.pipeline.errors import UsageError
from transship.pipeline.registry.tls_details import TlsDetails

IMAGE = make_image("tls")


@contextmanager
def server(certificates: Certificates, **limits: str) -> Iterator[str]:
    """Serve one image over TLS of one version, cipher or group; yield its reference."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificates.pair)
    if "newest" in limits:
        context.maximum_version = ssl.TLSVersion[limits["newest"]]
    if "cipher" in limits:
        context.set_ciphers(limits["cipher"])
    if "group" in limits:
        context.set_ecdh_curve(limits["group"])

    def script(seen: Seen) -> Reply:
        return Reply(200, IMAGE.manifest_raw, {"Content-Type": IMAGE.media_type})

    with serving(script, context, root=True) as found:
        yield f"docker://localhost:{found.port}/a/b:c"


def accepted(folder: Path, reference: str, details: str) -> bool:
    (folder / "tls.yaml").write_text(details)
    words = ("--tls-details=tls.yaml", "inspect", "--raw", "--tls-verify=false", "--retry-times=0", reference)
    done = command(folder, *words)
    if done.returncode:
        assert done.stderr.count("\n") == 1
        assert not done.stdout
    else:
        assert done.stdout.encode() == IMAGE.manifest_raw
    return done.returncode == 0


def test_an_older_version_of_tls_than_the_least_allowed_is_refused(tmp_path: Path, certificates: Certificates) -> None:
    with server(certificates, newest="TLSv1_2") as reference:
        assert accepted(tmp_path, reference, 'minVersion: "1.2"\n')
        assert not accepted(tmp_path, reference, 'minVersion: "1.3"\n')


def test_a_cipher_suite_that_is_not_allowed_is_refused(tmp_path: Path, certificates: Certificates) -> None:
    own, other = (f"TLS_ECDHE_ECDSA_WITH_AES_{bits}_GCM_SHA{sha}" for bits, sha in (("128", "256"), ("256", "384")))
    with server(certificates, newest="TLSv1_2", cipher="ECDHE-ECDSA-AES128-GCM-SHA256") as reference:
        assert accepted(tmp_path, reference, f"cipherSuites: [{other}, {own}]\n")
        assert not accepted(tmp_path, reference, f"cipherSuites: [{other}]\n")
        all_new = "TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256"
        assert accepted(tmp_path, reference, f"cipherSuites: [{all_new}, {own}]\n")
        assert not accepted(tmp_path, reference, f"cipherSuites: [{all_new}]\n")


def test_a_group_that_is_not_allowed_is_refused(tmp_path: Path, certificates: Certificates) -> None:
    with server(certificates, group="secp384r1") as reference:
        assert accepted(tmp_path, reference, "namedGroups: [secp384r1]\n")
        assert not accepted(tmp_path, reference, "namedGroups: [secp521r1]\n")


def test_an_empty_file_allows_what_is_usual(tmp_path: Path) -> None:
    (tmp_path / "tls.yaml").write_text("")
    assert read_tls_details(str(tmp_path / "tls.yaml")) == TlsDetails()


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("\nminVersion: '1.4'\n", 2, "none of"),
        ("minVersion: 1.2\n", 1, "is no text"),
        ("\nciphers: []\n", 2, "is unknown"),
        ("cipherSuites: []\n", 1, "no connection"),
        ("\ncipherSuites: TLS_AES_128_GCM_SHA256\n", 2, "a list of names"),
        ("\n\ncipherSuites: [TLS_AES_128_GCM_SHA256]\n", 3, "cannot choose among"),
        ("cipherSuites: [AES128]\n", 1, "no cipher suite of IANA's"),
        ("cipherSuites: [TLS_ECDHE_RSA_WITH_NOTHING_SHA]\n", 1, "OpenSSL has no"),
        ("minVersion: '1.3'\ncipherSuites: [TLS_RSA_WITH_AES_128_CBC_SHA]\n", 2, "none is of TLS 1.3"),
        ("namedGroups: [x25519]\n", 1, "can be told one of"),
        ("namedGroups: [secp256r1, secp384r1]\n", 1, "can be told one of"),
        ("namedGroups: [brainpool]\n", 1, "is no group"),
        ("minVersion: [\n", 2, "not YAML"),
    ],
)
def test_what_is_malformed_or_cannot_be_names_file_and_line(tmp_path: Path, text: str, line: int, why: str) -> None:
    path = tmp_path / "tls.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_tls_details(str(path))
    assert caught.value.message.startswith(f"{path}:{line}: ")
    assert why in caught.value.message


def test_a_file_of_details_that_is_missing_is_an_error_for_every_command(tmp_path: Path) -> None:
    done = command(tmp_path, "--tls-details=none.yaml", "manifest-digest", "whatever")
    assert (done.returncode, done.stdout) == (1, "")
    assert "none.yaml: cannot be read" in done.stderr


def test_the_prefix_goes_before_the_user_agent_in_every_request(tmp_path: Path) -> None:
    asked = threading.Event()

    def script(seen: Seen) -> Reply:
        if "/token" in seen.path:
            return Reply(200, b'{"token": "t"}')
        if "authorization" not in seen.headers:
            asked.set()
            realm = f"http://{seen.headers['host']}/token"
            return Reply(401, b"", {"WWW-Authenticate": f'Bearer realm="{realm}",service="s"'})
        return Reply(200, IMAGE.manifest_raw, {"Content-Type": IMAGE.media_type})

    with serving(script) as found:
        words = ("inspect", "--raw", "--tls-verify=false", f"docker://{found.name}/a/b:c")
        assert command(tmp_path, "--user-agent-prefix", "site/1.0 (mirror)", *words).returncode == 0
        agents = {seen.headers.get("user-agent") for seen in found.seen if seen.path != "/v2/"}
        assert (agents, asked.is_set()) == ({"site/1.0 (mirror) transship"}, True)
        assert any("/token" in seen.path for seen in found.seen)
        done = command(tmp_path, "--user-agent-prefix", "a\r\nX-Evil: b", *words)
        assert done.returncode == 1
        assert "--user-agent-prefix: " in done.stderr
