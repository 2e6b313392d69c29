"""The last minutes as cells of two seconds."""

from hypothesis import given
from hypothesis import strategies as st

from wsmon.model import trails
from wsmon.model.trails import KEPT, STEP_S, Trail, Trails

AT = 1_700_000_000.0


def newest(values: tuple[float | None, ...], number: int = 4) -> list[float | None]:
    return list(values[-number:])


def test_a_gauge_keeps_the_last_value_of_each_cell_and_has_holes() -> None:
    trail = Trail(counts=False)
    for after_s, value in ((0.0, 1.0), (1.9, 2.0), (2.0, 3.0), (6.0, 4.0)):
        trail.note(AT + after_s, value)
    assert newest(trail.read(AT + 6.0)) == [2.0, 3.0, None, 4.0]
    assert newest(trail.read(AT + 10.0)) == [None, 4.0, None, None]


def test_a_count_adds_up_and_has_zeros() -> None:
    trail = Trail(counts=True)
    for after_s in (0.0, 0.5, 4.1):
        trail.add(AT + after_s, 1)
    assert newest(trail.read(AT + 4.1), 3) == [2.0, 0.0, 1.0]


def test_a_value_that_comes_late_goes_into_its_cell() -> None:
    trail = Trail(counts=False)
    trail.note(AT + 4.0, 3.0)
    trail.note(AT, 1.0)
    assert newest(trail.read(AT + 4.0), 3) == [1.0, None, 3.0]


def test_what_is_too_old_is_forgotten() -> None:
    trail = Trail(counts=False)
    trail.note(AT, 1.0)
    trail.note(AT + KEPT * STEP_S, 2.0)
    trail.note(AT, 9.0)
    values = trail.read(AT + KEPT * STEP_S)
    assert len(values) == KEPT
    assert [value for value in values if value is not None] == [2.0]
    assert trail.read(AT + 10 * KEPT * STEP_S) == (None,) * KEPT


@given(
    st.lists(st.tuples(st.integers(0, 300), st.floats(0, 50)), min_size=1, max_size=30),
    st.integers(-400, 700),
    st.booleans(),
)
def test_what_is_read_is_what_was_noted_cell_by_cell(told: list[tuple[int, float]], at: int, counts: bool) -> None:
    trail, cells, last = Trail(counts=counts), dict[int, float](), told[0][0]
    for cell, value in told:
        (trail.add if counts else trail.note)(AT + cell * STEP_S, value)
        last = max(last, cell)
        if cell > last - KEPT:
            cells[cell] = cells.get(cell, 0.0) + value if counts else value
    empty = 0.0 if counts else None
    wanted = [cells.get(cell, empty) if last - KEPT < cell <= last else empty for cell in range(at - KEPT + 1, at + 1)]
    read = trail.read(AT + at * STEP_S)
    assert [value is None for value in read] == [value is None for value in wanted]
    known = [(got, want) for got, want in zip(read, wanted, strict=True) if got is not None and want is not None]
    assert all(abs(got - want) <= 0.0501 for got, want in known)


def test_before_the_first_value_there_is_nothing() -> None:
    assert Trail(counts=True).read(AT) == ()
    known = Trails()
    known.note("n1", "lag", AT, None)
    assert known.read("n1", "lag", AT) == ()


def test_the_oldest_trail_makes_room() -> None:
    known = Trails()
    for number in range(trails.TRAILS_MAX + 1):
        known.add(f"n{number}", "in", AT)
    assert known.read("n0", "in", AT) == ()
    assert known.read("n1", "in", AT)


@given(st.lists(st.tuples(st.floats(0, 1e9), st.floats(-1e300, 1e300)), max_size=30), st.floats(0, 1e9))
def test_whatever_comes_reading_gives_at_most_all_cells(told: list[tuple[float, float]], now: float) -> None:
    gauge, count = Trail(counts=False), Trail(counts=True)
    for at, value in told:
        gauge.note(at, value)
        count.add(at, abs(value))
    for trail in (gauge, count):
        assert len(trail.read(now)) in {0, KEPT}
