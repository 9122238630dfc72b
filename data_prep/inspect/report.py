"""What an inspection found, as one HTML page that needs nothing else."""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np

from data_prep.inspect.clips import clip_panel, data_url, flow_wheel
from data_prep.inspect.records import FLOW_EDGES, Findings, summary
from data_prep.inspect.sound import Heard, listener
from mvgen.data.records import RecordSpec
from mvgen.errors import UserError
from mvgen.files import write_text

STYLE = """
:root { color-scheme: light dark; --paper: #fbfbf9; --card: #fff; --ink: #1b1d22; --soft: #646a75; --line: #e3e4e0;
  --accent: #2f6f6a; --pale: #cfe3df; --second: #c2602c; --good: #17692d; --bad: #a3211b; }
@media (prefers-color-scheme: dark) { :root { --paper: #15171a; --card: #1d2024; --ink: #e9eaec; --soft: #9aa1ab;
  --line: #31353b; --accent: #6fc2b8; --pale: #2a4a46; --second: #ec9a66; --good: #7bd08e; --bad: #ff8d84; } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif }
main { max-width: 74rem; margin: 0 auto; padding: 2.5rem clamp(1rem, 4vw, 2.5rem) 5rem }
h1 { font-size: clamp(1.6rem, 4vw, 2.3rem); line-height: 1.15; letter-spacing: -.02em; margin: 0 0 .6rem;
  overflow-wrap: anywhere }
h2 { font-size: 1.3rem; margin: 3rem 0 .5rem; padding-top: 1.2rem; border-top: 1px solid var(--line) }
h3 { font-size: 1rem; margin: 0; font-weight: 600; overflow-wrap: anywhere }
p { margin: .3rem 0 1rem; max-width: 46rem }
.soft, figcaption { color: var(--soft); font-size: .86rem } .good { color: var(--good) } .bad { color: var(--bad) }
li { overflow-wrap: anywhere }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); gap: .9rem; margin: 1.6rem 0 }
.tile, article, .panel { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem }
.large { font-size: 1.9rem; font-weight: 650; letter-spacing: -.03em; line-height: 1.1;
  font-variant-numeric: tabular-nums }
article { margin: 0 0 1rem } .tag { font-size: .75rem; font-weight: 500; color: var(--soft); margin-left: .4rem;
  padding: .1rem .5rem; border: 1px solid var(--line); border-radius: 1rem; white-space: nowrap }
.tag.test { color: var(--second); border-color: var(--second) }
.row { display: grid; grid-template-columns: 4.2rem 1fr; align-items: center; margin-top: .45rem }
.row > span { color: var(--soft); font-size: .78rem }
.row img, .row svg { display: block; width: 100%; border-radius: 4px }
.strip { height: auto } .spectrum { height: 96px; margin-top: 3px } .raster { height: 46px; image-rendering: pixelated }
.wave { height: 40px } .wave polygon { fill: var(--accent) } .motions { height: 84px; background: var(--paper) }
.motion { fill: var(--pale) } .onset { stroke: var(--second); stroke-width: 1.4; vector-effect: non-scaling-stroke }
.second { stroke: var(--line); vector-effect: non-scaling-stroke } circle { fill: var(--accent) }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: .9rem }
.panel svg { display: block; width: 100%; height: 84px } .panel rect, .bars rect { fill: var(--accent) }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums }
th { text-align: left; font-weight: 550; vertical-align: top } td, th { padding: .4rem 1.2rem .4rem 0 }
tr + tr { border-top: 1px solid var(--line) } td { overflow-wrap: anywhere }
.key { display: flex; gap: 1.2rem; align-items: center } .key img { width: 72px; border-radius: 50% }
.lags { height: 60px; width: 100%; max-width: 46rem } .lags circle { fill: var(--second); opacity: .75 }
"""


def _bars(values: np.ndarray, width: int = 900, height: int = 84) -> str:
    """Values as an SVG of bars, highest as high as the picture."""
    most = max(1, int(values.max(initial=0)))
    step = width / len(values)
    bars = "".join(
        f'<rect x="{number * step:.2f}" y="{height - value / most * height:.2f}" width="{step:.2f}" '
        f'height="{value / most * height:.2f}"/>'
        for number, value in enumerate(values)
        if value
    )
    return f'<svg class="bars" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img">{bars}</svg>'


def _tile(large: str, what: str) -> str:
    return f'<div class="tile"><div class="large">{escape(large)}</div><div class="soft">{escape(what)}</div></div>'


def _tiles(found: Findings, spec: RecordSpec) -> str:
    seconds = sum(found.seconds.values())
    length = f"{seconds / 3600:.1f} h" if seconds > 3600 else f"{seconds / 60:.1f} min"
    splits = ", ".join(f"{found.records[split]} {split}" for split in found.sources)
    dead = int(found.dead().sum())
    tiles = [
        _tile(str(sum(found.records.values())), f"records ({splits})"),
        _tile(length, "of picture and sound"),
        _tile(str(len(set().union(*found.sources.values())) if found.sources else 0), "sources"),
        _tile(f"{1 - dead / max(1, found.counts.size):.0%}", f"of codes in use; {dead} of {found.counts.size} dead"),
        _tile(f"{found.flow_percentile:.2f}", "pixels a frame: 95 % of the flow is slower"),
        _tile(str(len(found.silent)), "records silent, or of one unchanging sound"),
        _tile(str(len(found.duplicates)), "pictures or sounds that are another record's"),
    ]
    return f'<div class="tiles">{"".join(tiles if spec.flow_size else tiles[:4] + tiles[5:])}</div>'


def _clips(found: Findings, spec: RecordSpec) -> str:
    if not found.samples:
        return ""
    listen, reason = listener(spec.codec)
    heard = [listen(sample) for sample in found.samples]
    panels = "".join(
        clip_panel(sample, spec.codebook_size, one.sound, one.onsets, one.told(), max(found.flow_percentile, 0.05))
        for sample, one in zip(found.samples, heard, strict=True)
    )
    key = (
        f'<div class="key"><img alt="colours of directions" src="{data_url(flow_wheel())}"><p>Colours of the flow: the '
        "hue is the direction (right is at the right), the brightness the speed. The sound is what the tokens decode "
        "to. Lines over the motion are onsets heard in it; dots above are notes that are known.</p></div>"
    )
    note = f'<p class="soft">{escape(reason)}</p>' if reason else ""
    return f"<h2>Clips</h2>{key}{note}{panels}{_alignment(found, heard)}"


def _alignment(found: Findings, heard: list[Heard]) -> str:
    told = [(sample.clip_id, one) for sample, one in zip(found.samples, heard, strict=True) if not np.isnan(one.lag)]
    if not told:
        return ""
    dots = "".join(
        f'<circle cx="{450 + one.lag / 500 * 430:.0f}" cy="{42 - 34 * max(0.0, one.correlation):.0f}" r="5"/>'
        for _, one in told
    )
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{one.lag:+.0f} ms</td><td>{one.correlation:.2f}</td>"
        f"<td>{len(one.onsets)}</td></tr>"
        for name, one in told
    )
    return (
        "<h2>Alignment of sound and motion</h2><p>The lag at which onset strength correlates best with the length of "
        "the flow, within half a second either way; positive: the sound comes later. Where the correlation is low, the "
        "motion does not tell when something sounds, and the lag says little.</p>"
        f'<svg class="lags" viewBox="0 0 900 60" role="img" aria-label="lag of each clip">'
        f'<path class="second" d="M450 0V46M20 46H880"/>{dots}'
        '<g fill="currentColor" font-size="11"><text x="20" y="58">-500 ms</text><text x="443" y="58">0</text>'
        '<text x="835" y="58">+500 ms</text></g></svg>'
        f"<table><tr><th>clip</th><th>lag</th><th>correlation</th><th>onsets</th></tr>{rows}</table>"
    )


def _codes(found: Findings, spec: RecordSpec) -> str:
    used, perplexity = spec.codebook_size - found.dead(), found.perplexity()
    panels = "".join(
        f'<div class="panel"><h3>Codebook {book}</h3>{_bars(np.sort(counts)[::-1])}<p class="soft">{used[book]} of '
        f"{spec.codebook_size} entries in use, {found.dead()[book]} dead; perplexity {perplexity[book]:.0f}; the most "
        f"frequent is {counts.max() / max(1, counts.sum()):.1%} of all</p></div>"
        for book, counts in enumerate(found.counts)
    )
    return (
        "<h2>Tokens</h2><p>How often each entry of a codebook occurs, the most frequent first. A steep fall at the "
        f"left means that few entries say most; an empty right side is dead codes.</p>"
        f'<div class="panels">{panels}</div>'
    )


def _flow(found: Findings) -> str:
    if not found.flow_histogram.sum():
        return ""
    edges = [*(f"below {edge:g}" for edge in FLOW_EDGES[1:-1]), f"{FLOW_EDGES[-2]:g} and more"]
    total = found.flow_histogram.sum()
    rows = "".join(
        f'<tr><th>{name}</th><td style="width:26rem"><svg class="bars" viewBox="0 0 100 10" preserveAspectRatio="none" '
        f'style="width:100%;height:12px"><rect width="{100 * count / total:.2f}" height="10"/></svg></td>'
        f"<td>{count / total:.1%}</td></tr>"
        for name, count in zip(edges, found.flow_histogram, strict=True)
    )
    return f"<h2>Optical flow, pixels a frame</h2><table>{rows}</table>"


def write_report(path: Path, folder: str, found: Findings, spec: RecordSpec) -> None:
    """Writes the page (atomically). Raises ``UserError`` when it cannot be written."""
    if not path.parent.is_dir():
        raise UserError(f"{path} cannot be written: no such folder")
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in summary(found, spec))
    if found.bad:
        lines = "".join(f"<li>{escape(line)}</li>" for line in found.bad)
        verdict = f'<p class="bad"><b>{len(found.bad)} faults</b></p><ul class="bad">{lines}</ul>'
    else:
        verdict = '<p class="good">Every record is sound: CRCs, sizes, clock, codes, flow, notes and splits.</p>'
    twins = "".join(f"<li>{escape(line)}</li>" for line in found.duplicates)
    silent = "".join(f"<li>{escape(name)}</li>" for name in found.silent)
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Records in {escape(folder)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><main><h1>Records in {escape(folder)}</h1>{verdict}{_tiles(found, spec)}"
        f"{_clips(found, spec)}{_codes(found, spec)}{_flow(found)}"
        + (f"<h2>Duplicates</h2><ul>{twins}</ul>" if twins else "")
        + (f"<h2>Silent records</h2><ul>{silent}</ul>" if silent else "")
        + f"<h2>All figures</h2><table>{rows}</table></main></body></html>\n"
    )
    write_text(path, page)
