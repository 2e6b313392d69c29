"""Frames of the client protocol to bytes and back; one module a subprotocol."""
