"""docs/conversion.md says what the code does."""

from support.conversion_table import PAGE, page_tables, replaced


def test_the_tables_are_what_the_code_does() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == replaced(page), "run PYTHONPATH=tests/path:tests python -m support.conversion_table"


def test_nothing_is_dropped_without_being_named() -> None:
    assert "without a word" not in page_tables()
