"""A whole simulated cluster: who there is, what can happen next, and what must hold when everything is quiet again."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final, TypeAlias

from sample_cluster.core.feed import FeedState
from sample_cluster.core.messages import Position
from sample_cluster.core.session import Phase
from sample_cluster.node.credentials import message_id
from tests.sim.client_side import SILENCE_S, SimClient
from tests.sim.ground import BrokenInvariantError, Ground, Link, Owner, Shape
from tests.sim.node_side import HEARTBEAT_S, Signatures, SimNode, append_call
from tests.sim.redis_side import LOST, History, Request, Server, Shadow, copy_keys
from tests.support.model_redis import Keyspace, ModelRedis

Move: TypeAlias = Callable[[], object]
STRANGER: Final = "x1"
"""Session of a publisher that is not simulated: its messages simply appear in the log."""
DRAIN_MOST: Final = 20_000


@dataclass
class Copy:
    """What a replica has."""

    keys: Keyspace
    shadow: Shadow


@dataclass
class Recoverable:
    """Entries that a promoted replica lacks while a node's ring holds them all: they can go back as they were."""

    channel: str
    epoch: str
    lost: dict[int, tuple[int, str]]
    holders: list[tuple[SimNode, object]]
    """Nodes, and the feeds that hold the entries."""


class Always:
    """Owns what neither freezes nor ends."""

    frozen = False
    gone = False

    def __init__(self) -> None:
        self.late: list[Callable[[], None]] = []


class World:
    """One simulated cluster. Everything random comes from one seed."""

    def __init__(
        self, dice: Random, shape: Shape, *, make_redis: Callable[[], ModelRedis] = ModelRedis, tracing: bool = False
    ) -> None:
        self.dice = dice
        self.shape = shape
        self.ground = Ground(dice, shape, tracing=tracing)
        self.history = History()
        self.signatures = Signatures()
        self.channels = [f"c{number}" for number in range(1, shape.channels + 1)]
        self._make_redis = make_redis
        self._servers = 0
        self._strange: Counter[str] = Counter()
        self.always: Owner = Always()
        self.copy: Copy | None = None
        self.recoverable: list[Recoverable] = []
        self.orphans: list[Request] = []
        """Requests nobody waits for any more, which their server may carry out yet."""
        self.primary = self._server(None)
        self.nodes = [self._node(f"n{number}", 1) for number in range(1, shape.nodes + 1)]
        self.clients = [self._client(f"k{number}") for number in range(1, shape.clients + 1)]

    def _server(self, copy: Copy | None) -> Server:
        self._servers += 1
        name = f"r{self._servers}"
        if copy is None:
            server = Server(self.ground, self.history, name, self._make_redis)
        else:
            keys, shadow = copy_keys(copy.keys), copy.shadow.copy()
            server = Server(self.ground, self.history, name, self._make_redis, keys=keys, shadow=shadow)
        server.on_append = partial(self._appended, server)
        server.on_restore = partial(self._restored, server)
        return server

    def _node(self, name: str, boot: int) -> SimNode:
        node = SimNode(name, boot, self.ground, self.history, self.signatures)
        node.start(self.primary)
        return node

    def _client(self, name: str) -> SimClient:
        client = SimClient(name, self.ground, self.history)
        client.choose = partial(self._connect, client)
        for channel in self.channels:
            if self.dice.random() < 0.85:
                client.subscribe(channel, "start" if self.dice.random() < 0.2 else "now")
        client.start()
        return client

    def _connect(self, client: SimClient) -> Link | None:
        node = self.dice.choice(self.nodes)
        if node.gone:
            return None
        link = Link(client, f"{client.name}-{self.ground.number()}")
        node.accept(link)
        self.ground.say("{} connects to {}", link.name, node.name)
        return link

    # What goes on by itself.

    def moves(self) -> list[Move]:
        """Return what could happen next by itself."""
        found: list[Move] = []
        for node in self.nodes:
            awake = not node.frozen and not node.gone
            for request in node.requests:
                if not request.executed:
                    found.append(request.execute)
                elif awake:
                    found.append(partial(node.answer, request, request.replies))
            ear = node.ear
            if ear is not None and ear.commands:
                found.append(ear.execute)
            if not awake:
                continue
            if node.ready:
                found.append(node.turn)
            if ear is not None and ear.inbox:
                found.append(node.hear)
            found.extend(connection.hear for connection in node.connections if connection.link.up)
        for client in self.clients:
            found.extend(partial(client.hear, link) for link in client.links if link.down)
        return found

    def drain(self, most: int = DRAIN_MOST) -> bool:
        """Let happen what happens by itself, without letting time pass; return whether all of it has happened."""
        left = most
        while True:
            before = left
            for node in self.nodes:
                for request in [*node.requests]:
                    request.execute()
                    left -= 1
                ear = node.ear
                if ear is not None:
                    while ear.commands:
                        ear.execute()
                        left -= 1
                if node.frozen or node.gone:
                    continue
                for request in [*node.requests]:
                    if request.executed and request in node.requests:
                        node.answer(request, request.replies)
                while node.ready and left > 0:
                    node.turn()
                    left -= 1
                while node.ear is not None and node.ear.inbox and left > 0:
                    node.hear()
                    left -= 1
                for connection in [*node.connections]:
                    while connection.link.up and not connection.gone and left > 0:
                        connection.hear()
                        left -= 1
            for client in self.clients:
                for link in [*client.links]:
                    while link.down and link in client.links and left > 0:
                        client.hear(link)
                        left -= 1
            if left == before:
                return True
            if left <= 0:
                return False

    # What others do.

    def publish(self, channel: str) -> None:
        """Have a stranger publish, by a node that knows nothing of the channel."""
        self._strange[channel] += 1
        cseq = self._strange[channel]
        call = append_call(
            channel,
            cseq=cseq,
            after=0,
            name=message_id(STRANGER, channel, cseq),
            data=f'"{STRANGER}.{cseq}"',
            seen=None,
            dice_bits=(self.dice.getrandbits(32), self.dice.getrandbits(32)),
            keep=self.shape.keep,
        )
        self.primary.run(call)

    # What goes wrong.

    def cut(self, link: Link, *, tell_node: bool, tell_client: bool, lose: bool = True) -> None:
        """End a connection; who is not told notices the silence after a while."""
        self.ground.say("cut {}: node told {}, client told {}", link.name, tell_node, tell_client)
        link.cut(self.dice, tell_node=tell_node, tell_client=tell_client, lose=lose)
        connection = link.connection
        if connection is not None:
            self.ground.after(connection.node, HEARTBEAT_S, connection.heartbeat_lost)
        self.ground.after(link.client, SILENCE_S, partial(link.client.silent, link))

    def lose(self, node: SimNode, request: Request) -> None:
        """Have a node's request fail; what the server has of it may be carried out later."""
        self.ground.say("{} loses {}", node.name, request.what)
        if not request.executed and "snapshot" not in request.what and self.dice.random() < 0.4:
            self.orphans.append(request)
        if node.gone:
            node.requests.remove(request)
        else:
            node.answer(request, LOST)

    def kill(self, node: SimNode) -> None:
        """End a node's process, with all that it knows."""
        self.ground.say("{} is killed", node.name)
        for connection in [*node.connections]:
            link = connection.link
            link.cut(self.dice, tell_node=False, tell_client=True)
            link.connection = None
            link.up.clear()
        node.gone = True
        for request in [*node.requests]:
            self.lose(node, request)
        if node.ear is not None:
            node.ear.close()
            node.ear = None
        self._spoil(lambda case: case.holders.clear() if all(h.gone for h, _ in case.holders) else None)

    def restart(self, node: SimNode) -> None:
        """Start it anew."""
        self.ground.say("{} starts", node.name)
        self.nodes[self.nodes.index(node)] = self._node(node.name, node.boot + 1)

    def move(self, node: SimNode) -> None:
        """Have a node find the server that is in charge now."""
        if node.server is self.primary:
            return
        self.ground.say("{} goes to {}", node.name, self.primary.name)
        old, node.server = node.server, self.primary
        for request in [*node.requests]:
            if request.server is not old:
                continue
            if not request.executed or self.dice.random() < 0.5:
                node.answer(request, LOST)
        node.deafened()

    def promote(self, copy: Copy | None, *, at_once: bool) -> None:
        """Put another server in charge, which has what `copy` has: nothing, if that is None."""
        old = self.primary
        self.ground.switched = True
        self.primary = self._server(copy)
        self.ground.say("{} is in charge", self.primary.name)
        self.ground.tally["promoted" if copy is not None else "everything lost"] += 1
        self.recoverable.clear()
        self.history.protected.clear()
        if at_once:
            self.orphans.clear()
            if copy is not None:
                for channel in self.channels:
                    self._recoverable(channel, old)
            for node in self.nodes:
                if not node.gone:
                    self.move(node)

    def _recoverable(self, channel: str, old: Server) -> None:
        """Find out whether a node can put back all that the new server lacks."""
        epoch, whole = old.shadow.epochs.get(channel, ""), old.shadow.logs.get(channel, {})
        kept = self.primary.shadow.logs.get(channel, {})
        top = next(reversed(kept)) if kept else 0
        lost = {seq: entry for seq, entry in whole.items() if seq > top}
        shares = self.primary.shadow.epochs.get(channel) == epoch and top > 0 and whole.get(top) == kept.get(top)
        if not lost or not shares:
            return
        last = max(lost)
        end = Position(epoch=epoch, seq=last, nonce=lost[last][0])
        holders: list[tuple[SimNode, object]] = []
        for node in self.nodes:
            feed = node.feeds.get(channel)
            if node.gone or feed is None or feed.position != end:
                continue
            if feed.ring and feed.ring[0].seq <= top + 1:
                holders.append((node, feed))
        if holders:
            self.ground.tally["can be put back"] += 1
            self.recoverable.append(Recoverable(channel, epoch, lost, holders))
            self.history.protected.update((channel, epoch, seq, nonce) for seq, (nonce, _) in lost.items())

    def _appended(self, server: Server, channel: str, seen: Position | None) -> None:
        """Take note of a writer that knew nothing of what can be put back: it may be written over."""
        if not self.recoverable or server is not self.primary:
            return

        def knew(case: Recoverable) -> bool:
            return seen is not None and seen.seq in case.lost and case.lost[seen.seq][0] == seen.nonce

        def complete(case: Recoverable) -> bool:
            log = server.shadow.logs.get(channel, {})
            return all(log.get(seq) == entry for seq, entry in case.lost.items())

        self._forget(
            [case for case in self.recoverable if case.channel == channel and not knew(case) and not complete(case)]
        )

    def _restored(self, server: Server, channel: str, node: SimNode | None) -> None:
        """Take note of a node that put back another history, one that was void before: ours comes too late."""
        if not self.recoverable or server is not self.primary:
            return
        log = server.shadow.logs.get(channel, {})
        others = [
            case
            for case in self.recoverable
            if case.channel == channel and all(holder is not node for holder, _ in case.holders)
        ]
        self._forget([case for case in others if any(log.get(seq, had) != had for seq, had in case.lost.items())])

    def _spoil(self, look: Callable[[Recoverable], object]) -> None:
        for case in self.recoverable:
            look(case)
        self._forget([case for case in self.recoverable if not case.holders])

    def _forget(self, spoiled: list[Recoverable]) -> None:
        for case in spoiled:
            self.recoverable.remove(case)
            self.history.protected.difference_update(
                (case.channel, case.epoch, seq, nonce) for seq, (nonce, _) in case.lost.items()
            )

    # What must hold when all is quiet.

    def check(self) -> None:
        """Hold the end against the guarantee.

        Raises:
            BrokenInvariantError: it was broken.

        """
        for node in self.nodes:
            self._check_node(node)
        for client in self.clients:
            self._check_client(client)
        for channel in self.channels:
            self._check_log(channel)
        for case in self.recoverable:
            if any(node.feeds.get(case.channel) is feed for node, feed in case.holders):
                log = self.primary.shadow.logs.get(case.channel, {})
                missing = [seq for seq, entry in case.lost.items() if log.get(seq) != entry]
                if missing:
                    raise BrokenInvariantError(f"{case.channel}: {missing} could have been put back")
                self.ground.tally["was put back"] += 1

    def end(self, channel: str) -> Position | None:
        """Return where a log ends."""
        return self.primary.ends([channel]).get(channel)

    def _check_node(self, node: SimNode) -> None:
        for channel, feed in node.feeds.items():
            if feed.state is not FeedState.LIVE or feed.position != self.end(channel):
                raise BrokenInvariantError(
                    f"{node.name} has {channel} {feed.state} at {feed.position}, the log ends at {self.end(channel)}"
                )
            log = self.primary.shadow.logs.get(channel, {})
            wrong = [
                entry for entry in feed.ring if log.get(entry.seq, (entry.nonce, entry.id)) != (entry.nonce, entry.id)
            ]
            if wrong:
                raise BrokenInvariantError(f"{node.name} has {wrong} in its ring")

    def _check_client(self, client: SimClient) -> None:
        serving = [
            connection
            for node in self.nodes
            for connection in node.connections
            if connection.protocol.phase is Phase.SERVING and connection.protocol.id == client.session
        ]
        if client.link is None or len(serving) != 1:
            raise BrokenInvariantError(f"{client.name} has {len(serving)} connections that are served")
        if len(client.outbox):
            raise BrokenInvariantError(f"{client.name} has no answer to {client.outbox.unanswered()}")
        for channel, subscription in client.subscriptions.items():
            end = self.end(channel)
            if not subscription.live or subscription.position != end:
                raise BrokenInvariantError(
                    f"{client.name} is {subscription.state} at {subscription.position} of {channel}, which ends at {end}"
                )
            witness = client.witnesses[channel]
            log = self.primary.shadow.logs.get(channel, {})
            epoch = self.primary.shadow.epochs.get(channel, "")
            for seq, had in witness.view.items():
                there = log.get(seq)
                if there is None:
                    if not self.history.gone(channel, epoch, seq):
                        raise BrokenInvariantError(
                            f"{client.name} believes {had} at {seq} of {channel}, nothing is there"
                        )
                elif there != had:
                    raise BrokenInvariantError(f"{client.name} believes {had} at {seq} of {channel}, there is {there}")
            named = {seq for skipped in witness.named for seq in skipped}
            lacks = [seq for seq in log if seq > witness.since and seq not in witness.view and seq not in named]
            if lacks:
                raise BrokenInvariantError(f"{client.name} lacks {lacks} of {channel} and was not told")
        for name, (channel, answer) in client.answers.items():
            self._check_published(client, channel, name, answer.seq)

    def _check_published(self, client: SimClient, channel: str, name: str, seq: int) -> None:
        if name not in self.history.written:
            raise BrokenInvariantError(f"{client.name}: {name} is published and was never written")
        log = self.primary.shadow.logs.get(channel, {})
        if not self.ground.switched and log.get(seq, (0, name))[1] != name:
            raise BrokenInvariantError(f"{client.name}: {name} is published as {seq}, where {log.get(seq)} is")
        if not self.ground.switched and all(other != name for _, other in log.values()):
            raise BrokenInvariantError(f"{client.name}: {name} is published and not in the log")

    def _check_log(self, channel: str) -> None:
        """Look at the order in which each publisher's messages stand in the log."""
        if self.ground.switched:
            return  # What was void and is written again stands behind what came later.
        last: dict[str, int] = {}
        for _, name in self.primary.shadow.logs.get(channel, {}).values():
            publisher, _, cseq = name.rpartition("-")
            if int(cseq) <= last.get(publisher, 0):
                raise BrokenInvariantError(f"{channel}: {name} stands behind {publisher}-{last[publisher]}")
            last[publisher] = int(cseq)
