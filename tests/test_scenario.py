"""Scenario files: what is in them, what is refused, and how a scorecard is printed. Nothing is started."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from wsmon.cli import main
from wsmon.commands import Action, Outcome
from wsmon.engine import Engine
from wsmon.errors import ConfigError
from wsmon.model.cluster import ClusterModel
from wsmon.model.incidents import Incident
from wsmon.model.scorecard import MEASURES, Bound, Judged, Objective, Scorecard
from wsmon.model.script import ACTIONS, Condition, Do, Roll, Script, Setting, Step, Wait, parse_script
from wsmon.scenario import Player, load, markdown_lines, shipped, text_lines
from wsmon.sources.merge import SUPERVISOR
from wsmon.views.build import build_frame

ROOT = Path(__file__).parent.parent
HEAD = 'name = "x"\ntitle = "X"\n'
STEP = '[[step]]\nat = 1\naction = "restart_all"\n'


def parse(text: str) -> Script:
    return parse_script(text, file="x.toml")


def one_step(text: str) -> Step:
    (step,) = parse(f"{HEAD}[[step]]\n{text}").steps
    return step


def test_a_whole_file() -> None:
    script = parse(
        """
        name = "all"
        title = "Everything"
        end_within_s = 12
        settle_s = 0.5
        [cluster]
        nodes = 5
        clients = 7
        rate = 2.5
        profile = "demo"
        [[step]]
        at = 1
        action = "kill"
        target = "n1"
        caption = "it dies"
        [[step]]
        after = "n1 removed"
        delay_s = 2
        within_s = 9
        action = "start"
        target = "n1"
        [[step]]
        after = "clients back"
        action = "wait"
        [objectives]
        removed_within_s = 2
        lost = 0
        """
    )
    assert script == Script(
        name="all",
        title="Everything",
        cluster=Setting(nodes=5, clients=7, rate=2.5, profile="demo"),
        steps=(
            Step(number=1, at=1.0, deed=Do(op="kill", targets=("n1",), args={"signal": "KILL"}), caption="it dies"),
            Step(
                number=2,
                after=Condition("n1", "removed"),
                delay_s=2.0,
                within_s=9.0,
                deed=Do(op="start", targets=("n1",)),
            ),
            Step(number=3, after=Condition("", "clients back"), deed=Wait(0.0)),
        ),
        objectives=(Objective(name="removed_within_s", wanted=2.0), Objective(name="lost", wanted=0)),
        end_within_s=12.0,
        settle_s=0.5,
    )


@pytest.mark.parametrize(
    ("text", "deed", "said"),
    [
        (
            'action = "kill"\ntarget = "n1"\nsignal = "TERM"',
            Do(op="kill", targets=("n1",), args={"signal": "TERM"}),
            "kill n1",
        ),
        (
            'action = "kill"\ntarget = "n1"\nttl_s = 5',
            Do(op="fault", targets=("n1",), args={"kind": "kill", "ttl_s": 5.0}),
            "fault n1",
        ),
        ('action = "kill_checker"', Do(op="kill", targets=("leader",), args={"signal": "KILL"}), "kill leader"),
        (
            'action = "freeze"\ntarget = "n1"\nttl_s = 5',
            Do(op="freeze", targets=("n1",), args={"ttl_s": 5.0}),
            "freeze n1",
        ),
        ('action = "thaw"\ntarget = "n1"', Do(op="thaw", targets=("n1",)), "thaw n1"),
        ('action = "stop"\ntarget = "n1"', Do(op="stop", targets=("n1",)), "stop n1"),
        ('action = "start"\ntarget = "n1"', Do(op="start", targets=("n1",)), "start n1"),
        ('action = "drain"\ntarget = "n1"\nrate = 9', Do(op="drain", targets=("n1",), args={"rate": 9.0}), "drain n1"),
        ('action = "abort"\ntarget = "n1"', Do(op="abort", targets=("n1",)), "abort n1"),
        ('action = "cordon"\ntarget = "n1"', Do(op="cordon", targets=("n1",)), "cordon n1"),
        ('action = "uncordon"\ntarget = "n1"', Do(op="uncordon", targets=("n1",)), "uncordon n1"),
        ('action = "restart"\ntarget = "n1"', Roll(("n1",)), "restart n1"),
        ('action = "restart_all"', Roll(), "restart all nodes"),
        (
            'action = "link"\ntarget = ["a-b", "c-d"]\nfault = "latency"\nvalue = "9ms"\nttl_s = 5\nseed = 1',
            Do(op="fault", targets=("a-b", "c-d"), args={"kind": "latency", "ttl_s": 5.0, "value": "9ms", "seed": 1}),
            "fault a-b, c-d kind latency",
        ),
        (
            'action = "link"\ntarget = "a-b"\nfault = "reset"\nttl_s = 5',
            Do(op="fault", targets=("a-b",), args={"kind": "reset", "ttl_s": 5.0}),
            "fault a-b",
        ),
        ('action = "heal"', Do(op="heal", targets=("",)), "heal"),
        ('action = "heal"\ntarget = "a-b"', Do(op="heal", targets=("a-b",)), "heal a-b"),
        (
            'action = "redis_stall"\nttl_s = 5',
            Do(op="fault", targets=("redis",), args={"kind": "stall", "ttl_s": 5.0}),
            "fault redis",
        ),
        (
            'action = "redis_restart"\nttl_s = 5',
            Do(op="fault", targets=("redis",), args={"kind": "restart", "ttl_s": 5.0}),
            "fault redis",
        ),
        ('action = "scale"\nclients = 5', Do(op="clients", targets=("fleet",), args={"clients": 5}), "clients fleet"),
        (
            'action = "rate"\nmessages_per_s = 5',
            Do(op="rate", targets=("fleet",), args={"messages_per_s": 5.0}),
            "rate fleet",
        ),
        ('action = "wait"\nseconds = 5', Wait(5.0), "wait 5 s"),
        ('action = "wait"', Wait(0.0), "go on"),
    ],
)
def test_every_action_becomes_what_is_asked_for(text: str, deed: Do | Roll | Wait, said: str) -> None:
    step = one_step(f"at = 1\n{text}")
    assert step.deed == deed
    assert str(step.deed).startswith(said)


def test_every_action_is_tried_above() -> None:
    tried = Path(__file__).read_text(encoding="utf-8")
    assert [word for word in ACTIONS if f'\'action = "{word}"' not in tried] == []


@pytest.mark.parametrize(
    ("text", "where", "meant"),
    [
        ("name = ", "x.toml is not TOML", ""),
        ("name = " + "9" * 5_000, "x.toml is not TOML", ""),
        ("name = " + "[" * 5_000, "x.toml is not TOML", ""),
        (f'name = 0x{"f" * 5_000}\ntitle = "X"\n{STEP}', "x.toml: name is a number beyond reason", "a text"),
        ("", "x.toml: name is missing", "needed: name, title, step"),
        (f"{HEAD}stepp = 1\n{STEP}", "x.toml: unknown key 'stepp'", "did you mean 'step'?"),
        (f'name = "a b"\ntitle = "X"\n{STEP}', "x.toml: name is 'a b'", "small letters"),
        (f'name = 3\ntitle = "X"\n{STEP}', "x.toml: name is 3, a number", "a text"),
        (f"{HEAD}step = []", "x.toml: step has to be a list", "[[step]]"),
        (f"{HEAD}step = [1]", "x.toml: step 1 is 1, a number", "a table"),
        (f"{HEAD}settle_s = -1\n{STEP}", "x.toml: settle_s is -1", "from 0 to 60"),
        (f"{HEAD}{STEP}[cluster]\nnode = 3", "x.toml: cluster: unknown key 'node'", "did you mean 'nodes'?"),
        (f"{HEAD}{STEP}[cluster]\nnodes = 3.0", "x.toml: cluster: nodes is 3.0, a number", "a whole number"),
        (f"{HEAD}{STEP}[cluster]\nnodes = 0", "x.toml: cluster: nodes is 0", "from 1 to 32"),
        (f"{HEAD}{STEP}[cluster]\nrate = nan", "x.toml: cluster: rate is nan", "from 0"),
        (f'{HEAD}{STEP}[cluster]\nrate = "9"', "x.toml: cluster: rate is '9', a text", "from 0"),
        (f'{HEAD}{STEP}[cluster]\nprofile = "prod"', "profile 'prod' is unknown", "did you mean 'production'?"),
        (f"{HEAD}cluster = 3\n{STEP}", "x.toml: cluster is 3, a number", "a table"),
        (
            f"{HEAD}{STEP}[objectives]\nremoved_in_s = 3",
            "unknown key 'removed_in_s'",
            "did you mean 'removed_within_s'?",
        ),
        (f"{HEAD}{STEP}[objectives]\nlost = 0.5", "x.toml: objectives: lost is 0.5, a number", "a whole number"),
        (f"{HEAD}{STEP}[objectives]\nlost = true", "lost is true, a truth value", "a whole number"),
        (f"{HEAD}{STEP}[objectives]\nremoved_within_s = -2", "removed_within_s is -2", "from 0"),
        (
            f"{HEAD}{STEP}[[step]]\nat = 0.5\naction = 'wait'",
            "x.toml: step 2: at is 0.5, before",
            "in the order of time",
        ),
        (f"{HEAD}{STEP}[[step]]\nat = 2", "x.toml: step 2: it has no action", "one of kill"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(text: str, where: str, meant: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert where in caught.value.message
    assert meant in caught.value.hint
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("text", "what", "meant"),
    [
        ('at = 1\naction = "kil"', "action 'kil' is unknown", "did you mean 'kill'?"),
        ('at = 1\naction = "kill"', "target is missing of kill", "needed: target"),
        ('at = 1\naction = "kill"\ntraget = "n1"', "unknown key 'traget' of kill", "did you mean 'target'?"),
        ('at = 1\naction = "kill"\ntarget = 3', "target is 3, a number", "such as 'n1'"),
        ('at = 1\naction = "kill"\ntarget = "n 1"', "target is 'n 1'", "such as 'n1'"),
        ('at = 1\naction = "kill"\ntarget = "n1"\nsignal = "KIL"', "signal 'KIL' is unknown", "did you mean 'KILL'?"),
        ('at = 1\naction = "kill"\ntarget = "n1"\nsignal = "TERM"\nttl_s = 1', "signal and ttl_s", "KILL"),
        ('at = 1\naction = "wait"\ntarget = "n1"', "unknown key 'target' of wait", "allowed:"),
        ('at = 1\naction = "scale"\nclients = 1.5', "clients is 1.5, a number", "a whole number"),
        ('at = 1\naction = "link"\ntarget = ["a-b", 3]\nfault = "loss"\nttl_s = 1', "target is 3, a number", ""),
        ('at = 1\naction = "link"\ntarget = []\nfault = "loss"\nttl_s = 1', "target is a list", ""),
        ('action = "restart_all"', "either `at` or `after`", "n1 removed"),
        ('at = 1\nafter = "healthy"\naction = "restart_all"', "either `at` or `after`", ""),
        ('at = -1\naction = "restart_all"', "at is -1", "from 0"),
        ('at = inf\naction = "restart_all"', "at is inf", "from 0"),
        ('at = 1\ndelay_s = 1\naction = "restart_all"', "belong to `after`", ""),
        ('after = "n1 remved"\naction = "restart_all"', "after 'n1 remved' is unknown", "did you mean 'removed'?"),
        ('after = "clients away"\naction = "restart_all"', "after is 'clients away'", "'clients back'"),
        ('after = "soon"\naction = "restart_all"', "after is 'soon'", "'healthy'"),
        ('after = 3\naction = "restart_all"', "after is 3, a number", "a text"),
        ("at = 2020-01-01\naction = 'wait'", "at is a date", ""),
    ],
)
def test_what_is_wrong_with_a_step_is_said_with_its_number(text: str, what: str, meant: str) -> None:
    with pytest.raises(ConfigError) as caught:
        one_step(text)
    assert caught.value.message.startswith("x.toml: step 1: ")
    assert what in caught.value.message
    assert meant in caught.value.hint


def test_the_shipped_scenarios_can_be_read_and_are_named_like_their_files() -> None:
    scenarios = shipped()
    wanted = "kill double-kill freeze flapping-node redis-restart checker-leader-kill rolling-restart storm drain"
    assert {*wanted.split(), "partition", "slow-link", "packet-loss"} <= scenarios.keys()
    for name in scenarios:
        script = load(name)
        assert script.name == name
        assert {objective.name for objective in script.objectives} >= {"lost", "duplicated", "removals"}


def test_every_action_objective_and_scenario_stands_in_the_document() -> None:
    document = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
    words = {*re.findall(r"`([a-z0-9_-]+)`", document)}
    assert {*ACTIONS, *MEASURES, *shipped()} - words == set()


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no scenario 'kil'") as caught:
        load("kil")
    assert "did you mean 'kill'?" in caught.value.hint
    with pytest.raises(ConfigError, match="No such file"):
        load(str(tmp_path / "x.toml"))
    (tmp_path / "x.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not text"):
        load(str(tmp_path / "x.toml"))
    (tmp_path / "x.toml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(ConfigError, match="too large"):
        load(str(tmp_path / "x.toml"))
    (tmp_path / "x.toml").write_text(HEAD + STEP)
    assert load(str(tmp_path / "x.toml")).name == "x"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("run",), "one of checker-leader-kill"),
        (("run", "nothing-like-it"), "there is no scenario"),
        (("run", "kill", "--fast"), "--fast"),
        (("restart",), "say what to restart"),
        (("restart", "n1", "demo", "--all"), "say what to restart"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str
) -> None:
    assert main(words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert says in told.err
    assert len(told.err.splitlines()) == 1
    assert main((*words, "--json")) == 2
    assert says in json.dumps(json.loads(capsys.readouterr().out)["error"])


def test_the_shipped_scenarios_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("run", "--list")) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [*shipped()]


# Printing

CARD = Scorecard(
    scenario="kill",
    title="A node\x1b[2J dies",
    objectives=(
        Judged(name="removed_within_s", bound=Bound.MOST, wanted=2.0, got=0.511, passed=True),
        Judged(name="back_all_s", bound=Bound.MOST, wanted=2.5, got=None, passed=False),
        Judged(name="healthy_at_the_end", bound=Bound.EXACTLY, wanted=True, got=False, passed=False),
    ),
    incidents=(
        Incident(
            fault="blackhole",
            target="n1",
            parts=("gateway-n1", "checker-n1"),
            node="n1",
            started_at=1.0,
            ended_at=None,
            removed_ms=511.4,
            clients=20,
            moved=3,
            lost=0,
        ),
        Incident(fault="kill", target="a|\x07b", parts=("a|\x07b",), node=None, started_at=2.0, ended_at=None),
    ),
)


def test_a_card_is_an_aligned_table_for_people() -> None:
    lines = text_lines(CARD)
    assert lines[0] == "kill: FAILED – A node\ufffd[2J dies"
    assert lines[2:5] == (
        "incident                first miss  suspect  removed  cut  50 % back  95 %  all       clients  lost  twice",
        "blackhole n1 (2 links)           –        –   0.51 s    –          –     –    –  20 (3 moved)     0      –",
        "kill a|\ufffdb                        –        –        –    –          –     –    –             0     –      –",
    )
    assert lines[6:] == (
        "objective           wanted    got",
        "removed_within_s       ≤ 2  0.511  pass",
        "back_all_s           ≤ 2.5      –  FAIL",
        "healthy_at_the_end     yes     no  FAIL",
    )


def test_a_card_is_markdown_for_reports() -> None:
    lines = markdown_lines(CARD)
    assert lines[0] == "## kill: failed"
    assert "| blackhole n1 (2 links) | – | – | 0.51 s | – | – | – | – | 20 (3 moved) | 0 | – |" in lines
    assert "| removed_within_s | ≤ 2 | 0.511 | pass |" in lines
    assert any(line.startswith("| kill a\\|\ufffdb |") for line in lines)
    tables = [line for line in lines if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} == {12, 5}


# Playing, as far as it goes without a cluster


class _Silent:
    async def run(self, emit: object) -> None:
        await asyncio.Event().wait()


class _Refusing:
    def __init__(self) -> None:
        self.asked: list[Action] = []

    async def perform(self, action: Action) -> Outcome:
        self.asked.append(action)
        return Outcome(ok=action.op != "kill", code="no", message=f"no\x1b {SUPERVISOR}", effect={})


def test_a_refused_step_ends_the_play_and_every_ask_carries_the_scenarios_name() -> None:
    script = parse(
        f"{HEAD}[[step]]\nat = 0\naction = 'thaw'\ntarget = 'n1'\n"
        "[[step]]\nat = 0\naction = 'kill'\ntarget = 'n1'\n[[step]]\nat = 0\naction = 'thaw'\ntarget = 'n2'\n"
    )
    operator, told = _Refusing(), list[str]()

    async def play() -> int:
        clock = asyncio.get_running_loop().time
        engine = Engine(_Silent(), operator, ClusterModel("x"), clock)
        return await Player(script, engine, clock, told.append)._steps()

    assert asyncio.run(play()) == 1
    assert [(action.op, action.node, action.reason) for action in operator.asked] == [
        ("thaw", "n1", "scenario x"),
        ("kill", "n1", "scenario x"),
    ]
    assert told[-1].endswith("step 2 failed: kill n1: no\ufffd supervisor")


def test_a_condition_that_does_not_come_in_time_ends_the_play() -> None:
    script = parse(f"{HEAD}[[step]]\nafter = 'n1 online'\nwithin_s = 0.0\naction = 'restart_all'\n")
    told = list[str]()

    async def play() -> int:
        clock = asyncio.get_running_loop().time
        engine = Engine(_Silent(), _Refusing(), ClusterModel("x"), clock)
        return await Player(script, engine, clock, told.append)._steps()

    assert asyncio.run(play()) == 0
    assert told[-1].endswith("n1 online did not come within 0 s")


def test_captions_are_shown_to_spectators_one_after_the_other() -> None:
    script = parse(
        f"{HEAD}[[step]]\nat = 0\naction = 'wait'\ncaption = 'look at n1'\n"
        "[[step]]\nat = 0\naction = 'wait'\n[[step]]\nat = 0\naction = 'wait'\ncaption = 'and at n2'\n"
    )
    shown = list[str]()

    async def play() -> str:
        clock = asyncio.get_running_loop().time
        engine = Engine(_Silent(), _Refusing(), ClusterModel("x"), clock)
        player = Player(script, engine, clock, lambda _: None, caption=shown.append)
        await player._steps()
        engine.caption(shown[-1])
        return build_frame(engine.model, clock()).caption

    assert asyncio.run(play()) == "and at n2"
    assert shown == ["look at n1", "and at n2"]
