"""How the page looks: system fonts, one column of text, tables and films as wide as the window, light or dark."""

STYLE = """
:root { color-scheme: light dark; --paper: #fbfbf9; --card: #ffffff; --ink: #1b1d22; --ink-soft: #646a75;
  --line: #e3e4e0; --accent: #2f6f6a; --accent-soft: #d5e6e3; --second: #c2602c; }
@media (prefers-color-scheme: dark) { :root { --paper: #15171a; --card: #1d2024; --ink: #e9eaec; --ink-soft: #9aa1ab;
  --line: #31353b; --accent: #6fc2b8; --accent-soft: #25403d; --second: #ec9a66; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.5;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 74rem; margin: 0 auto; padding: 2.5rem clamp(1rem, 4vw, 2.5rem) 5rem; }
h1 { font-size: clamp(1.7rem, 4vw, 2.5rem); line-height: 1.15; letter-spacing: -0.02em; margin: 0 0 .6rem; }
h2 { font-size: 1.35rem; letter-spacing: -0.01em; margin: 3.2rem 0 .5rem; padding-top: 1.2rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 0 0 .6rem; font-weight: 600; }
p { margin: .3rem 0 1rem; max-width: 46rem; }
.lead { font-size: 1.1rem; color: var(--ink-soft); }
.soft, .beside, .key, .meaning, .interval { color: var(--ink-soft); }
dl { display: flex; flex-wrap: wrap; gap: .3rem 2rem; margin: 1.2rem 0; font-size: .92rem; }
dl div { display: flex; gap: .5rem; max-width: 100%; }
dt { color: var(--ink-soft); } dd { margin: 0; overflow-wrap: anywhere; }
code { font: .88em ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .9rem; margin: 1.6rem 0; }
.tile, article, .panel { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem; }
.large { font-size: 2.1rem; font-weight: 650; letter-spacing: -0.03em; line-height: 1.1;
  font-variant-numeric: tabular-nums; }
.what { font-weight: 550; font-size: .95rem; margin: .15rem 0 .5rem; }
.beside, .key { font-size: .78rem; margin: .3rem 0 0; }
.bar { position: relative; height: 6px; border-radius: 3px; background: var(--line); margin: .35rem 0;
  min-width: 5rem; }
.bar i { position: absolute; inset: 0 auto 0 0; border-radius: 3px; background: var(--accent); }
.bar u { position: absolute; top: -3px; width: 2px; height: 12px; margin-left: -1px; background: var(--second); }
article { margin: 0 0 1rem; }
.tag { color: var(--ink-soft); font-weight: 400; margin-left: .4rem; }
.films { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: .9rem; }
figure { margin: 0; } figcaption { font-size: .84rem; color: var(--ink-soft); margin-top: .35rem; }
video { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: #000; border-radius: 6px;
  image-rendering: pixelated; }
.roll { display: block; width: 100%; height: 96px; margin-top: .9rem; background: var(--paper); border-radius: 6px; }
.roll rect { fill: var(--accent-soft); stroke: var(--accent); stroke-width: 1; vector-effect: non-scaling-stroke; }
.roll circle { fill: var(--second); } .roll path { stroke: var(--second); stroke-width: 1.5; }
.roll .second { stroke: var(--line); stroke-width: 1; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
thead th { text-align: left; font-weight: 550; color: var(--ink-soft); padding: .4rem .9rem;
  text-transform: capitalize; }
tbody th { text-align: left; font-weight: 550; padding: .7rem .9rem .7rem 0; min-width: 12rem; vertical-align: top; }
td { padding: .7rem .9rem; min-width: 9.5rem; vertical-align: top; } tbody tr { border-top: 1px solid var(--line); }
.meaning { display: block; font-weight: 400; font-size: .8rem; line-height: 1.35; }
.mean { font-weight: 650; font-size: 1.05rem; }
.interval { font-size: .8rem; margin-left: .45rem; white-space: nowrap; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: .9rem; margin: 1rem 0; }
.panel svg { display: block; width: 100%; height: auto; } .panel svg text { font-family: inherit; }
.swatch { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .35em 0 .8em; }
"""

SCRIPT = """
document.addEventListener("play", (event) => {
  for (const video of document.querySelectorAll("video")) if (video !== event.target) video.pause();
}, true);
"""
"""Playing one film stops the others."""
