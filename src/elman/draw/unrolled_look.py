"""How the page of `elman explain` looks, and the script that shows the error of one step at a time."""

from __future__ import annotations

STYLE = """
body { max-width: 84rem; }
.net { font: 12px system-ui, sans-serif; }
.net text { fill: var(--ink); } .net .small, .net .side { fill: var(--faint); font-size: 11px; }
.net .head, .net .symbol { font-weight: 600; font-size: 13px; } .net .symbol { font-size: 15px; }
.net .side { font-size: 13px; } .net .end { text-anchor: end; } .net .middle { text-anchor: middle; }
.net .value { font-variant-numeric: tabular-nums; } .net .came { font-weight: 700; }
.box { fill: var(--paper); stroke: var(--line); } .word { stroke: var(--blue); stroke-width: 1.5; }
.bar.v { fill: var(--green); opacity: .25; } .plus { fill: var(--blue); } .minus { fill: var(--red); }
.zero { stroke: var(--line); } .e { fill: var(--red); }
.arrow { fill: none; stroke-width: 2; } .arrow.u { stroke: var(--blue); }
.arrow.w { stroke: var(--gold); stroke-dasharray: 7 3; } .arrow.v { stroke: var(--green); stroke-dasharray: 2 3; }
.head.u { fill: var(--blue); } .head.w { fill: var(--gold); } .head.v { fill: var(--green); }
.net .letter { font-weight: 700; font-size: 14px; } .net .letter.u { fill: var(--blue); }
.net .letter.w { fill: var(--gold); } .net .letter.v { fill: var(--green); }
.frame { fill: none; stroke: none; } a.column:hover .frame { stroke: var(--line); stroke-width: 2; }
a.column { outline: none; text-decoration: none; }
a.column[aria-current] .frame { stroke: var(--ink); stroke-width: 2; }
a.column:focus-visible .frame { stroke: var(--blue); stroke-width: 4; }
.legend { list-style: none; padding: 0; } .legend .sample { display: inline-block; vertical-align: middle; }
.script section.step:not(.shown) { display: none; }
.back td, .heat td { text-align: right; }
.back td, .back th { padding: .1rem .6rem; line-height: 1.3; } .back .word { text-align: left; }
.back i { display: block; height: .35rem; width: var(--w); border-radius: 2px; background: var(--red); }
.back .norm { min-width: 8rem; } .back .up, .back .down { min-width: 9rem; }
.back .norm i { margin-left: calc(100% - var(--w)); }
.back .up, .back .down { background: linear-gradient(var(--line), var(--line)) 50% 100% / 1px .7rem no-repeat; }
.back .up i { margin-left: 50%; background: var(--blue); } .back .down i { margin-left: calc(50% - var(--w)); }
.heat th, .heat td { padding: .15rem .4rem; font-size: .85rem; white-space: nowrap; }
.steps :is(th, td):nth-child(n + 6), .steps :is(th, td):nth-child(2), .steps :is(th, td):nth-child(3),
.facts td { text-align: left; }
.scroll { margin: .75rem 0; }
.heat tbody th { position: sticky; left: 0; background: var(--card); }
""" + "".join(
    f".{sign}{shade} {{ background: color-mix(in srgb, var(--{colour}) {9 * shade}%, var(--card)); }}\n"
    for sign, colour in (("p", "blue"), ("n", "red"))
    for shade in range(1, 6)
)

SCRIPT = """
(() => {
  const columns = [...document.querySelectorAll("a.column")];
  const sections = document.querySelectorAll("section.step");
  const say = (value) => Number(value.toPrecision(3)).toString();
  const bars = (t) => {
    const norms = NORMS[t];
    columns.forEach((column, i) => {
      const k = t - Number(column.dataset.t), there = k >= 0 && k < norms.length, norm = there ? norms[k] : 0;
      const share = norm > 0 ? Math.min(1, Math.max(0, (Math.log10(norm) - LOW) / (HIGH - LOW))) : 0;
      const bar = column.querySelector(".e"), factor = column.querySelector(".factor");
      bar.setAttribute("width", COLUMN * share);
      bar.setAttribute("x", LEFT + i * STRIDE + COLUMN * (1 - share));
      column.querySelector(".norm").textContent = there ? say(norm) : "";
      const back = there && k + 1 < norms.length && norm > 0;
      if (factor) factor.textContent = back ? "\\u2190\\u00d7" + say(norms[k + 1] / norm) : "";
    });
  };
  const choose = (i, focus) => {
    const at = Math.min(columns.length - 1, Math.max(0, i)), t = columns[at].dataset.t;
    columns.forEach((column, j) => {
      column.setAttribute("tabindex", j === at ? 0 : -1);
      if (j === at) column.setAttribute("aria-current", "step"); else column.removeAttribute("aria-current");
    });
    sections.forEach((part) => part.classList.toggle("shown", part.id === "step-" + t));
    bars(t);
    if (!focus) return;
    columns[at].focus({ preventScroll: true });
    columns[at].scrollIntoView({ block: "nearest", inline: "center" });
  };
  document.documentElement.classList.add("script");
  columns.forEach((column, i) => {
    column.addEventListener("click", (event) => { if (event.detail) event.preventDefault(); choose(i, event.detail); });
    column.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: i - 1, ArrowRight: i + 1, Home: 0, End: columns.length - 1 }[event.key];
      if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault(); choose(to, true);
    });
  });
  const named = () => columns.findIndex((column) => column.getAttribute("href") === location.hash);
  addEventListener("hashchange", () => { if (named() >= 0) choose(named(), false); });
  choose(named() >= 0 ? named() : columns.findIndex((column) => column.hasAttribute("aria-current")), false);
  const region = document.querySelector(".picture");
  const chosen = columns.find((column) => column.hasAttribute("aria-current"));
  const box = chosen.getBoundingClientRect(), frame = region.getBoundingClientRect();
  region.scrollLeft += box.left - frame.left - (frame.width - box.width) / 2;
})();
"""
