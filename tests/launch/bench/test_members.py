"""The table of networks trained at once, on speeds divided by hand."""

from io import StringIO

from rich.console import Console

from launch.bench.members import table, timed


def test_speeds_are_medians_beside_a_loop_and_beside_processes() -> None:
    measured = {
        "plain loop": (1, [90.0, 100.0, 300.0]),
        "2 processes": (1, [160.0, 200.0, 210.0]),
        "32 members": (2, [800.0, 900.0, 600.0]),
    }
    console = Console(width=120, record=True, file=StringIO())

    console.print(table(measured))
    rows = [line.split() for line in console.export_text().splitlines()[2:]]
    assert rows[0] == ["plain", "loop", "1", "100", "90-300", "18", "1.00", "0.50"]
    assert rows[1] == ["2", "processes", "1", "200", "160-210", "36", "2.00", "1.00"]
    assert rows[2] == ["32", "members", "2", "800", "600-900", "144", "8.00", "4.00"]


def test_a_window_counts_every_update_of_a_call() -> None:
    calls: list[int] = []
    speed = timed(lambda: calls.append(1), updates=7, threads=1, device="cpu")(0.01)
    assert 0 < speed <= 7 * len(calls) / 0.01
