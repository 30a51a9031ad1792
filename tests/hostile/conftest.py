"""The fixtures of these tests: who forks commands, once a worker, one world a test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.hostile import Reply, Seen
from support.hostile_place import Place
from support.hostile_world import World, world
from support.zygote import Zygote

Build = Callable[[Callable[[Seen], Reply]], World]


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Zygote:
    return Zygote(tmp_path_factory.mktemp("home"))


@pytest.fixture
def build(forks: Zygote, tmp_path: Path) -> Iterator[Build]:
    """Return what makes the world of a script."""
    with ExitStack() as opened:
        yield lambda script: opened.enter_context(world(forks, tmp_path, script))


@pytest.fixture
def place(tmp_path: Path, forks: Zygote) -> Place:
    return Place(tmp_path, forks)
