"""What a start loads: scripts start `copy` once an image, and help is asked for by hand."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.images import make_image, write_layout
from support.registry_server import RegistryServer, push_image, running

PACKAGES = Path(__file__).parent / "path"
ENGINE = {"luigi", "jsonschema", "referencing", "tqdm", "yaml", "tomllib"}
CODECS = {"pyzstd", "isal", "concurrent.futures.thread", "transship.pipeline.compression.transcoding", "queue"}
NEVER = {"logging", "shutil", "secrets", "bz2", "lzma", "ctypes", "transship.pipeline.lifting"}
"""What a copy of one image has no use for, and what takes long to load."""
NETWORK = {"urllib3", "http.client", "socket", "ssl", "email"}
PROGRAMS = {"subprocess", "transship.pipeline.registry.helper"}
CONNECTION = {"transship.pipeline.registry.client", "transship.pipeline.registry.auth"}
TELL = """
import os, sys
before, end = set(sys.modules), os._exit
def tell(code):
    open({file!r}, "w").write(" ".join(set(sys.modules) - before))
    end(code)
os._exit = tell
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with running(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


def loaded(folder: Path, *words: str, code: int = 0) -> set[str]:
    """Run the command to its end, with ``code``; return the modules that its process then has, less those of a start.

    An editable install has a finder there that loads much.
    """
    told = folder / "modules"
    (folder / "site").mkdir()
    (folder / "site/sitecustomize.py").write_text(TELL.format(file=str(told)))
    done = subprocess.run(
        [sys.executable, "-m", "transship.pipeline.cli.main", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder / 'site'}{os.pathsep}{PACKAGES}", "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return set(told.read_text().split())


@pytest.mark.parametrize(
    "command", ["", "run", "lock", "status", "verify", "report", "serve", "copy", "inspect", "list-tags", "sync"]
)
def test_help_loads_nothing_but_the_arguments(tmp_path: Path, command: str) -> None:
    found = loaded(tmp_path, *command.split(), "--help")
    assert "argparse" in found
    assert not found & (ENGINE | CODECS | NETWORK | PROGRAMS | {"argcomplete", "dataclasses", "logging", "pathlib"})
    ours = {name for name in found if name.startswith("transship.")}
    assert ours == {
        "transship.pipeline",
        "transship.pipeline.errors",
        "transship.pipeline.cli",
        "transship.pipeline.cli.arguments",
        "transship.pipeline.cli.bundle_pages",
        "transship.pipeline.cli.commands",
        "transship.pipeline.cli.copy_arguments",
        "transship.pipeline.cli.flags",
        "transship.pipeline.cli.global_options",
        "transship.pipeline.cli.manual",
        "transship.pipeline.cli.page",
        "transship.pipeline.cli.pages",
        "transship.pipeline.cli.parser",
        "transship.pipeline.cli.query_arguments",
        "transship.pipeline.cli.streams",
        "transship.pipeline.cli.sync_arguments",
    }


def test_a_run_that_has_to_do_with_no_bundle_loads_nothing_of_them(tmp_path: Path) -> None:
    write_layout(tmp_path / "from", {"v1": make_image(1, docker=False)})
    (tmp_path / "b.json").write_text('{"version": 1, "images": [{"from": "oci:from:v1", "to": ["dir:out"]}]}')
    found = loaded(tmp_path, "run", "b.json")
    assert (tmp_path / "out/manifest.json").exists()
    assert not {name for name in found if name.startswith("transship.") and "bundl" in name.rpartition(".")[2]}


def test_a_copy_between_files_loads_no_network_no_engine_and_no_codec(tmp_path: Path) -> None:
    write_layout(tmp_path / "from", {"v1": make_image(1, docker=False)})
    found = loaded(tmp_path, "copy", "oci:from:v1", "oci:to:v1")
    assert (tmp_path / "to/index.json").exists()
    assert "transship.pipeline.transports.oci" in found
    assert not found & (
        NEVER
        | ENGINE
        | CODECS
        | NETWORK
        | PROGRAMS
        | CONNECTION
        | {"argcomplete", "dataclasses", "transship.pipeline.cli.manual"}
    )
    assert not any(name.startswith(("transship.tasks", "transship.pipeline.trust.encryption")) for name in found)


def test_what_serves_files_loads_no_engine_no_codec_and_no_client(tmp_path: Path) -> None:
    write_layout(tmp_path / "from", {"v1": make_image(1, docker=False)})
    # An address of nobody: it ends when all is read.
    found = loaded(tmp_path, "serve", "from", "--address", "192.0.2.1", code=2)
    assert "transship.pipeline.serve.server" in found
    assert not found & (ENGINE | CONNECTION | PROGRAMS | {"pyzstd", "isal", "urllib3"})
    assert not any(
        name.startswith(("transship.tasks", "transship.pipeline.trust", "transship.pipeline.batch")) for name in found
    )


def test_a_copy_that_unpacks_layers_loads_the_one_codec_it_uses(tmp_path: Path) -> None:
    write_layout(tmp_path / "from", {"v1": make_image(1, docker=False)})
    found = loaded(tmp_path, "copy", "--dest-decompress", "oci:from:v1", "oci:to:v1")
    assert "isal" in found
    assert not found & (NEVER | ENGINE | NETWORK | PROGRAMS | {"pyzstd"})


def test_a_copy_from_a_registry_loads_no_engine_no_codec_and_no_helper(tmp_path: Path, server: RegistryServer) -> None:
    push_image(server, "some/app", "v1", [b"one", b"two"])
    found = loaded(tmp_path, "copy", "--src-tls-verify=false", f"docker://{server.name}/some/app:v1", "dir:to")
    assert (tmp_path / "to/manifest.json").exists()
    assert "http.client" in found
    assert not found & (NEVER | ENGINE | (CODECS - {"queue"}) | PROGRAMS | {"dataclasses", "urllib3"})
    assert not any(name.startswith("transship.tasks") for name in found)


def test_an_inspect_loads_no_engine_no_codec_and_what_can_write_nothing(tmp_path: Path, server: RegistryServer) -> None:
    push_image(server, "seen/app", "v1", [b"one"])
    found = loaded(tmp_path, "inspect", "--tls-verify=false", f"docker://{server.name}/seen/app:v1")
    assert "transship.pipeline.inspection.summary" in found
    assert not found & (NEVER | ENGINE | (CODECS - {"queue"}) | PROGRAMS | {"dataclasses", "transship.pipeline.store"})


def test_a_file_of_aliases_needs_no_parser_and_one_that_says_more_does(tmp_path: Path, server: RegistryServer) -> None:
    push_image(server, "aliased/app", "v1", [b"one"])
    place = f'[[registry]]\nlocation = "{server.name}"\n'
    for name, text in (("plain", '# Short names\n[aliases]\n  "app" = "a.example/app"\n'), ("more", place)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "conf").write_text(text)
        words = ("inspect", "--tls-verify=false", f"docker://{server.name}/aliased/app:v1")
        found = loaded(folder, "--registries-conf", "conf", *words)
        assert ("tomllib" in found) == (name == "more")


def test_an_inspect_of_a_layout_loads_no_network(tmp_path: Path) -> None:
    write_layout(tmp_path / "from", {"v1": make_image(1, docker=False)})
    found = loaded(tmp_path, "inspect", "oci:from:v1")
    assert not found & (ENGINE | CODECS | NETWORK | PROGRAMS | CONNECTION | {"dataclasses", "tempfile"})
