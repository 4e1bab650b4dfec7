"""Changes that mkdocs makes to pages that are also read in the repository."""

from __future__ import annotations

import os
import pathlib
import re
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://|#)([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Makes the README the first page."""
    files.append(File.generated(config, "index.md", content=(ROOT / "README.md").read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Makes links work on the site as in the repository; for a file outside the site, keeps only its name."""
    is_readme = page.file.src_uri == "index.md"
    here = ROOT if is_readme else DOCS / pathlib.PurePosixPath(page.file.src_uri).parent
    there = DOCS if is_readme else here

    def on_site(match: re.Match[str]) -> str:
        image, text, target, anchor = match.groups()
        path = (here / target).resolve()
        if path == ROOT / "README.md":
            path = DOCS / "index.md"
        if path.is_relative_to(DOCS):
            return f"{image}[{text}]({os.path.relpath(path, there)}{anchor or ''})"
        return f"{text} (`{path.relative_to(ROOT)}` in the repository)" if path.exists() else match[0]

    return _LINK.sub(on_site, markdown)
