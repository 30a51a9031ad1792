"""Several files served as one registry: what one has not another has; names that clash, bundles and their bases."""

import json
import tarfile
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.bundles import create, write_batch
from support.command import command
from support.images import ImageBytes, make_base, make_image, make_multi, write_layout
from support.referring import SBOM, SIGNATURE, make_referrer
from support.serving import Reply, pack, served, write_directory, write_docker_archive
from transship.pipeline.digest import Digest
from transship.pipeline.errors import UsageError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import OCI_MANIFEST
from transship.pipeline.serve import naming
from transship.pipeline.serve.formats import open_contents
from transship.pipeline.transports.tar import Archive

SHARED = make_base("several", layers=1)
APP = make_image("app", docker=False, layers=1, base_layers=SHARED)
NEWER = make_image("app, newer", docker=False, layers=1, base_layers=SHARED)
NEWEST = make_image("app, newest", docker=False, layers=1, base_layers=SHARED)
WEB = make_image("web", docker=False, layers=1, base_layers=SHARED)
TOOL = make_multi("tool", docker=False)


def pulls(port: int, name: str, image: ImageBytes) -> bool:
    """Say whether ``name`` leads to ``image``, and every blob of that is there."""
    repository, _, tag = name.rpartition(":")
    if Reply(port, f"/v2/{repository}/manifests/{tag}").body != image.manifest_raw:
        return False
    children = {child.digest for child in image.children}
    return all(
        Reply(port, f"/v2/{repository}/{'manifests' if digest in children else 'blobs'}/{digest}").body == raw
        for digest, raw in image.blobs.items()
    )


def test_all_forms_together_are_one_registry(tmp_path: Path) -> None:
    write_layout(tmp_path / "layout", {"team/app:v1": APP})
    write_layout(tmp_path / "other", {"team/web:v1": WEB, "team/app:v1": APP})
    write_directory(tmp_path / "tool", TOOL)
    write_docker_archive(tmp_path / "saved.tar", APP, ["saved/app:v1"])
    create(write_batch(tmp_path, {"week/app:v2": NEWER}), tmp_path / "volumes.tar", "--split", "4K")
    create(tmp_path / "week.json", tmp_path / "packed.tar.zst")
    archive = pack(tmp_path / "other", tmp_path / "other.tar")
    paths = [tmp_path / "layout", archive, tmp_path / "tool", tmp_path / "saved.tar", tmp_path / "volumes.tar.001"]
    with served(*paths, tmp_path / "packed.tar.zst") as port:
        for name, image in {
            "team/app:v1": APP,
            "team/web:v1": WEB,
            "tool:latest": TOOL,
            "week/app:v2": NEWER,
        }.items():
            assert pulls(port, name, image), name
        manifest = json.loads(Reply(port, "/v2/saved/app/manifests/v1").body)
        for one in (manifest["config"], *manifest["layers"]):
            assert str(Digest.of(Reply(port, f"/v2/saved/app/blobs/{one['digest']}").body)) == one["digest"]
        listed = json.loads(Reply(port, "/v2/_catalog").body)["repositories"]
        assert {"team/app", "team/web", "tool", "week/app", "saved/app"} <= set(listed)


def test_what_hangs_on_an_image_in_any_of_them_is_listed_once(tmp_path: Path) -> None:
    signed, made_of = make_referrer(APP, SIGNATURE, b"signed"), make_referrer(APP, SBOM, b"made of")
    write_layout(tmp_path / "a", {"team/app:v1": APP, "signed": signed})
    write_layout(tmp_path / "b", {"signed": signed, "made": made_of})
    with served(tmp_path / "a", tmp_path / "b") as port:
        found = json.loads(Reply(port, f"/v2/team/app/referrers/{APP.digest}").body)["manifests"]
        assert [one["digest"] for one in found] == sorted([str(signed.digest), str(made_of.digest)])


def test_a_manifest_that_is_damaged_in_one_is_read_from_another(tmp_path: Path) -> None:
    for name in "ab":
        write_layout(tmp_path / name, {"team/app:v1": APP})
    with served(tmp_path / "a", tmp_path / "b") as port:
        for name, status in (("a", 200), ("b", 500)):
            (tmp_path / name / "blobs/sha256" / APP.digest.hex).write_bytes(b"{}")
            assert Reply(port, "/v2/team/app/manifests/v1").status == status


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        ({"team/app:v1": APP}, {"team/app:v1": WEB}, "team/app:v1"),
        ({"team/app": APP}, {"team/app": WEB}, "team/app:latest"),
        ({"v1": APP, "v2": APP}, {"v1": WEB, "v2": APP}, "same:v1"),
        ({"": APP}, {"": WEB}, "same:latest"),
        ({"UP/x:v1": APP}, {"": WEB}, "same:latest"),
    ],
)
def test_one_name_for_two_images_is_refused_in_a_line_that_names_both_files(tmp_path, first, second, name) -> None:
    write_layout(tmp_path / "a/same", first)
    write_layout(tmp_path / "b/same", second)
    done = command(tmp_path, "serve", "a/same", "b/same")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"transship: {name} is one image in a/same and another in b/same; serve them apart")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("first", "second", "found", "lost"),
    [
        ({"a.example/app:v1": APP}, {"b.example/app:v1": WEB}, {"a.example/app:v1": APP}, "app:v1"),
        ({"a.example/app:v1": APP}, {"app:v1": WEB}, {"app:v1": WEB}, "app:v2"),
        ({"app": APP}, {"app": WEB}, {"one:app": APP, "two:app": WEB}, "app:latest"),
        ({"app": APP}, {"app:latest": WEB}, {"one:app": APP, "app:latest": WEB}, "one:latest"),
        ({"x/app:v1": APP}, {"x/web:v1": WEB}, {"one:latest": APP, "two:latest": WEB}, "one:v1"),
    ],
)
def test_a_short_name_is_that_of_one_image_or_of_none(tmp_path, first, second, found, lost) -> None:
    write_layout(tmp_path / "one", first)
    write_layout(tmp_path / "two", second)
    with served(tmp_path / "one", tmp_path / "two") as port:
        for name, image in found.items():
            assert pulls(port, name, image)
        repository, _, tag = lost.rpartition(":")
        assert Reply(port, f"/v2/{repository}/manifests/{tag}").status == 404


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles of three weeks, each on the one before, and what is on the first week's lock, or on nothing it needs."""
    folder = tmp_path_factory.mktemp("weeks")
    batches = {
        "one": {"team/app:v1": APP, "team/web:v1": WEB},
        "two": {"team/app:v1": NEWER},
        "three": {"team/app:v1": NEWEST, "team/web:v1": WEB},
        "apart": {"tool:v1": TOOL},
    }
    written = {name: write_batch(_made(folder / name), images) for name, images in batches.items()}
    assert command(written["one"].parent, "lock", "week.json", "-o", "week.lock.json").returncode == 0
    create(written["one"], folder / "one.tar")
    create(written["two"], folder / "two.tar.zst", "--since", str(folder / "one.tar"))
    create(written["three"], folder / "three.tar", "--since", str(folder / "two.tar.zst"), "--split", "8K")
    create(written["two"], folder / "locked.tar", "--since", str(folder / "one/week.lock.json"))
    create(written["apart"], folder / "apart.tar", "--since", str(folder / "one.tar"))
    return folder


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("names", "app"),
    [
        (["one.tar", "two.tar.zst"], NEWER),
        (["one.tar", "locked.tar"], NEWER),
        (["one.tar", "two.tar.zst", "three.tar"], NEWEST),
    ],
)
def test_a_bundle_served_with_its_base_is_whole_and_its_names_count(weeks: Path, names: list[str], app) -> None:
    for some in permutations(names):
        with served(*(weeks / name for name in some)) as port:
            assert pulls(port, "team/app:v1", app)
            assert pulls(port, "team/web:v1", WEB)
            # By digest the older one is there still.
            assert Reply(port, f"/v2/team/app/manifests/{APP.digest}").body == APP.manifest_raw


def test_a_base_may_lie_in_any_form(weeks: Path, tmp_path: Path) -> None:
    write_layout(tmp_path / "mirror", {"x/app:v1": APP})
    with served(weeks / "two.tar.zst", tmp_path / "mirror") as port:
        assert pulls(port, "team/app:v1", NEWER)


@pytest.mark.parametrize("other", [[], ["apart.tar"], ["damaged"]])
def test_a_bundle_without_its_base_is_refused_and_what_is_missing_said(weeks: Path, tmp_path: Path, other) -> None:
    write_layout(tmp_path / "damaged", {"x/app:v1": APP})
    layer = SHARED[0]
    (tmp_path / "damaged/blobs/sha256" / layer.digest.hex).write_bytes(layer.packed[:-1])
    paths = [str(tmp_path / name if name == "damaged" else weeks / name) for name in other]
    done = command(weeks, "serve", "two.tar.zst", *paths)
    assert (done.returncode, done.stdout) == (2, "")
    base = Digest.of(bundle_json(weeks / "one.tar"))
    assert done.stderr == (
        f"transship: two.tar.zst: 1 of 1 blobs that its base brought are not there, {len(layer.packed)} bytes; "
        f"name the file of its base too, {base}\n"
    )


def bundle_json(path: Path) -> bytes:
    archive = Archive(path)
    try:
        return archive.read(archive.find("bundle.json"), 1 << 20)
    finally:
        archive.close()


def test_what_needs_nothing_of_its_base_is_served_alone(weeks: Path) -> None:
    with served(weeks / "apart.tar") as port:
        assert pulls(port, "tool:v1", TOOL)


def test_two_on_one_base_that_differ_are_refused(weeks: Path, tmp_path: Path) -> None:
    create(write_batch(tmp_path, {"team/app:v1": NEWEST}), tmp_path / "b.tar", "--since", str(weeks / "one.tar"))
    for some in permutations([weeks / "one.tar", weeks / "two.tar.zst", tmp_path / "b.tar"]):
        with pytest.raises(UsageError, match="team/app:v1 is one image in"):
            open_contents(some)


def test_a_layout_may_have_a_file_of_that_name_that_is_something_else(tmp_path: Path) -> None:
    write_layout(tmp_path / "app", {"team/app:v1": APP})
    (tmp_path / "app/bundle.json").write_text('{"schemaVersion": "v1.0.0"}')
    with served(tmp_path / "app") as port:
        assert pulls(port, "team/app:v1", APP)


def test_a_bundle_unpacked_into_a_folder_is_half_without_its_base_too(weeks: Path, tmp_path: Path) -> None:
    with tarfile.open(weeks / "locked.tar") as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    done = command(tmp_path, "serve", "unpacked")
    assert done.returncode == 2
    assert "unpacked: 1 of 1 blobs that its base brought are not there" in done.stderr


def test_one_that_is_named_twice_is_one(weeks: Path) -> None:
    with served(weeks / "one.tar", weeks / "one" / "../one.tar", weeks / "one.tar") as port:
        assert pulls(port, "team/app:v1", APP)


NAMES = st.lists(
    st.tuples(
        st.sampled_from(["", "v1", "a", "a/b", "a:v1", "h.example/a:v1", "i.example/a:v1", "UP:x"]), st.integers(0, 2)
    ),
    max_size=4,
)


@given(st.lists(st.tuples(st.sampled_from(["one", "two"]), NAMES), min_size=1, max_size=3))
def test_what_a_name_means_does_not_depend_on_the_order_of_files(files) -> None:
    groups = [
        naming.Group(
            str(number), own, [(name, Descriptor(OCI_MANIFEST, Digest.of(b"%d" % seed), 1)) for name, seed in named]
        )
        for number, (own, named) in enumerate(files)
    ]
    found = []
    for some in permutations(groups):
        try:
            found.append(naming.table(some))
        except UsageError:
            found.append({})
    assert all(one == found[0] for one in found)
