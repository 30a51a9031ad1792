"""The fixtures of these tests: one forking process a worker, one world a test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.hostile import Reply, Seen
from support.hostile_place import Place
from support.hostile_world import World, world
from support.zygote import Zygote, zygote

Build = Callable[[Callable[[Seen], Reply]], World]


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with zygote(tmp_path_factory.mktemp("home")) as found:
        yield found


@pytest.fixture
def build(forks: Zygote, tmp_path: Path) -> Iterator[Build]:
    """Return what makes the world of a script."""
    with ExitStack() as opened:
        yield lambda script: opened.enter_context(world(forks, tmp_path, script))


@pytest.fixture
def place(tmp_path: Path, forks: Zygote) -> Place:
    return Place(tmp_path, forks)
