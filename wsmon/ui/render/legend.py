"""What the titles of columns and the words of states mean, for those who meet them for the first time."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from wsmon.commands import BY_ID, USUAL_KEYS, Keymap
from wsmon.protocol.states import NodeState
from wsmon.ui.render import channels, incidents, nodes, sessions
from wsmon.ui.render.caption import broken
from wsmon.ui.render.footer import key_name
from wsmon.ui.render.lines import ACCENT, MUTED, TEXT, Ink, Line, Run, fit, fitted
from wsmon.ui.render.table import Column
from wsmon.views.sessions_frame import Stand

LABEL: Final = 14
"""Cells for a column's title, or a state's glyph and word."""
_HEAD: Final = Ink(MUTED.tone, bold=True)

NODES: Final[Mapping[str, str]] = {
    "node": "Its name.",
    "state": "How it stands; the words are explained below.",
    "age": "For how long it has been in this state.",
    "heartbeat": "The checker's heartbeats: ok, or how many were missed of how many in a row remove it.",
    "http": "The checker's requests to /health: ok, or how many failed of how many in a row remove it.",
    "misses": "Heartbeats missed in a row, and how many remove it.",
    "connections": "Clients that are connected to it.",
    "delta": "How many clients more or fewer than a few seconds ago.",
    "in": "Messages from clients, each second.",
    "out": "Messages to clients, each second.",
    "unacked": "Messages sent to clients that they have not acknowledged yet.",
    "retransmits": "Messages sent once more (retransmits) since it started.",
    "lagging": "Clients that do not keep up and are fed at their own pace.",
    "lag": "How late its event loop runs what is due: it grows when the node is overloaded.",
    "rtt": "How long a heartbeat takes there and back (round trip).",
    "cpu": "Percent of one processor core.",
    "rss": "Memory that its process holds (resident set size).",
    "fds": "Open files and sockets (file descriptors).",
    "breakers": "What is wrong with it besides its state: breakers that are open, feeds that are not live.",
    "uptime": "For how long its process has run.",
    "pid": "Number of its process.",
    "address": "Where clients reach it.",
    "process": "What the supervisor says of its process: running, frozen, exited.",
}
"""Column → what it tells, in one sentence; so are the others."""
SESSIONS: Final[Mapping[str, str]] = {
    "client": "Its name.",
    "state": "How it stands; the words are explained below.",
    "node": "Where it is connected; of one that is away: where it was.",
    "since": "For how long it has been so; > for longer than that.",
    "next": "Seconds until it tries again.",
    "tries": "Attempts on its present or last way back.",
    "lost": "How often it lost its connection.",
    "how": "How it came back: nothing missed (live), resent (replay), anew (resync), no pause (handover).",
    "way": "How long its last way back took.",
    "replayed": "Messages it had missed and got when it came back.",
    "worst": "The longest it was ever away.",
    "resyncs": "How often it had to begin anew, because what it missed was gone.",
    "codec": "How its messages are encoded.",
    "position": "Number of the newest message it has.",
    "behind": "Messages it has still to get.",
}
CHANNELS: Final[Mapping[str, str]] = {
    "channel": "Its name.",
    "state": "The worst state of any node's feed of it.",
    "top": "Number of its newest message.",
    "members": "Clients that subscribe to it.",
    "behind": "Messages that the slowest node has still to read.",
    "feeds": "A glyph for each node: how its feed of the channel stands.",
    "where": "Which nodes are not as they should be; if none, how many members each has.",
}
BREAKERS: Final[Mapping[str, str]] = {
    "caller": "Whose breaker it is.",
    "target": "Whom the caller does not call while it is open.",
    "state": "Closed lets calls through, open none, half open a few to see whether they work.",
    "retry": "How long until it lets a call through to see.",
}
BELIEFS: Final = (
    ("EPOCH", "How often leadership has changed, as far as this one knows; the highest is the present one."),
    ("HEARD", "How old the newest word of it is."),
    ("LEADER", "Which checker it takes for the leader."),
)
"""Titles of who sees whom, which is no table of columns: it has one for each node."""
INCIDENTS: Final[Mapping[str, str]] = {
    "number": "Its number.",
    "at": "When it began.",
    "what": "What was done, and to whom; unknown if nobody here did it.",
    "verdict": "Whether the cluster took it as promised, did not, or it is still going on.",
    "found": "How long until the node was removed.",
    "clients": "Clients that lost their connection.",
    "back": "Within this time 95 % of them were back.",
    "lost": "Messages that were lost.",
}
NODE_STATES: Final[Mapping[NodeState, str]] = {
    NodeState.JOINING: "It has registered and is being checked before it gets clients.",
    NodeState.ONLINE: "It answers all checks and takes clients.",
    NodeState.SUSPECT: "A check failed: it keeps its clients and gets no new ones.",
    NodeState.REMOVED: "It is taken for gone: its clients were sent to the others.",
    NodeState.RECOVERING: "It was removed, answers again, and has to pass its checks.",
    NodeState.QUARANTINED: "It answers, but was removed too often lately: it has to wait.",
    NodeState.DRAINING: "It moves its clients to the others and then leaves.",
    NodeState.CORDONED: "It keeps its clients and takes no new ones.",
    NodeState.LEFT: "It went on purpose, after a drain; it can be called back.",
    NodeState.STALE: "Nothing is heard from the node itself: what is shown is old.",
}
CLIENT_STATES: Final[Mapping[Stand, str]] = {
    Stand.CONNECTED: "It has a connection.",
    Stand.MOVING: "Its node told it to go elsewhere; it is still connected.",
    Stand.AWAY: "It has lost its connection.",
    Stand.WAITING: "It waits before it tries again, so that not all try at once.",
    Stand.TRYING: "It is connecting again.",
    Stand.CONNECTING: "It has not had a connection yet.",
    Stand.STOPPED: "It will not come back by itself.",
    Stand.UNKNOWN: "Nobody tells how it stands.",
}
FEED_STATES: Final[Mapping[str, str]] = {
    "live": "The node has every message so far.",
    "idle": "Nobody on the node follows the channel.",
    "subscribing": "The node has just begun to follow it.",
    "syncing": "The node is reading what it lacks from Redis' log.",
    "gap": "A message was missed; it is being read from the log.",
    "stalled": "The node cannot read what it lacks.",
    "deaf": "Nothing arrives, though the log has grown.",
    "forked": "The log in Redis is another one than the node's.",
}


def lines(width: int, keymap: Keymap = USUAL_KEYS) -> tuple[Line, ...]:
    """Return every column of pages 1, 4, 5 and 6, then every state, each with what it means."""
    parts: tuple[tuple[str, Iterable[tuple[str, str]]], ...] = (
        (_heading("nodes", "nodes", keymap), _columns(nodes.COLUMNS, NODES)),
        (_heading("sessions", "clients", keymap), _columns(sessions.COLUMNS, SESSIONS)),
        (_heading("redis", "channels", keymap), _columns(channels.CHANNELS, CHANNELS)),
        (_heading("redis", "breakers", keymap), _columns(channels.BREAKERS, BREAKERS)),
        (_heading("redis", "who sees whom", keymap), BELIEFS),
        (_heading("incidents", "incidents", keymap), _columns(incidents.columns(lambda: 0.0), INCIDENTS)),
        ("States of nodes", _states(nodes.GLYPHS, NODE_STATES)),
        ("States of clients", _states(sessions.GLYPHS, CLIENT_STATES)),
        ("States of a node's feed of a channel", _states(channels.GLYPHS, FEED_STATES)),
    )
    return tuple(line for heading, entries in parts for line in _part(heading, entries, width))[:-1]


def _columns(columns: Iterable[Column[Any]], told: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    # The one column without a title holds nothing but a mark.
    return ((column.title or "✓ ✗ ◐", told[column.id]) for column in columns)


def _states(glyphs: Mapping[Any, str], told: Mapping[Any, str]) -> Iterator[tuple[str, str]]:
    return ((f"{glyphs[state]} {state}", words) for state, words in told.items())


def _heading(page: str, what: str, keymap: Keymap) -> str:
    keys = keymap[page]
    return f"Columns of {what}, page {key_name(keys[0]) if keys else BY_ID[page].label}"


def _part(heading: str, entries: Iterable[tuple[str, str]], width: int) -> tuple[Line, ...]:
    """Return a heading, its entries, each whole in as many lines as that takes, and an empty line."""
    told: list[Line] = [fitted((Run(f" {text}", _HEAD),), width) for text in broken(heading, max(1, width - 1))]
    for label, words in entries:
        for y, text in enumerate(broken(words, max(1, width - 2 - LABEL))):
            told.append(
                fitted((Run("  " + fit("" if y else label, LABEL), MUTED if y else ACCENT), Run(text, TEXT)), width)
            )
    return (*told, fitted((), width))
