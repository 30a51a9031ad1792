"""``sync``: what skopeo makes of the same command, and what it does not: to go on, to refuse, to change nothing."""

import hashlib
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command import begin, command, tree
from support.corpus import Sample, base_layers, multi_platform, push, sample
from support.registry_server import RegistryServer, running

PASSWORD = "s3cret-pw"
TAGS = ("1.0", "1.1", "1.10", "v2.0-rc1", "latest")


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    base = base_layers(1 << 20)
    apps = [sample("team/app", tag, base, f"app {tag}") for tag in TAGS]
    return [*apps, sample("other/app", "1.0", base, "another"), multi_platform("team/multi", "v1", base)]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, samples: list[Sample]) -> Iterator[RegistryServer]:
    with running(tmp_path_factory.mktemp("registry"), access_log=True) as server:
        for image in samples:
            push(server.name, image)
        yield server


def sync(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return command(folder, "sync", *words)


def skopeo(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["skopeo", "--insecure-policy", "sync", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def files(root: Path) -> dict[str, str]:
    """Return name and hash of every file under ``root``."""
    return {name: digest for name, (_, digest) in tree(root).items() if digest}


def images(root: Path) -> list[str]:
    return sorted(str(path.parent.relative_to(root)) for path in root.rglob("manifest.json"))


def source_file(folder: Path, text: str) -> str:
    path = folder / "source.yaml"
    path.write_text(text)
    return path.name


@pytest.mark.parametrize(
    "words",
    [
        ["team/app"],
        ["team/app:1.10"],
        ["team/app", "--scoped"],
        ["team/multi"],
        ["team/multi", "--all"],
        ["team/multi", "-a", "--preserve-digests", "--scoped"],
    ],
    ids=" ".join,
)
def test_a_repository_gives_the_folders_that_skopeo_makes(
    tmp_path: Path, registry: RegistryServer, words: list[str]
) -> None:
    what = ["--src", "docker", "--dest", "dir", "--src-tls-verify=false", f"{registry.name}/{words[0]}", *words[1:]]
    (tmp_path / "theirs").mkdir()
    assert skopeo(tmp_path, *what, "theirs").returncode == 0
    done = sync(tmp_path, *what, "ours")
    assert done.returncode == 0, done.stderr
    assert files(tmp_path / "ours") == files(tmp_path / "theirs")


def test_a_source_file_gives_the_folders_that_skopeo_makes(tmp_path: Path, registry: RegistryServer) -> None:
    path = source_file(
        tmp_path,
        f"""
{registry.name}:
  tls-verify: false
  images:
    team/app: [1.10, latest]
    team/multi: []
  images-by-tag-regex:
    team/app: ^1\\.
  images-by-semver:
    team/app: ">= 1.1"
""",
    )
    what = ["--src", "yaml", "--dest", "dir", path]
    (tmp_path / "theirs").mkdir()
    theirs = skopeo(tmp_path, *what[:4], "--scoped", path, "theirs")
    # skopeo refuses a folder that it has written itself: of each name the first stays.
    assert theirs.returncode in (0, 1)
    done = sync(tmp_path, *what, "ours", "--scoped")
    assert done.returncode == 0, done.stderr
    names = images(tmp_path / "ours")
    assert names == [f"{registry.name}/team/app:{tag}" for tag in ("1.0", "1.1", "1.10", "latest")] + [
        f"{registry.name}/team/multi:v1"
    ]
    ours = files(tmp_path / "ours")
    assert {name: ours.get(name) for name in files(tmp_path / "theirs")} == files(tmp_path / "theirs")


def test_digests_in_a_source_file_and_in_the_digest_file(
    tmp_path: Path, registry: RegistryServer, samples: list[Sample]
) -> None:
    digest = f"sha256:{hashlib.sha256(samples[0].manifest).hexdigest()}"
    path = source_file(tmp_path, f"{registry.name}:\n  tls-verify: false\n  images: {{team/app: ['{digest}']}}\n")
    done = sync(
        tmp_path, "--src", "yaml", "--dest", "dir", "--append-suffix=-old", "--digestfile", "digests", path, "out"
    )
    assert done.returncode == 0, done.stderr
    assert images(tmp_path / "out") == [f"app@{digest}-old"]
    assert (tmp_path / "digests").read_text() == f"{digest} dir:{tmp_path}/out/app@{digest}-old\n"


def test_two_sources_with_one_base_name_are_refused_before_anything_is_written(
    tmp_path: Path, registry: RegistryServer
) -> None:
    text = f"{registry.name}:\n  tls-verify: false\n  images: {{team/app: ['1.0'], other/app: ['1.0']}}\n"
    path = source_file(tmp_path, text)
    before = tree(tmp_path)
    done = sync(tmp_path, "--src", "yaml", "--dest", "dir", path, "out")
    assert done.returncode == 1
    assert "team/app:1.0" in done.stderr
    assert "other/app:1.0" in done.stderr
    assert "--scoped" in done.stderr
    assert tree(tmp_path) == before
    scoped = sync(tmp_path, "--src", "yaml", "--dest", "dir", "--scoped", path, "out")
    assert scoped.returncode == 0, scoped.stderr
    assert len(images(tmp_path / "out")) == 2


def test_a_dry_run_says_what_it_would_do_and_touches_nothing(tmp_path: Path, registry: RegistryServer) -> None:
    before = tree(tmp_path)
    words = ["--src", "docker", "--dest", "dir", "--src-tls-verify=false", f"{registry.name}/team/app"]
    done = sync(tmp_path, *words, "--dry-run", "--digestfile", "digests", "out")
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path) == before
    assert f'msg="Would have synced {len(TAGS)} images from 1 sources"' in done.stderr
    assert f'from="docker://{registry.name}/team/app:1.10" to="dir:{tmp_path}/out/app:1.10"' in done.stderr
    assert sync(tmp_path, *words, "out").returncode == 0


def test_a_missing_image_ends_the_sync_and_with_keep_going_only_itself(
    tmp_path: Path, registry: RegistryServer
) -> None:
    text = f"{registry.name}:\n  tls-verify: false\n  images: {{team/app: [none, '1.0'], team/gone: []}}\n"
    path = source_file(tmp_path, text)
    words = ["--src", "yaml", "--dest", "dir", path, "out"]
    assert sync(tmp_path, *words).returncode != 0
    assert not (tmp_path / "out").exists()
    done = sync(tmp_path, *words, "--keep-going", "--digestfile", "digests")
    assert done.returncode == 1
    assert "app:none" in done.stderr
    assert "team/gone" in done.stderr
    assert images(tmp_path / "out") == ["app:1.0"]
    assert (tmp_path / "digests").read_text().endswith(f"dir:{tmp_path}/out/app:1.0\n")


def test_a_second_sync_fetches_what_changed_and_writes_again_what_was_lost(
    tmp_path: Path, samples: list[Sample]
) -> None:
    with running(tmp_path / "registry", access_log=True) as server:
        for image in samples[:2]:
            push(server.name, image)
        words = ["--src", "docker", "--dest", "dir", "--src-tls-verify=false", f"{server.name}/team/app", "out"]
        assert sync(tmp_path, *words).returncode == 0
        blobs = sum("/blobs/" in line for line in server.requests())
        out = tmp_path / "out"
        first = files(out)
        (out / "app:1.0" / "manifest.json").unlink()
        done = sync(tmp_path, *words)
        assert done.returncode == 0, done.stderr
        assert files(out) == first
        assert sum("/blobs/" in line for line in server.requests()) == blobs
        push(server.name, sample("team/app", "1.1", base_layers(1 << 20), "moved"))
        push(server.name, samples[2])
        assert sync(tmp_path, *words).returncode == 0
    assert images(out) == ["app:1.0", "app:1.1", "app:1.10"]
    assert files(out)["app:1.1/manifest.json"] != first["app:1.1/manifest.json"]
    assert files(out)["app:1.0/manifest.json"] == first["app:1.0/manifest.json"]


def test_killed_again_and_again_the_same_command_goes_on(tmp_path: Path) -> None:
    layers = base_layers(24 << 20)
    made = [sample("team/big", f"v{n}", layers if n % 2 else layers[:1], f"big {n}") for n in range(12)]
    with running(tmp_path / "registry") as server:
        for image in made:
            push(server.name, image)
        words = ["sync", "--src", "docker", "--dest", "dir", "--src-tls-verify=false", f"{server.name}/team/big", "out"]
        kills = 0
        for limit in (3, 12, 25, 40):
            process = begin(tmp_path, *words)
            while process.poll() is None and sum(1 for _ in tmp_path.glob("runs/*/checkpoints/*/[!.]*.json")) < limit:
                time.sleep(0.001)
            process.kill()
            process.communicate()
            kills += process.returncode == -signal.SIGKILL
        assert kills
        done = command(tmp_path, *words)
        assert done.returncode == 0, done.stderr
        (tmp_path / "theirs").mkdir()
        assert skopeo(tmp_path, *words[1:-1], "theirs").returncode == 0
    assert files(tmp_path / "out") == files(tmp_path / "theirs")


def test_credentials_of_a_source_file_reach_the_registry_and_no_file(tmp_path: Path, samples: list[Sample]) -> None:
    with running(tmp_path / "registry", user="alice", password=PASSWORD) as server:
        push_as(server, samples[0])
        work = tmp_path / "work"
        work.mkdir()
        head = f"{server.name}:\n  tls-verify: false\n  images: {{team/app: []}}\n"
        path = source_file(work, head)
        denied = sync(work, "--src", "yaml", "--dest", "dir", path, "out", "--src-no-creds")
        assert denied.returncode == 1
        path = source_file(work, f"{head}  credentials: {{username: alice, password: {PASSWORD}}}\n")
        done = sync(work, "--src", "yaml", "--dest", "dir", path, "out")
        assert done.returncode == 0, done.stderr
        words = ["--src", "docker", "--dest", "dir", "--src-tls-verify=false", f"{server.name}/team/app", "second"]
        by_option = sync(work, *words, "--src-creds", f"alice:{PASSWORD}")
        assert by_option.returncode == 0, by_option.stderr
    (work / path).unlink()
    for file in work.rglob("*"):
        assert not file.is_file() or PASSWORD.encode() not in file.read_bytes()
    assert PASSWORD not in done.stdout + done.stderr + by_option.stdout + by_option.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("reg:\n  image: {}", "unknown key"),
        ("reg:\n  images: {A: []}", "not lower-case"),
        ("reg:\n  images-by-tag-regex: {a: '('}", "not a regular expression"),
        ("reg:\n  images-by-semver: {a: 'x y'}", "not a range of versions"),
        ("reg:\n  credentials: {username: me, password: [hunter2]}", "credentials"),
        ("reg:\n  credentials: hunter2", "credentials"),
        ("reg:\n  tls-verify: perhaps", "tls-verify"),
    ],
)
def test_a_wrong_source_file_is_one_line_that_names_the_place_and_no_secret(
    tmp_path: Path, text: str, said: str
) -> None:
    done = sync(tmp_path, "--src", "yaml", "--dest", "dir", source_file(tmp_path, text), "out")
    assert done.returncode == 1
    assert said in done.stderr
    assert "source.yaml" in done.stderr
    assert "hunter2" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--src", "dir", "--dest", "dir"], "rsync"),
        (["--src", "docker", "--dest", "dir", "--sign-by", "me"], "--sign-by"),
        (["--src", "oci", "--dest", "dir"], "--src"),
        (["--dest", "dir"], "--src"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_made(tmp_path: Path, words: list[str], said: str) -> None:
    done = sync(tmp_path, *words, "localhost:1/a", "out")
    assert done.returncode == 1
    assert said in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_image_folder_there_before_is_replaced_and_any_other_left_alone(
    tmp_path: Path, registry: RegistryServer
) -> None:
    words = ["--src", "docker", "--dest", "dir", "--src-tls-verify=false", f"{registry.name}/team/app:1.0", "out"]
    mine = tmp_path / "out/app:1.0"
    mine.mkdir(parents=True)
    (mine / "thesis.txt").write_text("two years")
    done = sync(tmp_path, *words)
    assert done.returncode == 1
    assert "thesis.txt" in done.stderr
    assert (mine / "thesis.txt").read_text() == "two years"


@pytest.mark.parametrize("words", [[], ["--all", "--append-suffix", "-old"]], ids=" ".join)
def test_a_sync_to_a_registry_pushes_what_skopeo_pushes(
    tmp_path: Path, registry: RegistryServer, words: list[str]
) -> None:
    path = source_file(
        tmp_path, f"{registry.name}:\n  tls-verify: false\n  images: {{team/app: [1.10, latest], team/multi: []}}\n"
    )
    with running(tmp_path / "target", user="alice", password=PASSWORD) as target:
        to = ["--dest-tls-verify=false", "--dest-creds", f"alice:{PASSWORD}", path, f"{target.name}/mirror"]
        done = sync(tmp_path, "--src", "yaml", "--dest", "docker", *words, "--digestfile", "digests", *to)
        assert done.returncode == 0, done.stderr
        suffix = "-old" if words else ""
        for name in ("app:1.10", "app:latest", "multi:v1"):
            place = f"{target.name}/mirror/{name}{suffix}"
            assert f"docker://{place}\n" in (tmp_path / "digests").read_text()
            there = ["--tls-verify=false", f"--creds=alice:{PASSWORD}", f"docker://{place}"]
            found = subprocess.run(["skopeo", "inspect", "--raw", *there], capture_output=True, timeout=60, check=True)
            source = ["--tls-verify=false", f"docker://{registry.name}/team/{name}"]
            wanted = subprocess.run(
                ["skopeo", "inspect", "--raw", *source], capture_output=True, timeout=60, check=True
            )
            if words or "multi" not in name:
                assert found.stdout == wanted.stdout
        again = sync(tmp_path, "--src", "yaml", "--dest", "docker", *words, *to)
        assert again.returncode == 0, again.stderr
    for file in (tmp_path / "runs").rglob("*"):
        assert not file.is_file() or PASSWORD.encode() not in file.read_bytes()


def test_folders_go_to_a_registry_by_their_names(tmp_path: Path, registry: RegistryServer) -> None:
    name = f"{registry.name}/team/app"
    assert sync(tmp_path, "--src", "docker", "--dest", "dir", "--src-tls-verify=false", name, "out").returncode == 0
    with running(tmp_path / "target") as target:
        done = sync(tmp_path, "--src", "dir", "--dest", "docker", "--dest-tls-verify=false", "out", f"{target.name}/up")
        assert done.returncode == 0, done.stderr
        words = ["--src", "docker", "--dest", "dir", "--src-tls-verify=false", f"{target.name}/up/app", "back"]
        assert sync(tmp_path, *words).returncode == 0
    assert files(tmp_path / "back") == files(tmp_path / "out")


def push_as(server: RegistryServer, image: Sample) -> None:
    reference = f"docker://{server.name}/{image.repository}:{image.tag}"
    folder = Path(server.log).parent / "pushed"
    folder.mkdir()
    (folder / "version").write_text("Directory Transport Version: 1.1\n")
    (folder / "manifest.json").write_bytes(image.manifest)
    for blob in image.blobs:
        (folder / hashlib.sha256(blob).hexdigest()).write_bytes(blob)
    subprocess.run(
        ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", "--dest-creds", f"alice:{PASSWORD}",
         f"dir:{folder}", reference],
        check=True, timeout=60,
    )  # fmt: skip
