"""Pages of HTML that load nothing from elsewhere, in one look, readable in the dark and in print.

A page is a Jinja template that begins with `{% extends "skeleton.html.jinja" %}` and fills its blocks
`title`, `style`, `content` and `script`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jinja2


@cache
def template(file: Path) -> jinja2.Template:
    """The template in a file; what it is given is escaped, and a name that it lacks is an error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([file.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(file.name)
