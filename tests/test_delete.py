"""`delete`: what is gone, what stays, who is told."""

import json
import subprocess
import threading
from pathlib import Path

import pytest

from support.command import command, tree
from support.engines import tool
from support.hostile import Reply, Seen, serving
from support.images import make_base, make_image, make_multi, write_layout
from support.peers import ours, skopeo, upload
from support.registry_server import RegistryServer
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, NotFoundError
from transship.pipeline.transports.layout import blob_name
from transship.pipeline.transports.layout_delete import delete_image


def there(server: RegistryServer, folder: Path, name: str) -> bool:
    words = ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{server.name}/{name}"]
    return subprocess.run(words, cwd=folder, capture_output=True, timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("program", ["transship", "skopeo"])
def test_all_tags_on_the_digest_go_and_others_stay(open_registry: RegistryServer, tmp_path: Path, program: str) -> None:
    one, other = make_image(1), make_multi(2)
    for tag, image in (("a", one), ("same", one), ("b", other)):
        upload(open_registry, f"{program}/app", tag, image)
    words = ("delete", "--tls-verify=false", f"docker://{open_registry.name}/{program}/app:a")
    said = ours(tmp_path, *words) if program == "transship" else skopeo(tmp_path, *words).decode()
    assert said == ""
    assert [there(open_registry, tmp_path, f"{program}/app:{tag}") for tag in ("a", "same", "b")] == [
        False,
        False,
        True,
    ]


def test_a_digest_and_a_list_can_be_deleted(open_registry: RegistryServer, tmp_path: Path) -> None:
    image, multi = make_image("by digest"), make_multi("list")
    upload(open_registry, "digest/app", "a", image)
    upload(open_registry, "digest/app", "list", multi)
    ours(tmp_path, "delete", "--tls-verify=false", f"docker://{open_registry.name}/digest/app@{image.digest}")
    ours(tmp_path, "delete", "--tls-verify=false", f"docker://{open_registry.name}/digest/app:list")
    assert not there(open_registry, tmp_path, "digest/app:a")
    assert not there(open_registry, tmp_path, "digest/app:list")
    assert there(open_registry, tmp_path, f"digest/app@{multi.children[0].digest}")


def test_what_is_not_there_is_exit_code_2(open_registry: RegistryServer, tmp_path: Path) -> None:
    done = command(tmp_path, "delete", "--tls-verify=false", f"docker://{open_registry.name}/none/app:a")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_a_registry_that_does_not_delete_is_an_error_that_says_so(tmp_path: Path) -> None:
    image = make_image("kept")

    def script(seen: Seen) -> Reply:
        if seen.method == "DELETE":
            return Reply(405, b'{"errors":[{"code":"UNSUPPORTED","message":"no"}]}')
        return Reply(200, image.manifest_raw, {"Content-Type": image.media_type})

    with serving(script) as server:
        done = command(tmp_path, "delete", "--tls-verify=false", f"docker://{server.name}/a/b:c")
        assert [seen.target for seen in server.seen if seen.method == "DELETE"] == [f"/v2/a/b/manifests/{image.digest}"]
    assert done.returncode == 1
    assert "does not allow it" in done.stderr


def test_a_token_for_deleting_is_asked_for(tmp_path: Path) -> None:
    image = make_image("token")

    def script(seen: Seen) -> Reply:
        if seen.path == "/token":
            return Reply(200, json.dumps({"token": "all" if "%2A" in seen.target else "pull"}).encode())
        if seen.authorization not in ("Bearer all", *(["Bearer pull"] if seen.method != "DELETE" else [])):
            return Reply(401, headers={"WWW-Authenticate": f'Bearer realm="http://{seen.headers["host"]}/token"'})
        if seen.method == "DELETE":
            return Reply(202)
        return Reply(200, image.manifest_raw, {"Content-Type": image.media_type})

    with serving(script) as server:
        ours(tmp_path, "delete", "--tls-verify=false", f"docker://{server.name}/a/b:c")
        scopes = [seen.target for seen in server.asked("/token")]
    assert [scope.partition("?")[2] for scope in scopes] == [
        "scope=repository%3Aa%2Fb%3Apull",
        "scope=repository%3Aa%2Fb%3A%2A",
    ]


@pytest.mark.parametrize(
    "reference",
    [
        "dir:dir",
        "oci-archive:a.tar:x",
        "docker-archive:a.tar",
        "oci:nowhere:x",
        "docker-daemon:a:v1",
        "sif:a",
        "tarball:a",
    ],
)
def test_where_nothing_can_be_deleted_is_an_error(tmp_path: Path, reference: str) -> None:
    done = command(tmp_path, "delete", reference)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert tree(tmp_path) == {}


def names(layout: Path) -> dict[str, str]:
    entries = json.loads((layout / "index.json").read_text())["manifests"]
    return {
        entry.get("annotations", {}).get("org.opencontainers.image.ref.name", ""): entry["digest"] for entry in entries
    }


def test_of_a_layout_go_the_name_and_what_no_other_image_needs(tmp_path: Path) -> None:
    base = make_base(1)
    one, two = (make_image(seed, docker=False, base_layers=base) for seed in (1, 2))
    multi = make_multi(3, docker=False)
    layout = tmp_path / "layout"
    write_layout(layout, {"one": one, "two": two, "multi": multi, "": make_image(9, docker=False)})
    ours(tmp_path, "delete", "oci:layout:one")
    assert set(names(layout)) == {"two", "multi", ""}
    for digest in one.all_blobs:
        assert (layout / blob_name(digest)).exists() == (digest in two.all_blobs)
    ours(tmp_path, "delete", "oci:layout:multi")
    assert not any((layout / blob_name(digest)).exists() for digest in multi.all_blobs)
    ours(tmp_path, "verify", "oci:layout:two")
    tool("skopeo", "copy", f"oci:{layout}:two", f"dir:{tmp_path / 'dir'}")


def test_an_image_with_another_name_keeps_its_blobs(tmp_path: Path) -> None:
    image = make_image(1, docker=False)
    write_layout(tmp_path / "layout", {"one": image, "same": image})
    ours(tmp_path, "delete", "oci:layout:one")
    ours(tmp_path, "verify", "oci:layout:same")
    ours(tmp_path, "delete", "oci:layout")
    assert names(tmp_path / "layout") == {}
    assert not [path for path in (tmp_path / "layout/blobs").rglob("*") if path.is_file()]


def test_an_image_without_a_name_is_deleted_by_its_place(tmp_path: Path) -> None:
    write_layout(tmp_path / "layout", {"": make_image(1, docker=False), "two": make_image(2, docker=False)})
    assert command(tmp_path, "delete", "oci:layout").returncode == 1
    assert command(tmp_path, "delete", "oci:layout:absent").returncode == 2
    ours(tmp_path, "delete", "oci:layout:@0")
    assert set(names(tmp_path / "layout")) == {"two"}
    ours(tmp_path, "verify", "oci:layout:two")


def test_a_platform_that_was_never_copied_is_no_hindrance(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    multi, other = make_multi(1, docker=False), make_multi(2, docker=False)
    write_layout(layout, {"multi": multi, "other": other})
    for image in (multi, other):
        (layout / blob_name(image.children[1].digest)).unlink()
    ours(tmp_path, "delete", "oci:layout:multi")
    assert not (layout / blob_name(multi.children[0].digest)).exists()
    assert (layout / blob_name(other.children[0].digest)).exists()


def test_where_another_manifest_is_damaged_nothing_is_deleted(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    other = make_image(2, docker=False)
    write_layout(layout, {"one": make_image(1, docker=False), "other": other})
    (layout / blob_name(other.digest)).write_bytes(b"{}")
    before = tree(layout)
    with pytest.raises(ContentError):
        delete_image(layout, "one", None)
    assert tree(layout) == before


def test_many_at_once_delete_their_own(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    base = make_base(1)
    images = {f"v{n}": make_image(n, layers=1, docker=False, base_layers=base) for n in range(12)}
    write_layout(layout, images)
    threads = [threading.Thread(target=delete_image, args=(layout, f"v{n}", None)) for n in range(11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(names(layout)) == {"v11"}
    left = {path.name for path in (layout / "blobs").rglob("*") if path.is_file()}
    assert left == {digest.hex for digest in images["v11"].all_blobs}
    with pytest.raises(NotFoundError):
        delete_image(layout, "v0", None)
    assert Digest.parse(names(layout)["v11"]) == images["v11"].digest


def test_of_a_layout_that_shares_its_blobs_goes_the_name_alone(tmp_path: Path) -> None:
    image = make_image("shared", docker=False)
    write_layout(tmp_path / "layout", {"one": image, "two": make_image("other", docker=False)})
    (tmp_path / "layout/blobs").rename(tmp_path / "shared")
    before = tree(tmp_path / "shared")
    ours(tmp_path, "inspect", "--shared-blob-dir", "shared", "oci:layout:one")
    ours(tmp_path, "delete", "--shared-blob-dir", "shared", "oci:layout:one")
    assert set(names(tmp_path / "layout")) == {"two"}
    assert tree(tmp_path / "shared") == before


@pytest.mark.parametrize("words", [("delete",), ("inspect",), ("layers",), ("verify",)])
def test_a_shared_folder_of_what_is_no_layout_is_an_error(tmp_path: Path, words: tuple[str]) -> None:
    done = command(tmp_path, *words, "--shared-blob-dir", "shared", "dir:x")
    assert done.returncode in (1, 2)
    assert "--shared-blob-dir is for oci: layouts" in done.stderr
