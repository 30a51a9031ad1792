"""registries.d: where signatures are kept, by image; and the option that names the folder."""

from pathlib import Path

import pytest

from support.command import command
from support.images import make_image, write_layout
from transship.pipeline.cli.config_yaml import read_registries_d
from transship.pipeline.cli.signature_places import usual_lookaside
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import UsageError
from transship.pipeline.lookaside import RegistriesD, Signatures

USUAL = "file:///usual"


def written(folder: Path, **files: str) -> RegistriesD:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return read_registries_d({}, str(folder))


def of(found: RegistriesD, image: str) -> Signatures:
    return found.signatures(DockerReference.parse(image), USUAL)


def test_the_most_exact_scope_that_says_something_counts_for_each_value(tmp_path: Path) -> None:
    found = written(
        tmp_path,
        one="""
default-docker:
  lookaside: https://default.example
docker:
  a.example:
    lookaside: https://a.example/sigs
    use-sigstore-attachments: true
  a.example/team:
    sigstore-staging: file:///staging
""",
        two="""
docker:
  a.example/team/app:v1:
    lookaside: http://localhost:1/s/
    lookaside-staging: file:///v1
    use-sigstore-attachments: false
  "*.example": {sigstore: "https://wild.example"}
  b.example:5000: {lookaside: "https://port.example"}
""",
    )
    team = "a.example/team"
    assert of(found, f"{team}/app:v1") == (f"http://localhost:1/s/{team[10:]}/app", "file:///v1/team/app", False)
    assert of(found, f"{team}/app:v2") == ("https://a.example/sigs/team/app", "file:///staging/team/app", True)
    assert of(found, "a.example/x:v1") == ("https://a.example/sigs/x", "https://a.example/sigs/x", True)
    assert of(found, "b.example/x:v1").read == "https://wild.example/x"
    assert of(found, "b.example:5000/x:v1").read == "https://port.example/x"
    assert of(found, "b.example:6000/x:v1").read == "https://wild.example/x"
    assert of(found, "busybox") == (
        "https://default.example/library/busybox",
        "https://default.example/library/busybox",
        False,
    )


def test_where_nothing_is_said_signatures_are_in_the_usual_store_and_not_in_registries(tmp_path: Path) -> None:
    assert of(written(tmp_path, empty=""), "a.example/x:v1") == ("file:///usual/x", "file:///usual/x", False)
    assert usual_lookaside({"HOME": "/home/me"}).startswith("file:///")


def test_a_scope_in_two_files_is_refused_and_both_are_named(tmp_path: Path) -> None:
    text = "docker:\n  a.example:\n    lookaside: https://x.example\n"
    with pytest.raises(UsageError, match=r"two\.yaml:2: a\.example stands in .*one\.yaml:2"):
        written(tmp_path, one=text, two=text)
    (tmp_path / "one.yaml").unlink()
    usual = "default-docker: {lookaside: https://x.example}\n"
    with pytest.raises(UsageError, match=r"two\.yaml:1: default-docker stands in .*one\.yaml:1"):
        written(tmp_path, one=usual, two=usual)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("docker: }", 1),
        ("\n- a\n", 2),
        ("docker:\n  a.example: 5\n", 2),
        ("docker:\n  a.example:\n    lookaside: nowhere\n", 3),
        ("docker:\n  a.example:\n    lookaside: ftp://x.example\n", 3),
        ("docker:\n  a.example:\n    use-sigstore-attachments: 1\n", 3),
        ("docker:\n  a.example: {}\n  a.example: {}\n", 3),
    ],
)
def test_what_is_malformed_names_file_and_line(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(UsageError, match=rf"one\.yaml:{line}: "):
        written(tmp_path, one=text)


def test_the_users_folder_and_the_systems_are_read_together(tmp_path: Path) -> None:
    own = tmp_path / "containers/registries.d"
    own.mkdir(parents=True)
    (own / "a.yaml").write_text("default-docker: {lookaside: https://own.example}\n")
    (own / "README").write_text("docker: [")
    found = read_registries_d({"XDG_CONFIG_HOME": str(tmp_path)})
    assert of(found, "a.example/x:v1").read == "https://own.example/x"


def test_the_option_is_checked_before_anything_is_done(tmp_path: Path) -> None:
    write_layout(tmp_path / "layout", {"one": make_image("one", docker=False)})
    words = ("inspect", "oci:layout:one")
    missing = command(tmp_path, "--registries.d", "none", *words)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "--registries.d none: cannot be read" in missing.stderr
    (tmp_path / "d").mkdir()
    assert command(tmp_path, *words, "--registries.d=d").returncode == 0
    (tmp_path / "d/bad.yaml").write_text("docker:\n  x: 1\n")
    bad = command(tmp_path, "--registries.d=d", *words)
    assert (bad.returncode, bad.stdout) == (1, "")
    assert "d/bad.yaml:2: key docker.x: " in bad.stderr
