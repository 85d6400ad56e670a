import io
import sys

import pytest

from conversations.management.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def drawn(monkeypatch):
    """Draw a progress bar with these streams; returns the output on standard error."""

    def draw(out, err):
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        with progress_bar(100) as show:
            show(50, "7 read")
        return err.getvalue()

    return draw


def test_a_terminal_gets_a_bar_with_its_text(drawn):
    assert "7 read" in drawn(Terminal(), Terminal())


def test_a_pipe_or_a_log_gets_none(drawn):
    assert drawn(io.StringIO(), Terminal()) == ""
    assert drawn(Terminal(), io.StringIO()) == ""
