"""The look and behaviour of the page: style and script, both embedded."""

from gamekit.evaluation.style import BASE_STYLE

STYLE = (
    BASE_STYLE
    + """
:root { --faint: #f1f1f1; --bar: #cfdcea; }
@media (prefers-color-scheme: dark) { :root { --faint: #24272b; --bar: #2b4560; } }
* { box-sizing: border-box; }
h2 a { color: inherit; text-decoration: none; }
section { content-visibility: auto; contain-intrinsic-size: auto 60rem; }
nav { columns: 17rem; margin: 1rem 0; font-size: .9rem; } nav a { display: block; }
th { vertical-align: bottom; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--paper); }
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0;
  cursor: pointer; }
th button::after { content: "\\2195"; opacity: .35; padding-left: .25em; font-size: .85em; }
th[aria-sort=ascending] button::after { content: "\\2191"; opacity: 1; }
th[aria-sort=descending] button::after { content: "\\2193"; opacity: 1; }
td.bar { background: linear-gradient(to right, var(--bar) var(--share), transparent var(--share)); }
tr.ours td { font-weight: 650; } tr.limit td { color: var(--soft); font-style: italic; }
td.bad { font-weight: 650; }
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
label { color: var(--soft); font-size: .88rem; max-width: 60rem; }
@media print { figure, table { break-inside: avoid; } nav, label { display: none; }
  section { content-visibility: visible; } }
"""
)
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
