"""The referrers API of registries, sound and not, and what is asked of one that has it."""

import json
from collections.abc import Callable

import pytest

from support.clients import client
from support.hostile import Reply, Seen, serving
from support.images import OCI_INDEX, make_image
from support.referring import SBOM, dashed, descriptor, list_of, make_referrer
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, TransportError
from transship.pipeline.manifest.views import parse
from transship.pipeline.registry import referrers as api
from transship.pipeline.registry.push import Push

IMAGE = make_image("asked about", docker=False)
SUBJECT = IMAGE.digest
LINK = f"/v2/a/referrers/{SUBJECT}"
ONE, TWO = (make_referrer(IMAGE, SBOM, content) for content in (b"one", b"two"))
NOT_FOUND = Reply(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')


def index(*entries: object, link: str = "") -> Reply:
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
    return Reply(200, body, {"Content-Type": OCI_INDEX, **({"Link": f'<{link}>; rel="next"'} if link else {})})


def entry(number: int) -> dict[str, object]:
    return {**descriptor("application/vnd.oci.image.manifest.v1+json", b"%d" % number), "artifactType": SBOM}


def answering(answers: Callable[[str], Reply | None]) -> Callable[[Seen], Reply]:
    return lambda seen: answers(seen.target) or NOT_FOUND


def digests(name: str) -> list[Digest]:
    return [one.manifest.digest for one in api.referrers(client(name), "a", SUBJECT)]


def test_all_pages_are_read_and_each_manifest_is_named_once() -> None:
    pages = {LINK: index(entry(1), entry(2), link=f"{LINK}?after=2"), f"{LINK}?after=2": index(entry(2), entry(3))}
    with serving(answering(pages.get)) as server:
        assert digests(server.name) == [Digest.of(b"1"), Digest.of(b"2"), Digest.of(b"3")]
        assert all(one.headers["accept"] == OCI_INDEX for one in server.asked(LINK))


def test_an_empty_list_is_an_answer_and_the_schemas_tag_is_not_asked_for() -> None:
    with serving(answering({LINK: index()}.get)) as server:
        assert digests(server.name) == []
        assert [one.path for one in server.seen if one.path.endswith(SUBJECT.hex)] == [LINK]


@pytest.mark.parametrize(
    "reply", [Reply(404), Reply(405), Reply(501), Reply(200, b"<html>", {"Content-Type": "text/html"})]
)
def test_a_registry_without_it_is_asked_for_the_schemas_tag_and_for_the_api_once(reply: Reply) -> None:
    made = list_of(ONE)
    tag = Reply(200, made.manifest_raw, {"Content-Type": OCI_INDEX})
    with serving(answering({LINK: reply, f"/v2/a/manifests/{dashed(IMAGE)}": tag}.get)) as server:
        asked = client(server.name)
        for _ in range(2):
            (found,) = api.referrers(asked, "a", SUBJECT)
            assert (found.manifest.digest, found.manifest.artifact_type, found.tag) == (ONE.digest, SBOM, "")
        assert len(server.asked(LINK)) == 1


@pytest.mark.parametrize(
    "link", [LINK, "https://elsewhere.invalid/v2/a/referrers/x", "//127.0.0.1:1/v2/a/x", "/v2/b/tags"]
)
def test_pages_that_lead_elsewhere_or_back_are_refused(link: str) -> None:
    with (
        serving(lambda _: index(entry(1), link=link)) as server,
        pytest.raises(TransportError, match=r"next page|pages"),
    ):
        digests(server.name)
    assert len(server.seen) <= 3


def test_a_list_without_an_end_is_given_up() -> None:
    entries = [entry(number) for number in range(4000)]
    count = iter(range(10_000))
    with (
        serving(lambda _: index(*entries, link=f"{LINK}?{next(count)}")) as server,
        pytest.raises(ContentError, match="gave up"),
    ):
        digests(server.name)
    assert len(server.asked(LINK)) == 3


@pytest.mark.parametrize("body", [b"[]", b"{", IMAGE.manifest_raw, b" " * ((4 << 20) + 1)])
def test_what_is_no_index_or_too_large_is_refused(body: bytes) -> None:
    with (
        serving(lambda _: Reply(200, body, {"Content-Type": OCI_INDEX})) as server,
        pytest.raises((ContentError, TransportError)),
    ):
        digests(server.name)


@pytest.mark.parametrize("told", [True, False])
def test_a_registry_that_says_it_lists_the_subject_is_asked_nothing_more(told: bool) -> None:
    def script(seen: Seen) -> Reply:
        if seen.method == "PUT":
            return Reply(201, b"", {"OCI-Subject": str(SUBJECT)} if told else {})
        return index() if seen.path == LINK else NOT_FOUND

    with serving(script) as server:
        manifest = parse(ONE.manifest_raw)
        Push(client(server.name), "a", lambda: False).put_manifest(manifest, manifest.digest)
        # Without that word the registry is asked whether it has the API, and then trusted to list.
        assert len(server.asked(LINK)) == (0 if told else 1)
        assert len([one for one in server.seen if one.method == "PUT"]) == 1


def test_a_list_that_others_overwrite_each_time_is_an_error() -> None:
    def script(seen: Seen) -> Reply:
        return Reply(201) if seen.method == "PUT" else NOT_FOUND

    with serving(script) as server, pytest.raises(TransportError, match="overwrite"):
        Push(client(server.name), "a", lambda: False).put_manifest(parse(TWO.manifest_raw), TWO.digest)
