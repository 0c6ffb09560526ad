"""Pictures of what `apply/` found out: pages of HTML, SVG, figures, bars for a terminal. Nothing is computed here."""
