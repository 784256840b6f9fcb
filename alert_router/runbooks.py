"""Runbooks: the small part of Markdown that they are written in, as safe HTML. Anything else is shown as text."""

from __future__ import annotations

import re
from html import escape

_FENCE = re.compile(r"^```(\w*)\s*$")
_HEADING = re.compile(r"^#{1,4}\s+\S")
_ITEM = re.compile(r"^(\s*)([-*+]|\d+[.)])\s+(.*)$")
_TABLE_RULE = re.compile(r"^\s*\|?[\s:|-]+\|[\s:|-]*$")
_INLINE = re.compile(
    r"(?P<code>`[^`]+`)|\[(?P<text>[^\]]+)\]\((?P<url>[^)\s]+)\)|\*\*(?P<strong>[^*]+)\*\*"
    r"|(?<![\w*])[*_](?P<em>[^*_]+)[*_](?![\w*])|<(?P<auto>https?://[^>\s]+)>"
)
_SAFE_URL = re.compile(r"(https?://|/|#|[\w./-]+(\.md)?(#[\w-]+)?$)")


def to_html(text: str) -> str:
    """Turn a runbook into HTML. Every piece of text is escaped; links lead to http(s) or to this house only."""
    lines = text.replace("\r\n", "\n").split("\n")
    out: list[str] = []
    at = 0
    while at < len(lines):
        at = _block(lines, at, out)
    return "\n".join(out)


def _block(lines: list[str], at: int, out: list[str]) -> int:
    """Translate the block that begins at a line; return where the next one begins."""
    line = lines[at]
    if not line.strip():
        return at + 1
    translate = _paragraph
    if _FENCE.match(line):
        translate = _fence
    elif _HEADING.match(line):
        translate = _heading
    elif _ITEM.match(line):
        translate = _list
    elif line.lstrip().startswith(">"):
        translate = _quote
    elif "|" in line and at + 1 < len(lines) and _TABLE_RULE.match(lines[at + 1]):
        translate = _table
    return translate(lines, at, out)


def _heading(lines: list[str], at: int, out: list[str]) -> int:
    marks, text = lines[at].split(maxsplit=1)
    out.append(f"<h{len(marks)}>{_inline(text.rstrip('# '))}</h{len(marks)}>")
    return at + 1


def _fence(lines: list[str], at: int, out: list[str]) -> int:
    end = at + 1
    while end < len(lines) and not _FENCE.match(lines[end]):
        end += 1
    out.append(f"<pre><code>{escape(chr(10).join(lines[at + 1 : end]))}</code></pre>")
    return end + 1


def _list(lines: list[str], at: int, out: list[str]) -> int:
    """Translate a list; a deeper indent opens a list inside the item, a plain indented line continues it."""
    first = _ITEM.match(lines[at])
    indent = len(first[1]) if first else 0
    tag = "ol" if first and first[2][0].isdigit() else "ul"
    out.append(f"<{tag}>")
    while at < len(lines) and (item := _ITEM.match(lines[at])) and len(item[1]) >= indent:
        if len(item[1]) > indent:
            out[-1] = out[-1].removesuffix("</li>")
            at = _list(lines, at, out)
            out[-1] += "</li>"
            continue
        words = [item[3]]
        at += 1
        while at < len(lines) and lines[at].startswith(" " * (indent + 2)) and not _ITEM.match(lines[at]):
            words.append(lines[at].strip())
            at += 1
        out.append(f"<li>{_inline(' '.join(words))}</li>")
    out.append(f"</{tag}>")
    return at


def _quote(lines: list[str], at: int, out: list[str]) -> int:
    words = []
    while at < len(lines) and lines[at].lstrip().startswith(">"):
        words.append(lines[at].lstrip()[1:].strip())
        at += 1
    out.append(f"<blockquote><p>{_inline(' '.join(words))}</p></blockquote>")
    return at


def _table(lines: list[str], at: int, out: list[str]) -> int:
    out.append("<div class='scroll'><table><thead>" + _row(lines[at], "th") + "</thead><tbody>")
    at += 2
    while at < len(lines) and "|" in lines[at] and lines[at].strip():
        out.append(_row(lines[at], "td"))
        at += 1
    out.append("</tbody></table></div>")
    return at


def _row(line: str, cell: str) -> str:
    cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
    return "<tr>" + "".join(f"<{cell}>{_inline(text.strip())}</{cell}>" for text in cells) + "</tr>"


def _paragraph(lines: list[str], at: int, out: list[str]) -> int:
    words = []
    while at < len(lines) and lines[at].strip() and not _starts_block(lines[at]):
        words.append(lines[at].strip())
        at += 1
    out.append(f"<p>{_inline(' '.join(words))}</p>")
    return at


def _starts_block(line: str) -> bool:
    return bool(_FENCE.match(line) or _HEADING.match(line) or _ITEM.match(line)) or line.lstrip().startswith(">")


def _inline(text: str) -> str:
    out, at = [], 0
    for match in _INLINE.finditer(text):
        out.append(escape(text[at : match.start()]))
        out.append(_span(match))
        at = match.end()
    return "".join([*out, escape(text[at:])])


def _span(match: re.Match[str]) -> str:
    if match["code"]:
        return f"<code>{escape(match['code'][1:-1])}</code>"
    if match["strong"]:
        return f"<strong>{_inline(match['strong'])}</strong>"
    if match["em"]:
        return f"<em>{_inline(match['em'])}</em>"
    if match["auto"]:
        return f'<a href="{escape(match["auto"])}">{escape(match["auto"])}</a>'
    url = match["url"]
    if not _SAFE_URL.match(url):
        return escape(match[0])
    # A link from one runbook to another is written for readers of the repository.
    sibling = re.fullmatch(r"(?:\./)?(\w+)\.md(#[\w-]+)?", url)
    if sibling:
        url = f"/runbooks/{sibling[1]}{sibling[2] or ''}"
    return f'<a href="{escape(url)}">{_inline(match["text"])}</a>'
