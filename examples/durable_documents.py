"""Convert a folder of documents to HTML pages; killed at any instant, it goes on where it was.

    pip install 'stepwell[demo]'
    python durable_documents.py DOCUMENTS PAGES

Kill it while it works, with `kill -9` if you like, and start it again with the same arguments: it
goes on at the document it was in. No page is lost, and at most that one is made a second time.
"""

import argparse
import asyncio
from html import escape
from pathlib import Path

from docutils.core import publish_parts
from docutils.writers.html5_polyglot import Writer
from markdown_it import MarkdownIt

from stepwell import Context, Workflow, step
from stepwell.events import StartEvent, StopEvent
from stepwell.redis import RedisCheckpointer


class Conversion(StartEvent):
    """The input of a run: an interrupted run is found again by it."""

    source: Path
    pages: Path
    documents: list[str]


class DurableWorkflow(Workflow):
    """One step, one loop; after each document its position and the state are committed."""

    @step
    async def convert_documents(self, ev: Conversion, ctx: Context) -> StopEvent:
        """Convert one document after the other."""
        async for document in ctx.each(ev.documents):
            convert(ev.source / document, ev.pages / f"{document}.html")
            await ctx.store.append("converted", document)
        return StopEvent(result=await ctx.store.get("converted", default=[]))


async def convert_folder(source: Path, pages: Path, checkpointer: RedisCheckpointer) -> list[str]:
    """Start a run, or go on with the one that was interrupted; return what was converted."""
    workflow = DurableWorkflow(checkpointer=checkpointer)
    return await workflow.run(source=source, pages=pages, documents=find_documents(source))


def find_documents(source: Path) -> list[str]:
    """The documents in a folder, hidden ones left out: always in the same order."""
    files = (path for path in source.rglob("*") if path.suffix in RENDERERS and path.is_file())
    names = (str(path.relative_to(source)) for path in files)
    return sorted(name for name in names if not f"/{name}".count("/."))


def convert(document: Path, page: Path) -> None:
    """Make one page. It appears whole or not at all: a kill leaves no half page behind."""
    html = render(document.name, document.read_text(encoding="utf-8", errors="replace"))
    page.parent.mkdir(parents=True, exist_ok=True)
    unfinished = page.with_name(f".{page.name}.unfinished")
    unfinished.write_text(html, encoding="utf-8", errors="replace")
    unfinished.replace(page)


def render(name: str, text: str) -> str:
    """The page of a document; what its renderer can't read is shown as it is."""
    try:
        return PAGE.format(title=escape(name), body=RENDERERS[Path(name).suffix](text))
    except Exception as error:  # noqa: BLE001 - one bad document must not stop the others
        reason = f"<!-- not rendered: {type(error).__name__} -->\n"
        return PAGE.format(title=escape(name), body=reason + render_plain(text))


def render_markdown(text: str) -> str:
    """CommonMark with tables; HTML in the text stays text."""
    return MarkdownIt("commonmark", {"html": False}).enable("table").render(text)


def render_rst(text: str) -> str:
    """reStructuredText, without the directives that read files or pass HTML through."""
    parts = publish_parts(text, writer=Writer(), settings_overrides=RST_SETTINGS)
    return parts["html_body"]


def render_plain(text: str) -> str:
    """The text, as it is."""
    return f"<pre>{escape(text)}</pre>"


RENDERERS = {".md": render_markdown, ".rst": render_rst, ".txt": render_plain}

RST_SETTINGS = {
    "_disable_config": True,  # no docutils.conf of the machine has a say
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "halt_level": 5,  # never
    "report_level": 5,  # nothing
    "line_length_limit": 1_000_000,
    "syntax_highlight": "none",
}

PAGE = """<!doctype html>
<html>
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src https:">
<title>{title}</title>
</head>
<body>
{body}
</body>
</html>
"""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Convert documents to HTML, durably.")
    parser.add_argument("documents", type=Path, help="a folder with .md, .rst and .txt files")
    parser.add_argument("pages", type=Path, help="the folder for the HTML pages")
    parser.add_argument("--store", default="embedded:", help="a Redis URL (%(default)s)")
    options = parser.parse_args()
    store = RedisCheckpointer(options.store)
    converted = asyncio.run(convert_folder(options.documents, options.pages, store))
    print(f"{len(converted)} documents are in {options.pages}")
