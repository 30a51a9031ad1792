"""docs/threat-model.md says what is held by which test: all of it is there, and what it names exists."""

import ast
import functools
import re
from pathlib import Path

from support.hostile_place import bundle_words
from transship.pipeline.cli.commands import COMMANDS, HIDDEN

TESTS = Path(__file__).resolve().parents[1]
PAGE = (TESTS.parent / "docs/threat-model.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| (\d+) \|(.*)\|$", PAGE, re.MULTILINE))
PROMISES = re.findall(
    r"^\| (.*) \|$", PAGE.partition("## What holds")[2].partition("## What does not")[0], re.MULTILINE
)[1:]
MEETS = dict(re.findall(r"^\| `([a-z -]+)` \| .* \| ([\d, to]+) \|$", PAGE, re.MULTILINE))
READERS = ("copy", "inspect", "verify", "layers", "run")
WRITERS = ("copy", "sync", "run")
GIVEN = {
    "READ": (*READERS, "sync"),
    "ASK": (*READERS, "sync", "lock"),
    "COMMANDS": (*READERS, "sync", "lock", "list-tags", "delete"),
    "PUSH": WRITERS,
    "WRITE": (*WRITERS, "delete", "login"),
    "MOVERS": READERS,
    "every_reader_refuses": READERS,
    "place.refused": (*READERS, "serve"),
    "bundle_refused": tuple(bundle_words()),
    "copy_refused": ("copy",),
    "served": ("serve",),
    "push": WRITERS,
}
"""What the words of these tests stand for: which commands get the input."""
NAMED = set(re.findall(r"`(test_\w+)`", PAGE))


@functools.cache
def defined(*folders: str) -> set[str]:
    """Return the names of all test functions below ``tests/``, or in these folders of it."""
    found: set[str] = set()
    for folder in folders or ("",):
        for path in (TESTS / folder).rglob("test_*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                    found.add(node.name)
    return found


def given() -> dict[str, set[str]]:
    """Return the commands that each test names, itself or by one of the words for several."""
    found: dict[str, set[str]] = {}
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found[node.name] = {command for part in ast.walk(node) for command in _meant(part)}
    return found


def _meant(part: ast.AST) -> tuple[str, ...]:
    if isinstance(part, ast.Constant) and isinstance(part.value, str):
        return GIVEN.get(part.value, (part.value,) if part.value in MEETS else ())
    if isinstance(part, ast.Attribute):
        return GIVEN.get(ast.unparse(part), GIVEN.get(part.attr, ()))
    return GIVEN.get(part.id, ()) if isinstance(part, ast.Name) else ()


def numbers(text: str) -> set[int]:
    """Return the numbers of a list such as ``1, 3 to 5``."""
    spans = [[int(number) for number in part.split(" to ")] for part in text.split(", ")]
    return {number for span in spans for number in range(span[0], span[-1] + 1)}


def test_every_command_that_reads_what_others_wrote_is_given_the_rows_that_it_meets() -> None:
    tests = given()
    for command, said in MEETS.items():
        for number in numbers(said):
            held = re.findall(r"`(test_\w+)`", ROWS[str(number)])
            assert any(command in tests.get(name, ()) for name in held), (command, number)


def test_of_every_command_it_is_said_what_it_reads() -> None:
    section = PAGE.partition("## Which command meets")[2].partition("\n## ")[0]
    assert {name for name in (*COMMANDS, *HIDDEN) if f"`{name}`" not in section} == set()


def test_every_row_has_a_test_or_a_reason() -> None:
    assert [int(number) for number in ROWS] == list(range(1, 58))
    for number, row in ROWS.items():
        assert re.search(r"`test_\w+`|does not apply: \w+", row), number


def test_every_promise_names_the_tests_that_hold_it() -> None:
    """At least three, one of them of hostile input."""
    assert len(PROMISES) >= 8
    for promise in PROMISES:
        _, how, held = promise.split(" | ")
        named = re.findall(r"`(test_\w+)`", held)
        assert len(named) >= 3, promise
        assert not re.search(r"`test_", how)
        assert set(named) <= defined(), promise
        assert set(named) & defined("hostile"), promise


def test_every_test_that_is_named_exists() -> None:
    assert NAMED
    assert defined() >= NAMED


def test_every_test_of_a_row_or_a_case_is_named() -> None:
    numbered = {name for name in defined("hostile", "fuzz") if re.match(r"test_(?:row|case)_\d\d", name)}
    assert numbered <= NAMED
    for name in numbered:
        found = re.match(r"test_row_(\d\d)", name)
        assert found is None or f"`{name}`" in ROWS[str(int(found[1]))], name
