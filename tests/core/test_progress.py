import io
import sys

from adatom.core.progress import show_progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run_progress(monkeypatch, stream, **options):
    monkeypatch.setattr(sys, "stderr", stream)
    with show_progress(2, **options) as (step, advance):
        step("a.dm3: finding [atoms]")
        advance()
    return stream.getvalue()


def test_shown_on_a_terminal_only(monkeypatch):
    assert "finding [atoms]" in run_progress(monkeypatch, Terminal())
    assert run_progress(monkeypatch, Terminal(), quiet=True) == ""
    assert run_progress(monkeypatch, io.StringIO()) == ""
