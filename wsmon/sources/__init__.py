"""Where facts come from: admin sockets, Redis, processes of this machine, HTTP probes. Each tells what it learns
as an input of the model, survives whatever happens at the other end, and knows nothing of who listens.
"""
