"""The admin protocol, version 1, without I/O: standard library only, so that anybody can embed it.

`states` and `events` are the vocabulary, `frames` the messages, `codec` turns them into text and back,
`session` holds the two sides of a connection, `registry` and `descriptor` say how a cluster is found.
"""
