"""The shells themselves, each with the script made for it: what comes out where Tab is pressed."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.command import command
from support.peers import ours
from transship.pipeline.cli.commands import COMMANDS

PACKAGES = Path(__file__).parent / "path"
BASH = """
source <(transship completion bash)
COMP_LINE=$LINE COMP_POINT=${#LINE} COMP_TYPE=9
_python_argcomplete transship
printf '%s\\n' "${COMPREPLY[@]}"
"""
SECONDS = 40


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what may be completed in it, and the command in bin/ there."""
    folder = tmp_path_factory.mktemp("world")
    for name in ("bin", "layout", "runs/nightly"):
        (folder / name).mkdir(parents=True)
    for name in ("app.tar", "batch.yaml", ".hidden"):
        (folder / name).touch()
    program = folder / "bin/transship"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={PACKAGES} exec {sys.executable} -m transship.pipeline.cli.main "$@"\n')
    program.chmod(0o755)
    return folder


def environment(world: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "PATH": f"{world / 'bin'}:{os.environ['PATH']}", "HOME": str(world), **more}


def completed(world: Path, line: str, **more: str) -> set[str]:
    """Return what bash offers for ``line``."""
    words = ["bash", "--norc", "-c", BASH]
    done = subprocess.run(
        words, cwd=world, env=environment(world, LINE=line, **more), capture_output=True, timeout=SECONDS, check=True
    )
    return {word.strip() for word in done.stdout.decode().splitlines()} - {""}


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("transship ", {*(name.partition(" ")[0] for name in COMMANDS), "help"}),
        ("transship bundle ", {"create", "sign", "load", "apply", "verify", "list", "diff"}),
        ("transship list", {"list-tags"}),
        ("transship help sy", {"sync"}),
        ("transship copy --pres", {"--preserve-digests"}),
        ("transship copy --dest-shared", {"--dest-shared-blob-dir"}),
        ("transship inspect --tmp", set()),
        ("transship --tmp", {"--tmpdir"}),
        ("transship copy --format ", {"oci", "v2s1", "v2s2"}),
        ("transship sync --src docker --dest ", {"docker", "dir"}),
        ("transship completion f", {"fish"}),
        ("transship run b", {"batch.yaml", "bin/"}),
        ("transship --tmpdir l", {"layout/"}),
        ("transship status n", {"nightly"}),
        ("transship copy o", {"oci:", "oci-archive:"}),
        ("transship copy s", {"sif:"}),
        # The words of bash end at a colon: it offers what follows.
        ("transship copy oci:l", {"layout/"}),
        ("transship copy oci-archive:a", {"app.tar"}),
        ("transship copy tarball:app.tar:b", {"batch.yaml", "bin/"}),
        ("transship copy docker:", {"//"}),
        ("transship copy oci:layout d", {"docker:", "docker-archive:", "dir:", "docker-daemon:"}),
        ("transship copy oci:layout t", set()),
        ("transship list-tags d", {"docker:", "docker-archive:"}),
        ("transship layers --shared", {"--shared-blob-dir"}),
        ("transship copy --src-creds ", set()),
    ],
)
def test_bash_offers_what_may_come_next(world: Path, line: str, offered: set[str]) -> None:
    assert completed(world, line) == offered


def test_fish_offers_the_same_with_what_it_does(world: Path) -> None:
    def fish(line: str, *options: str) -> list[str]:
        script = f"transship completion fish {' '.join(options)} | source; complete -C '{line}'"
        words = ["fish", "--no-config", "-c", script]
        done = subprocess.run(
            words, cwd=world, env=environment(world), capture_output=True, text=True, timeout=SECONDS, check=True
        )
        return sorted(done.stdout.splitlines())

    assert fish("transship log") == [f"login\t{COMMANDS['login']}", f"logout\t{COMMANDS['logout']}"]
    assert fish("transship log", "--no-descriptions") == ["login", "logout"]
    assert fish("transship copy oci:l") == ["oci:layout/"]


def test_zsh_completes_at_the_prompt(world: Path) -> None:
    begin = "autoload -U compinit; compinit -u; source <(transship completion zsh); PS1='REA''DY> '\n"
    assert typed(world, begin, "transship list-t\t", "transship list-tags")
    assert typed(world, begin, "transship copy oci:lay\t", "oci:layout/")


def typed(world: Path, begin: str, line: str, wanted: str) -> bool:
    """Type at the prompt of a zsh; return whether ``wanted`` comes to stand there."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(world)
        os.execvpe("zsh", ["zsh", "-f", "-i"], environment(world, TERM="dumb", PS1="FIRST> "))
    try:
        return (
            said(terminal, "FIRST> ")
            and os.write(terminal, begin.encode()) > 0
            and said(terminal, "READY> ")
            and os.write(terminal, line.encode()) > 0
            and said(terminal, wanted)
        )
    finally:
        os.close(terminal)
        os.waitpid(process, 0)


def said(terminal: int, wanted: str) -> bool:
    text = ""
    until = time.monotonic() + SECONDS
    while wanted not in text and time.monotonic() < until:
        if select.select([terminal], [], [], 1)[0]:
            text = (text + os.read(terminal, 4096).decode("utf-8", "replace")).replace("\r", "")
    return wanted in text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_script_is_printed_for_each_shell(world: Path, shell: str) -> None:
    plain = ours(world, "completion", shell)
    assert "transship" in plain
    bare = ours(world, "completion", shell, "--no-descriptions")
    assert bare.startswith(plain)
    assert "TRANSSHIP_COMPLETION_DESCRIPTIONS" in bare.removeprefix(plain)


def test_a_shell_that_is_none_of_them_is_an_error(world: Path) -> None:
    done = command(world, "completion", "tcsh")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
