"""The ledger of messages as text."""

from dataclasses import replace

import pytest

from tests.support import frames
from wsmon.ui.render import ledger
from wsmon.ui.render.lines import Tone, length_of, text_of
from wsmon.views.frame import Audit

WIDTHS = (10, 40, 60, 66, 80, 100, 120, 160, 200)
QUIET = Audit(published=12_345, delivered=740_700)


def drawn(audit: Audit | None, width: int = 80) -> str:
    return text_of(ledger.line(audit, width))


def alarmed(audit: Audit, width: int = 80) -> list[str]:
    return [run.text for run in ledger.line(audit, width) if run.ink.tone is Tone.BAD]


def test_a_ledger_in_which_all_is_well() -> None:
    assert drawn(QUIET) == "  pub 12345 delivered 740,700   lost 0      dup 0      inverted 0    no ack 0   "
    assert drawn(QUIET, 120).split() == (
        [
            "published",
            "12,345",
            "delivered",
            "740,700",
            "lost",
            "0",
            "duplicated",
            "0",
            "inverted",
            "0",
            "never",
            "acked",
            "0",
        ]
    )
    assert drawn(QUIET, 60).split() == ["delivered", "740,700", "lost", "0", "dup", "0", "inverted", "0"]
    assert {run.ink.tone for run in ledger.line(QUIET, 80)} <= {Tone.TEXT, Tone.MUTED}


def test_what_went_wrong_has_glyph_word_and_colour() -> None:
    assert alarmed(replace(QUIET, lost=3)) == ["✗ lost 3"]
    assert alarmed(replace(QUIET, duplicated=1, inverted=2)) == ["✗ dup 1", "✗ inverted 2"]
    assert alarmed(replace(QUIET, duplicated=1), 120) == ["✗ duplicated 1"]
    # Without colours it still stands out.
    assert all(run.ink.reverse and run.ink.bold for run in ledger.line(replace(QUIET, lost=3), 80) if "✗" in run.text)


@pytest.mark.parametrize("width", WIDTHS)
def test_every_line_has_exactly_the_width(width: int) -> None:
    for example in frames.EXAMPLES.values():
        line = ledger.line(example().header.audit, width)
        assert length_of(line) == width
        assert text_of(line).isprintable()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_titles_stand_still_while_numbers_grow(width: int) -> None:
    small = drawn(Audit(published=1, delivered=1), width)
    large = drawn(
        Audit(
            published=99_999_999, delivered=10**12, lost=9_999, duplicated=99_999, inverted=10**9, never_acked=70_000
        ),
        width,
    )
    for title in ("pub", "delivered", "lost", "dup", "inverted", "no ack", "never acked"):
        assert small.find(title) == large.find(title)


def test_losses_stay_in_sight_where_there_is_little_room() -> None:
    text = drawn(frames.harmed().header.audit, 60)
    assert all(word in text for word in ("✗ lost 3", "✗ dup 1", "✗ inverted 2", "resyncs 5"))
    assert "✗ lost 3" in drawn(frames.harmed().header.audit, 20)


def test_resyncs_and_rewinds_are_told_only_if_there_were_any() -> None:
    assert "resyncs" not in drawn(replace(QUIET, resyncs=0, rewound=0, overdue=0, refused=0, replayed=0), 200)
    text = drawn(frames.harmed().header.audit, 200)
    assert all(word in text for word in ("resyncs 5", "rewound 6", "overdue 8", "refused 7", "replayed 9"))
    assert "delivered 740,700" in drawn(replace(QUIET, resyncs=1))


def test_old_counts_are_dim_and_say_so() -> None:
    line = ledger.line(replace(QUIET, lost=3, silent_s=7.2), 80)
    assert text_of(line).endswith(" ? stale 7s ")
    told = [run for run in line if run.text.strip() and "stale" not in run.text]
    assert {run.ink.tone for run in told} == {Tone.FAINT}


def test_what_is_unknown_is_a_dash_and_not_zero() -> None:
    text = drawn(Audit(published=None, delivered=None, lost=None, duplicated=None, inverted=None, never_acked=None))
    assert text.split() == ["pub", "–", "delivered", "–", "lost", "–", "dup", "–", "inverted", "–", "no", "ack", "–"]
    assert drawn(None).strip() == ledger.NOBODY


def test_numbers_have_all_their_digits_as_long_as_they_fit() -> None:
    assert "pub 9,999" in drawn(Audit(published=9_999))
    assert "pub 99999" in drawn(Audit(published=99_999))
    assert "pub 100k" in drawn(Audit(published=100_000))
    assert "published 10,000,000" in drawn(Audit(published=10_000_000), 120)
