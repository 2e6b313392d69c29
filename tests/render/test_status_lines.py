"""Status bar, services, start-up and keys as text."""

from dataclasses import replace

import pytest

from tests.support import frames
from wsmon.commands import COMMANDS, USUAL_KEYS, Confirm, Group
from wsmon.ui.render import footer, services, start, status
from wsmon.ui.render.lines import TEXT, Run, Tone, length_of, text_of
from wsmon.views.frame import Audit, Frame, Header, Health, Playback

WIDTHS = (10, 60, 80, 120, 200)


def words(text: str) -> str:
    return " ".join(text.split())


def bar(frame: Frame, width: int, *, paused: bool = False, armed: bool = True) -> str:
    return text_of(
        status.status(frame.header, width, paused=paused, armed=armed, ended=bool(frame.ended), offset_s=0.0)
    )


def test_the_bar_of_a_healthy_cluster_at_80_columns() -> None:
    assert (
        bar(frames.healthy(), 80) == " demo  ● HEALTHY  3/3 online  60 clients        lost 0 / 12,345  LIVE  14:13:20 "
    )


def test_problems_take_the_middle_and_losses_stay() -> None:
    text = bar(frames.removed(), 120)
    assert "◐ DEGRADED  n2 removed 4 s ago · 7 clients are away" in text
    assert "lost 0 / 12,345" in text
    # They stand where they stand when all is well.
    assert text.index("lost 0") == bar(frames.healthy(), 120).index("lost 0")
    assert "n2 removed 4 s ago  +1" in bar(frames.removed(), 80)


def test_what_is_wrong_although_every_node_is_online_is_no_plain_health() -> None:
    frame = frames.healthy()
    frame = replace(
        frame, header=replace(frame.header, notices=("gateway cannot reach n1", "fault: loss on gateway-n1"))
    )
    assert "◐ IMPAIRED  gateway cannot reach n1 · fault: loss on gateway-n1" in bar(frame, 120)
    assert "HEALTHY" not in bar(frame, 60)
    assert "IMPAIRED  gateway cannot" in bar(frame, 60)


def test_nodes_that_left_are_counted() -> None:
    frame = frames.healthy()
    frame = replace(frame, header=replace(frame.header, nodes_online=2, nodes_total=2, nodes_left=1))
    assert "● HEALTHY  2/2 online, 1 left  60 clients" in bar(frame, 100)


def test_lost_messages_are_marked() -> None:
    header = replace(frames.healthy().header, audit=Audit(published=10, lost=3))
    line = status.status(header, 120, paused=False, armed=True, ended=False, offset_s=0.0)
    assert next(run.ink.tone for run in line if run.text == "3") is Tone.BAD


def test_old_counts_of_losses_are_dim() -> None:
    header = replace(frames.healthy().header, audit=Audit(published=10, lost=3, silent_s=7.0))
    line = status.status(header, 120, paused=False, armed=True, ended=False, offset_s=0.0)
    assert {run.ink.tone for run in line if run.text in {"lost ", "3", " / 10"}} == {Tone.FAINT}


def test_paused_and_locked_are_said() -> None:
    assert " PAUSED " in bar(frames.healthy(), 80, paused=True)
    assert "LIVE" not in bar(frames.healthy(), 80, paused=True)
    assert "locked" in bar(frames.healthy(), 80, armed=False)
    assert "ENDED" in bar(frames.ended(), 80)


def replayed(playback: Playback, width: int, *, at: float = frames.AT) -> str:
    header = replace(frames.healthy().header, at=at)
    return text_of(
        status.status(header, width, paused=False, armed=False, ended=False, offset_s=0.0, playback=playback)
    )


def test_the_past_is_named_with_its_time_in_no_more_room_than_a_recording_takes() -> None:
    past = Playback(at=frames.AT, start_at=frames.AT - 300, end_at=frames.AT + 19, held=True, twin=True)
    assert replayed(past, 120).endswith("  PAST 14:13:20 held \N{MINUS SIGN}19s ")
    assert replayed(past, 80).endswith("  PAST 14:13:20 held ")
    assert replayed(replace(past, held=False, speed=0.5), 60).endswith(" PAST 14:13:20 0.5× ")
    for width in WIDTHS[1:]:
        assert replayed(past, width).count("14:13:20") == 1
        assert "TWIN" not in replayed(past, width)
        recording = replayed(replace(past, twin=False), width)
        assert replayed(past, width).index("PAST") >= recording.index("REPLAY")
        assert length_of(((Run(replayed(past, width), TEXT)),)) == width


def test_a_recording_says_that_it_is_one() -> None:
    playback = Playback(at=frames.AT, start_at=frames.AT - 300, end_at=frames.AT + 19, speed=4.0)
    assert replayed(playback, 120).endswith("  REPLAY 4× \N{MINUS SIGN}19s   14:13:20 ")


def test_what_is_wrong_with_the_past_is_said_where_there_is_room() -> None:
    playback = Playback(at=frames.AT, start_at=0.0, end_at=frames.AT, held=True, twin=True, note="damaged")
    assert replayed(playback, 120).endswith("damaged   PAST 14:13:20 held ")
    assert "damaged" not in replayed(playback, 80)


def test_unknown_clients_are_not_zero() -> None:
    header = Header(cluster="demo", health=Health.HEALTHY, nodes_online=1, nodes_total=1)
    assert "clients" not in text_of(status.status(header, 120, paused=False, armed=True, ended=False, offset_s=0.0))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", frames.EXAMPLES)
def test_one_line_parts_have_exactly_the_width(name: str, width: int) -> None:
    frame = frames.EXAMPLES[name]()
    drawn = (
        status.status(frame.header, width, paused=True, armed=False, ended=True, offset_s=0.0),
        status.too_small(frame.header, width, 5),
        status.ended("gone", width),
        services.strip(frame.services, width),
        footer.footer(width, armed=True),
    )
    for line in drawn:
        assert length_of(line) == width
        assert text_of(line).isprintable()


def test_a_small_screen_says_what_it_needs() -> None:
    text = text_of(status.too_small(frames.removed().header, 58, 12))
    assert text.startswith("◐ degraded 2/3 · 58×12 is too small, 60×15 shows more")


def test_services_tell_less_in_less_room_but_never_hide_a_bad_one() -> None:
    rows = frames.services()
    assert "● checker leading epoch 1" in text_of(services.strip(rows, 200))
    assert "● checker leading" in text_of(services.strip(rows, 120))
    assert words(text_of(services.strip(rows, 80))) == "● redis ● checker ● gateway ● fleet ● supervisor"
    bad = (replace(rows[0], state="away", good=False, detail="for 3 s"), *rows[1:])
    assert "○ redis away" in text_of(services.strip(bad, 80))
    assert "No service" in text_of(services.strip((), 80))


def test_start_steps_show_what_is_done_and_what_is_next() -> None:
    lines = [text_of(line).rstrip() for line in start.pane(frames.starting().start, 80, 9)]
    assert lines[0].startswith("─ starting  2 of 5 ─")
    assert lines[1] == "  ✓ redis                     0.05 s  valkey 9.0 on a private socket"
    assert lines[3] == "  ◌ nodes                             1 of 3"
    assert lines[4] == "  · gateway"


def test_the_footer_keeps_leaving_and_help_when_there_is_no_room() -> None:
    assert words(text_of(footer.footer(80, armed=True))) == (
        "1–6 Pages Enter Open / Filter D Drain X Kill… S Start p Pause ? Help q Quit"
    )
    assert words(text_of(footer.footer(16, armed=True))) == "? Help q Quit"


def test_the_footer_names_the_cure_while_a_fault_is_on_and_moves_nothing_else_for_it() -> None:
    assert words(text_of(footer.footer(80, armed=True, fault=True))) == (
        "1–6 Pages Enter Open / Filter D Drain X Kill… H Heal p Pause ? Help q Quit"
    )
    usual, cured = (text_of(footer.footer(100, armed=True, fault=fault)) for fault in (False, True))
    at = usual.index(" p Pause")
    assert cured[:at] == usual[:at]
    assert words(cured[at:]) == "H Heal p Pause ? Help q Quit"
    assert "S Start  H Heal  p Pause  ? Help  ^P Palette" in text_of(footer.footer(120, armed=True, fault=True))


@pytest.mark.parametrize("width", range(0, 130, 3))
def test_the_cure_is_never_cut_and_leaves_the_way_out(width: int) -> None:
    usual, cured = (footer.footer(width, armed=True, fault=fault) for fault in (False, True))
    assert length_of(cured) == width
    assert [word in text_of(cured) for word in ("? Help", "q Quit", "Pages")] == [
        word in text_of(usual) for word in ("? Help", "q Quit", "Pages")
    ]
    assert width < 40 or "H Heal" in text_of(cured)


def test_who_may_not_heal_is_not_told_how() -> None:
    unbound = {**USUAL_KEYS, "heal": ()}
    for width in WIDTHS:
        assert footer.footer(width, armed=False, fault=True) == footer.footer(width, armed=False)
        assert footer.footer(width, armed=True, replay=True, fault=True) == footer.footer(
            width, armed=True, replay=True
        )
        assert footer.footer(width, armed=True, fault=True, keymap=unbound) == footer.footer(width, armed=True)
    mapped = {**USUAL_KEYS, "heal": ("ctrl+g",)}
    assert "^G Heal" in text_of(footer.footer(80, armed=True, fault=True, keymap=mapped))


def test_a_fault_wherever_it_is_or_a_frozen_service_can_be_healed() -> None:
    calm = frames.healthy()
    assert not footer.healable(calm)
    assert footer.healable(replace(calm, header=replace(calm.header, faults=1)))
    assert footer.healable(replace(calm, nodes=(frames.node(fault="blackhole on gateway-n1"),)))
    redis, *rest = calm.services
    assert footer.healable(replace(calm, services=(replace(redis, state="frozen", good=False), *rest)))


def test_a_locked_console_names_no_key_that_acts() -> None:
    assert (
        words(text_of(footer.footer(120, armed=False)))
        == "1–6 Pages Enter Open / Filter p Pause ! Arm ? Help ^P Palette q Quit"
    )
    assert all(command.group is not Group.ACT for command in footer.allowed(armed=False))


def test_in_the_past_the_way_back_to_live_stands_first() -> None:
    assert words(text_of(footer.footer(120, armed=False, replay=True, past=True))).startswith("L Live 1–6 Pages")
    assert words(text_of(footer.footer(80, armed=False, replay=True, past=True))).startswith("L Live 1–6 Pages")
    assert words(text_of(footer.footer(120, armed=False, replay=True))).startswith("1–6 Pages")
    keymap = {**USUAL_KEYS, "live": ("home",)}
    assert words(text_of(footer.footer(80, armed=False, replay=True, past=True, keymap=keymap))).startswith("Home Live")


def test_help_lists_every_command() -> None:
    text = "\n".join(text_of(line) for line in footer.help_lines(120, armed=False))
    assert all(command.help in text for command in COMMANDS)
    assert "locked" in text


@pytest.mark.parametrize("width", [50, 70, 112])
def test_help_tells_every_command_whole(width: int) -> None:
    lines = [text_of(line) for line in footer.help_lines(width, armed=True)]
    text = words(" ".join(line[14:] if line.startswith("  ") else line for line in lines))
    assert all(command.help in text for command in COMMANDS)
    assert text.count("asks first") == sum(command.confirm is not Confirm.NOTHING for command in COMMANDS)
    assert {len(line) for line in lines} == {width}


def test_no_lower_case_key_acts() -> None:
    for command in COMMANDS:
        if command.group is Group.ACT:
            assert all(len(key) == 1 and key.isupper() for key in command.keys)
            assert command.verbs


def test_no_key_has_two_meanings() -> None:
    keys = [key for command in COMMANDS for key in command.keys]
    assert len(keys) == len(set(keys))


def test_where_there_is_little_room_the_losses_stay_and_the_name_goes() -> None:
    assert bar(frames.healthy(), 60) == " demo  ● HEALTHY  3/3 online         lost 0  LIVE  14:13:20 "
    assert bar(frames.healthy(), 56) == " demo  ● HEALTHY  3/3 online     lost 0  LIVE  14:13:20 "
    assert "n1 is draining: 12 left  " in bar(frames.draining(), 80)


def test_a_start_without_steps_waits() -> None:
    assert "Waiting" in text_of(start.pane((), 80, 5)[1])


@pytest.mark.parametrize("width", [60, 80, 99, 100, 120, 200])
def test_the_clusters_name_does_not_move_when_trouble_begins(width: int) -> None:
    well, ill = bar(frames.healthy(), width), bar(frames.removed(), width)
    assert well.index("demo") == ill.index("demo") == (7 if width >= 100 else 1)
