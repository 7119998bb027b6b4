"""The look that pages of results share, embedded so that they need no other file."""

BASE_STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --soft: #666; --line: #dcdcdc;
  --bad: #b3261e; --link: #2a5d8f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e4e4; --paper: #16181b; --soft: #a0a4a8;
  --line: #3a3e43; --bad: #ff8a80; --link: #8db9e8; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 80rem; margin: 1.5rem auto 4rem;
  padding: 0 1rem; color: var(--ink); background: var(--paper); overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .3rem; }
a, summary { color: var(--link); } .scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .4rem 0 1rem; font-variant-numeric: tabular-nums;
  font-size: .9rem; white-space: nowrap; }
th { font-weight: 600; color: var(--soft); }
th, td { padding: .22rem .6rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; padding-left: .2rem; }
td.bad { color: var(--bad); }
p.note, footer { color: var(--soft); font-size: .88rem; max-width: 60rem; }
"""
