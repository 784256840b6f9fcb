"""What the Dockerfile puts into the image, as a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from tocsin.paths import HOUSE

DOCKERFILE = (HOUSE / "Dockerfile").read_text().replace("\\\n", " ")
LINES = [line for line in DOCKERFILE.splitlines() if line and not line.startswith("#")]
COPIES = [line.split()[1:] for line in LINES if line.startswith("COPY") and "--from" not in line]


def copy_image(app: Path) -> Path:
    """Fill a new folder with exactly what the Dockerfile copies to /app, readable for everybody, and return it."""
    app.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    for *sources, target in COPIES:
        for source in sources:
            if (HOUSE / source).is_dir():
                shutil.copytree(HOUSE / source, app / target, ignore=ignore)
            else:
                shutil.copy(HOUSE / source, app)
    for path in (app, *app.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return app
