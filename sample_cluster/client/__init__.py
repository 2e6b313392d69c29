"""A client of the cluster that comes back by itself and hands every message out once, in order.

```python
import asyncio
from sample_cluster.client import Client, ClientOptions

async def main() -> None:
    client = Client("ws://127.0.0.1:8800/ws", ClientOptions(), on_change=print)
    await client.connect()
    await client.subscribe("room.1", lambda message: print(message.seq, message.data))
    published = await client.publish("room.1", {"text": "hello"})
    print("in the log at", published.seq)
    await asyncio.sleep(60)  # Kill nodes meanwhile: messages go on, and each comes once.
    await client.close()

asyncio.run(main())
```

`Client` takes one address or several. Handlers and `on_change` are called within the event loop and must not block.
`on_change` gets a `Change` for all that happens to the connection (`Lost`, `Wait`, `Attempted`, `Failed`, `Welcomed`,
`Back`, `Asked`, `Stopped`) and to channels that cannot simply go on: `Jumped` names messages that are missing for good,
`Rewound` numbers that never happened because the log forked, `Rewritten` a message that came again after that.

`publish` waits for the log, not for the node: its future holds across any number of reconnects and raises
`PublishRefusedError` if the message is refused for good. At most `ClientOptions.unanswered_max` are unanswered at a
time. To speak Protobuf give `ClientOptions(codec=codec_for("wsc.v1.pb"), …)`; see `sample_cluster.codecs`.
"""

from sample_cluster.client.changes import (
    Asked,
    Attempted,
    Back,
    Change,
    Failed,
    Jumped,
    Lost,
    Rewound,
    Rewritten,
    Stopped,
    Welcomed,
)
from sample_cluster.client.client import Client, ClientOptions, Handler

__all__ = [
    "Asked",
    "Attempted",
    "Back",
    "Change",
    "Client",
    "ClientOptions",
    "Failed",
    "Handler",
    "Jumped",
    "Lost",
    "Rewound",
    "Rewritten",
    "Stopped",
    "Welcomed",
]
