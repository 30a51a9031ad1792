"""What writes to a registry, deletes there or logs in, before one that nobody should trust: rows 1, 2, 6 to 24, 54.

What the sink may see and what not, `World.check` holds after each command.
"""

import json
import ssl
from collections.abc import Callable

import pytest
import trustme

from hostile.conftest import Build
from support.hostile import Reply, Seen, serving
from support.hostile_world import BASIC, IMAGE, PUSH, Script, World

CHALLENGE = {"WWW-Authenticate": 'Basic realm="hostile"'}
UPLOAD = "/v2/app/blobs/uploads/1"
WRITE = (*PUSH, "delete", "login")
CONTROLS = json.dumps({"errors": [{"code": "\x1b[2J\r\nok", "message": "\u202e\x9b2J"}]}).encode()


def guarded(answer: Callable[[Seen], Reply | None]) -> Callable[[Seen], Reply]:
    """Return a script that wants the password for everything, and has nothing but what ``answer`` gives."""

    def script(seen: Seen) -> Reply:
        if seen.authorization != BASIC:
            return Reply(401, headers=CHALLENGE)
        return answer(seen) or Reply(404)

    return script


def uploads(seen: Seen, **instead: Reply) -> Reply | None:
    """Answer an upload as a sound registry does, but for the methods of ``instead``."""
    if seen.method in instead:
        return instead[seen.method]
    span = {"Range": f"0-{len(seen.body) - 1}"}
    return {
        "POST": Reply(202, headers={"Location": UPLOAD}),
        "PATCH": Reply(202, headers={"Location": UPLOAD, **span}),
        "PUT": Reply(201),
    }.get(seen.method)


def rooted(build: Build, script: Callable[[Seen], Reply]) -> World:
    """Return a world whose registry answers also the API's root, which login asks, by ``script``."""
    world = build(script)
    world.registry.root = True
    return world


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("by", ["port", "name"])
def test_row_06_what_writes_follows_no_redirect_with_credentials(build: Build, status: int, by: str) -> None:
    """A POST, PATCH or PUT is not sent elsewhere at all; what a HEAD or GET finds there had none."""
    world = rooted(build, lambda _: Reply(404))
    where = {"port": world.sink.url, "name": f"http://localhost:{world.sink.port}"}[by]
    world.registry.script = guarded(lambda seen: Reply(status, headers={"Location": where + seen.target}))
    world.sink.script = lambda _: Reply(404)
    world.sink.root = True
    for command in WRITE if status == 307 else ("push", "login"):
        says = f"{status}, a redirect that cannot be followed" if command.startswith("push") else ": 404"
        world.refused(command, says)
    assert {seen.method for seen in world.sink.seen} == {"HEAD", "GET"}


@pytest.mark.parametrize("ask", ["Basic", "Bearer"])
def test_row_10_a_redirect_of_a_login_or_a_delete_to_one_who_asks_gives_nothing(build: Build, ask: str) -> None:
    world = rooted(build, lambda _: Reply(404))
    world.registry.script = guarded(lambda seen: Reply(307, headers={"Location": world.sink.url + seen.target}))
    challenge = 'Basic realm="give"' if ask == "Basic" else f'Bearer realm="{world.sink.url}/token",service="s"'
    world.sink.script = lambda _: Reply(401, headers={"WWW-Authenticate": challenge})
    world.sink.root = True
    world.refused("login", "invalid username/password")
    world.refused("delete", "401")
    assert not world.sink.asked("/token")


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("status", [202, 307])
def test_row_07_an_upload_that_goes_on_elsewhere_goes_on_without_credentials(
    build: Build, method: str, status: int
) -> None:
    """By the Location of a later answer, and by a redirect, which is not followed."""
    world = build(lambda _: Reply(404))
    away = Reply(status, headers={"Location": f"{world.sink.url}/elsewhere", "Range": "0-0"})
    world.registry.script = guarded(lambda seen: uploads(seen, **{method: away}))
    world.sink.script = lambda _: Reply(404)
    for command in PUSH:
        world.refused(command, "")
    assert {seen.method for seen in world.sink.seen} <= {"PUT", "PATCH", "GET"}
    assert status == 202 or not world.sink.seen


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_row_06_another_scheme_of_the_same_host_is_another_origin(build: Build, scheme: str) -> None:
    """From http to https, at a port of its own: no credentials, and there is no way back."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").configure_cert(context)
    world = build(lambda _: Reply(404))

    def script(seen: Seen) -> Reply:
        back = Reply(307, headers={"Location": world.registry.url + seen.target + "?back"})
        return back if scheme == "http" else Reply(404)

    with serving(script, context) as tls:
        away = f"https://127.0.0.1:{tls.port}"
        world.registry.script = guarded(lambda seen: Reply(307, headers={"Location": away + seen.target}))
        for command in ("copy", "list-tags", "delete"):
            world.refused(command, "from https to http" if scheme == "http" else "404")
        assert tls.seen
        assert not [seen for seen in tls.seen if seen.authorization]
    assert not [seen for seen in world.registry.seen if "?back" in seen.target]


REALMS = {
    "other-port": ("{sink}/token", "another origin without TLS"),
    "file": ("file:///etc/passwd", "realm of its token server: not an http or https URL"),
    "no-url": ("http://[::bad", "realm of its token server: not a URL"),
}


@pytest.mark.parametrize("name", REALMS)
def test_row_08_a_token_server_elsewhere_is_not_shown_the_password_to_write(build: Build, name: str) -> None:
    world = rooted(build, lambda _: Reply(404))
    realm, says = REALMS[name]
    challenge = f'Bearer realm="{realm.format(sink=world.sink.url)}",service="s"'
    world.registry.script = lambda _: Reply(401, headers={"WWW-Authenticate": challenge})
    for command in WRITE:
        world.refused(command, says)
    assert world.sink.seen == []


@pytest.mark.parametrize("header", ["Location", "Link"])
def test_row_14_where_an_answer_leads_nowhere_is_named(build: Build, header: str) -> None:
    world = build(lambda _: Reply(404))
    bad = "ftp://127.0.0.1/x"
    answers = {
        "Location": Reply(307, headers={"Location": bad}),
        "Link": Reply(200, b"{}", {"Link": f"<{bad}>;rel=next"}),
    }
    world.registry.script = guarded(lambda _: answers[header])
    world.refused("list-tags", f"/v2/app/tags/list: {header}: not an http or https URL")


def test_row_17_answers_without_end_end_what_writes_too(build: Build) -> None:
    """Rows 2, 17 and 54: an error, an answer of success, one to log in, one that is encoded."""
    world = rooted(build, lambda _: Reply(404))
    ways: dict[str, Reply] = {
        "403": Reply(403, b'{"errors":[{"code":"X"', endless=True),
        "404": Reply(404, b'{"errors":[{"code":"X"', endless=True),
        "limit": Reply(200, endless=True),
        "login": Reply(401, endless=True, headers=CHALLENGE),
        "encoded": Reply(200, headers={"Content-Encoding": "gzip"}, endless=True),
    }
    for name, reply in ways.items():
        world.registry.script = guarded(lambda _, reply=reply: reply)  # type: ignore[misc]
        for command in WRITE:
            says = {"403": "403", "404": "404", "limit": "more than the limit of", "login": "", "encoded": "encoded"}
            refused = "invalid username/password" if command == "login" and name in ("403", "login") else says[name]
            world.refused(command, refused)


def test_row_15_redirects_in_a_circle_end_what_writes_too(build: Build) -> None:
    world = rooted(build, guarded(lambda seen: Reply(307, headers={"Location": seen.target})))
    for command in WRITE:
        world.refused(command, "more than 10 redirects")
    assert len(world.registry.seen) < 200


def test_row_02_a_token_without_end_ends_what_writes_too(build: Build) -> None:
    def script(seen: Seen) -> Reply:
        if seen.path == "/token":
            return Reply(200, b'{"token":"', endless=True)
        return Reply(401, headers={"WWW-Authenticate": f'Bearer realm="http://{seen.headers["host"]}/token"'})

    world = rooted(build, script)
    for command in WRITE:
        world.refused(command, "more than the limit of 1048576 bytes")


def test_row_24_controls_in_a_refusal_to_write_are_shown_escaped(build: Build) -> None:
    world = rooted(build, guarded(lambda _: Reply(404, CONTROLS)))
    for command in (*PUSH, "login"):
        world.refused(command, "404 (\\x1b[2J\\r\\nok: \\u202e\\x9b2J)")


CLAIMS = {
    "other-digest": ({"Docker-Content-Digest": "sha256:" + "0" * 64}, "is something in between changing it?"),
    "path": ({"Docker-Content-Digest": "sha256:../../x"}, "is something in between changing it?"),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_row_18_a_registry_that_says_it_took_something_else_has_taken_nothing(build: Build, name: str) -> None:
    headers, says = CLAIMS[name]
    world = build(guarded(lambda seen: uploads(seen, PUT=Reply(201, headers=headers))))
    for command in PUSH:
        world.refused(command, says)


@pytest.mark.parametrize("span", ["0-99999999999999999999999", "0--5", "-1", "\x1b[2J", "bytes=0-0", ""])
def test_row_16_how_far_an_upload_got_is_believed_within_its_size_alone(build: Build, span: str) -> None:
    """And a chunk may be as large as a registry likes: nothing is held for it."""
    headers = {"Location": UPLOAD, "Range": span, "OCI-Chunk-Min-Length": "9" * 30}
    world = build(
        guarded(lambda seen: uploads(seen, POST=Reply(202, headers=headers), PATCH=Reply(202, headers=headers)))
    )
    world.refused("push", "/v2/app/manifests/v1: 404")
    assert [seen.body for seen in world.registry.asked(UPLOAD) if seen.method == "PUT"]
    assert IMAGE.manifest_raw in [seen.body for seen in world.registry.seen]


def test_row_01_what_a_head_says_of_a_blob_is_not_believed_of_another(build: Build) -> None:
    """One of another size, under a digest that is none: it is not there."""
    lies = Reply(200, headers={"Docker-Content-Digest": "sha256:../../x", "Content-Length": "5"})
    world = build(guarded(lambda seen: lies if seen.method == "HEAD" else None))
    for command in PUSH:
        world.refused(command, "blobs/uploads/: 404")


def test_row_42_a_push_is_done_when_what_was_pushed_is_there(build: Build) -> None:
    """A registry that takes everything and has nothing of it."""
    world = build(guarded(uploads))
    for command in PUSH:
        world.refused(command, "404")


def test_row_12_a_login_sends_nothing_where_nobody_asks_who_it_is(build: Build) -> None:
    """A registry that is open to all says nothing of a password, which is kept as skopeo keeps it, and not sent."""
    world = rooted(build, Script(challenge=""))
    assert world.run("login").code == 0
    assert not [seen for seen in world.registry.seen if seen.authorization]
