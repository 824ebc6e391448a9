"""The site: `nox -s docs`, or sphinx-build -W -b html docs build/site. It needs no network, and its pages load nothing
from one."""

project = "loopnest"
author = "loopnest"
copyright = "the authors of loopnest"

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["lessons/exercises"]
myst_heading_anchors = 3
suppress_warnings = [
    "myst.header",  # a page may go from its title to a heading of the third level
    "misc.highlighting_failure",  # code on pages may leave something out: …
]

html_theme = "furo"
html_title = "loopnest"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"sidebar_hide_name": False}
pygments_style = "friendly"
pygments_dark_style = "monokai"
