"""registries.conf at work: real registries on loopback, and the installed skopeo beside transship."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.certificates import Certificates
from support.command import command
from support.fixtures import PASSWORD, USER
from support.hostile import Reply, Seen, serving
from support.images import make_image, write_layout
from support.peers import skopeo, skopeo_code, upload
from support.registry_server import RegistryServer, free_port

Conf = Callable[[str], tuple[str, str]]
REAL, MIRROR = make_image("real"), make_image("mirror")


@pytest.fixture(scope="module")
def registry(open_registry: RegistryServer) -> RegistryServer:
    """Holds one tag twice: as it is, and as a mirror has it."""
    upload(open_registry, "real/app", "v1", REAL)
    upload(open_registry, "copied/app", "v1", MIRROR)
    upload(open_registry, "copied/app", str(REAL.digest), REAL)
    return open_registry


@pytest.fixture
def conf(tmp_path: Path) -> Conf:
    def write(text: str) -> tuple[str, str]:
        (tmp_path / "registries.conf").write_text(text)
        return "--registries-conf", str(tmp_path / "registries.conf")

    return write


def namespace(registry: RegistryServer, more: str = "") -> str:
    return f"""
[[registry]]
prefix = "registry.example/team"
location = "{registry.name}/real"
insecure = true
{more}
"""


def mirror(location: str, more: str = "insecure = true") -> str:
    return f'[[registry.mirror]]\nlocation = "{location}"\n{more}\n'


def manifests(folder: Path, option: tuple[str, str], reference: str) -> set[bytes]:
    """Return the manifest that transship reads and the one that skopeo reads."""
    done = command(folder, *option, "inspect", "--raw", f"docker://{reference}")
    assert done.returncode == 0, done.stderr
    words = ["skopeo", *option, "inspect", "--raw", f"docker://{reference}"]
    return {done.stdout.encode(), subprocess.run(words, capture_output=True, timeout=60, check=True).stdout}


def test_a_prefix_is_read_from_its_location_and_keeps_its_name(
    tmp_path: Path, registry: RegistryServer, conf: Conf
) -> None:
    option = conf(namespace(registry))
    assert manifests(tmp_path, option, "registry.example/team/app:v1") == {REAL.manifest_raw}
    done = command(tmp_path, *option, "inspect", "docker://registry.example/team/app:v1")
    shown = json.loads(done.stdout)
    assert (shown["Name"], shown["RepoTags"]) == ("registry.example/team/app", ["v1"])


def test_the_longest_prefix_decides_and_a_wildcard_covers_hosts(
    tmp_path: Path, registry: RegistryServer, conf: Conf
) -> None:
    places = {
        "*.example": registry.name,
        "*.registry.example": f"{registry.name}/copied",
        "deep.registry.example/far": f"{registry.name}/real",
    }
    option = conf(
        "".join(
            f'[[registry]]\nprefix = "{prefix}"\nlocation = "{location}"\ninsecure = true\n'
            for prefix, location in places.items()
        )
    )
    for reference, image in (
        ("any.example/real/app:v1", REAL),
        ("deep.registry.example/app:v1", MIRROR),
        ("a.b.registry.example/app:v1", MIRROR),
        ("deep.registry.example/far/app:v1", REAL),
        (f"deep.registry.example/far/app@{REAL.digest}", REAL),
    ):
        assert manifests(tmp_path, option, reference) == {image.manifest_raw}


def test_a_mirror_that_has_the_image_is_read_and_one_that_is_down_or_without_it_is_passed_over(
    tmp_path: Path, registry: RegistryServer, conf: Conf
) -> None:
    hit = mirror(f"{registry.name}/copied")
    dead, without = mirror(f"localhost:{free_port()}/x"), mirror(f"{registry.name}/nothing")
    for mirrors, image in (
        (hit, MIRROR),
        (dead + hit, MIRROR),
        (without + hit, MIRROR),
        (dead + without, REAL),
    ):
        option = conf(namespace(registry, mirrors))
        assert manifests(tmp_path, option, "registry.example/team/app:v1") == {image.manifest_raw}


def test_an_image_that_is_nowhere_is_not_found_and_each_place_is_named(
    tmp_path: Path, registry: RegistryServer, conf: Conf
) -> None:
    option = conf(namespace(registry, mirror(f"{registry.name}/nothing")))
    reference = "docker://registry.example/team/app:none"
    done = command(tmp_path, *option, "inspect", reference)
    assert done.returncode == 2, done.stderr
    assert f"mirrors failed too: {registry.name}/nothing/app: " in done.stderr
    # Exit code 2 is newer than the skopeo installed here.
    assert skopeo_code(tmp_path, *option, "inspect", reference) != 0


@pytest.mark.parametrize(
    ("whole", "each", "by_tag", "by_digest"),
    [
        ("mirror-by-digest-only = true", "", "real", "copied"),
        ("", 'pull-from-mirror = "digest-only"', "real", "copied"),
        ("", 'pull-from-mirror = "tag-only"', "copied", "real"),
        ("", 'pull-from-mirror = "all"', "copied", "copied"),
    ],
)
def test_a_mirror_is_asked_for_tags_or_for_digests_as_it_says(
    tmp_path: Path, registry: RegistryServer, conf: Conf, whole: str, each: str, by_tag: str, by_digest: str
) -> None:
    option = conf(namespace(registry, whole + "\n" + mirror(f"{registry.name}/copied", f"insecure = true\n{each}")))
    for suffix, expected in ((":v1", by_tag), (f"@{REAL.digest}", by_digest)):
        before = len(registry.requests())
        done = command(tmp_path, *option, "inspect", "--raw", f"docker://registry.example/team/app{suffix}")
        assert done.returncode == 0, done.stderr
        asked = [line for line in registry.requests()[before:] if "/manifests/" in line]
        assert [f"/v2/{expected}/app/" in line for line in asked] == [True]


def test_blobs_come_from_the_next_place_where_a_mirror_has_the_manifest_alone(
    tmp_path: Path, registry: RegistryServer, conf: Conf
) -> None:
    def script(seen: Seen) -> Reply:
        if "/manifests/" in seen.path:
            return Reply(200, REAL.manifest_raw, {"Content-Type": REAL.media_type})
        return Reply(404)

    with serving(script) as poor:
        option = conf(namespace(registry, mirror(f"{poor.name}/poor")))
        done = command(tmp_path, *option, "copy", "docker://registry.example/team/app:v1", "dir:out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/manifest.json").read_bytes() == REAL.manifest_raw
    assert poor.asked("/v2/poor/app/blobs/")


def test_a_blocked_registry_is_refused_in_one_line_unless_a_mirror_has_the_image(
    tmp_path: Path, registry: RegistryServer, conf: Conf
) -> None:
    # As skopeo, which looks for blocks by where the image really is.
    text = f'[[registry]]\nlocation = "{registry.name}/real"\ninsecure = true\nblocked = true\n'
    option, reference = conf(text), f"docker://{registry.name}/real/app:v1"
    for words in (
        ("inspect", reference),
        ("list-tags", reference.removesuffix(":v1")),
        ("delete", reference),
        ("copy", reference, "dir:out"),
        ("copy", "--dest-tls-verify=false", f"docker://{registry.name}/copied/app:v1", reference),
        ("verify", reference),
    ):
        more = ("--src-tls-verify=false",) if words[0] == "copy" else ()
        done = command(tmp_path, *option, words[0], *more, *words[1:])
        assert done.returncode != 0
        assert done.stderr.count("\n") == 1
        assert f"{registry.name}/real/app: blocked by {option[1]}:1" in done.stderr
        if words[0] != "verify":
            assert skopeo_code(tmp_path, *option, words[0], *more, *words[1:]) == 1
    option = conf(text + mirror(f"{registry.name}/copied"))
    assert manifests(tmp_path, option, reference.removeprefix("docker://")) == {MIRROR.manifest_raw}


def test_what_is_blocked_cannot_be_logged_into(tmp_path: Path, registry: RegistryServer, conf: Conf) -> None:
    option = conf(f'[[registry]]\nlocation = "{registry.name}"\nblocked = true\n')
    words = ("login", "--authfile=a.json", "-u", "me", "-p", "it", registry.name)
    done = command(tmp_path, *option, *words)
    assert done.returncode == 1
    assert "blocked by" in done.stderr
    assert skopeo_code(tmp_path, *option, *words) == 1


def test_insecure_allows_plain_http_and_any_certificate_and_the_command_line_wins(
    tmp_path: Path, registry: RegistryServer, tls_registry: RegistryServer, conf: Conf
) -> None:
    plain = f"docker://{registry.name}/real/app:v1"
    secure = f"docker://{tls_registry.name}/none/app:v1"
    login = f"--creds={USER}:{PASSWORD}"
    for insecure, said, reached in (
        ("true", (), True),
        ("false", (), False),
        ("true", ("--tls-verify",), False),
        ("false", ("--tls-verify=false",), True),
    ):
        text = "".join(
            f'[[registry]]\nlocation = "{server.name}"\ninsecure = {insecure}\n' for server in (registry, tls_registry)
        )
        option = conf(text)
        words = (*option, "inspect", "--raw", "--retry-times=0", *said)
        ours = command(tmp_path, *words, plain).returncode == 0
        theirs = skopeo_code(tmp_path, *(word for word in words if "retry" not in word), plain) == 0
        assert ours == theirs == reached
        # Over TLS the registry can say that there is no such image only once its certificate was accepted.
        missing = command(tmp_path, *words, login, secure)
        assert ("certificate" not in missing.stderr.lower()) == reached, missing.stderr


def test_credentials_of_the_command_line_are_for_the_registry_that_was_named(
    tmp_path: Path, registry: RegistryServer, conf: Conf
) -> None:
    def script(_: Seen) -> Reply:
        return Reply(401, b"", {"WWW-Authenticate": 'Basic realm="mirror"'})

    with serving(script) as greedy:
        option = conf(
            f'[[registry]]\nlocation = "{registry.name}"\ninsecure = true\n' + mirror(f"{greedy.name}/copied")
        )
        words = ("inspect", "--raw", "--creds=alice:planted", f"docker://{registry.name}/real/app:v1")
        done = command(tmp_path, *option, *words)
        assert done.stdout.encode() == REAL.manifest_raw, done.stderr
        assert greedy.asked("/v2/copied/real/app/manifests/")
        assert not [seen for seen in greedy.seen if "authorization" in seen.headers]


def test_what_is_written_listed_and_deleted_is_where_the_name_says_and_is_read_back_from_there(
    tmp_path: Path, registry: RegistryServer, conf: Conf
) -> None:
    image = make_image("pushed")
    write_layout(tmp_path / "from", {"v1": image})
    option = conf(
        f'[[registry]]\nprefix = "{registry.name}/up"\nlocation = "{registry.name}/elsewhere"\ninsecure = true\n'
        + mirror(f"{registry.name}/copied")
    )
    name = f"docker://{registry.name}/up/app:v1"
    before = len(registry.requests())
    done = command(tmp_path, *option, "copy", "--all", "oci:from:v1", name)
    assert done.returncode == 0, done.stderr
    tags = command(tmp_path, *option, "list-tags", name.removesuffix(":v1"))
    peer = skopeo(tmp_path, *option, "list-tags", name.removesuffix(":v1"))
    assert json.loads(tags.stdout) == json.loads(peer)
    assert json.loads(tags.stdout)["Tags"] == ["v1"]
    assert command(tmp_path, *option, "delete", name).returncode == 0
    asked = {line.split("/v2/")[1].split("/")[0] for line in registry.requests()[before:]} - {" HTTP"}
    assert asked == {"up"}


def test_blobs_are_mounted_where_a_name_is_really_on_the_registry_written_to(
    tmp_path: Path, registry: RegistryServer, conf: Conf
) -> None:
    option = conf(
        f'[[registry]]\nprefix = "one.example"\nlocation = "{registry.name}/real"\ninsecure = true\n'
        f'[[registry]]\nlocation = "{registry.name}"\ninsecure = true\n'
    )
    before = len(registry.requests())
    copied = ("docker://one.example/app:v1", f"docker://{registry.name}/mounted/app:v1")
    done = command(tmp_path, *option, "copy", *copied)
    assert done.returncode == 0, done.stderr
    pushed = [line for line in registry.requests()[before:] if "/v2/mounted/app/blobs/uploads/" in line]
    assert pushed
    assert all("from=real%2Fapp" in line and "POST" in line for line in pushed)


def test_a_batch_reads_mirrors_and_its_own_settings_win(tmp_path: Path, registry: RegistryServer, conf: Conf) -> None:
    own = f'[[registry]]\nlocation = "{registry.name}"\ninsecure = true\n'
    option = conf(namespace(registry, mirror(f"{registry.name}/copied")) + own)
    batch = {
        "version": 1,
        "images": [
            {"from": "docker://registry.example/team/app:v1", "to": ["oci:out:{tag}"]},
            {"from": "docker://registry.example/team/app", "tags": ["v1"], "to": ["dir:listed-{tag}"]},
            {"from": "docker://registry.example/team/app:v1", "to": [f"docker://{registry.name}/again:v1"]},
        ],
    }
    (tmp_path / "batch.json").write_text(json.dumps(batch))
    done = command(tmp_path, *option, "run", "batch.json")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "listed-v1/manifest.json").read_bytes() == MIRROR.manifest_raw
    assert command(tmp_path, *option, "verify", "batch").returncode == 0
    settings = {"tls-verify": True, "patience": {"tries": 1}}
    (tmp_path / "batch.json").write_text(json.dumps({**batch, "registries": {registry.name: settings}}))
    done = command(tmp_path, *option, "run", "--name=again", "batch.json")
    assert done.returncode != 0
    assert "TLS" in done.stderr or "SSL" in done.stderr, done.stderr


def test_a_file_that_is_malformed_ends_a_run_and_a_sync_before_any_image(
    tmp_path: Path, registry: RegistryServer, conf: Conf
) -> None:
    option = conf("\n[[registry]]\nblocked = true\n")
    images = [{"from": f"docker://{registry.name}/real/app:v1", "to": ["dir:out"]}]
    (tmp_path / "batch.json").write_text(json.dumps({"version": 1, "images": images}))
    sync = ("sync", "--src", "docker", "--dest", "dir", f"{registry.name}/real/app", "out")
    for words, code in ((("run", "batch.json"), 2), (sync, 1)):
        done = command(tmp_path, *option, *words)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1)
        assert f"{option[1]}:2: location: is missing" in done.stderr
        assert not (tmp_path / "out").exists()


def test_a_sync_reads_where_registries_conf_says(tmp_path: Path, registry: RegistryServer, conf: Conf) -> None:
    option = conf(namespace(registry))
    words = ("sync", "--src", "docker", "--dest", "dir", "--scoped", "registry.example/team/app", "out")
    done = command(tmp_path, *option, *words)
    assert done.returncode == 0, done.stderr
    there = tmp_path / "out/registry.example/team/app:v1/manifest.json"
    assert there.read_bytes() == REAL.manifest_raw


def test_a_client_that_trusts_the_mirrors_authority_needs_no_insecure(
    tmp_path: Path, certificates: Certificates, tls_registry: RegistryServer, registry: RegistryServer, conf: Conf
) -> None:
    option = conf(namespace(registry, mirror(f"{tls_registry.name}/none", "")))
    words = ("inspect", "--raw", f"--cert-dir={certificates.trusted}", "docker://registry.example/team/app:v1")
    before = len(tls_registry.requests())
    done = command(tmp_path, *option, *words)
    assert done.stdout.encode() == REAL.manifest_raw, done.stderr
    assert len(tls_registry.requests()) > before


def test_a_lock_asks_what_a_tag_means_where_tags_are_read_and_is_run_from_where_digests_are(
    tmp_path: Path, registry: RegistryServer, conf: Conf
) -> None:
    only = mirror(f"{registry.name}/copied", 'insecure = true\npull-from-mirror = "digest-only"')
    option = conf(namespace(registry, only))
    entry = {"from": "docker://registry.example/team/app:v1", "to": ["dir:out"], "manifests": "keep"}
    (tmp_path / "batch.json").write_text(json.dumps({"version": 1, "images": [entry]}))
    done = command(tmp_path, *option, "lock", "batch.json", "-o", "l.json")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "l.json").read_bytes())["images"][0]["resolved"]["digest"] == str(REAL.digest)
    before = len(registry.requests())
    done = command(tmp_path, *option, "run", "l.json")
    assert done.returncode == 0, done.stderr
    asked = [line for line in registry.requests()[before:] if "/manifests/" in line]
    assert asked
    assert all(f"/v2/copied/app/manifests/{REAL.digest}" in line for line in asked)
    assert (tmp_path / "out" / "manifest.json").read_bytes() == REAL.manifest_raw
