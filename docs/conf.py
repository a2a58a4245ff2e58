"""How Sphinx makes the site out of these pages: `tox -e docs`, or `sphinx-build -W docs docs/_site`.

The pages are Markdown as GitHub shows it; Sphinx adds navigation, a search and a check of every reference. A
warning is an error: a link that leads nowhere must not be published.
"""

from typing import Final

project = "Stargate"
author = "The Stargate authors"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "Stargate"
exclude_patterns = ["_site", "printing"]
myst_heading_anchors = 4
"""As GitHub: any heading may be linked to."""
myst_enable_extensions = ["colon_fence"]
myst_links_external_new_tab = False

_REPOSITORY: Final = "https://example.invalid/stargate/blob/main"
"""Where links to files beside these pages lead; set it to where the project is published."""
suppress_warnings = ["myst.xref_missing"]
