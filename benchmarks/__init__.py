"""What transship costs, beside what other tools cost for the same work: ``python -m benchmarks``.

Asserts nothing about time. Images and the registry come from ``tests/support``.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
