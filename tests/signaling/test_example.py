"""The example of the README: a membership, from the join to the leave."""

import asyncio
import inspect
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from rtcmesh.signaling import (
    Identity,
    LocalPrekey,
    PairSeal,
    PeerJoined,
    ServerConfig,
    Signal,
    SignalingLink,
)
from rtcmesh.signaling.server import serve


async def greet_the_first_to_come(url: str) -> None:
    identity = Identity.create()
    prekey = LocalPrekey.create(identity, "lobby")
    async with SignalingLink.open(url, room="lobby", identity=identity, prekey=prekey.public) as link:
        async for event in link:
            if isinstance(event, PeerJoined):
                peer = event.member
                seal = PairSeal.derive(identity.peer_id, prekey, peer.peer_id, peer.prekey, room="lobby")
                await link.signal(peer.peer_id, seal.seal(b"welcome"))
                return


def join(url: str, identity: Identity, prekey: LocalPrekey) -> AbstractAsyncContextManager[SignalingLink]:
    return SignalingLink.open(url, room="lobby", identity=identity, prekey=prekey.public)


async def test_the_example_of_the_readme() -> None:
    watcher, guest = Identity.create(), Identity.create()
    watchers_prekey, prekey = (LocalPrekey.create(identity, "lobby") for identity in (watcher, guest))
    async with (
        serve(ServerConfig(port=0)) as server,
        join(server.url, watcher, watchers_prekey) as watch,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(greet_the_first_to_come(server.url))
        joined = await anext(watch)
        assert isinstance(joined, PeerJoined)
        host = joined.member
        async with join(server.url, guest, prekey) as link:
            seal = PairSeal.derive(guest.peer_id, prekey, host.peer_id, host.prekey, room="lobby")
            signal = await anext(link)
            assert isinstance(signal, Signal)
            assert seal.open(signal.sealed) == b"welcome"


def test_the_readme_shows_this_example() -> None:
    readme = Path(__file__).parents[2] / "signaling" / "README.md"
    assert inspect.getsource(greet_the_first_to_come) in readme.read_text()
