"""docs/threat-model.md says what is held by which test: all of it is there, and what it names exists."""

import ast
import functools
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PAGE = (TESTS.parent / "docs/threat-model.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| (\d+) \|(.*)\|$", PAGE, re.MULTILINE))
PROMISES = re.findall(
    r"^\| (.*) \|$", PAGE.partition("## What holds")[2].partition("## What does not")[0], re.MULTILINE
)[1:]
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
