"""The one error of the embedded model."""


class EmbeddedModelError(Exception):
    """The embedded model cannot be used; the text says why, with the log's end and a remedy."""
