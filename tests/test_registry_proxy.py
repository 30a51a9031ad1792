"""Proxies of the environment are used for whom they are meant, and never told what is not theirs."""

import base64
import ssl
from collections.abc import Mapping
from pathlib import Path

import pytest
import trustme

from support.clients import ALICE, QUICK
from support.hostile import Reply, Seen, serving
from support.proxy_server import proxying
from support.registry_server import free_port, made_image
from transship.pipeline.digest import Digest
from transship.pipeline.errors import TransientError, UsageError
from transship.pipeline.manifest.media_types import DOCKER_MANIFEST
from transship.pipeline.registry.client import RegistryClient
from transship.pipeline.registry.origin import Origin
from transship.pipeline.registry.proxy import Proxy, choose
from transship.pipeline.registry.settings import HostSettings
from transship.pipeline.registry.tls import Certificates

RAW, _ = made_image([b"layer"])
MANIFEST = Reply(200, RAW, {"Content-Type": DOCKER_MANIFEST})
PASSWORD = base64.b64encode(b"me:p@ss").decode()


def client(environ: Mapping[str, str], authority: Path | None = None) -> RegistryClient:
    settings = HostSettings(tls_verify=authority is not None, patience=QUICK)
    certificates = Certificates((authority,) if authority else ())
    return RegistryClient("registry.test", settings, certificates, lambda _: ALICE, environ)


def login(seen: Seen) -> Reply:
    return MANIFEST if seen.authorization else Reply(401, headers={"WWW-Authenticate": 'Basic realm="r"'})


def test_https_goes_through_a_tunnel_and_the_proxy_sees_no_credentials_of_the_registry(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("registry.test").configure_cert(context)
    with serving(login, context) as server, proxying(server.port, PASSWORD) as (port, seen):
        one = client({"HTTPS_PROXY": f"http://me:p%40ss@127.0.0.1:{port}"}, tmp_path / "ca.crt")
        assert one.get_manifest("a", "t").digest == Digest.of(RAW)
        one.close()
        assert seen == ["CONNECT registry.test:443 HTTP/1.0"]
        assert not [name for one_seen in server.seen for name in one_seen.headers if name.startswith("proxy-")]


def test_plain_http_asks_the_proxy_for_the_whole_url() -> None:
    with serving(login) as server, proxying(server.port, PASSWORD) as (port, seen):
        one = client({"http_proxy": f"me:p%40ss@127.0.0.1:{port}", "https_proxy": f"127.0.0.1:{free_port()}"})
        assert one.get_manifest("a", "t").digest == Digest.of(RAW)
        one.close()
    assert seen[0].startswith("GET http://registry.test/v2/")


@pytest.mark.parametrize("given", ["", "me:wr0ng@"])
def test_a_proxy_that_refuses_is_named_and_its_password_is_not(tmp_path: Path, given: str) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    with proxying(free_port(), PASSWORD) as (port, _):
        one = client({"HTTPS_PROXY": f"http://{given}127.0.0.1:{port}"}, tmp_path / "ca.crt")
        with pytest.raises(TransientError, match=rf"407 .*\(proxy 127\.0\.0\.1:{port}\)") as caught:
            one.get_manifest("a", "t")
        assert "wr0ng" not in str(caught.value)


def test_a_proxy_that_is_down_is_named() -> None:
    name = f"127.0.0.1:{free_port()}"
    one = client({"https_proxy": name, "http_proxy": name})
    with pytest.raises(TransientError, match=rf"connection refused \(proxy {name}\)"):
        one.get_manifest("a", "t")


@pytest.mark.parametrize(
    ("rules", "host", "direct"),
    [
        ("", "r.test", False),
        ("*", "r.test", True),
        ("a.test, r.test", "r.test", True),
        ("r.test", "x.r.test", True),
        (".r.test", "x.r.test", True),
        ("*.r.test", "x.r.test", True),
        ("r.test", "bar.test", False),
        ("R.TEST:5000", "r.test", True),
        ("r.test:5001", "r.test", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8,x", "11.1.2.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("[fd00::1]:5000", "fd00::1", True),
        ("fd00::/8", "fd00::1", True),
        ("fd00::1", "fd00::2", False),
        (", .,:,[,/", "r.test", False),
        ("", "localhost", True),
        ("", "127.0.0.7", True),
        ("", "::1", True),
    ],
)
def test_no_proxy_names_hosts_domains_and_networks(rules: str, host: str, direct: bool) -> None:
    found = choose(Origin("https", host, 5000), {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": rules})
    assert found == (None if direct else Proxy("p", 3128))


def test_the_name_in_lower_case_counts_and_may_say_none() -> None:
    origin = Origin("http", "r.test", 80)
    assert choose(origin, {"http_proxy": "", "HTTP_PROXY": "http://p"}) is None
    assert choose(origin, {"http_proxy": "q:1", "HTTP_PROXY": "http://p"}) == Proxy("q", 1)
    assert choose(origin, {"HTTPS_PROXY": "http://p"}) is None
    assert choose(origin, {"HTTP_PROXY": "http://p"}) == Proxy("p", 80)


@pytest.mark.parametrize("value", ["socks5://h:1", "https://h", "http://u:secret@", "http://h:x", "http://[::1"])
def test_what_is_no_http_proxy_is_an_error_that_shows_no_password(value: str) -> None:
    with pytest.raises(UsageError, match="http_proxy of the environment") as caught:
        choose(Origin("http", "r.test", 80), {"HTTP_PROXY": value})
    assert "secret" not in str(caught.value)
