"""Every command that README and the pages of docs/ show runs as it stands, against real registries and engines.

What stands for a host there is put in place of its name; all else is typed as it is printed.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.corpus import base_layers, multi_platform, pack, push, sample
from support.engines import Docker, Podman
from support.fixtures import PASSWORD, USER
from support.keys import Keys
from support.registry_server import RegistryServer, free_port

ROOT = Path(__file__).parent.parent
BATCH = re.search(r"<!-- batch.yaml -->\n```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
ELSEWHERE = ("make demo", "pip install .", "demo/out/")
"""What test_readme.py and the installation of the tests themselves run."""
FILES = {
    "deploy.yaml": "spec: {containers: [{image: registry.example/team/app:v1}]}\n",
    "compose.yaml": "services: {web: {image: registry.example/team/web:v1.0}}\n",
    "Dockerfile": "FROM registry.example/team/tool:v3\n",
    "images.txt": "registry.example/team/app:v1\n",
    "sources.yaml": "registry.example: {tls-verify: false, images: {team/web: [v1.0]}}\n",
    "password.txt": PASSWORD,
    "auth.json": "{}",
}


def commands(page: str) -> list[str]:
    """Return the command lines of a page, but for those that are run elsewhere."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in lines if not any(part in line for part in ELSEWHERE)]


class Reader:
    """Somebody who types what a page says, where registry.example and the others are real."""

    def __init__(self, folder: Path, hosts: dict[str, str], environ: dict[str, str]) -> None:
        self._folder = folder
        self._hosts = hosts
        self._running: list[subprocess.Popen[str]] = []
        programs = folder / "bin"
        programs.mkdir()
        program = programs / "transship"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m transship.pipeline.cli.main "$@"\n')
        program.chmod(0o755)
        conf = "".join(f'[[registry]]\nlocation = "{host}"\ninsecure = true\n' for host in {*hosts.values()})
        (folder / "registries.conf").write_text(conf)
        self._environ = {
            **os.environ,
            **environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "tests" / "path"),
            "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
            "REGISTRY_AUTH_FILE": str(folder / "login.json"),
        }
        for name, text in FILES.items():
            (folder / name).write_text(self.placed(text))

    def placed(self, text: str) -> str:
        for name, host in self._hosts.items():
            text = text.replace(name, host)
        return text

    def types(self, line: str) -> str:
        """Run a line; return what it printed. What stays in the background has said that it is there."""
        if line.endswith("&"):
            return self._started(line.removesuffix("&"))
        done = subprocess.run(
            ["bash", "-euc", self.placed(line)],
            cwd=self._folder,
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _started(self, line: str) -> str:
        words = ["bash", "-euc", f"exec {self.placed(line)}"]
        process = subprocess.Popen(words, cwd=self._folder, env=self._environ, stdout=subprocess.PIPE, text=True)
        self._running.append(process)
        assert process.stdout
        return process.stdout.readline()

    def leaves(self) -> None:
        """End what is in the background."""
        for process in self._running:
            process.kill()
            process.communicate()

    def knows(self, **environ: str) -> None:
        """Set variables for the lines that follow."""
        self._environ |= environ

    def has_the_batch(self, to: str = "") -> None:
        assert BATCH
        text = BATCH[1].replace("tls-verify: true", "tls-verify: false")
        text = re.sub(r"to: \[.oci:.*\]", f"to: ['{to}']", text) if to else text
        (self._folder / "batch.yaml").write_text(self.placed(text))
        # An archive is written into a folder that is there.
        (self._folder / "out").mkdir()


@pytest.fixture(scope="module")
def registry(open_registry: RegistryServer) -> RegistryServer:
    layer = pack({"etc/page": b"what a page is about"})
    push(open_registry.name, sample("team/app", "v1", [layer], "hello"))
    for tag in ("v1.0", "v1.1"):
        push(open_registry.name, sample("team/web", tag, [layer], tag))
    push(open_registry.name, multi_platform("team/tool", "v3", base_layers(1 << 16)))
    return open_registry


@pytest.fixture
def reader(
    tmp_path: Path, registry: RegistryServer, guarded_registry: RegistryServer, docker: Docker, podman: Podman
) -> Iterator[Reader]:
    hosts = {
        "registry.example": registry.name,
        "mirror.example": f"{registry.name}/mirror",
        "--username alice": f"--username {USER}",
        "other.example": guarded_registry.name,
        "containers-storage:": f"containers-storage:{podman.store}",
    }
    found = Reader(tmp_path, hosts, {"DOCKER_HOST": docker.host})
    yield found
    found.leaves()


def test_the_readme(reader: Reader, tmp_path: Path) -> None:
    reader.has_the_batch()
    lines = commands("README.md")
    for line in lines:
        reader.types(line)
    assert len(lines) == 7
    assert (tmp_path / "out/mirror/index.json").exists()
    assert (tmp_path / "runs/nightly/report.json").exists()


def test_the_page_of_batch_files(reader: Reader, tmp_path: Path) -> None:
    reader.has_the_batch("docker://mirror.example/{repository}:{tag}")
    reader.types("transship run batch.yaml")
    lines = commands("docs/batch.md")
    for line in lines:
        reader.types(line)
    assert len(lines) == 8
    assert (tmp_path / "batch.lock.json").exists()
    assert (tmp_path / "deploy.yaml").read_text() == reader.placed(FILES["deploy.yaml"]).replace(
        "/team", "/mirror/team"
    )


def test_the_page_of_registries_and_engines(reader: Reader, docker: Docker) -> None:
    reader.has_the_batch()
    reader.types("transship run batch.yaml")
    reader.types("transship copy oci:out/mirror:team/app:v1 containers-storage:localhost/app:v1")
    for line in commands("docs/places.md"):
        reader.types(line)
    assert b"team/app" in docker("images", "--format", "{{.Repository}}")


def test_the_page_of_referrers(reader: Reader, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for line in commands("docs/referrers.md"):
        reader.types(line)
    assert "team/app:v1" in (tmp_path / "out/mirror/index.json").read_text()


def test_the_page_of_sites_without_internet(
    reader: Reader, tmp_path: Path, openpgp: Keys, registry: RegistryServer
) -> None:
    reader.has_the_batch()
    (tmp_path / "usb").mkdir()
    (tmp_path / "team.gpg").write_bytes(openpgp.file("good").read_bytes())
    reader.knows(KEY=openpgp["good"], GNUPGHOME=str(openpgp.home))
    port, said = str(free_port()), {}
    for line in commands("docs/air-gap.md"):
        if "--check" in line:
            # What a week brings.
            push(registry.name, sample("team/web", "v1.1", [pack({"etc/week": b"second"})], "week 2"))
        said[line] = reader.types(line.replace("5000", port))
    assert len(said) == 16
    raw = [
        reader.types(f"transship inspect --raw docker://{host}.example/team/web:v1.1")
        for host in ("registry", "mirror")
    ]
    assert json.loads(raw[0])["layers"][-1]["digest"] == json.loads(raw[1])["layers"][-1]["digest"]
    assert (tmp_path / "usb/week1.tar.001").exists()
    changed = [out for line, out in said.items() if "--check" in line or "bundle diff" in line]
    assert len(changed) == 2
    assert all("team/web:v1.1" in out for out in changed)
    loaded = [out for line, out in said.items() if "--to docker://" in line]
    assert len(loaded) == 2
    assert all(reader.placed("docker://mirror.example/team/app:v1") in out for out in loaded)


def test_the_page_of_encrypted_layers(reader: Reader) -> None:
    for line in commands("docs/encryption.md"):
        reader.types(line)
    for name, encrypted in (("sealed", True), ("opened", False)):
        layers = json.loads(reader.types(f"transship inspect --raw oci:{name}:v1"))["layers"]
        assert [layer["mediaType"].endswith("+encrypted") for layer in layers] == [encrypted] * len(layers)


def test_the_page_of_trust(reader: Reader, tmp_path: Path, registry: RegistryServer, openpgp: Keys) -> None:
    page = (ROOT / "docs/trust.md").read_text()
    policy = re.search(r"<!-- policy.json -->\n```json\n(.*?)```", page, re.DOTALL)
    assert policy
    (tmp_path / "policy.json").write_text(reader.placed(policy[1]))
    (tmp_path / "team.gpg").write_bytes(openpgp.file("good").read_bytes())
    (tmp_path / "secret.txt").write_text("of no use for a key without one\n")
    reader.has_the_batch()
    (tmp_path / "config/containers/registries.d").mkdir(parents=True)
    (tmp_path / "config/containers/registries.d/stores.yaml").write_text(
        f"docker: {{'{registry.name}': {{lookaside: 'file://{tmp_path}/store'}}}}\n"
    )
    reader.knows(KEY=openpgp["good"], GNUPGHOME=str(openpgp.home), XDG_CONFIG_HOME=str(tmp_path / "config"))
    for name in ("attachments.yaml", "sigstore.json"):
        shown = re.search(rf"<!-- {name} -->\n```[a-z]+\n(.*?)```", page, re.DOTALL)
        assert shown
        path = tmp_path / ("registries.d" if name.endswith("yaml") else "") / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(reader.placed(shown[1]))
    lines = commands("docs/trust.md")
    said = [reader.types(line) for line in lines]
    assert len(lines) == 14
    assert said[-1].startswith(f"Signature verified using fingerprint {openpgp['good']}, digest sha256:")
    assert (tmp_path / "out/again/signature-1").exists()
    assert (tmp_path / "out/web/signature-1").exists()
    assert len(list((tmp_path / "store").rglob("signature-1"))) == 3
    assert (tmp_path / "out/nightly.tar.sums.sig").exists()
    assert (tmp_path / "out/nightly/index.json").exists()
