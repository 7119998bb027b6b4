"""The time of a subgraph in closed form, and its best tile: no loop over tiles.

Under raster and snake orders a subgraph has four classes of tiles and three of steps, so its time
is the sum of a few products: a count, times the longer of computing and moving (docs/graphs.md,
"Closed form").
"""

from games.graphs.closed_form.costs import Choice, Costs
from games.graphs.closed_form.form import Form, form_of

__all__ = ["Choice", "Costs", "Form", "form_of"]
