"""A message as it was sent, built again from what is stored: columns, `parts` and `extra`."""

from conversations.formats.sdk_keys import WHOLE_ITEMS


def rebuilt(stored, sent):
    """`stored` is the message as the API returns it. Of `sent` only the names of the keys count,
    since no column tells a key that is absent from one with the default."""
    if isinstance(kind := sent.get("type"), str) and kind in WHOLE_ITEMS:
        (item,) = stored["parts"]
        ours = {key: stored[key] for key in sent if key not in item}
        return item | ours
    return _rebuilt(stored, stored["extra"] or {}, sent)


def _rebuilt(stored, extra, sent):
    assert extra.keys() <= sent.keys()
    return {key: _value(key, stored, extra, sent) for key in sent}


def _value(key, stored, extra, sent):
    if key in ("data", "kwargs"):
        return _rebuilt(stored, extra[key], sent[key])
    if key == "choices":
        (choice,) = extra["choices"]
        message = _rebuilt(stored, choice["message"], sent["choices"][0]["message"])
        return [choice | {"message": message}]
    if key in extra:
        return extra[key]
    if key == "output" or (key == "content" and "parts" not in sent):
        return stored["content"] if stored["parts"] is None else stored["parts"]
    return stored[key]
