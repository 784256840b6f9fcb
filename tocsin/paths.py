"""Where the house stands: configuration and docs lie beside the packages, in a checkout and in the image alike."""

from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent
"""Root of the checkout (``/app`` in the image)."""
