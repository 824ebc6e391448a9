"""How does a result become something to look at? Numbers and tables as text, pictures in one palette, pages, files.

Comes in: numbers, lines and bars to draw, pieces of HTML. Goes out: text, SVG and HTML that need no other file. Nothing
here knows what it shows.
"""
