"""Run one target under atheris: ``python tests/fuzz/run.py TARGET [options of libFuzzer] [corpus folder]``.

Needs ``pip install '.[fuzz]'``. A finding is an exception, or an input that takes over two seconds.
"""

import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "path"), str(Path(__file__).resolve().parents[1])]

with atheris.instrument_imports(include=["transship"]):
    from fuzz.targets import TARGETS

from fuzz.seeds import seeds  # noqa: E402  (the path is set above)


def main() -> None:
    name = sys.argv.pop(1)
    corpus = Path(sys.argv.pop()) if not sys.argv[-1].startswith("-") and len(sys.argv) > 1 else Path(f"corpus-{name}")
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds().get(name, ())):
        (corpus / f"seed-{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], "-timeout=2", "-rss_limit_mb=1024", *sys.argv[1:], str(corpus)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
