"""A page of HTML that holds all it needs: no network, light and dark, for a phone, a keyboard and a screen reader."""

from __future__ import annotations

from html import escape

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1a1a1a; --faint: #5c5c5c; --line: #c8c8c8; --card: #f4f4f2;
  --blue: #0b57b0; --red: #b3261e; --green: #1b6e3a; --gold: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --paper: #161616; --ink: #ececec; --faint: #a8a8a8; --line: #4a4a4a;
  --card: #222; --blue: #8ab8ff; --red: #ff9d94; --green: #7fd69b; --gold: #f0c060; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 70rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2rem; }
a { color: var(--blue); }
:focus-visible { outline: 3px solid var(--blue); outline-offset: 2px; }
.skip { position: absolute; left: -100vw; } .skip:focus { position: static; }
.faint { color: var(--faint); }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: .5rem; padding: .5rem;
  background: var(--card); }
svg { display: block; max-width: none; } svg text { fill: currentColor; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .25rem 0; color: var(--faint); }
th, td { padding: .2rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; }
@media (prefers-reduced-motion: reduce) { * { transition: none !important; } }
@media print { body { max-width: none; } .scroll { overflow: visible; } }
"""


def page(title: str, body: str, *, language: str = "en", style: str = "", script: str = "") -> str:
    """Return a whole page of HTML around `body`, which is HTML; `title` is text.

    The page asks the network for nothing, and says so to the browser (a content security policy), so a page that would
    is seen to be broken at once. `style` and `script` are added to what every page has; neither is needed to read it.
    """
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    code = f"<script>{script}</script>\n" if script else ""
    return (
        f'<!DOCTYPE html>\n<html lang="{escape(language)}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#content">To the content</a>\n'
        f'<main id="content">\n<h1>{escape(title)}</h1>\n{body}\n</main>\n{code}</body>\n</html>\n'
    )


def table(head: list[str], rows: list[list[str]], *, caption: str) -> str:
    """Return a table of texts, (R, C), its first column as the heads of the rows."""
    top = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    lines = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(text)}</td>" for text in row[1:])}</tr>\n'
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">\n<table>\n'
        f"<caption>{escape(caption)}</caption>\n<thead><tr>{top}</tr></thead>\n<tbody>\n{lines}</tbody>\n</table>\n</div>\n"
    )
