"""Golden transcripts of the admin protocol, and what plays them against anybody's admin socket.

The transcripts are the `*.jsonl` beside this file. `patterns` compares what came with what has to come, `transcripts`
reads a file into steps, `stream` follows revisions and events, `performance` plays a transcript without I/O, and
`stage` gives it connections. docs/admin-protocol.md says how a transcript is written.
"""
