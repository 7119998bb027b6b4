"""The look and behaviour of the page: style and script, both embedded."""

STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --soft: #666; --faint: #f1f1f1;
  --line: #dcdcdc; --bar: #cfdcea; --link: #2a5d8f; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e4e4; --paper: #16181b; --soft: #a0a4a8; --faint: #24272b; --line: #3a3e43;
    --bar: #2b4560; --link: #8db9e8; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 80rem; margin: 1.5rem auto 4rem;
  padding: 0 1rem; color: var(--ink); background: var(--paper); overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .3rem; }
h2 a { color: inherit; text-decoration: none; } a, summary { color: var(--link); }
section { content-visibility: auto; contain-intrinsic-size: auto 60rem; }
nav { columns: 17rem; margin: 1rem 0; font-size: .9rem; } nav a { display: block; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .4rem 0 1rem; font-variant-numeric: tabular-nums;
  font-size: .9rem; white-space: nowrap; }
th { font-weight: 600; color: var(--soft); vertical-align: bottom; }
th, td { padding: .22rem .6rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; padding-left: .2rem; position: sticky; left: 0;
  background: var(--paper); }
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0;
  cursor: pointer; }
th button::after { content: "\\2195"; opacity: .35; padding-left: .25em; font-size: .85em; }
th[aria-sort=ascending] button::after { content: "\\2191"; opacity: 1; }
th[aria-sort=descending] button::after { content: "\\2193"; opacity: 1; }
td.bar { background: linear-gradient(to right, var(--bar) var(--share), transparent var(--share)); }
tr.ours td { font-weight: 650; } tr.limit td { color: var(--soft); font-style: italic; }
td.bad { color: var(--bad); font-weight: 650; }
.pictures { display: grid; gap: .5rem 1.5rem; grid-template-columns: minmax(0, 1fr); }
@media (min-width: 60rem) { .pictures { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
figure { margin: .4rem 0 1rem; } figcaption { font-weight: 600; margin-bottom: .2rem; }
figure .scroll svg { display: block; width: 100%; min-width: 33rem; height: auto;
  color: var(--ink); }
figure.small .scroll svg { min-width: 21rem; }
figure.narrow .scroll svg { width: auto; max-width: 100%; min-width: 24rem; }
svg text { font-family: system-ui, "DejaVu Sans", sans-serif; fill: currentColor; }
.stay path { stroke: var(--paper); stroke-width: .4; }
.stay:hover path { stroke: var(--ink); stroke-width: 1.2; }
section:has(.by-saving:checked) .stay path { fill: var(--other) !important; }
section:has(.by-saving:checked) .legend { visibility: hidden; }
.key { display: inline-block; width: 9rem; height: .7rem; vertical-align: middle;
  background: linear-gradient(to right, GRADIENT); }
p.note, footer, label { color: var(--soft); font-size: .88rem; max-width: 60rem; }
@media print { figure, table { break-inside: avoid; } nav, label { display: none; }
  section { content-visibility: visible; } }
"""
# Cells are sorted by the number that they begin with, else as text; missing ones come last.
SCRIPT = """
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement, row = head.parentElement;
    const body = head.closest("table").tBodies[0];
    const column = [...row.children].indexOf(head);
    const up = head.getAttribute("aria-sort") === "descending";
    for (const other of row.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (line) => {
      const text = line.cells[column].textContent.trim();
      const number = parseFloat(text.replace(/,/g, ""));
      return [text, number];
    };
    const compare = (a, b) => {
      const [[text, x], [other, y]] = [key(a), key(b)];
      if (text === "-" || other === "-") return (text === "-") - (other === "-");
      const order = isNaN(x) || isNaN(y) ? text.localeCompare(other) : x - y;
      return up ? order : -order;
    };
    body.append(...[...body.rows].sort(compare));
  });
}
"""
