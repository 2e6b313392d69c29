"""Who sees whom as text."""

from dataclasses import replace

import pytest

from tests.support.frames import HOSTILE
from wsmon.ui.render import beliefs
from wsmon.ui.render.lines import FAINT, Line, Tone, ascii_only, length_of, safe, text_of
from wsmon.views.beliefs_frame import SILENT, Beliefs, Observer, Opinion

WIDTHS = (20, 60, 80, 120, 200)


def says(*words: str) -> tuple[Opinion, ...]:
    return tuple(Opinion(word=word) for word in words)


AGREED = Beliefs(
    nodes=("n1", "n2", "n3"),
    observers=(
        Observer(
            name="checker",
            leads=True,
            epoch=1,
            heard_s=0.2,
            leader="checker",
            opinions=says("online", "removed", "online"),
        ),
        Observer(name="gateway", heard_s=0.1, opinions=says("online", "removed", "online")),
        Observer(name="themselves", opinions=(*says("online"), Opinion(word="online", old_s=11.0), *says("online"))),
        Observer(name="supervisor", heard_s=0.4, opinions=(*says("running", "exited"), SILENT)),
    ),
)
DOUBT = replace(
    AGREED,
    observers=(
        AGREED.observers[0],
        replace(AGREED.observers[1], opinions=(*says("online"), Opinion(word="online", odd=True), *says("online"))),
        *AGREED.observers[2:],
    ),
    doubts=("n2: gateway says online, checker says removed", "another"),
)


def drawn(told: Beliefs, width: int, height: int = 20) -> list[str]:
    return [text_of(line) for line in beliefs.matrix(told, width, height)]


def warned(lines: tuple[Line, ...]) -> list[str]:
    return [
        run.text.strip()
        for line in lines
        for run in line
        if run.ink.tone in (Tone.WARNING, Tone.BAD) and run.text.strip()
    ]


def test_the_matrix_at_80_columns() -> None:
    assert drawn(AGREED, 80) == [
        "─ who sees whom  all agree " + "─" * 53,
        "               EPOCH HEARD  n1            n2            n3                      ",
        " checker       1        0s  ● online      ○ removed     ● online                ",
        " gateway                0s  ● online      ○ removed     ● online                ",
        " themselves                 ● online      ● online 11s  ● online                ",
        " supervisor             0s    running       exited      –                       ",
    ]


def test_the_matrix_at_60_columns_shows_fewer_nodes_and_says_so() -> None:
    assert drawn(AGREED, 60)[:3] == [
        "─ who sees whom  all agree " + "─" * 19 + " 1 more node ─",
        "               EPOCH HEARD  n1            n2                ",
        " checker       1        0s  ● online      ○ removed         ",
    ]


@pytest.mark.parametrize("width", [120, 200])
def test_wider_matrices_show_whom_each_takes_for_the_leader(width: int) -> None:
    lines = drawn(AGREED, width)
    assert lines[1].split() == ["EPOCH", "HEARD", "LEADER", "n1", "n2", "n3"]
    assert lines[2].split() == ["checker", "1", "0s", "checker", "●", "online", "○", "removed", "●", "online"]


def test_when_all_agree_nothing_is_lit_but_what_the_judge_says() -> None:
    lines = beliefs.matrix(AGREED, 80, 20)
    assert warned(lines[3:]) == []
    assert warned(lines[2:3]) == ["○"]


def test_a_disagreement_lights_up_and_is_told_in_words() -> None:
    lines = beliefs.matrix(DOUBT, 120, 20)
    assert warned(lines[3:]) == ["●", "online"]
    assert text_of(lines[0]).startswith("─ who sees whom  n2: gateway says online, checker says removed, and 1 more ─")


def test_what_is_old_is_faint_and_says_its_age() -> None:
    line = beliefs.row(AGREED.observers[2], (0, 1, 2), 80)
    assert [run.ink for run in line if "11s" in run.text] == [FAINT]
    silent = replace(AGREED.observers[1], old=True, heard_s=7.0, opinions=(Opinion(word="online", old_s=7.0),) * 3)
    line = beliefs.row(silent, (0, 1, 2), 80)
    assert {run.ink for run in line if "online" in run.text or "gateway" in run.text} == {FAINT}
    assert "online 7s" in text_of(line)


def test_a_node_in_doubt_has_a_column_before_others() -> None:
    many = tuple(f"n{index}" for index in range(1, 31))
    calm = says(*["online"] * 30)
    doubted = (*calm[:28], Opinion(word="removed", odd=True), calm[29])
    told = Beliefs(
        nodes=many, observers=(Observer(name="checker", opinions=calm), Observer(name="g", opinions=doubted))
    )
    assert beliefs.columns(told, 80) == (0, 1, 28)
    assert drawn(told, 80)[1].split()[2:] == ["n1", "n2", "n29"]


def test_the_summary_fits_where_it_is_put() -> None:
    assert text_of(beliefs.summary(AGREED, 40)) == "all agree"
    assert text_of(beliefs.summary(DOUBT, 70)) == "n2: gateway says online, checker says removed, and 1 more"
    assert text_of(beliefs.summary(Beliefs(), 70)) == "–"
    for width in range(1, 80):
        assert length_of(beliefs.summary(DOUBT, width)) <= width


def test_an_empty_matrix_explains_itself() -> None:
    assert drawn(Beliefs(), 60)[1].strip() == beliefs.NOTHING
    assert drawn(Beliefs(nodes=("n1",)), 60)[1].strip() == beliefs.NOBODY
    assert drawn(AGREED, 60, 0) == []
    assert len(drawn(AGREED, 60, 3)) == 3


def test_scrolling_leaves_the_titles() -> None:
    lines = [text_of(line) for line in beliefs.matrix(AGREED, 80, 3, top=3)]
    assert lines[2].split()[0] == "supervisor"


def test_every_glyph_has_a_stand_in() -> None:
    words = ("joining", "online", "suspect", "removed", "recovering", "quarantined", "draining", "cordoned", "left")
    told = Beliefs(nodes=words, observers=(Observer(name="checker", leads=True, opinions=says(*words)),))
    assert not [line for line in drawn(told, 200) if "?" in ascii_only(line)]


@pytest.mark.parametrize("width", WIDTHS)
def test_hostile_text_stays_in_its_place(width: int) -> None:
    opinion = Opinion(word=HOSTILE, odd=True, epoch=10**30)
    observer = Observer(
        name=HOSTILE * 20,
        leads=True,
        epoch=10**30,
        heard_s=1e300,
        leader=HOSTILE,
        leader_odd=True,
        opinions=(opinion, replace(opinion, old_s=1e300), SILENT),
    )
    told = Beliefs(nodes=(HOSTILE, HOSTILE * 20, "x" * 10_000), observers=(observer,) * 3, doubts=(HOSTILE * 30,) * 3)
    lines = beliefs.matrix(told, width, 9, focused=True)
    assert all(length_of(line) == width for line in lines)
    assert all(safe(run.text) == run.text for line in lines for run in line)


def test_observers_out_of_sight_are_counted() -> None:
    assert text_of(beliefs.matrix(AGREED, 80, 4)[0]).endswith(" 2 more ↓ ─")
    assert text_of(beliefs.matrix(AGREED, 60, 4)[0]).endswith(" 1 more node, 2 more ↓ ─")
    assert text_of(beliefs.matrix(AGREED, 60, 4, top=2)[0]).endswith(" 1 more node ─")
    assert "more" not in text_of(beliefs.matrix(AGREED, 80, 6)[0])
