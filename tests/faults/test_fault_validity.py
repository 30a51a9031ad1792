"""Case 25 of docs/reliability.md: tokens and certificates whose times are not those of this machine's clock."""

import base64
import json
import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from support.command import command
from support.figures import figure
from support.hostile import Reply, Seen, serving
from support.hostile_world import Script
from support.images import make_image

IMAGE = make_image("validity", layers=3, docker=False)
YEAR = 365 * 86400
TOKENS: dict[str, dict[str, object]] = {
    "issued ten years ahead": {"issued_at": "2040-01-01T00:00:00Z", "expires_in": 300},
    "issued in 1970": {"issued_at": "1970-01-01T00:00:00Z", "expires_in": 300},
    "issued at no time": {"issued_at": "yesterday", "expires_in": 300},
    "expired by its own claims": {"claims": {"iat": -2 * YEAR, "nbf": -2 * YEAR, "exp": -YEAR}, "expires_in": 300},
    "not yet valid by its own claims": {"claims": {"iat": YEAR, "nbf": YEAR, "exp": 2 * YEAR}, "expires_in": 300},
    "lasts 0 s": {"expires_in": 0},
    "lasts less than nothing": {"expires_in": -5},
    "lasts for ever": {"expires_in": 1 << 40},
    "lasts a word": {"expires_in": "300"},
    "does not say": {},
}


def token(claims: object) -> str:
    """Return a JWT of these claims, in seconds from now, that nobody has signed; or another opaque token."""
    if not isinstance(claims, dict):
        return "opaque"
    now = int(time.time())
    parts = ({"alg": "none"}, {name: now + shift for name, shift in claims.items()})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + ".x"


@pytest.mark.parametrize("kind", TOKENS)
def test_25_a_tokens_life_is_counted_here_and_its_own_times_are_not_believed(tmp_path: Path, kind: str) -> None:
    """A token is the registry's to judge: what it says of itself ends no copy, and asks for no second one."""
    said = dict(TOKENS[kind])
    given = token(said.pop("claims", None))
    sound, asked = Script(image=IMAGE, challenge=""), list[Seen]()

    def script(seen: Seen) -> Reply:
        if seen.path == "/token":
            asked.append(seen)
            return Reply(200, json.dumps({"token": given, **said}).encode())
        if seen.authorization != f"Bearer {given}":
            realm = f'Bearer realm="http://{seen.headers["host"]}/token",service="s"'
            return Reply(401, headers={"WWW-Authenticate": realm})
        return sound(seen)

    with serving(script) as registry:
        words = ("copy", "--src-tls-verify=false", f"docker://{registry.name}/app:v1", "dir:out")
        done = command(tmp_path, *words)
    figure(25, f"token that {kind}: exit {done.returncode}, {len(asked)} tokens")
    assert done.returncode == 0, done.stderr
    assert len(asked) == 1


@pytest.mark.parametrize(("begins", "ends", "says"), [(-20, -10, "has expired"), (10, 20, "is not yet valid")])
@pytest.mark.parametrize("words", [("inspect",), ("copy",), ("list-tags",)])
def test_25_a_certificate_out_of_its_time_is_one_line_that_speaks_of_the_clock(
    tmp_path: Path, words: tuple[str], begins: int, ends: int, says: str
) -> None:
    """Days from now."""
    authority, now = trustme.CA(), datetime.now(UTC)
    leaf = authority.issue_cert(
        "127.0.0.1", not_before=now + timedelta(days=begins), not_after=now + timedelta(days=ends)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    (tmp_path / "certs").mkdir()
    authority.cert_pem.write_to_path(str(tmp_path / "certs/ca.crt"))
    folder = "--src-cert-dir=certs" if words == ("copy",) else "--cert-dir=certs"
    tag, to = ("", ()) if words == ("list-tags",) else (":v1", ("dir:out",) if words == ("copy",) else ())
    with serving(Script(image=IMAGE, challenge="")) as plain, serving(plain.script, context) as registry:
        source = f"docker://{registry.name}/app{tag}"
        done = command(tmp_path, *words, folder, "--retry-times=0", source, *to)
        assert registry.seen == []
    figure(25, f"certificate that {says}: exit {done.returncode}, one line")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"the certificate is not trusted: certificate {says}" in line
    assert "check this machine's clock; if that is right the registry needs a new certificate" in line
    assert not (tmp_path / "out").exists()
