"""The list of events as text."""

from dataclasses import replace

import pytest

from tests.support import frames
from wsmon.ui.render import events
from wsmon.ui.render.lines import Tone, length_of, text_of
from wsmon.views.frame import EventRow, LedgerRow, Severity


def client_event(number: int, text: str, severity: Severity, *, plural: str = "", after_s: float = 0.0) -> EventRow:
    name = f"c{number}"
    return frames.event(
        100 + number, f"{name} {text}", severity, at=frames.AT + after_s, client=name, node="n2", plural=plural
    )


def test_an_event_has_time_subject_and_sentence() -> None:
    row = frames.event(1, "n2 suspect → removed: heartbeat 3/3 missed", Severity.BAD, node="n2")
    assert text_of(events.line(row, 80, 0.0)).rstrip() == (
        " 14:13:20.000  n2         suspect → removed: heartbeat 3/3 missed"
    )
    assert text_of(events.line(row, 48, 0.0)) == " 14:13:20  n2      suspect → removed: heartbeat…"


def test_whoever_an_event_is_about_is_named_whole_from_60_columns_on() -> None:
    row = frames.event(1, "fault kill injected at n2", Severity.WARNING, source="supervisor")
    assert text_of(events.line(row, 60, 0.0)).rstrip() == " 14:13:20  supervisor fault kill injected at n2"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("n2 suspect → removed: heartbeat 3/3 missed", "removed"),
        ("process n2 was killed by SIGKILL", "killed"),
        ("20 clients lost n2", "lost"),
        ("checker: leads", "checker"),
        ("word", "word"),
    ],
)
def test_only_the_word_that_matters_has_the_colour(text: str, word: str) -> None:
    line = events.line(frames.event(1, text, Severity.BAD), 80, 0.0)
    assert [run.text for run in line if run.ink.tone is Tone.BAD] == [word]


def test_a_storm_of_clients_is_folded_into_a_few_lines() -> None:
    rows = [
        frames.event(1, "n2 online → suspect", node="n2"),
        *(
            client_event(n, "lost n2 (1006)", Severity.WARNING, plural="clients lost n2", after_s=n / 100)
            for n in range(20)
        ),
        *(client_event(n, "tries again", Severity.QUIET) for n in range(20)),
        frames.event(2, "n2 suspect → removed", node="n2"),
        client_event(1, "is back on n3", Severity.GOOD, plural="clients are back on n3"),
    ]
    assert [row.text for row in events.fold(rows)] == [
        "n2 online → suspect",
        "20 clients lost n2",
        "n2 suspect → removed",
        "c1 is back on n3",
    ]


def test_what_happens_later_is_another_line() -> None:
    rows = [
        client_event(1, "lost n2", Severity.WARNING, plural="clients lost n2"),
        client_event(2, "lost n2", Severity.WARNING, plural="clients lost n2", after_s=events.FOLD_S + 0.1),
    ]
    assert len(events.fold(rows)) == 2


def test_the_newest_rows_are_at_the_foot() -> None:
    rows = [frames.event(n, f"event {n}") for n in range(50)]
    lines = events.pane(rows, 80, 4, above=0, lost=0, focused=False, offset_s=0.0)
    assert [text_of(line).split()[-1] for line in lines[1:]] == ["47", "48", "49"]


def test_scrolled_up_it_tells_how_many_are_newer() -> None:
    rows = [frames.event(n, f"event {n}") for n in range(50)]
    lines = events.pane(rows, 80, 4, above=10, lost=2, focused=True, offset_s=0.0)
    assert "10 newer ↓" in text_of(lines[0])
    assert "2 never came" in text_of(lines[0])
    assert text_of(lines[-1]).split()[-1] == "39"


@pytest.mark.parametrize("width", [20, 48, 60, 80, 200])
@pytest.mark.parametrize("height", [0, 1, 2, 9])
@pytest.mark.parametrize("name", frames.EXAMPLES)
def test_the_list_fits_its_place(name: str, width: int, height: int) -> None:
    rows = frames.EXAMPLES[name]().events
    lines = events.pane(rows, width, height, above=0, lost=0, focused=False, offset_s=0.0)
    assert len(lines) <= height
    assert all(length_of(line) == width and text_of(line).isprintable() for line in lines)


def test_feeds_that_fare_alike_are_one_line_and_healthy_ones_none() -> None:
    def feed(number: int, severity: Severity, plural: str, source: str = "n1") -> EventRow:
        return frames.event(number, f"feed room.{number} {plural}", severity, source=source, kind="feed", plural=plural)

    rows = [
        *(feed(number, Severity.QUIET, "feeds begin") for number in range(5)),
        *(feed(number, Severity.GOOD, "feeds are live") for number in range(5)),
        *(feed(number, Severity.WARNING, "feeds stalled: Redis is away") for number in range(5, 9)),
        *(feed(number, Severity.WARNING, "feeds stalled: Redis is away", "n2") for number in range(9, 12)),
    ]
    assert [(row.source, row.text) for row in events.fold(rows)] == [
        ("n1", "4 feeds stalled: Redis is away"),
        ("n2", "3 feeds stalled: Redis is away"),
    ]


def test_that_feeds_are_live_is_news_after_trouble_only() -> None:
    def feed(severity: Severity, plural: str, after_s: float) -> EventRow:
        at = frames.AT + after_s
        return frames.event(1, f"feed room.1 {plural}", severity, at=at, kind="feed", plural=plural)

    rows = [
        feed(Severity.GOOD, "feeds are live", 0.0),
        feed(Severity.WARNING, "feeds stalled: Redis is away", 1.0),
        feed(Severity.GOOD, "feeds are live", 5.0),
        feed(Severity.GOOD, "feeds are live", 5.5),
        feed(Severity.GOOD, "feeds are live", 5.5 + events.FOLD_S),
        feed(Severity.GOOD, "feeds are live", 60.0),
    ]
    assert [row.text for row in events.fold(rows)] == ["feed room.1 feeds stalled: Redis is away", "2 feeds are live"]


def test_a_filter_wants_all_words_and_no_word_after_an_exclamation_mark() -> None:
    row = frames.event(1, "n2 suspect → removed", Severity.BAD, node="n2")
    for wanted, found in (
        ("", True),
        ("REMOVED n2", True),
        ("removed n3", False),
        ("!removed", False),
        ("n2 !online", True),
        ("node:n2", True),
        ("node:n", False),
        ("node:checker", True),
        ("!node:n2", False),
        ("kind:node", True),
        ("kind:action", False),
        ("sev:bad", True),
        ("sev:warn", False),
        ("client:c1", False),
        ("14:13", False),
    ):
        assert events.matches(row, wanted) is found, wanted


def test_a_filter_looks_at_single_events_and_levels_at_folded_ones() -> None:
    rows = [
        frames.event(1, "n2 online → suspect", Severity.WARNING, node="n2"),
        *(client_event(n, "lost n2", Severity.WARNING, plural="clients lost n2") for n in range(9)),
        client_event(1, "tries again", Severity.QUIET),
        frames.event(2, "n2 suspect → removed", Severity.BAD, node="n2"),
        frames.event(3, "n1 joined", node="n1"),
    ]
    every, usual, warnings, worst = events.LEVELS
    assert len(events.chosen(rows, every, "")) == len(rows)
    assert [row.text for row in events.chosen(rows, usual, "")][1] == "9 clients lost n2"
    assert len(events.chosen(rows, warnings, "")) == 3
    assert [row.text for row in events.chosen(rows, worst, "")] == ["n2 suspect → removed"]
    assert [row.text for row in events.chosen(rows, usual, "client:c1")] == ["c1 lost n2", "c1 tries again"]
    assert len(events.chosen(rows, warnings, "client:c1")) == 1


def test_the_selected_event_is_marked_and_the_head_tells_what_is_left_out() -> None:
    rows = [frames.event(n, f"event {n}") for n in range(5)]
    lines = events.pane(
        rows, 80, 9, above=0, lost=3, focused=True, offset_s=0.0, selected=rows[2].key, note="warnings and worse"
    )
    assert [text_of(line)[0] for line in lines[1:]] == [" ", " ", "▌", " ", " "]
    assert text_of(lines[0]).startswith("─ events  warnings and worse ─")
    assert text_of(lines[0]).endswith(" 3 never came ─")


def test_an_event_in_full_says_who_told_it_and_where_enter_leads() -> None:
    row = frames.event(7, "n2 suspect → removed: 2 connects refused", Severity.BAD, node="n2")
    text = [text_of(line).rstrip() for line in events.opened(row, 80, 6, 0.0)]
    assert text[0].startswith("─ node_state  14:13:20.000 ─")
    assert text[0].endswith(" enter shows n2 ─")
    assert text[1:] == [
        "  n2 suspect → removed: 2 connects refused",
        "  node n2 · kind node_state · severity bad",
        "  told by checker, event 7 of run 1",
    ]


def test_an_event_in_full_shows_all_fields_in_as_many_lines_as_they_need() -> None:
    fields = (("node", "n2"), ("old", "suspect"), ("new", "removed"), ("epoch", "7"), ("reason", "2 connects refused"))
    row = replace(frames.event(7, "n2 suspect → removed", Severity.BAD, node="n2"), fields=fields)
    told = [text_of(line).strip() for line in events.opened(row, 60, 7, 0.0)]
    assert told[2:] == [
        "node n2 · kind node_state · severity bad · old suspect",
        "new removed · epoch 7 · reason 2 connects refused",
        "told by checker, event 7 of run 1",
    ]


def test_actions_tell_who_did_what_and_why() -> None:
    rows = (
        LedgerRow(at=frames.AT, who="ann@desk", text="drain n1", reason="upgrade"),
        LedgerRow(at=frames.AT + 1, who="bob@desk", text="kill n2", ok=False),
    )
    text = [text_of(line).rstrip() for line in events.deeds(rows, 80, 4, 0.0)]
    assert text[0].startswith("─ actions  2 · 1 refused ─")
    assert text[1:] == [
        " 14:13:20.000  ✓ drain n1             ann@desk           upgrade",
        " 14:13:21.000  ✗ kill n2              bob@desk           refused",
    ]
    assert text_of(events.deeds((), 80, 4, 0.0)[1]).strip() == "Nobody has done anything."


@pytest.mark.parametrize("width", [20, 60, 80, 200])
def test_hostile_texts_fit_everywhere(width: int) -> None:
    row = frames.event(1, frames.HOSTILE * 9, client=frames.HOSTILE, node=frames.HOSTILE, source=frames.HOSTILE)
    deed = LedgerRow(at=1e18, who=frames.HOSTILE, text=frames.HOSTILE, reason=frames.HOSTILE * 9, ok=False)
    for lines in (
        events.opened(row, width, 6, 0.0),
        events.deeds((deed, deed), width, 5, 0.0),
        events.pane([row], width, 3, above=0, lost=0, focused=True, offset_s=0.0, selected=row.key, note="x" * 300),
    ):
        assert all(length_of(line) == width for line in lines)
        assert all(text_of(line).isprintable() for line in lines)
