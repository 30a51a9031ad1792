"""Help and the pages for ``man``: made of the arguments, so they say of each what there is, and no more."""

import argparse
import shlex
import subprocess
from pathlib import Path

import pytest

from support.command import command
from support.engines import tool
from transship.pipeline.cli import man
from transship.pipeline.cli.commands import ABSENT, COMMANDS, HIDDEN
from transship.pipeline.cli.main import command_parser, main_parser, split
from transship.pipeline.cli.pages import PAGES
from transship.pipeline.cli.parser import Parser

ALL = ("", *COMMANDS, *HIDDEN)
SKOPEO = ("copy", "delete", "inspect", "layers", "list-tags", "login", "logout", "manifest-digest", "sync")


def parser_of(name: str) -> Parser:
    return command_parser(name) if name else main_parser()


def spelt(name: str) -> list[str]:
    """The options that a command shows."""
    shown = [action for action in parser_of(name).listed if action.help != argparse.SUPPRESS]
    return [option for action in shown for option in action.option_strings]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("man")
    man.write(folder)
    return folder


@pytest.mark.parametrize("name", ALL)
def test_help_says_what_each_argument_is_for_which_codes_there_are_and_how_it_is_used(name: str) -> None:
    shown = [action for action in parser_of(name).listed if action.help != argparse.SUPPRESS]
    assert not [action for action in shown if not action.help]
    text = parser_of(name).format_help()
    assert not [option for option in spelt(name) if option not in text]
    for code, meaning in PAGES[name].codes:
        assert f"  {code}" in text
        assert meaning.split()[0] in text
    assert text.count("\n  transship ") + text.count("  source <(") >= len(PAGES[name].examples)
    assert max(map(len, text.splitlines()[2:])) < 120


@pytest.mark.parametrize("name", [name for name in ALL if name])
def test_what_takes_a_number_a_choice_or_a_folder_says_what_holds_without_it(name: str) -> None:
    for action in parser_of(name).listed:
        measured = action.choices or action.metavar in ("N", "BYTES", "DURATION", "DIR", "HOST", "IP")
        said = str(action.help)
        if action.option_strings and measured and not action.required and said != argparse.SUPPRESS:
            assert "(default: " in said, action.option_strings


@pytest.mark.parametrize("name", [name for name in ALL if name])
def test_examples_are_command_lines_that_parse(name: str) -> None:
    assert PAGES[name].examples
    for _, line in PAGES[name].examples:
        words = shlex.split(
            line.partition(" < ")[0].partition(" > ")[0].partition(" | ")[0].removeprefix("source <(").rstrip(")")
        )
        before, found, after = split(main_parser(), words[1:])
        assert (before, found) == ([], name)
        command_parser(found).parse_args(after)


def test_every_command_has_a_page_of_the_manual(pages: Path) -> None:
    assert {path.name for path in pages.iterdir()} == {
        f"transship-{name.replace(' ', '-')}.1" if name else "transship.1" for name in ALL
    }


@pytest.mark.parametrize("name", ALL)
def test_page_of_the_manual_is_sound_and_shows_every_option(pages: Path, name: str) -> None:
    page = pages / (f"transship-{name.replace(' ', '-')}.1" if name else "transship.1")
    lint = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True, timeout=60, check=False
    )
    assert [line for line in lint.stdout.splitlines() if "missing date" not in line] == []
    text = tool("mandoc", "-T", "ascii", "-O", "width=200", page).decode().replace("\b", "\0")
    shown = "".join(char for char, after in zip(text, text[1:] + " ", strict=True) if after != "\0" and char != "\0")
    assert not [option for option in spelt(name) if option not in shown]
    for title in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "SEE ALSO"):
        assert f"\n{title}\n" in shown


def test_pages_are_the_same_bytes_each_time(pages: Path, tmp_path: Path) -> None:
    for path in man.write(tmp_path):
        assert path.read_bytes() == (pages / path.name).read_bytes()


@pytest.mark.parametrize("name", SKOPEO)
def test_help_is_asked_for_in_skopeos_ways(tmp_path: Path, name: str) -> None:
    said = command(tmp_path, name, "--help")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.startswith(f"usage: transship {name} ")
    for words in ((name, "-h"), ("help", name)):
        assert command(tmp_path, *words).stdout == said.stdout
    theirs = subprocess.run(["skopeo", name, "--help"], capture_output=True, text=True, timeout=60, check=True).stdout
    # What skopeo shows of itself below the options is its global ones.
    listed = theirs.partition("Global Flags")[0].partition("\nFlags:\n")[2]
    options = {word.strip(",") for word in listed.split() if word.startswith("--")}
    assert options - set(spelt(name)) == set()


def test_help_of_all_is_asked_for_in_three_ways(tmp_path: Path) -> None:
    said = command(tmp_path, "--help")
    assert (said.returncode, said.stderr) == (0, "")
    assert command(tmp_path, "help").stdout == command(tmp_path, "-h").stdout == said.stdout
    assert not [name for name in COMMANDS if f"\n  {name} " not in said.stdout]
    assert "layers" not in said.stdout.partition("Options:")[0].replace("layers-*", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no command; see transship --help"),
        (("cpoy",), "unknown command 'cpoy'; did you mean copy?"),
        (("insp",), "did you mean inspect?"),
        (("help", "listtags"), "did you mean list-tags?"),
        (("--tmpdir", "copy", "nothing-like-it"), "unknown command 'nothing-like-it'; see transship --help"),
        (("\x1b[2J",), "unknown command '\\\\x1b[2J'; see transship --help"),
        (("--no-such",), "unrecognized arguments: --no-such; see transship --help"),
        (("copy", "--no-such", "a", "b"), "copy: unrecognized arguments: --no-such; see transship copy --help"),
    ],
)
def test_what_is_no_command_is_one_line_that_says_what_may_be_meant(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = command(tmp_path, *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert said in done.stderr


@pytest.mark.parametrize("name", ABSENT)
def test_commands_of_skopeo_that_are_not_there_say_why(tmp_path: Path, name: str) -> None:
    done = command(tmp_path, name, "anything", "--sockfd", "3")
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        f"transship: {name} is not offered: {ABSENT[name]}; use skopeo's\n",
    )
    table = (Path(__file__).parent.parent / "docs/from-skopeo.md").read_text()
    assert f"`{name}`" in table
