"""The words of a search marked in a page. `query` is a SearchQuery, or None for none."""

from __future__ import annotations

from django import template
from django.utils.safestring import SafeString

from conversations.selectors.search_sql import SearchQuery
from conversations.selectors.snippets import marked, marked_html
from conversations.templatetags.visible_text import visible, visible_html

register = template.Library()


@register.filter
def visibly_marked(text: object, query: SearchQuery | None) -> SafeString:
    """As the filter `visible`, with the matches in <mark>."""
    if query is None or text is None:
        return visible(text)
    return visible_html(marked(str(text).replace("\r\n", "\n"), query))


@register.filter
def html_marked(safe_html: str, query: SearchQuery | None) -> SafeString:
    """HTML that is safe already, with the matches between its tags in <mark>."""
    return visible_html(safe_html if query is None else marked_html(safe_html, query))
