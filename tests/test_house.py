"""The house rules as tests: who may import whom, how long things may be, what must be said."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PRODUCT = ("pipeline", "tasks", "schemas")
MAX_FILE = 350
MAX_FUNCTION = 80
VAGUE = {"utils", "util", "helpers", "common", "manager", "base", "misc"}

# Lowest first. A room may import itself and those before it.
ORDER = (
    "trace",
    "errors",
    "tries",
    "digest",
    "docker_name",
    "reference",
    "lookaside",
    "manifest",
    "signature",
    "transport",
    "disk",
    "durable",
    "doubts",
    "overlap",
    "chunked",
    "compression",
    "pull",
    "ingest",
    "store",
    "tree",
    "registry",
    "trust",
    "transports",
    "inspection",
    "convert",
    "foreign",
    "tar_sizes",
    "resolve",
    "lifting",
    "repacking",
    "remaking",
    "copy",
    "referrers",
    "verify",
    "image_job",
    "jobs",
    "batch",
    "plan_file",
    "planning",
    "locking",
    "bundle",
    "sync",
    "report",
    "rewrite",
    "serve",
    "cli",
)
# Rooms of pipeline/ that read or write documents with a schema.
MAY_VALIDATE = {"batch", "plan_file", "planning", "bundle", "sync", "report", "cli"}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py") if "path" not in path.parts)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> Iterator[str]:
    """Yield the full name of every module that ``path`` imports, at its top or inside a function."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            if module in ("transship", "transship.pipeline"):
                yield from (f"{module}.{alias.name}" for alias in node.names)
            else:
                yield module


def room(path: Path) -> str:
    """Return ``tasks``, ``schemas``, or the name below pipeline/."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "pipeline" else parts[0]


def of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", sources("pipeline"), ids=of)
def test_imports_point_downward_only(path: Path) -> None:
    own = room(path)
    if own == "__init__":
        assert not [name for name in imports(path) if name.startswith("transship")]
        return
    assert own in ORDER, f"pipeline/{own} has no place in the table yet"
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top != "transship":
            continue
        folder, _, below = rest.partition(".")
        if folder == "tasks":
            assert own == "cli", f"{own} imports {name}"
        elif folder == "schemas":
            assert own in MAY_VALIDATE, f"{own} imports {name}"
        else:
            other = below.partition(".")[0]
            if other.startswith("__"):
                continue
            assert ORDER.index(other) <= ORDER.index(own), f"{own} imports {name}, which lies above it"


@pytest.mark.parametrize("path", sources("tasks"), ids=of)
def test_tasks_do_not_know_the_command_line(path: Path) -> None:
    for name in imports(path):
        assert not name.startswith("transship.pipeline.cli"), name


@pytest.mark.parametrize("path", sources("schemas"), ids=of)
def test_schemas_import_nothing_of_ours(path: Path) -> None:
    assert not [name for name in imports(path) if name.startswith("transship") and "schemas" not in name]


@pytest.mark.parametrize("path", sources(*PRODUCT), ids=of)
def test_who_knows_luigi_and_the_terminal(path: Path) -> None:
    roots = {name.partition(".")[0] for name in imports(path)}
    own = room(path)
    assert not roots & {"pipeline", "tasks", "schemas"}, "import transship.x, not x"
    if own not in ("tasks", "cli"):
        assert "luigi" not in roots
    if own != "cli":
        assert not roots & {"tqdm", "argparse"}
        text = path.read_text(encoding="utf-8")
        assert "os.environ" not in text
        assert "os.getenv" not in text


@pytest.mark.parametrize("path", sources(*PRODUCT, "tests", "demo", "benchmarks"), ids=of)
def test_nothing_is_too_long_or_vaguely_named(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE
    assert path.stem not in VAGUE
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION, f"{node.name} is over {MAX_FUNCTION} lines"


def undocumented(body: list[ast.stmt], where: str) -> Iterator[str]:
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        overload = any("overload" in ast.unparse(mark) for mark in node.decorator_list)
        if not ast.get_docstring(node) and not overload:
            yield where + node.name
        if isinstance(node, ast.ClassDef):
            yield from undocumented(node.body, f"{where}{node.name}.")


@pytest.mark.parametrize("path", sources(*PRODUCT), ids=of)
def test_every_public_name_is_documented(path: Path) -> None:
    tree = parsed(path)
    assert ast.get_docstring(tree), "the module itself"
    assert not list(undocumented(tree.body, ""))


def test_no_two_decisions_have_one_number() -> None:
    numbers = sorted(path.name[:4] for path in (ROOT / "docs/decisions").glob("*.md"))
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]
