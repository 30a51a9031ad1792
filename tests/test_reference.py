"""The grammar of references: tables, round trips, and skopeo's own verdict."""

import shutil
import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transship.pipeline.digest import Digest
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import UsageError
from transship.pipeline.reference import (
    TRANSPORTS,
    DaemonReference,
    PathReference,
    Reference,
    StorageLocation,
    StorageReference,
    TarballReference,
    parse_reference,
)

HEX = "a" * 64
DIGEST = Digest.parse(f"sha256:{HEX}")


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("docker://alpine", "docker.io", "library/alpine", "latest", None),
        ("docker://alpine:3.20", "docker.io", "library/alpine", "3.20", None),
        ("docker://docker.io/alpine", "docker.io", "library/alpine", "latest", None),
        ("docker://index.docker.io/alpine", "docker.io", "library/alpine", "latest", None),
        ("docker://team/app", "docker.io", "team/app", "latest", None),
        ("docker://localhost/app:v1", "localhost", "app", "v1", None),
        ("docker://localhost:5000", "docker.io", "library/localhost", "5000", None),
        ("docker://registry:5000/a/b_c/d__e/f--g:V_1.x-", "registry:5000", "a/b_c/d__e/f--g", "V_1.x-", None),
        ("docker://[::1]:5000/app", "[::1]:5000", "app", "latest", None),
        ("docker://A.example/app", "A.example", "app", "latest", None),
        (f"docker://x.y/app@sha256:{HEX}", "x.y", "app", "", DIGEST),
        (f"docker://{HEX}:v1", "docker.io", f"library/{HEX}", "v1", None),
    ],
)
def test_docker(text: str, registry: str, repository: str, tag: str, digest: Digest | None) -> None:
    found = parse_reference(text)
    assert found == DockerReference(registry, repository, tag, digest)
    assert parse_reference(str(found)) == found


@pytest.mark.parametrize(
    ("text", "transport", "path", "name", "index"),
    [
        ("oci:/a/b", "oci", "/a/b", "", None),
        ("oci:a:", "oci", "a", "", None),
        ("oci:a b:team/app:v1", "oci", "a b", "team/app:v1", None),
        ("oci:a:docker.io/library/x-1@sha256:ab", "oci", "a", "docker.io/library/x-1@sha256:ab", None),
        ("oci:a:@3", "oci", "a", "", 3),
        ("oci-archive:a.tar:v1", "oci-archive", "a.tar", "v1", None),
        ("docker-archive:a.tar", "docker-archive", "a.tar", "", None),
        ("docker-archive:a.tar:x", "docker-archive", "a.tar", "docker.io/library/x:latest", None),
        ("docker-archive:a.tar:q.io/x:v1", "docker-archive", "a.tar", "q.io/x:v1", None),
        ("docker-archive:a.tar:@0", "docker-archive", "a.tar", "", 0),
        ("dir:a:b:@1", "dir", "a:b:@1", "", None),
        ("sif:a:b.sif", "sif", "a:b.sif", "", None),
    ],
)
def test_path(text: str, transport: str, path: str, name: str, index: int | None) -> None:
    found = parse_reference(text)
    assert found == PathReference(transport, path, name, index)
    assert parse_reference(str(found)) == found


def test_tarball() -> None:
    found = parse_reference("tarball:a.tar:-:b.tar")
    assert found == TarballReference(("a.tar", "-", "b.tar"))
    assert str(found) == "tarball:a.tar:-:b.tar"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("docker-daemon:alpine:v1", "docker.io/library/alpine:v1"),
        ("docker-daemon:x.y:5000/a/b:v1", "x.y:5000/a/b:v1"),
        (f"docker-daemon:alpine@sha256:{HEX}", f"docker.io/library/alpine@sha256:{HEX}"),
        (f"docker-daemon:sha256:{HEX}", f"sha256:{HEX}"),
    ],
)
def test_image_of_an_engine_is_called_by_its_full_name_or_its_id(text: str, name: str) -> None:
    found = parse_reference(text)
    assert isinstance(found, DaemonReference)
    assert found.name == name
    assert parse_reference(str(found)) == found


@pytest.mark.parametrize(
    ("text", "store", "name", "image_id"),
    [
        ("alpine", StorageLocation(), "docker.io/library/alpine:latest", ""),
        (f"alpine:v1@sha256:{HEX}", StorageLocation(), f"docker.io/library/alpine:v1@sha256:{HEX}", ""),
        (f"localhost/a@sha256:{HEX}", StorageLocation(), f"localhost/a@sha256:{HEX}", ""),
        ("@abc123", StorageLocation(), "", "abc123"),
        ("[/lib]a@abc123", StorageLocation("", "/lib"), "docker.io/library/a:latest", "abc123"),
        ("[vfs@/lib]a", StorageLocation("vfs", "/lib"), "docker.io/library/a:latest", ""),
        ("[/lib+/run]a", StorageLocation("", "/lib", "/run"), "docker.io/library/a:latest", ""),
        (
            "[overlay@/lib+/run:a=1,b=2]a:v1@abc123",
            StorageLocation("overlay", "/lib", "/run", ("a=1", "b=2")),
            "docker.io/library/a:v1",
            "abc123",
        ),
    ],
)
def test_image_of_a_storage_has_a_store_a_name_and_an_id(
    text: str, store: StorageLocation, name: str, image_id: str
) -> None:
    found = parse_reference(f"containers-storage:{text}")
    assert isinstance(found, StorageReference)
    assert (found.store, found.name, found.image_id) == (store, name, image_id)
    assert parse_reference(str(found)) == found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no transport"),
        ("alpine", "no transport"),
        ("alpine:v1", "unknown transport 'alpine'"),
        ("docker:alpine", "not followed by //"),
        ("docker://", "no repository"),
        ("docker://x.y/", "no repository"),
        ("docker://Alpine", "not lower-case"),
        ("docker://Foo/bar", "not lower-case"),
        ("docker://a//b", "malformed"),
        ("docker://x.y/a___b", "malformed"),
        ("docker://-x.y/a", "malformed registry"),
        ("docker://x.y:port/a", "malformed registry"),
        ("docker://a:", "malformed tag"),
        ("docker://a:" + "t" * 129, "malformed tag"),
        ("docker://a:v1\n", "malformed tag"),
        ("docker://a:v1:v2", "malformed tag"),
        (f"docker://a:v1@sha256:{HEX}", "both a tag and a digest"),
        ("docker://a@sha256:abc", "not a digest"),
        (f"docker://{HEX}", "image ID"),
        ("docker://x.y/" + "a" * 256, "256 characters"),
        ("oci:", "path is missing"),
        ("oci::v1", "path is missing"),
        ("oci:a:-b", "malformed name"),
        ("oci:a:b//c", "malformed name"),
        ("oci:a:@x", "malformed index"),
        ("oci:a:@-1", "malformed index"),
        ("oci:a\0:b", "NUL"),
        ("oci:a\udc80", "not UTF-8"),
        ("dir:", "path is missing"),
        ("docker-archive:a:", "no repository"),
        ("docker-archive:a:X:v1", "not lower-case"),
        ("docker-archive:a:@1:b", "malformed index"),
        (f"docker-archive:a:x@sha256:{HEX}", "has a digest"),
        ("docker-daemon:alpine", "either a tag or a digest"),
        ("docker-daemon:sha256:abc", "not a digest"),
        ("containers-storage:", "no image"),
        ("containers-storage:[x", "malformed store"),
        ("containers-storage:[]a", "malformed store"),
        ("containers-storage:[@/lib]a", "malformed store"),
        ("containers-storage:[vfs@]a", "malformed store"),
        ("containers-storage:[lib]a", "no absolute path"),
        ("containers-storage:[/lib+run]a", "no absolute path"),
        ("sif:", "path is missing"),
        ("tarball:a::b", "a path is missing"),
        ("tarball:-:a:-", "stands twice"),
    ],
)
def test_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_reference(text)
    assert says in str(caught.value)
    assert str(caught.value).isprintable()


def test_unknown_transport_lists_the_known() -> None:
    with pytest.raises(UsageError, match=", ".join(TRANSPORTS)):
        parse_reference("oic:a")


def test_repository() -> None:
    found = DockerReference.parse_repository("docker://alpine")
    assert (found.name, found.tag, found.digest) == ("docker.io/library/alpine", "", None)
    assert DockerReference.parse_repository(str(found)) == found
    for text in ("docker://alpine:v1", f"docker://alpine@sha256:{HEX}", "oci:alpine", "alpine", "docker://"):
        with pytest.raises(UsageError):
            DockerReference.parse_repository(text)


def test_a_path_with_a_colon_cannot_be_made() -> None:
    with pytest.raises(UsageError, match="holds a ':'"):
        PathReference("oci", "/a:b")
    assert PathReference("dir", "/a:b").path == "/a:b"


NAMES = st.from_regex(r"[a-z0-9]+(?:[._-][a-z0-9]+)?(?:/[a-z0-9]+)?", fullmatch=True).filter(
    lambda name: len(name) < 60
)
TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
HOSTS = st.from_regex(r"[A-Za-z0-9]{1,9}\.[A-Za-z0-9]{1,9}(:[0-9]{1,5})?", fullmatch=True)
DIGESTS = st.binary(max_size=4).map(Digest.of)
FILES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0:"), min_size=1, max_size=20)
LAYOUT_NAMES = st.from_regex(r"[A-Za-z0-9]+(?:(?:[-._:@+/]|--)[A-Za-z0-9]+){0,3}", fullmatch=True)
REFERENCES: st.SearchStrategy[Reference] = st.one_of(
    st.builds(DockerReference, HOSTS, NAMES, TAGS, st.none()),
    st.builds(DockerReference, HOSTS, NAMES, st.just(""), DIGESTS),
    st.builds(PathReference, st.sampled_from(["oci", "oci-archive"]), FILES, LAYOUT_NAMES | st.just(""), st.none()),
    st.builds(
        PathReference, st.sampled_from(["oci", "docker-archive"]), FILES, st.just(""), st.none() | st.integers(0, 99)
    ),
    st.builds(lambda path: PathReference("dir", path), FILES),
    st.builds(TarballReference, st.lists(FILES.filter("-".__ne__), min_size=1, max_size=3).map(tuple)),
)


@given(REFERENCES)
def test_round_trip(reference: Reference) -> None:
    assert parse_reference(str(reference)) == reference


@given(
    st.one_of(st.text(), st.builds("{}:{}".format, st.sampled_from(TRANSPORTS), st.text(":/@ab1.-\n\0[]", max_size=12)))
)
@example("docker://:")
@example("containers-storage:[]")
def test_any_text_parses_or_is_refused_in_one_line(text: str) -> None:
    said, found = "", None
    try:
        found = parse_reference(text)
    except UsageError as error:
        said = str(error)
    assert found is None or parse_reference(str(found)) == found
    assert "\n" not in said


@pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")
@pytest.mark.parametrize(
    "text",
    [
        "docker://localhost:1/a__b:v1",
        "docker://localhost:1/Foo",
        f"docker://localhost:1/a:t@sha256:{HEX}",
        "oci:/nowhere:a/b/c:v1@x",
        "oci:/nowhere:-a",
        "docker-archive:/nowhere:Foo:a",
        "docker-daemon:foo",
        "docker:foo",
    ],
)
def test_skopeo_agrees(text: str) -> None:
    run = subprocess.run(["skopeo", "inspect", "--raw", text], capture_output=True, text=True, timeout=20, check=False)
    refused = not any(word in run.stderr for word in ("no such file", "connection refused", "Cannot connect"))
    try:
        parse_reference(text)
    except UsageError:
        assert refused, run.stderr
    else:
        assert not refused, run.stderr
