"""The report as one HTML file: figures and pictures inside, no script, nothing from the network."""

import base64
import html
from collections.abc import Mapping

from cloudmask.report.document import Report

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 0 auto;
  max-width: 76rem; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; margin: .5rem 0; } h2 { font-size: 1.25rem; margin: 2rem 0 .5rem; }
p, li { max-width: 48rem; } .made, .note, figcaption { color: #444; font-size: .88rem; }
nav a { margin-right: 1rem; white-space: nowrap; }
.alarms { list-style: none; padding: 0; }
.alarms li { border-left: .4rem solid #777; padding: .3rem .8rem; margin: .5rem 0;
  background: #f5f5f5; }
.alarms .alarm { border-color: #b30000; background: #fdecea; }
.alarms .warning { border-color: #c77700; background: #fff4e0; }
.level { text-transform: uppercase; font-size: .75rem; letter-spacing: .05em; font-weight: bold; }
.wide { overflow: auto; max-height: 85vh; border: 1px solid #ddd; }
table { border-collapse: collapse; font-size: .85rem; overflow-wrap: normal; }
th, td { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid #e5e5e5;
  vertical-align: top; } thead th { position: sticky; top: 0; background: #eef2f5; }
td:first-child { min-width: 9rem; overflow-wrap: anywhere; }
.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.figures { columns: 29rem; column-gap: 2rem; }
figure { margin: 0 0 1.5rem; break-inside: avoid; }
figure img { width: 100%; height: auto; display: block; }
@media print {
  @page { size: A4; margin: 14mm; }
  body { font-size: 9.5pt; max-width: none; padding: 0; } nav { display: none; }
  .wide { overflow: visible; max-height: none; border: 0; } table { font-size: 6.6pt; width: 100%; }
  th, td { padding: .1rem .25rem; } td:first-child { min-width: 0; } thead th { position: static; }
  .figures { columns: 2; column-gap: 6mm; } figure { margin-bottom: 4mm; }
  tr, .alarms li { break-inside: avoid; } h2 { break-after: avoid; }
}
"""


def page(report: Report, contents: Mapping[str, bytes]) -> str:
    """`contents` holds the figures by the paths under which they are written."""
    sections = [
        ("Alarms", _alarms(report)),
        *((table.title, _table(table)) for table in report.tables),
    ]
    figures = "".join(
        _figure(contents[f"figures/{d.name}.svg"], "image/svg+xml", d.title, d.caption)
        for d in report.drawings
        if d.figure
    )
    scenes = "".join(
        _figure(contents[f"figures/{p.file}"], "image/jpeg", p.caption, p.caption)
        for p in report.pictures
    )
    # Figures before the long tables: alarms, groups and comparisons first.
    sections.insert(3, ("Figures", f"<div class='figures'>{figures}</div>{_missing(report)}"))
    if scenes:
        title = "Best and worst scenes"
        sections.insert(4, (title, f"<div class='figures'>{scenes}</div>"))
    if report.damaged:
        items = "".join(
            f"<li><code>{_(p)}</code>: {_(reason)}</li>" for p, reason in report.damaged
        )
        sections.insert(1, ("Damaged", f"<ul>{items}</ul>"))
    if report.citations:
        sections.append(
            ("Sources", f"<ul>{''.join(f'<li>{_(c)}</li>' for c in report.citations)}</ul>")
        )
    links = "".join(f"<a href='#s{k}'>{_(title)}</a>" for k, (title, _body) in enumerate(sections))
    body = "".join(
        f"<section id='s{k}'><h2>{_(title)}</h2>{text}</section>"
        for k, (title, text) in enumerate(sections)
    )
    summary = "".join(f"<li>{_(line)}</li>" for line in report.summary)
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>What the runs say</title><style>{STYLE}</style></head><body>"
        f"<h1>What the runs say</h1><p class='made'>{_(report.made)}</p><ul>{summary}</ul>"
        f"<nav>{links}</nav>{body}</body></html>\n"
    )


def _(text: str) -> str:
    return html.escape(str(text))


def _alarms(report: Report) -> str:
    if not report.alarms:
        return "<p>None.</p>"
    items = (
        f"<li class='{a.level}'><span class='level'>{a.level}</span> <b>{_(a.title)}.</b> "
        f"{_(a.text)}</li>"
        for a in report.alarms
    )
    return f"<ul class='alarms'>{''.join(items)}</ul>"


def _table(table) -> str:
    body = f"<div class='wide'>{table._repr_html_()}</div>" if table.rows else ""
    note = " ".join(part for part in (table.note, table.rest) if part)
    return f"{body}<p class='note'>{_(note)}</p>"


def _figure(content: bytes, kind: str, title: str, caption: str) -> str:
    data = base64.b64encode(content).decode()
    return (
        f"<figure><img src='data:{kind};base64,{data}' alt='{_(title)}'>"
        f"<figcaption>{_(caption)}</figcaption></figure>"
    )


def _missing(report: Report) -> str:
    if not report.missing:
        return ""
    items = "".join(f"<li>{_(line)}</li>" for line in report.missing)
    return f"<p class='note'>Left out, for want of data:</p><ul class='note'>{items}</ul>"
