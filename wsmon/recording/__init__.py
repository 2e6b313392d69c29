"""Recordings: what the sources told, in the order in which it was told, in a file that survives its writer.

`rows` turns inputs into JSON rows and back, `chunks` packs rows into checksummed and compressed pieces of a file,
`tape` writes such pieces and keeps the newest of them in memory, `recording` reads them, whatever became of them.
All of these are pure: inputs and bytes in, bytes and inputs out. `recorder` is the shell: threads, and files.
"""
