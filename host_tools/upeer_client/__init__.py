"""The client library of µpeer: reach paired devices from asyncio (`Client`) or without it (`upeer_client.blocking`).

async with upeer_client.Client() as client:
    async with await client.connect("ABCD-123456-GHKLM") as device:
        channel = await device.open("echo", 1)
"""

from upeer_client.client import Client, Limits
from upeer_client.config import Config, load_config
from upeer_client.connection import Connection
from upeer_client.errors import ClientError
from upeer_client.store import Pair, PairStore

__all__ = ["Client", "ClientError", "Config", "Connection", "Limits", "Pair", "PairStore", "load_config"]
