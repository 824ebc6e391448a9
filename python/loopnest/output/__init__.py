"""How is a result shown? One palette, SVG, pages and numbers as text; it knows nothing of what is shown."""
