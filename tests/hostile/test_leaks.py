"""Credentials belong to one origin: rows 4 to 14, 46 and 55, case 46. The sink is another port, or another name.

What the sink may see and what not, `World.check` holds after each command.
"""

import json
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from hostile.conftest import Build
from support.hostile import Reply, Seen, serving
from support.hostile_world import ASK, BASIC, IMAGE, READ, Script, World, changed, world
from support.images import write_layout
from support.zygote import Done, Zygote

FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
LAYER = json.loads(IMAGE.manifest_raw)["layers"][0]["digest"]
SEND = pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
ASKS = {
    "Basic": 'Basic realm="give"',
    "Bearer": 'Bearer realm="{sink}/token",service="s",scope="repository:app:pull"',
}


def elsewhere(world: World, name: str) -> str:
    """Return the sink's URL: another port of the same host, or that port by another name."""
    return {"port": world.sink.url, "name": f"http://localhost:{world.sink.port}"}[name]


@pytest.mark.parametrize("ask", ASKS)
def test_row_04_a_foreign_layer_is_not_fetched_and_its_url_asked_for_nothing(build: Build, ask: str) -> None:
    script = Script()
    world = build(script)
    world.sink.script = lambda _: Reply(401, headers={"WWW-Authenticate": ASKS[ask].format(sink=world.sink.url)})

    def spoil(document: dict[str, object]) -> None:
        document["layers"] = [{"mediaType": FOREIGN, "size": 9, "digest": LAYER, "urls": [f"{world.sink.url}/x"]}]

    script.manifest = changed(spoil)
    for command in ASK:
        world.run(command)
    assert world.sink.seen == []


@SEND
@pytest.mark.parametrize("name", ["port", "name"])
def test_row_06_a_redirect_to_another_origin_is_followed_without_credentials(
    build: Build, status: int, name: str
) -> None:
    """Rows 5 and 6."""
    script = Script()
    world = build(script)
    where = elsewhere(world, name)
    script.instead = lambda seen: Reply(status, headers={"Location": where + seen.target})
    world.sink.script = Script(challenge="")
    for command in ASK if status == 307 else ("copy", "list-tags"):
        assert world.run(command).code == 0
    assert world.sink.seen


@pytest.mark.parametrize("ask", ASKS)
def test_row_10_a_redirects_target_that_wants_credentials_gets_none(build: Build, ask: str) -> None:
    """Rows 5 and 10: also not on the retry, and no token."""
    script = Script()
    world = build(script)
    script.instead = lambda seen: (
        Reply(307, headers={"Location": world.sink.url + seen.target}) if "/blobs/" in seen.path else None
    )
    challenge = {"WWW-Authenticate": ASKS[ask].format(sink=world.sink.url)}
    world.sink.script = lambda seen: Reply(401, headers=challenge) if seen.path != "/token" else Reply(200, b"{}")
    for command in READ:
        world.refused(command, "401")
    assert not world.sink.asked("/token")


def test_row_10_a_redirect_back_does_not_bring_credentials_back(build: Build) -> None:
    script = Script()
    world = build(script)
    script.instead = lambda seen: (
        Reply(307, headers={"Location": world.sink.url + seen.target}) if seen.path.endswith(LAYER) else None
    )
    world.sink.script = lambda seen: Reply(307, headers={"Location": world.registry.url + seen.target})
    world.refused("copy", "401")


def test_row_15_redirects_in_a_circle_end(build: Build) -> None:
    world = build(Script(instead=lambda seen: Reply(307, headers={"Location": seen.target})))
    for command in ("copy", "list-tags", "inspect", "delete"):
        world.refused(command, "more than 10 redirects")
    assert len(world.registry.seen) < 80


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "//user:pw@127.0.0.1/x", "http://[/", ""]
)
def test_row_06_a_redirect_to_what_is_no_web_address_is_refused(build: Build, target: str) -> None:
    world = build(Script(instead=lambda _: Reply(307, headers={"Location": target})))
    for command in ("copy", "list-tags"):
        world.refused(command, "307" if not target else "")


@pytest.mark.parametrize("name", ["port", "name"])
def test_row_07_an_upload_that_is_sent_elsewhere_goes_without_credentials(
    forks: Zygote, tmp_path: Path, name: str
) -> None:
    def script(seen: Seen) -> Reply:
        if seen.authorization != BASIC:
            return Reply(401, headers={"WWW-Authenticate": 'Basic realm="hostile"'})
        if seen.method == "POST":
            return Reply(202, headers={"Location": f"{where}/v2/app/blobs/uploads/1?state=x"})
        return Reply(404)

    with world(forks, tmp_path, script) as found:
        where = elsewhere(found, name)
        found.sink.script = lambda seen: Reply(201 if seen.method in ("PUT", "PATCH") else 404)
        write_layout(found.folder / "layout", {"x": IMAGE})
        done = push(found)
        found.check(done)
        assert done.code == 1
        assert [seen.method for seen in found.sink.seen if seen.method == "PUT"]


@pytest.mark.parametrize("location", ["file:///x", "http://u:p@127.0.0.1/x", "", "http://[::bad/"])
def test_row_07_an_upload_to_what_is_no_web_address_is_refused(forks: Zygote, tmp_path: Path, location: str) -> None:
    def script(seen: Seen) -> Reply:
        return Reply(202, headers={"Location": location}) if seen.method == "POST" else Reply(404)

    with world(forks, tmp_path, script) as found:
        write_layout(found.folder / "layout", {"x": IMAGE})
        done = push(found)
        found.check(done)
        assert done.code == 1
        assert len(done.err.splitlines()) == 1


def push(found: World) -> Done:
    words = ("copy", "--retry-times=0", "--authfile=../auth.json", "--dest-tls-verify=false", "oci:../layout:x")
    return found.zygote.run(found.folder / "work", *words, f"docker://{found.registry.name}/app:v1")


REALMS = {
    "other-port": ("{sink}/token", "another origin without TLS"),
    "other-name": ("http://localhost:{port}/token", "another origin without TLS"),
    "own-port-other-name": ("http://localhost:{own}/token", "another origin without TLS"),
    "tls-elsewhere": ("https://localhost:{port}/token", "whose certificate is not checked"),
    "file": ("file:///etc/passwd", "not an http or https URL"),
    "user": ("http://user:pw@127.0.0.1:{port}/token", "not an http or https URL without a user name"),
    "relative": ("/token", "not an http or https URL"),
}


@pytest.mark.parametrize("name", REALMS)
def test_row_08_a_token_server_elsewhere_is_not_shown_the_password(build: Build, name: str) -> None:
    """Rows 8, 9 and 12."""
    script = Script()
    world = build(script)
    realm, says = REALMS[name]
    realm = realm.format(sink=world.sink.url, port=world.sink.port, own=world.registry.port)
    script.challenge = f'Bearer realm="{realm}",service="s"'
    for command in ("copy", "inspect", "list-tags", "sync", "verify", "delete", "run", "lock"):
        world.refused(command, says)
    assert world.sink.seen == []


def test_row_09_a_token_server_at_the_registrys_own_address_is_asked(build: Build) -> None:
    world = build(token_script(lambda seen: Reply(200, b'{"token":"t0k"}') if seen.authorization == BASIC else None))
    for command in ASK:
        assert world.run(command).code == 0


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_row_09_a_token_server_that_redirects_does_not_pass_the_password_on(build: Build, status: int) -> None:
    script = token_script(lambda _: Reply(status, headers={"Location": f"{world.sink.url}/token"}))
    world = build(script)
    world.sink.script = lambda _: Reply(401)
    for command in ("copy", "list-tags", "verify"):
        world.refused(command, "401")
    assert world.sink.asked("/token")


def token_script(answer: Callable[[Seen], Reply | None]) -> Callable[[Seen], Reply]:
    sound = Script(challenge="")

    def script(seen: Seen) -> Reply:
        if seen.path == "/token":
            return answer(seen) or Reply(401)
        if seen.authorization != "Bearer t0k":
            realm = f'Bearer realm="http://{seen.headers["host"]}/token",service="s"'
            return Reply(401, headers={"WWW-Authenticate": realm})
        return sound(seen)

    return script


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.mark.parametrize("by", ["redirect", "realm", "location"])
def test_row_11_nothing_leads_from_https_to_http(forks: Zygote, tmp_path: Path, authority: trustme.CA, by: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    (tmp_path / "certs").mkdir()
    authority.cert_pem.write_to_path(str(tmp_path / "certs/ca.crt"))

    with serving(lambda _: Reply(200, b"{}")) as sink:
        answers = {
            "redirect": Reply(307, headers={"Location": f"{sink.url}/x"}),
            "realm": Reply(401, headers={"WWW-Authenticate": f'Bearer realm="{sink.url}/token"'}),
            "location": Reply(202, headers={"Location": f"http://localhost:{sink.port}/x"}),
        }

        def script(seen: Seen) -> Reply:
            if by != "realm" and seen.authorization != BASIC:
                return Reply(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
            return answers[by] if by != "location" or seen.method == "POST" else Reply(404)

        with serving(script, context) as registry:
            (tmp_path / "auth.json").write_text(json.dumps({"auths": {registry.name: {"auth": BASIC.split()[1]}}}))
            write_layout(tmp_path / "layout", {"x": IMAGE})
            pull = (f"docker://{registry.name}/app:v1", "dir:out", "--src-cert-dir=certs")
            words = pull if by != "location" else ("oci:layout:x", pull[0], "--dest-cert-dir=certs")
            done = forks.run(tmp_path, "copy", "--retry-times=0", "--authfile=auth.json", *words)
        assert done.code == 1
        assert "not https" in done.err or "from https to http" in done.err, done.err
        assert sink.seen == []


@pytest.mark.parametrize("name", ["port", "name", "path", "file"])
def test_row_14_a_next_page_elsewhere_is_not_asked_for(build: Build, name: str) -> None:
    script = Script()
    world = build(script)
    target = {
        "path": "/v2/other/tags/list?last=v1",
        "file": "file:///etc/passwd",
        "port": f"{world.sink.url}/v2/app/tags/list?last=v1",
        "name": f"http://localhost:{world.sink.port}/v2/app/tags/list?last=v1",
    }[name]
    page = Reply(200, b'{"tags":["v1"]}', {"Link": f'<{target}>; rel="next"'})
    script.instead = lambda seen: page if seen.path.endswith("/tags/list") else None
    for command in ("list-tags", "inspect", "sync"):
        world.refused(command, "" if name == "file" else "its next page (Link) is elsewhere")
    assert world.sink.seen == []


def test_row_46_a_token_server_of_another_authority_is_not_trusted(forks: Zygote, tmp_path: Path) -> None:
    ours, theirs = trustme.CA(), trustme.CA()
    (tmp_path / "certs").mkdir()
    ours.cert_pem.write_to_path(str(tmp_path / "certs/ca.crt"))
    contexts = []
    for authority in (ours, theirs):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        contexts.append(context)
    with serving(lambda _: Reply(200, b'{"token":"t"}'), contexts[1]) as tokens:
        ask = {"WWW-Authenticate": f'Bearer realm="https://{tokens.name}/token"'}
        with serving(lambda _: Reply(401, headers=ask), contexts[0]) as registry:
            (tmp_path / "auth.json").write_text(json.dumps({"auths": {registry.name: {"auth": BASIC.split()[1]}}}))
            words = (f"docker://{registry.name}/app:v1", "dir:out", "--src-cert-dir=certs")
            done = forks.run(tmp_path, "copy", "--retry-times=0", "--authfile=auth.json", *words)
    assert done.code == 1
    assert "certificate" in done.err
    assert tokens.seen == []


def test_row_55_no_credentials_come_from_netrc(build: Build, forks: Zygote) -> None:
    world = build(Script())
    (world.folder / "netrc").write_text(f"machine 127.0.0.1 login canary-user password {BASIC}\n")
    (world.folder / ".netrc").write_text(f"machine 127.0.0.1 login canary-user password {BASIC}\n")
    place = {"HOME": str(world.folder), "NETRC": str(world.folder / "netrc")}
    words = ("list-tags", "--retry-times=0", "--tls-verify=false", f"docker://{world.registry.name}/app")
    done = forks.run(world.folder / "work", *words, **place)
    assert done.code == 1
    assert not [seen for seen in world.registry.seen if seen.authorization]
