"""Export formats: each writes a stored conversation as an iterator of strings."""

from conversations.formats.writers.jsonl import write_line, write_object
from conversations.formats.writers.markdown import write_markdown
from conversations.formats.writers.openai import write_openai
from conversations.formats.writers.sharegpt import write_sharegpt
from conversations.formats.writers.table import HEADER, write_rows
from conversations.formats.writers.vcon import write_vcon
from conversations.formats.writers.web_page import write_web_page
from conversations.formats.writers.writer import Writer

_BEGIN, _BETWEEN, _END = "[\n", ",\n", "\n]\n"

# By the name of the format.
WRITERS: dict[str, Writer] = {
    "jsonl": Writer(
        "JSON Lines, everything stored",
        "jsonl",
        "application/jsonl",
        write_line,
        keeps_tree=True,
        json_as_text=True,
        database_writes=True,
    ),
    "json": Writer(
        "JSON, everything stored",
        "json",
        "application/json",
        write_object,
        keeps_tree=True,
        json_as_text=True,
        database_writes=True,
        begin=_BEGIN,
        between=_BETWEEN,
        end=_END,
    ),
    "openai": Writer("OpenAI chat JSONL", "jsonl", "application/jsonl", write_openai),
    "sharegpt": Writer(
        "ShareGPT",
        "json",
        "application/json",
        write_sharegpt,
        begin=_BEGIN,
        between=_BETWEEN,
        end=_END,
    ),
    "markdown": Writer("Markdown transcript", "md", "text/markdown", write_markdown),
    "html": Writer("Web page", "html", "text/html", write_web_page, one_a_file=True),
    "csv": Writer(
        "CSV, a row for each message",
        "csv",
        "text/csv",
        write_rows,
        keeps_tree=True,
        json_as_text=True,
        begin=HEADER,
    ),
    "vcon": Writer(
        "vCon (IETF draft)", "vcon", "application/vcon+json", write_vcon, one_a_file=True
    ),
}

__all__ = ["WRITERS", "Writer"]
