"""Which module each source file is: `pipeline/` is the package `quire`, and `jobs/` is `quire.jobs`.

`python -m tests.modules` prints the same as JSON, for a type checker that knows files by their paths alone.
"""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = {"pipeline": "quire", "jobs": "quire.jobs"}


def modules() -> dict[str, Path]:
    """Every module's dotted name → its file."""
    return {_dotted(folder, path): path for folder in _PACKAGES for path in sorted((ROOT / folder).rglob("*.py"))}


def _dotted(folder: str, path: Path) -> str:
    parts = path.relative_to(ROOT / folder).with_suffix("").parts
    return ".".join([_PACKAGES[folder], *parts]).removesuffix(".__init__")


if __name__ == "__main__":
    print(json.dumps({str(path.relative_to(ROOT)): name for name, path in modules().items()}))
