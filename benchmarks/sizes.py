"""How much of everything a run of the benchmarks moves."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Corpus: TypeAlias = Literal["tiny", "real", "large", "local", "bundle"]
"""What is moved; a bundle is of the realistic images, and made after them."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Counts are images, sizes are bytes of tar before compression."""

    tiny: int
    scale: tuple[int, ...]
    again: int
    real: int
    real_layer: int
    single: int
    blob: int

    @property
    def tiny_images(self) -> int:
        """How many tiny images the registry must hold for all scenarios."""
        return max(self.tiny, self.again, *self.scale)


FULL: Final = Sizes(1000, (500, 2000, 10000), 10000, 20, 20 << 20, 130 << 20, 512 << 20)
QUICK: Final = Sizes(40, (20, 50, 100), 100, 4, 2 << 20, 8 << 20, 16 << 20)
