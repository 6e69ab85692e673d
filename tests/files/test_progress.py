import io

from django.core.management.base import OutputWrapper

from devices.files.progress import ProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestProgressBar:
    def test_on_a_terminal_it_is_drawn_at_most_ten_times_a_second_and_erased(self):
        terminal = Terminal()
        bar = ProgressBar(OutputWrapper(terminal))
        for done in range(10_000):
            bar.show("Storing", done + 5000, 20_000)
        bar.clear()
        drawn = terminal.getvalue().split("\r")[1:]
        assert drawn[0] == f"Storing [{'#' * 10}{'.' * 30}]  25 %\x1b[K"
        assert drawn[-1] == "\x1b[K"
        assert len(drawn) < 10

    def test_elsewhere_it_is_not(self):
        stream = io.StringIO()
        bar = ProgressBar(OutputWrapper(stream))
        bar.show("Storing", 1, 2)
        bar.clear()
        assert not stream.getvalue()
