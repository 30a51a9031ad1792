"""The batch file: what it expands to, and that every refusal names file, line and key."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transship.pipeline.batch import Batch, RegistrySettings, Wish, read_batch
from transship.pipeline.batch.select import Selector, age, pattern, version_range
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import TransportError, UsageError
from transship.pipeline.reference import PathReference

TAGS = ["latest", "v1.9.0", "v1.10.0", "v1.10.0-rc1", "v2.0.0", "v1.2", "edge", "sha-0ab"]


def tags_of(repository: DockerReference, _settings: Mapping[str, RegistrySettings]) -> Sequence[str]:
    assert not repository.tag
    return TAGS


def read(folder: Path, text: str, name: str = "nightly.yaml") -> Batch:
    path = folder / name
    path.write_text(text)
    return read_batch(path, tags_of)


def refused(folder: Path, text: str, name: str = "nightly.yaml") -> str:
    with pytest.raises(UsageError) as caught:
        read(folder, text, name)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(str(folder / name))
    return said.removeprefix(str(folder / name))


def destinations(batch: Batch) -> list[str]:
    return [str(destination.reference) for job in batch.jobs for destination in job.destinations]


def test_the_whole_file(tmp_path: Path) -> None:
    batch = read(
        tmp_path,
        r"""
version: 1
defaults:
  platforms: [linux/amd64, linux/arm64/v8]
  manifests: oci
  level: 6
  to: ["oci:out/mirror:{repository}-{tag}"]
images:
  - from: docker://registry.example/team/app:v1
  - from: docker://registry.example/team/web
    platforms: host
    layers: gzip
    tags: {regex: '^v1\.', exclude: rc, newest: 2}
    to: ["docker-archive:out/web-{tag}.tar:web:{tag}"]
registries:
  registry.example: {tls-verify: false, concurrency: 8, authfile: auth.json, cert-dir: /certs}
""",
    )
    assert batch.name == "nightly"
    assert [str(job.source) for job in batch.jobs] == [
        "docker://registry.example/team/app:v1",
        "docker://registry.example/team/web:v1.10.0",
        "docker://registry.example/team/web:v1.9.0",
    ]
    app, web, _ = batch.jobs
    assert app.platforms == ("linux/amd64", "linux/arm64/v8")
    assert app.wish == Wish("oci", "verbatim", "keep", 6)
    assert app.destinations[0].reference == PathReference("oci", f"{tmp_path}/out/mirror", "team/app-v1")
    assert (web.platforms, web.explicit_platforms, web.wish.layers) == ("host", True, "gzip")
    name = "docker.io/library/web:v1.10.0"
    assert web.destinations[0].reference == PathReference("docker-archive", f"{tmp_path}/out/web-v1.10.0.tar", name)
    expected = RegistrySettings(False, 8, f"{tmp_path}/auth.json", "/certs")
    assert batch.registries == {"registry.example": expected}


def test_defaults(tmp_path: Path) -> None:
    (job,) = read(tmp_path, "{version: 1, images: [{from: 'oci:in:x', to: ['dir:../{name}']}]}").jobs
    assert job.source == PathReference("oci", f"{tmp_path}/in", "x")
    assert (job.platforms, job.explicit_platforms, job.wish) == ("all", False, Wish())
    assert job.destinations[0].reference == PathReference("dir", f"{tmp_path.parent}/x")


def test_json_with_tabs_and_escapes_keeps_its_lines(tmp_path: Path) -> None:
    document = '{"version": 1,\n\t"name": "\\u0041 \\ud83d\\ude00",\n\t"images": [{"from": "docker:\\/\\/x.y/a",'
    assert read(tmp_path, document + '"to": ["dir:o"]}]}', "b.json").name == "A \N{GRINNING FACE}"
    assert refused(tmp_path, document + '\n"tto": []}]}', "b.json").startswith(":4: key images[0].tto: unknown key")
    assert ":3: not JSON" in refused(tmp_path, '{"version": 1,\n\n', "b.json")
    assert ":2: key 'a' stands twice, first in line 1" in refused(tmp_path, '{"a": 1,\n"a": 2}', "b.json")


@pytest.mark.parametrize(
    ("source", "template", "expected"),
    [
        ("docker://alpine:3", "dir:{registry}/{repository}/{name}-{tag}", "dir:/docker.io/library/alpine/alpine-3"),
        (f"docker://x.y/a@sha256:{'a' * 64}", "oci:o:{name}@{digest}", f"oci:/o:a@sha256:{'a' * 64}"),
        ("docker-archive:a:x.y/b:v1", "oci:o:{registry}/{repository}-{tag}", "oci:/o:x.y/b-v1"),
        ("oci:in/app", "oci-archive:{name}.tar", "oci-archive:/app.tar"),
        ("docker-daemon:x.y/a/b:v1", "oci:o:{repository}/{tag}", "oci:/o:a/b/v1"),
        ("containers-storage:[vfs@/lib]a", "oci:o:{name}-{tag}", "oci:/o:a-latest"),
        ("docker://x.y/a", "dir:{}{", ":4: key images[0].to[0]: unknown placeholder {}; known are {registry}"),
        ("docker://x.y/a", "dir:{Tag}", ":4: key images[0].to[0]: unknown placeholder {Tag}"),
        ("docker://x.y/a", "dir:{digest}", "has no {digest} to fill in"),
        ("oci:in", "dir:{tag}", ":4: key images[0].to[0]: the image of line 3, oci:"),
        ("docker://x.y/a", "oci:o:-{tag}", ":4: key images[0].to[0]: reference"),
        ("docker://x.y/a/b:v1", "docker://m.y/{registry}/{name}:{tag}", "docker://m.y/x.y/b:v1"),
        ("docker://x.y/a/b", "docker://m.y/{repository}", "docker://m.y/a/b:latest"),
        (f"docker://x.y/a@sha256:{'a' * 64}", "docker://m.y/a@{digest}", f"docker://m.y/a@sha256:{'a' * 64}"),
        ("docker://x.y/a", "docker://m.y/{name}:-{tag}", "malformed tag"),
        ("docker://x.y/a", "docker-daemon:{name}:{tag}", "docker-daemon:docker.io/library/a:latest"),
        ("docker://x.y/a", "containers-storage:[vfs@/b]a", "containers-storage:[vfs@/b]docker.io/library/a:latest"),
        ("docker://x.y/a", "containers-storage:{name}@abc", "names an image by index or ID"),
        ("docker://x.y/a", "sif:{name}", "cannot be written to"),
        ("docker://x.y/a", "oci:o:@1", "names an image by index"),
        ("docker://x.y/a", "ocy:o", "unknown transport 'ocy'"),
    ],
)
def test_placeholders(tmp_path: Path, source: str, template: str, expected: str) -> None:
    text = f"version: 1\nimages:\n- from: '{source}'\n  to: ['{template}']\n"
    if expected.startswith(("docker:", "docker-daemon:", "containers-storage:", "dir:", "oci:", "oci-archive:")):
        (found,) = destinations(read(tmp_path, text))
        assert found.replace(str(tmp_path), "") == expected
    else:
        assert expected in refused(tmp_path, text)


HEAD = "version: 1\nimages:\n- from: docker://x.y/a\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ": is empty"),
        ("a: ]", ":1: not YAML"),
        ("a: 1\n---\nb: 1\n", ":2: not YAML: but found another document"),
        ("version: 1\nversion: 1\n", ":2: key 'version' stands twice, first in line 1"),
        ("[1]: 2\n", ":1: a key is not a plain string"),
        ("a: !!python/object:os.system x\n", ":1: tag"),
        ("a: !x {}\n", ":1: tag"),
        ("a: &a [*a]\n", ":1: nested too deeply"),
        ("- " * 5000, ":1: "),
        ("- " * 100, ":1: nested too deeply"),
        ("{version: 1, images: []}", ":1: key images: "),
        ("version: 1\nimages: x\n", ":2: key images: is the string 'x', expected a list"),
        (HEAD, ":3: key images[0]: no destination; say to: here or under defaults"),
        (HEAD + "  to: oci:x\n", ":4: key images[0].to: is the string"),
        (HEAD + "  tto: []\n", ":4: key images[0].tto: unknown key; known are from"),
        (HEAD + "  to: [dir:x]\n  tags: [1.10]\n", "is the number 1.1, expected a string; quote it"),
        (HEAD + "  to: [dir:x]\n  tags: [on]\n", ":5: key images[0].tags[0]: is true, expected a string; quote it"),
        (HEAD + "  to: [dir:x]\n  tags: ['a b']\n", ":5: key images[0].tags[0]: malformed tag"),
        (HEAD + "  to: [dir:x]\n  tags: {regex: '('}\n", ":5: key images[0].tags.regex: not a regular expression"),
        (HEAD + "  to: [dir:x]\n  tags: {semver: 'x y z'}\n", ":5: key images[0].tags.semver: not a range"),
        (HEAD + "  to: [dir:x]\n  tags: {newest: 0}\n", ":5: key images[0].tags.newest: "),
        (HEAD + "  to: [dir:x]\n  tags: {regex: nothing}\n", ":5: key images[0].tags: none of the 8 tags of x.y/a"),
        (
            HEAD + "  to: [dir:x]\n  layers: zstd:chunked\n  level: 21\n",
            ":6: key images[0].level: ",
        ),
        (
            HEAD + "  to: [dir:x]\n  layers: gzip\n  level: 12\n",
            ":6: key images[0].level: gzip has levels 1 to 9, not 12",
        ),
        (HEAD + "  to: [dir:x]\n  platforms: linux\n", ":5: key images[0].platforms: not a platform"),
        (HEAD + "  to: [dir:x]\n  platforms: [all]\n", ":5: key images[0].platforms[0]: not a platform"),
        (HEAD + "  to: [dir:x]\n  signing: {}\n", ":5: key images[0].signing: names no key"),
        (HEAD + "  to: [dir:x]\npolicy: {}\n", ":5: key policy: is an object, expected a string"),
        (HEAD + "  to: [dir:x]\nname: a/b\n", ":5: key name: is no name for a folder"),
        (
            HEAD + "  to: [dir:x]\nregistries:\n  x.y:\n    password: s3cret\n",
            "7: key registries.x.y.password: credentials",
        ),
        (HEAD + "  to: [dir:x]\nregistries: {foo: {}}\n", ":5: key registries.foo: 'foo' is no registry"),
        (HEAD + "  to: [dir:x]\nregistries: {docker.io: {}, index.docker.io: {}}\n", "docker.io stands twice"),
        ("version: 1\nimages:\n- from: docker://x.y/a:v1\n  tags: [v1]\n  to: [dir:x]\n", ":3: key images[0].from: "),
        ("version: 1\nimages:\n- from: X\n  to: [dir:x]\n", ":3: key images[0].from: reference 'X': no transport"),
    ],
)
def test_refused(tmp_path: Path, text: str, says: str) -> None:
    said = refused(tmp_path, text)
    assert says in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("oci:o:x", "oci:o:x", "is written already"),
        ("oci:o:x", "oci:./p/../o:x", "is written already"),
        ("oci:o", "oci:o", "is written already"),
        ("dir:o", "dir:o", "is written already"),
        ("docker-archive:o:x:1", "docker-archive:o:docker.io/library/x:1", "is written already"),
        ("oci-archive:o:x", "docker-archive:o:x:1", "is written in another format"),
        ("dir:o", "oci:o:x", "is written in another format"),
        ("dir:o", "dir:o/p", "lies inside a destination"),
        ("dir:o/p/q", "oci:o:x", "lies inside a destination"),
        ("dir:o", "dir:link", "is written already"),
        ("oci:o:x", "oci:o:y", ""),
        ("oci-archive:o:x", "oci-archive:o:y", ""),
        ("docker-archive:o:x:1", "docker-archive:o:x:2", ""),
        ("dir:o", "dir:o2", ""),
    ],
)
def test_conflicts(tmp_path: Path, first: str, second: str, why: str) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "o")
    text = (
        f"version: 1\nimages:\n- from: docker://x.y/a\n  to: ['{first}']\n- from: docker://x.y/b\n  to: ['{second}']\n"
    )
    if not why:
        assert len(destinations(read(tmp_path, text))) == 2
        return
    said = refused(tmp_path, text)
    assert why in said
    assert "(line 3" in said
    assert "(line 5" in said


def test_a_destination_is_no_source(tmp_path: Path) -> None:
    text = "version: 1\nimages:\n- from: dir:a\n  to: [oci:o]\n- from: oci:o\n  to: [dir:a]\n"
    assert ":6: key images[1].to[0]: dir:" in refused(tmp_path, text)


def test_a_newline_in_a_path_stays_out_of_messages(tmp_path: Path) -> None:
    text = 'version: 1\nimages:\n- {from: docker://x.y/a, to: ["dir:a\\nb", "dir:a\\nb"]}\n'
    assert "a\\nb" in refused(tmp_path, text)


def test_a_colon_in_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "a:b"
    folder.mkdir()
    assert "holds a ':'" in refused(folder, HEAD + "  to: [oci:x]\n")
    assert len(destinations(read(folder, HEAD + "  to: [dir:x]\n"))) == 1


def test_a_failed_listing_propagates_and_static_faults_come_first(tmp_path: Path) -> None:
    def fail(repository: DockerReference, __: Mapping[str, RegistrySettings]) -> Sequence[str]:
        raise TransportError(f"{repository.name}: unreachable")

    path = tmp_path / "b.yaml"
    path.write_text(HEAD + "  tags: {newest: 1}\n  to: [dir:x]\n")
    with pytest.raises(TransportError, match=r"x\.y/a: unreachable"):
        read_batch(path, fail)
    path.write_text(path.read_text() + "- from: docker://x.y/B\n  to: [dir:y]\n")
    with pytest.raises(UsageError, match="not lower-case"):
        read_batch(path, fail)


def test_a_hostile_registry_cannot_choose_a_path(tmp_path: Path) -> None:
    path = tmp_path / "b.yaml"
    path.write_text(HEAD + "  tags: {newest: 9}\n  to: ['dir:{tag}']\n")
    with pytest.raises(UsageError, match="malformed tag"):
        read_batch(path, lambda *_: ["../../etc"])


def test_a_repository_is_listed_once(tmp_path: Path) -> None:
    asked: list[str] = []
    path = tmp_path / "b.yaml"
    image = "- from: docker://x.y/a\n  tags: {newest: 1}\n  to: ['dir:%d-{tag}']\n"
    path.write_text("version: 1\nimages:\n" + image % 1 + image % 2)
    assert len(read_batch(path, lambda repository, _: asked.append(repository.name) or TAGS).jobs) == 2  # type: ignore[func-returns-value]
    assert asked == ["x.y/a"]


def test_aliases_are_taken_but_not_their_bombs(tmp_path: Path) -> None:
    text = "version: 1\nimages:\n- {from: docker://x.y/a, to: &to ['dir:{name}']}\n- {from: docker://x.y/b, to: *to}\n"
    assert len(destinations(read(tmp_path, text))) == 2
    bomb = (
        "a: &a ["
        + "x," * 400
        + "]\n"
        + "".join(f"{new}: &{new} [" + f"*{old}," * 400 + "]\n" for old, new in ("ab", "bc", "cd"))
    )
    assert "too large" in refused(tmp_path, bomb)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_batch(tmp_path / "none.yaml", tags_of)
    path = tmp_path / "b.yaml"
    path.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_batch(path, tags_of)
    with path.open("wb") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(UsageError, match="16 MiB"):
        read_batch(path, tags_of)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (Selector(names=("b", "a")), ["b", "a"]),
        (Selector(newest=3), ["v2.0.0", "v1.10.0", "v1.10.0-rc1"]),
        (Selector(regex=pattern("^v"), exclude=pattern("rc"), newest=2), ["v2.0.0", "v1.10.0"]),
        (Selector(versions=version_range(">=1.2 <2")), ["v1.10.0", "v1.9.0", "v1.2"]),
        (Selector(versions=version_range(">= 1.9, < 1.10")), ["v1.9.0"]),
        (Selector(versions=version_range("^2 || 1.2.x")), ["v2.0.0", "v1.2"]),
        (Selector(versions=version_range(">=1.10.0-rc0")), ["v2.0.0", "v1.10.0", "v1.10.0-rc1"]),
    ],
)
def test_selectors(selector: Selector, expected: list[str]) -> None:
    assert selector.select(TAGS) == expected
    assert selector.select(reversed(TAGS)) == expected


def test_versions_sort_as_people_count() -> None:
    order = ["latest", "v1.9", "1.10-beta2", "v1.10-rc1", "1.10", "v1.10.1", "2024-01-02", "2024-01-10"]
    assert sorted({*order}, key=age) == order
    assert Selector(newest=1, versions=version_range("1.x")).select(["9" * 5000, "1.0"]) == ["1.0"]


DOCUMENTS: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["docker://a", "dir:x", "oci:a:{tag}"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["version", "images", "from", "to", "tags", "defaults", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(st.text() | DOCUMENTS.map(json.dumps), st.sampled_from(["b.yaml", "b.json"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
def test_any_text_is_a_batch_or_refused_in_one_line(tmp_path: Path, text: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    said = ""
    try:
        read_batch(path, tags_of)
    except UsageError as error:
        said = str(error)
    assert "\n" not in said


def test_thousands_of_images_are_all_read(tmp_path: Path) -> None:
    images = "".join(f"- from: docker://x.y/app-{n}:v1\n" for n in range(3000))
    text = f"version: 1\ndefaults:\n  to: ['oci:out:{{name}}-{{tag}}']\nimages:\n{images}"
    assert len(read(tmp_path, text).jobs) == 3000
