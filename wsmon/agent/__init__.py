"""An admin socket that any asyncio server can embed, and the client that speaks to one.

Embedding takes four lines:

    agent = AdminServer(Identity(kind=PeerKind.NODE, id="n1", version="1.0"))
    agent.operation("drain", start_drain)
    await agent.serve("ws+unix:///run/user/1000/wsmon/demo/n1.sock")
    agent.publish({"state": "online", "connections": 12})
"""
