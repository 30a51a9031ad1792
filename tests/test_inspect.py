"""`inspect` says what the installed skopeo says, of every transport."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command import command
from support.engines import tool
from support.hostile import Reply, Seen, serving
from support.images import ImageBytes, make_image, make_multi, write_layout
from support.peers import ours, skopeo, upload
from support.registry_server import RegistryServer, running
from transship.pipeline.digest import Digest

ARM = ("--override-arch", "arm64")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with running(tmp_path_factory.mktemp("registry")) as server:
        upload(server, "team/app", "v1", make_image("docker", healthcheck=True))
        upload(server, "team/app", "v2", make_image("oci", docker=False, annotations={"a": "b"}))
        upload(server, "team/multi", "v1", make_multi("multi"))
        yield server


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the same image in every form, and a layout of several."""
    folder = tmp_path_factory.mktemp("world")
    write_layout(
        folder / "layout",
        {
            "one": make_image("one", docker=False, annotations={"x": "<&>"}),
            "multi": make_multi("two", docker=False),
            "chart": artifact(),
        },
    )
    for target in ("dir:dir", "oci-archive:oci.tar:one", "docker-archive:docker.tar:team/one:v1"):
        transport, _, path = target.partition(":")
        tool("skopeo", "copy", f"oci:{folder / 'layout'}:one", f"{transport}:{folder / path}")
    tool("skopeo", "copy", "--format", "v2s1", f"oci:{folder / 'layout'}:one", f"dir:{folder / 'schema1'}")
    return folder


def artifact() -> ImageBytes:
    image = make_image("chart", docker=False)
    document = image.document
    config = document["config"]
    assert isinstance(config, dict)
    config["mediaType"] = "application/vnd.cncf.helm.config.v1+json"
    return ImageBytes(json.dumps(document).encode(), image.media_type, image.blobs)


REFERENCES = (
    "oci:layout:one",
    "oci:layout:multi",
    "oci-archive:oci.tar:one",
    "dir:dir",
    "dir:schema1",
    "docker-archive:docker.tar:team/one:v1",
    "docker-archive:docker.tar",
)


@pytest.mark.parametrize("reference", REFERENCES)
def test_the_summary_is_skopeos(world: Path, reference: str) -> None:
    shown = json.loads(ours(world, "inspect", reference))
    layers = shown.pop("LayersData")
    assert [layer["Digest"] for layer in layers] == shown["Layers"]
    expected = json.loads(skopeo(world, "inspect", reference))
    if reference.startswith("docker-archive"):
        # It holds no manifest: each tool makes its own.
        assert shown.pop("Digest") != expected.pop("Digest")
    assert list(shown.items()) == list(expected.items())


@pytest.mark.parametrize("tag", ["team/app:v1", "team/app:v2", "team/multi:v1"])
@pytest.mark.parametrize("more", [(), ("--no-tags",), ("-n", "--config"), ("--raw",), ("--raw", "--config")])
def test_a_registrys_images_are_shown_as_skopeo_shows_them(
    registry: RegistryServer, tmp_path: Path, tag: str, more: tuple[str, ...]
) -> None:
    words = ("inspect", "--tls-verify=false", *more, f"docker://{registry.name}/{tag}")
    mine, theirs = ours(tmp_path, *words), skopeo(tmp_path, *words).decode()
    if "--raw" in more:
        assert mine == theirs
        return
    shown, expected = json.loads(mine), json.loads(theirs)
    shown.pop("LayersData", None)
    assert shown == expected
    if "--config" not in more:
        assert list(shown) == list(expected)


@pytest.mark.parametrize("reference", REFERENCES[:4])
def test_the_config_in_ocis_form_is_skopeos(world: Path, reference: str) -> None:
    assert json.loads(ours(world, "inspect", "--config", reference)) == json.loads(
        skopeo(world, "inspect", "--config", reference)
    )
    raw = ("inspect", "--config", "--raw", reference)
    assert ours(world, *raw) == skopeo(world, *raw).decode()


TEMPLATES = (
    "{{.Digest}}",
    "Name: {{.Name}} Digest: {{.Digest}}",
    "{{.Created}} {{.Labels}} {{.Env}} {{.Layers}} {{.RepoTags}}",
    "{{range .Layers}}{{.}}\\n{{end}}",
    '{{range $i, $l := .Layers}}{{$i}}={{printf "%s|%v" $l $i}} {{end}}',
    "{{range $l := .Layers}}{{$l}}{{else}}none{{end}}",
    "{{if .Name}}named{{else}}nameless{{end}}{{/* said */}} a {{- .Os -}} b",
    "{{.Layers | len}} {{index .Layers 0}} {{.Labels.seed}} {{.Labels.none}}",
)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("reference", ["oci:layout:one", "docker-archive:docker.tar:team/one:v1"])
def test_a_template_gives_what_skopeos_gives(world: Path, template: str, reference: str) -> None:
    words = ("inspect", "--format", template, reference)
    mine, theirs = ours(world, *words), skopeo(world, *words).decode()
    if reference.startswith("oci:") or ".Digest" not in template:
        assert mine == theirs


@pytest.mark.parametrize(
    "template",
    ["{{.Config.Env}} {{.OS}}/{{.Architecture}}", "{{range .History}}{{.CreatedBy}} {{.EmptyLayer}},{{end}}"],
)
def test_a_template_over_the_config_gives_what_skopeos_gives(world: Path, template: str) -> None:
    words = ("inspect", "--config", "-f", template, "oci:layout:one")
    assert ours(world, *words) == skopeo(world, *words).decode()


def test_a_template_has_the_functions_of_later_skopeos(world: Path) -> None:
    said = ours(world, "inspect", "-f", '{{json .Labels}} {{join .Layers ","}} {{.Os | upper}}', "oci:layout:one")
    layers = json.loads(skopeo(world, "inspect", "oci:layout:one"))["Layers"]
    assert said == f'{{"seed":"one"}} {",".join(layers)} LINUX\n'


@pytest.mark.parametrize("form", ["json", "{{json .}}"])
def test_the_format_json_is_the_whole(world: Path, form: str) -> None:
    assert ours(world, "inspect", "-f", form, "oci:layout:one") == ours(world, "inspect", "oci:layout:one")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{.Foo}}", "no field 'Foo'"),
        ("{{.Os", "is not closed"),
        ("{{range .Layers}}", "has no {{end}}"),
        ("{{end}}", "not expected"),
        ("{{template `x`}}", "'template' is not supported"),
        ("{{with .Os}}{{end}}", "'with' is not supported"),
        ("{{.}}", "name its fields"),
        ("{{$x}}", "no variable"),
        ("{{title .Os}}", "no function 'title'"),
        ("{{(.Os)}}", "not supported"),
        ("{{printf `%08d` 1}}", "printf"),
        ("{{index .Layers 99}}", "index does not take"),
        ("{{.Os.Name}}", "no fields"),
        ("table {{.Os}}", "table"),
        ("{{if .Os}}" * 40, "nested deeper"),
    ],
)
def test_what_a_template_may_not_say_is_an_error(world: Path, template: str, said: str) -> None:
    done = command(world, "inspect", "-f", template, "oci:layout:one")
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_html_in_a_label_is_escaped_as_gos_json_does(world: Path, tmp_path: Path) -> None:
    shown = ours(world, "inspect", "oci:layout:one")
    assert json.loads(shown)["Digest"]
    image = make_image("<script>&", docker=False)
    write_layout(tmp_path / "layout", {"v1": image})
    mine, theirs = ours(tmp_path, "inspect", "oci:layout:v1"), skopeo(tmp_path, "inspect", "oci:layout:v1").decode()
    assert "\\u003cscript\\u003e\\u0026" in mine
    assert mine[: mine.index('"Architecture"')] == theirs[: theirs.index('"Architecture"')]


@pytest.mark.parametrize("reference", ["oci:layout:multi", "docker"])
def test_the_override_options_choose_the_instance(world: Path, registry: RegistryServer, reference: str) -> None:
    named = f"docker://{registry.name}/team/multi:v1" if reference == "docker" else reference
    more = ("--tls-verify=false",) if reference == "docker" else ()
    shown = json.loads(ours(world, *ARM, "inspect", *more, named))
    shown.pop("LayersData")
    assert shown == json.loads(skopeo(world, *ARM, "inspect", *more, named))
    assert shown["Architecture"] == "arm64"
    assert command(world, "--override-os", "plan9", "inspect", *more, named).returncode == 2


def test_the_digest_is_of_the_algorithm_that_names_the_config(tmp_path: Path) -> None:
    image = make_image("one", docker=False)
    manifest = json.loads(image.manifest_raw)
    manifest["config"]["digest"] = str(Digest.of(image.config, "sha512"))
    raw = json.dumps(manifest).encode()
    folder = tmp_path / "image"
    folder.mkdir()
    (folder / "version").write_text("Directory Transport Version: 1.2\n")
    (folder / "manifest.json").write_bytes(raw)
    (folder / f"sha512-{Digest.of(image.config, 'sha512').hex}").write_bytes(image.config)
    for words, algorithm in (((), "sha512"), (("--manifest-digest", "sha256"), "sha256")):
        assert json.loads(ours(tmp_path, "inspect", *words, "dir:image"))["Digest"] == str(Digest.of(raw, algorithm))


def test_the_digest_can_be_of_another_algorithm(world: Path) -> None:
    raw = skopeo(world, "inspect", "--raw", "oci:layout:multi")
    shown = json.loads(ours(world, "inspect", "--manifest-digest", "sha512", "oci:layout:multi"))
    assert shown["Digest"] == str(Digest.of(raw, "sha512"))
    assert command(world, "inspect", "--manifest-digest", "md5", "oci:layout:multi").returncode == 1


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("oci:layout:absent", 2),
        ("oci-archive:oci.tar:absent", 2),
        ("oci:nowhere", 1),
        ("oci-archive:nowhere.tar", 1),
        ("dir:nowhere", 1),
        ("docker-archive:nowhere.tar", 1),
        ("docker-archive:docker.tar:team/absent:v1", 1),
        ("nonsense", 1),
        ("oci:layout:chart", 1),
    ],
)
def test_exit_code_2_is_an_image_that_was_not_found_alone(world: Path, reference: str, code: int) -> None:
    done = command(world, "inspect", reference)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)


def test_an_image_that_a_registry_does_not_have_is_exit_code_2(registry: RegistryServer, tmp_path: Path) -> None:
    done = command(tmp_path, "inspect", "--tls-verify=false", f"docker://{registry.name}/team/app:none")
    assert done.returncode == 2
    assert skopeo_code(tmp_path, f"docker://{registry.name}/team/app:none") != 0


def skopeo_code(folder: Path, reference: str) -> int:
    words = ["skopeo", "inspect", "--tls-verify=false", reference]
    return subprocess.run(words, cwd=folder, capture_output=True, timeout=60, check=False).returncode


def test_an_artifact_is_shown_raw_alone(world: Path) -> None:
    assert ours(world, "inspect", "--raw", "oci:layout:chart") == artifact().manifest_raw.decode()
    assert "--raw shows its manifest" in command(world, "inspect", "oci:layout:chart").stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--raw", "--format", "{{.Os}}"),
        ("--creds", "a:b", "--no-creds"),
        ("--creds", "a:b", "--username", "a", "--password", "b"),
        ("--username", "a"),
        ("--creds", ":b"),
        ("--no-such-option",),
    ],
)
def test_options_that_cannot_be_met_are_an_error(world: Path, words: tuple[str, ...]) -> None:
    done = command(world, "inspect", *words, "oci:layout:one")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


def test_a_flag_takes_a_value_after_an_equals_sign_alone(world: Path) -> None:
    raw = ours(world, "inspect", "--raw", "oci:layout:one")
    assert ours(world, "inspect", "--raw=true", "oci:layout:one") == raw
    assert ours(world, "inspect", "--tls-verify", "--raw=1", "oci:layout:one") == raw
    assert ours(world, "inspect", "--raw", "--raw=false", "oci:layout:one") != raw
    assert command(world, "inspect", "--raw=maybe", "oci:layout:one").returncode == 1


def test_a_registry_that_keeps_its_tags_to_itself_is_a_warning(tmp_path: Path) -> None:
    image = make_image("secretive")

    def script(seen: Seen) -> Reply:
        if "/tags/" in seen.path:
            return Reply(403, b'{"errors":[{"code":"DENIED","message":"no"}]}')
        if "/manifests/" in seen.path:
            return Reply(200, image.manifest_raw, {"Content-Type": image.media_type})
        found = image.blobs.get(Digest.parse(seen.path.rpartition("/")[2])) if "/blobs/" in seen.path else b""
        return Reply(200, found or b"")

    with serving(script) as server:
        words = ("inspect", "--tls-verify=false", f"docker://{server.name}/a/b:c")
        done = command(tmp_path, *words)
        expected = json.loads(skopeo(tmp_path, *words))
    assert done.returncode == 0
    assert "warning" in done.stderr
    assert json.loads(done.stdout)["RepoTags"] == expected["RepoTags"]
