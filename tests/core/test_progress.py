import io
import sys

from adatom.core.progress import show_progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run_progress(monkeypatch, stream, **options):
    monkeypatch.setattr(sys, "stderr", stream)
    with show_progress(**options) as report:
        report(1, 2, "a.dm3: finding [atoms]")
        sys.stdout.write("result\n")
    return stream.getvalue()


def test_shown_on_a_terminal_only(monkeypatch, capsys):
    shown = run_progress(monkeypatch, Terminal())
    assert "finding [atoms]" in shown
    assert "1/2" in shown
    assert "result" not in shown
    assert run_progress(monkeypatch, Terminal(), quiet=True) == ""
    assert run_progress(monkeypatch, io.StringIO()) == ""
    assert capsys.readouterr().out == 3 * "result\n"
