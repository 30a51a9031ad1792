"""Each option of skopeo 1.22 is used, beside the installed skopeo where that has it: here, or in a test named here."""

import base64
import contextlib
import hashlib
import http.client
import json
import re
import shutil
import ssl
import subprocess
import tarfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from support.certificates import Certificates
from support.command import command, tree
from support.engines import tool
from support.fixtures import PASSWORD, USER
from support.images import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, make_image, make_multi, write_layout
from support.landed import in_directory, in_layout
from support.option_uses import ELSEWHERE, USES, Use
from support.registry_server import RegistryServer
from support.serving import write_directory
from support.skopeo_options import COMMANDS, GLOBAL, LEFT_OUT, NEWER, SHORT
from transship.pipeline import __version__

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs/from-skopeo.md"


def used() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {name: set() for name in ("", *COMMANDS)}
    for use in USES:
        before, name, after = use.words.partition(use.command) if use.command else (use.words, "", "")
        found[""] |= set(Use(before).options)
        found[name] |= set(Use(after).options)
    for held in ELSEWHERE.values():
        for name, options in held.items():
            found[name] |= set(options.split())
    return found


def test_every_option_has_a_test_and_every_test_an_option() -> None:
    assert used() == {"": set(GLOBAL), **{name: set(options) for name, options in COMMANDS.items()}}


def test_the_tests_that_are_named_are_there_and_use_the_options() -> None:
    for test, held in ELSEWHERE.items():
        file, _, name = test.partition("::")
        source = (HERE / file).read_text()
        assert f"def {name}(" in source
        for option in " ".join(held.values()).split():
            assert option in source or any(SHORT[short] == option and f'"{short}"' in source for short in SHORT), option


@cache
def installed(name: str) -> str:
    return tool("skopeo", *([name] if name else []), "--help").decode()


@pytest.mark.parametrize("name", ["", *(name for name in COMMANDS if name not in NEWER)])
def test_the_installed_skopeo_has_no_option_that_the_table_lacks(name: str) -> None:
    theirs = set(re.findall(r"^ +(?:-\w, )?(--[a-z.-]+)", installed(name), re.MULTILINE)) - {"--help"}
    assert theirs <= COMMANDS.get(name, GLOBAL)


@pytest.mark.parametrize("name", LEFT_OUT)
def test_commands_that_are_not_built_are_named_in_the_documentation_and_refused(tmp_path: Path, name: str) -> None:
    assert f"`{name}`" in DOCUMENT.read_text()
    done = command(tmp_path, name)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tls_registry: RegistryServer, certificates: Certificates) -> Path:
    """A folder with images in it, and an account at a registry that has them too."""
    folder = tmp_path_factory.mktemp("options")
    one, many, plain = make_image("one"), make_multi("many"), make_image("plain", compressed=False, docker=False)
    write_directory(folder / "one", one)
    write_directory(folder / "list", many)
    write_directory(folder / "plainlist", make_multi("plain list", docker=False))
    write_directory(folder / "plain", make_image("plain", compressed=False))
    (folder / "images").mkdir()
    write_directory(folder / "images/app:v1", one)
    write_layout(folder / "layout", {"v1": make_image("two", docker=False)})
    write_layout(folder / "plain.layout", {"v1": plain})
    (folder / "named").mkdir()
    for name in ("index.json", "oci-layout"):
        (folder / "named" / name).write_bytes((folder / "layout" / name).read_bytes())
    (folder / "none.json").write_text("{}")
    (folder / "registries.conf").write_text("")
    (folder / "details.yaml").write_text("minVersion: '1.2'\n")
    reach = ["--cert-dir", certificates.trusted, "--authfile", folder / "auth.json"]
    tool("skopeo", "login", *reach, "-u", USER, "-p", PASSWORD, tls_registry.name)
    to = [f"--dest-{str(word).lstrip('-')}" if str(word).startswith("--") else word for word in reach]
    for what, names in (("one", ("app", "ours-gone", "theirs-gone")), ("list", ("multi",))):
        for name in names:
            target = f"docker://{tls_registry.name}/options/{name}:v1"
            tool("skopeo", "--insecure-policy", "copy", "-q", "--all", *to, f"dir:{folder / what}", target)
    return folder


class Done(NamedTuple):
    """What a command line did: exit code, output, errors, and the files that are there since."""

    code: int
    out: str
    errors: str
    files: dict[str, str]


def _digest(path: Path, made: bool) -> str:
    """Return the digest of a file; of what each writes in its own way, and of what is ``made`` anew, as JSON."""
    raw = path.read_bytes()
    if path.name in ("index.json", "oci-layout") or (made and path.name == "manifest.json"):
        document = json.loads(raw)
        if path.name == "index.json":
            # skopeo leaves it out.
            assert document.pop("mediaType", OCI_INDEX) == OCI_INDEX
        raw = json.dumps(document, sort_keys=True).encode()
    return hashlib.sha256(raw).hexdigest()


def _out(program: str, number: int) -> str:
    # None is the beginning of another: the tags of each are found by it.
    return f"{program}{number:03}"


class Runner(NamedTuple):
    """Runs a use by either program, in a folder of its own that has the images by link."""

    home: Path
    folder: Path
    server: RegistryServer
    certs: Path

    def run(self, program: str, number: int, use: Use) -> Done:
        out, cwd = _out(program, number), self.folder / program
        shutil.copytree(self.home, cwd)
        if " OUT" in use.words and use.command == "sync":
            (cwd / out).mkdir()
        if use.command == "delete":
            self._push(f"docker://{self.server.name}/options/{out}-gone:v1")
        given = {"HOST": self.server.name, "CERTS": str(self.certs), "PASSWORD": PASSWORD, "OUT": out}
        words = [re.sub("HOST|CERTS|PASSWORD|OUT", lambda found: given[found[0]], word) for word in use.words.split()]
        if program == "transship":
            done = command(cwd, *words)
        else:
            trusting = [] if "--insecure-policy" in words else ["--insecure-policy"]
            done = subprocess.run(
                ["skopeo", *trusting, *words], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
            )
        old = ("runs", *(path.name for path in self.home.iterdir()))
        names = [name for name, (_, digest) in tree(cwd).items() if digest and name.split("/")[0] not in old]
        new = {
            re.sub(r"^layers-[^/]*", "layers", name.replace(out, "OUT")): _digest(cwd / name, use.how == "made")
            for name in names
        }
        return Done(done.returncode, done.stdout, done.stderr, new | self._pushed(out))

    def out(self, program: str, number: int) -> Path:
        return self.folder / program / _out(program, number)

    def _push(self, target: str) -> None:
        reach = [f"--dest-cert-dir={self.certs}", f"--authfile={self.home}/auth.json"]
        tool("skopeo", "--insecure-policy", "copy", "-q", *reach, f"dir:{self.home}/one", target)

    def _pushed(self, out: str) -> dict[str, str]:
        """Return the digest of every tag in the repositories whose name has ``out`` in it."""
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        trust = ssl.create_default_context(cafile=self.certs / "ca.crt")
        connection = http.client.HTTPSConnection("localhost", self.server.port, timeout=30, context=trust)

        def get(path: str) -> bytes:
            headers = {"Authorization": f"Basic {login}", "Accept": ", ".join((DOCKER_MANIFEST, OCI_MANIFEST))}
            connection.request("GET", f"/v2/{path}", headers=headers)
            return connection.getresponse().read()

        with contextlib.closing(connection):
            names = [name for name in json.loads(get("_catalog?n=1000"))["repositories"] if out in name]
            return {
                f"{name.replace(out, 'OUT')}:{tag}": hashlib.sha256(get(f"{name}/manifests/{tag}")).hexdigest()
                for name in names
                for tag in json.loads(get(f"{name}/tags/list")).get("tags") or ()
            }


@pytest.fixture
def runner(home: Path, tmp_path: Path, tls_registry: RegistryServer, certificates: Certificates) -> Runner:
    return Runner(home, tmp_path, tls_registry, certificates.trusted)


def numbered(*how: str) -> "pytest.MarkDecorator":
    chosen = [(number, use) for number, use in enumerate(USES) if use.how in how]
    return pytest.mark.parametrize(("number", "use"), chosen, ids=[use.words for _, use in chosen])


@numbered("same", "made")
def test_output_files_and_exit_code_are_skopeos(runner: Runner, number: int, use: Use) -> None:
    mine, theirs = runner.run("transship", number, use), runner.run("skopeo", number, use)
    assert (mine.code, theirs.code) == (0, 0), mine.errors + theirs.errors
    assert mine.files == theirs.files
    assert mine.files or "inspect" in use.words or use.command in ("list-tags", "manifest-digest", "delete")
    if use.command == "inspect" and "--format" not in use.words and "--raw" not in use.words:
        shown, expected = json.loads(mine.out), json.loads(theirs.out)
        shown.pop("LayersData", None)
        assert shown == expected
    elif use.command != "sync":
        assert mine.out == theirs.out


@numbered("fails")
def test_what_fails_in_skopeo_fails_with_one_line_and_leaves_nothing(runner: Runner, number: int, use: Use) -> None:
    mine, theirs = runner.run("transship", number, use), runner.run("skopeo", number, use)
    assert (mine.code, theirs.code) == (1, 1), mine.errors
    errors = [line for line in mine.errors.splitlines() if "layers is deprecated" not in line]
    assert len(errors) == 1, errors
    assert mine.out == "" or use.command == "sync"
    assert not [name for name in mine.files if "-gone" not in name]


@numbered("layers")
def test_layers_hold_what_skopeos_hold_and_are_packed_as_those(runner: Runner, number: int, use: Use) -> None:
    found = []
    for program in ("transship", "skopeo"):
        done = runner.run(program, number, use)
        assert done.code == 0, done.errors
        out = runner.out(program, number)
        landed = in_directory(out) if (out / "version").exists() else in_layout(out)
        found.append(
            (landed.diff_ids, [layer == plain for layer, plain in zip(landed.layers, landed.diff_ids, strict=True)])
        )
    assert found[0] == found[1]


@numbered("names")
def test_an_archive_has_the_names_that_skopeo_gives_it(runner: Runner, number: int, use: Use) -> None:
    found = []
    for program in ("transship", "skopeo"):
        assert runner.run(program, number, use).code == 0
        with tarfile.open(f"{runner.out(program, number)}.tar") as archive:
            raw = archive.extractfile("manifest.json")
            assert raw
            found.append(set(json.load(raw)[0]["RepoTags"]))
    assert found[0] == found[1]
    assert len(found[0]) == 4


@numbered("ours")
def test_options_that_the_installed_skopeo_lacks_are_taken(runner: Runner, number: int, use: Use) -> None:
    assert any(option not in installed(use.command) + installed("") for option in use.options)
    done = runner.run("transship", number, use)
    assert done.code == 0, done.errors


def test_the_version_is_told(tmp_path: Path) -> None:
    done = command(tmp_path, "--version")
    assert (done.returncode, done.stdout) == (0, f"transship {__version__}\n")
