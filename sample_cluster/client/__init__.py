"""A client of the cluster that comes back by itself and hands every message out once, in order."""

from sample_cluster.client.changes import Asked, Attempted, Back, Change, Failed, Jumped, Lost, Stopped, Welcomed
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
    "Stopped",
    "Welcomed",
]
