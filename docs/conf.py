"""The site: `nox -s docs`, or sphinx-build -W -b html docs build/site. It needs no network, and its pages load nothing
from one."""

from pathlib import Path

from sphinx import addnodes

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
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_theme_options = {"sidebar_hide_name": False}
pygments_style = "friendly"
pygments_dark_style = "monokai"


def setup(app):
    app.connect("doctree-read", folders_as_text)


def folders_as_text(app, doctree):
    """A link to a folder of the repository leads nowhere on the site, and stays as its text."""
    page = Path(app.env.doc2path(app.env.docname))
    for link in list(doctree.findall(addnodes.pending_xref)):
        target = page.parent / link.get("reftarget", "")
        if target.is_dir() and not target.with_suffix(".md").exists():  # training is a folder, and a page
            link.replace_self(link.children)
