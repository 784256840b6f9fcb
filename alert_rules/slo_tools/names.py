"""The nearest real name: how far apart two spellings are, and whether one is a slip of the other."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def distance(a: str, b: str) -> int:
    """Count the letters to add, drop, change or swap with their neighbour to get from one spelling to the other."""
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            best = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                best = min(best, before[j - 2] + 1)
            row.append(best)
        before, last = last, row
    return last[-1]


def slip_of(word: str, names: Iterable[str]) -> str | None:
    """Return the name that ``word`` is probably a slip of, a letter or two away or in another case; else None."""
    known = sorted(set(names))
    folded = _folded(word)
    for name in known:
        if name != word and _folded(name) == folded:
            return name
    reach = 1 if len(word) <= 5 else 2 if len(word) <= 12 else 3
    near = [name for name in known if abs(len(name) - len(word)) <= reach]
    ranked = sorted((distance(word, name), name) for name in near)
    return ranked[0][1] if ranked and ranked[0][0] <= reach else None


def similar(word: str, names: Iterable[str], *, most: int = 3) -> list[str]:
    """Return the names that look most alike, the nearest first; perhaps none."""
    return difflib.get_close_matches(word, sorted(set(names)), n=most, cutoff=0.6)


def only_digits_differ(a: str, b: str) -> bool:
    """Say whether two spellings differ in digits alone: ``500`` and ``501`` are two facts, not a slip."""
    return "".join(x for x in a if not x.isdigit()) == "".join(x for x in b if not x.isdigit())


def _folded(word: str) -> str:
    return word.replace("_", "").replace("-", "").replace(".", "").lower()
