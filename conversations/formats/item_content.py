"""The content of messages and of the results of tools as OpenAI's Conversations API has it.

Parts of that API stay as they are. Those of Chat Completions, Anthropic and LangChain become the
part that says the same, or a text that holds the part itself under `part`.
"""

from __future__ import annotations

from typing import Any

from conversations.formats.chat import Malformed
from conversations.formats.checks import as_list, as_object, as_text, as_text_or_none, required
from conversations.formats.content_parts import text_of
from conversations.formats.image_parts import url_of

Part = dict[str, Any]

NOT_A_TYPE = "Not a type of content that an item holds."
NOT_OF_A_TEXT = "Not a known annotation, or not a log probability."
NO_DETAIL = "Must be auto, low, high or original."
_DETAILS = ("auto", "low", "high", "original")

# The key of the text in the parts that are texts.
_TEXTS = {
    **dict.fromkeys(
        ("input_text", "output_text", "text", "summary_text", "reasoning_text"), "text"
    ),
    "refusal": "refusal",
}
_FILES = {
    "input_file": ("file_data", "file_id", "file_url", "filename"),
    "input_image": ("file_id", "image_url"),
    "computer_screenshot": ("file_id", "image_url"),
}
_OF_RESULTS = ("input_text", "input_image", "input_file")
_WITH_DETAIL = ("input_image", "computer_screenshot")
# The keys that each kind of annotation requires: texts, and places in the text.
_ANNOTATIONS = {
    "file_citation": (("file_id", "filename"), ("index",)),
    "url_citation": (("title", "url"), ("start_index", "end_index")),
    "container_file_citation": (
        ("container_id", "file_id", "filename"),
        ("start_index", "end_index"),
    ),
    "file_path": (("file_id",), ("index",)),
}


def check_content(at: str, parts: list[Any]) -> None:
    """Raise Malformed unless each is a part of this API; it may be without what `content_part`
    adds."""
    for place, part in enumerate(parts):
        _check_part(f"{at}.{place}", as_object(f"{at}.{place}", part))


def _check_part(at: str, part: Part) -> None:
    kind = as_text(f"{at}.type", required(f"{at}.type", part.get("type")))
    if kind in _TEXTS:
        key = _TEXTS[kind]
        as_text(f"{at}.{key}", required(f"{at}.{key}", part.get(key)))
    elif kind in _FILES:
        for key in _FILES[kind]:
            as_text_or_none(f"{at}.{key}", part.get(key))
        if part.get("detail") is not None and part["detail"] not in _DETAILS:
            raise Malformed(f"{at}.detail", NO_DETAIL)
    else:
        raise Malformed(f"{at}.type", NOT_A_TYPE)
    if kind == "output_text":
        for key, accepts in (("annotations", _is_annotation), ("logprobs", _is_logprob)):
            for place, one in enumerate(as_list(f"{at}.{key}", part.get(key) or [])):
                if not accepts(one):
                    raise Malformed(f"{at}.{key}.{place}", NOT_OF_A_TEXT)


def is_content(part: object) -> bool:
    try:
        check_content("", [part])
    except Malformed:
        return False
    return True


def content_part(part: Any, role: str) -> Part:
    """A part of a stored message as the content of an item."""
    if isinstance(part, str):
        return text_part(part, role)
    if is_content(part):
        return _complete(part)
    known = _image(part) or _file(part) if isinstance(part, dict) else None
    return known or {"type": "text", "text": text_of([part]), "part": part}


def spoken_part(part: Any, role: str) -> Part:
    """The same for a message that is not of this API: `text` is what the role says."""
    shown = content_part(part, role)
    return {**shown, **text_part(shown["text"], role)} if shown["type"] == "text" else shown


def output_part(part: Any) -> Part:
    """A part of a tool's result: a text, image or file as of an input."""
    shown = content_part(part, "tool")
    if shown["type"] in _OF_RESULTS:
        return shown
    kept = shown if "part" in shown else {"text": text_of([part]), "part": part}
    return {**kept, "type": "input_text"}


def text_part(text: str, role: str, annotations: object = None) -> Part:
    """A text: what an assistant says is output, all else is input."""
    if role != "assistant":
        return {"type": "input_text", "text": text}
    return {
        "type": "output_text",
        "text": text,
        "annotations": _annotations(annotations),
        "logprobs": [],
    }


def _complete(part: Part) -> Part:
    """With what the type requires and the part was sent without."""
    if part["type"] == "output_text" and not isinstance(part.get("annotations"), list):
        return {**part, "annotations": []}
    if part["type"] in _WITH_DETAIL and part.get("detail") is None:
        return {**part, "detail": "auto"}
    return part


def _image(part: Part) -> Part | None:
    url = url_of(part)
    if not isinstance(url, str):
        return None
    image = part.get("image_url")
    detail = image.get("detail") if isinstance(image, dict) else None
    detail = detail if detail in _DETAILS else "auto"
    return {"type": "input_image", "image_url": url, "detail": detail}


def _file(part: Part) -> Part | None:
    """Of Chat Completions: a file, or recorded speech."""
    kind = part.get("type")
    held = part.get(kind) if isinstance(kind, str) else None
    if not isinstance(held, dict):
        return None
    if kind == "input_audio" and isinstance(held.get("data"), str):
        name = f"audio.{held.get('format', 'wav')}"
        return {"type": "input_file", "file_data": held["data"], "filename": name}
    shown = {**held, "type": "input_file"}
    is_file = kind == "file" and not held.keys().isdisjoint(_FILES["input_file"])
    return shown if is_file and is_content(shown) else None


def _annotations(found: object) -> list[Any]:
    """Those of Chat Completions, whose citations are in a key of their own, as of this API."""
    flat = []
    for one in found if isinstance(found, list) else ():
        kind = one.get("type") if isinstance(one, dict) else None
        inside = one.get(kind) if isinstance(kind, str) else None
        flat.append({"type": kind, **inside} if isinstance(inside, dict) else one)
    return [one for one in flat if _is_annotation(one)]


def _is_annotation(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    kind = value.get("type")
    texts, places = _ANNOTATIONS.get(kind, ((), ())) if isinstance(kind, str) else ((), ())
    has_texts = all(isinstance(value.get(key), str) for key in texts)
    return bool(texts) and has_texts and all(isinstance(value.get(key), int) for key in places)


def _is_logprob(value: object) -> bool:
    tops = value.get("top_logprobs") if isinstance(value, dict) else None
    return _is_token(value) and isinstance(tops, list) and all(map(_is_token, tops))


def _is_token(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("token"), str)
        and isinstance(value.get("logprob"), int | float)
        and isinstance(value.get("bytes"), list)
        and all(isinstance(byte, int) for byte in value["bytes"])
    )
