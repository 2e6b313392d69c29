"""Session ids and their secrets. Every node can check both by itself: they are signed with the cluster's key."""

import hashlib
import hmac
import secrets

ID_DIGITS = 32
SIGNATURE_DIGITS = 16


class Credentials:
    """Issues and checks sessions of one cluster."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def issue(self) -> str:
        """Return a new session id."""
        name = secrets.token_hex(ID_DIGITS // 2)
        return f"{name}.{self._sign('id', name)[:SIGNATURE_DIGITS]}"

    def secret(self, session: str) -> str:
        """Return the secret that proves to own `session`."""
        return self._sign("secret", session)[:32]

    def check(self, session: str, secret: str) -> bool:
        """Say whether this cluster issued the session, and its owner is speaking."""
        name, _, signature = session.partition(".")
        genuine = hmac.compare_digest(signature.encode(), self._sign("id", name)[:SIGNATURE_DIGITS].encode())
        owned = hmac.compare_digest(secret.encode(), self.secret(session).encode())
        return genuine and owned

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()


def message_id(session: str, channel: str, cseq: int) -> str:
    """Return the id of a message: the same for every repetition, and telling nothing of the session.

    What stands before the last `-` is its publisher, as far as this channel is concerned; behind it stands the cseq.
    """
    publisher = hashlib.blake2s(f"{session} {channel}".encode(), digest_size=8).hexdigest()
    return f"{publisher}-{cseq}"


def publisher_of(message: str) -> str:
    """Return the publisher in the id of a message."""
    return message.rpartition("-")[0]
