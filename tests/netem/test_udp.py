"""UDP sockets of virtual hosts."""

import asyncio
import errno
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.netem import Host, LinkConfig, NoCurrentHost, VirtualNetwork, current_host, run_virtual
from support.virtual import on_virtual_time, pair


class Recorder(asyncio.DatagramProtocol):
    """Keeps what arrives, with the time, the sender and the host it arrived on."""

    def __init__(self) -> None:
        self.arrived: list[tuple[float, bytes, Any]] = []
        self.hosts: set[str] = set()
        self.errors: list[OSError] = []
        self.events: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.events.append("made")

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self.hosts.add(current_host().name)
        self.arrived.append((asyncio.get_running_loop().time(), data, addr))

    def error_received(self, exc: Exception) -> None:
        assert isinstance(exc, OSError)
        self.errors.append(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("lost")


async def open_socket(
    host: Host, local: tuple[str, int] | None = None, remote: tuple[str, int] | None = None
) -> tuple[asyncio.DatagramTransport, Recorder]:
    with host:
        return await asyncio.get_running_loop().create_datagram_endpoint(
            Recorder, local_addr=local, remote_addr=remote
        )


@on_virtual_time
async def test_a_datagram_arrives_after_the_delay_on_the_host_it_was_sent_to() -> None:
    _, alice, bob = pair(LinkConfig(delay=0.05))
    sender, _ = await open_socket(alice, ("10.0.0.1", 0))
    _, receiver = await open_socket(bob, ("10.0.0.2", 9))
    sender.sendto(b"hello", ("10.0.0.2", 9))
    await asyncio.sleep(1)
    assert receiver.arrived == [(0.05, b"hello", sender.get_extra_info("sockname"))]
    assert receiver.hosts == {"bob"}


@given(st.lists(st.binary(max_size=100), max_size=50), st.integers(0, 20))
def test_datagrams_arrive_whole_or_not_at_all_and_in_order(sent: list[bytes], seed: int) -> None:
    async def main() -> list[bytes]:
        _, alice, bob = pair(LinkConfig(delay=0.05, jitter=0.02, loss=0.2))
        sender, _ = await open_socket(alice)
        _, receiver = await open_socket(bob, ("bob", 9))
        for number, payload in enumerate(sent):
            sender.sendto(bytes([number]) + payload, ("bob", 9))
            await asyncio.sleep(0.01)
        await asyncio.sleep(5)
        return [data for _, data, _ in receiver.arrived]

    arrived = run_virtual(main(), seed=seed)
    numbers = [data[0] for data in arrived]
    assert numbers == sorted(set(numbers))
    assert all(data[1:] == sent[data[0]] for data in arrived)


@on_virtual_time
async def test_a_connected_socket_hears_its_remote_end_only() -> None:
    network, alice, bob = pair()
    carol = network.add_host("carol")
    server, server_side = await open_socket(bob, ("bob", 9))
    client, client_side = await open_socket(alice, remote=("bob", 9))
    stranger, _ = await open_socket(carol)
    client.sendto(b"ping")
    stranger.sendto(b"noise", client.get_extra_info("sockname"))
    await asyncio.sleep(1)
    server.sendto(b"pong", server_side.arrived[0][2])
    await asyncio.sleep(1)
    assert [data for _, data, _ in client_side.arrived] == [b"pong"]
    assert client.get_extra_info("peername") == ("10.0.0.2", 9)


@on_virtual_time
async def test_a_closed_socket_gives_its_port_back_and_hears_nothing() -> None:
    _, alice, bob = pair(LinkConfig(delay=0.05))
    sender, _ = await open_socket(alice)
    receiver_socket, receiver = await open_socket(bob, ("bob", 9))
    with pytest.raises(OSError, match="port 9") as caught:
        await open_socket(bob, ("bob", 9))
    assert caught.value.errno == errno.EADDRINUSE
    sender.sendto(b"too late", ("bob", 9))
    receiver_socket.close()
    receiver_socket.close()
    assert receiver_socket.is_closing()
    await asyncio.sleep(1)
    assert (receiver.arrived, receiver.events) == ([], ["made", "lost"])
    receiver_socket.sendto(b"ignored", ("alice", 1))
    await open_socket(bob, ("bob", 9))


@on_virtual_time
async def test_a_wildcard_socket_hears_on_every_address_and_answers_from_the_right_family() -> None:
    network = VirtualNetwork()
    alice = network.add_host("alice", ["10.0.0.1", "2001:db8::1"])
    bob = network.add_host("bob", ["10.0.0.2", "2001:db8::2"])
    sender, answers = await open_socket(alice)
    receiver, heard = await open_socket(bob, ("", 9))
    assert receiver.get_extra_info("sockname") == ("0.0.0.0", 9)
    sender.sendto(b"4", ("10.0.0.2", 9))
    sender.sendto(b"6", ("2001:db8::2", 9, 0, 0))
    await asyncio.sleep(1)
    port = sender.get_extra_info("sockname")[1]
    senders = [addr for _, _, addr in heard.arrived]
    assert senders == [("10.0.0.1", port), ("2001:db8::1", port, 0, 0)]
    for addr in senders:
        receiver.sendto(b"answer", addr)
    await asyncio.sleep(1)
    assert [addr for _, _, addr in answers.arrived] == [("10.0.0.2", 9), ("2001:db8::2", 9, 0, 0)]


@on_virtual_time
async def test_what_a_real_socket_refuses_is_an_error_of_the_protocol_and_the_rest_vanishes() -> None:
    network, alice, _ = pair()
    sender, protocol = await open_socket(alice)
    sender.sendto(b"nobody listens", ("bob", 9))
    await asyncio.sleep(1)
    assert network.machine.unreachable == 1
    sender.sendto(bytes(65508), ("bob", 9))
    sender.sendto(b"no address")
    sender.sendto(b"no such family", ("2001:db8::1", 9))
    sender.sendto(b"no such name", ("nobody", 9))
    codes = [error.errno for error in protocol.errors]
    assert codes[:3] == [errno.EMSGSIZE, errno.EDESTADDRREQ, errno.ENETUNREACH]
    assert "nobody" in str(protocol.errors[3])


@on_virtual_time
async def test_sockets_are_opened_on_the_current_host_only() -> None:
    network, alice, bob = pair()
    loop = asyncio.get_running_loop()
    with pytest.raises(NoCurrentHost, match="with host"):
        await loop.create_datagram_endpoint(Recorder)
    with pytest.raises(OSError, match=r"alice has no 10\.0\.0\.2") as caught:
        await open_socket(alice, ("10.0.0.2", 0))
    assert caught.value.errno == errno.EADDRNOTAVAIL
    with alice:
        with bob:
            inner = asyncio.create_task(asyncio.to_thread(lambda: current_host().name))
        assert current_host() is alice
    assert await inner == "bob"
    with pytest.raises(NoCurrentHost):
        current_host()
    assert network.hosts == (alice, bob)


@on_virtual_time
async def test_ephemeral_ports_ascend_and_loopback_is_the_host_itself() -> None:
    _, alice, _ = pair(LinkConfig(loss=1))
    first, heard = await open_socket(alice, ("127.0.0.1", 0))
    second, _ = await open_socket(alice, ("localhost", 0))
    assert first.get_extra_info("sockname")[1] + 1 == second.get_extra_info("sockname")[1]
    second.sendto(b"to myself", ("127.0.0.1", first.get_extra_info("sockname")[1]))
    await asyncio.sleep(1)
    assert [data for _, data, _ in heard.arrived] == [b"to myself"]


@on_virtual_time
async def test_partitions_are_one_way_when_asked_and_heal() -> None:
    network, alice, bob = pair()
    at_alice, heard_at_alice = await open_socket(alice, ("alice", 9))
    at_bob, heard_at_bob = await open_socket(bob, ("bob", 9))

    async def exchange() -> tuple[int, int]:
        before = len(heard_at_alice.arrived), len(heard_at_bob.arrived)
        at_alice.sendto(b"x", ("bob", 9))
        at_bob.sendto(b"x", ("alice", 9))
        await asyncio.sleep(1)
        return len(heard_at_alice.arrived) - before[0], len(heard_at_bob.arrived) - before[1]

    network.partition(alice, bob, one_way=True)
    assert await exchange() == (1, 0)
    network.partition(alice, bob)
    assert await exchange() == (0, 0)
    network.heal(alice, bob)
    assert await exchange() == (1, 1)
    network.set_link(alice, bob, LinkConfig(loss=1), one_way=True)
    assert await exchange() == (1, 0)
    assert network.link(alice, bob).counters.cut == 2


@on_virtual_time
async def test_names_resolve_to_addresses() -> None:
    network, alice, _ = pair()
    loop = asyncio.get_running_loop()
    with alice:
        assert [info[4] for info in await loop.getaddrinfo("bob", 80)] == [("10.0.0.2", 80)]
        network.add_host("carol", "2001:db8::3")
        assert [info[4] for info in await loop.getaddrinfo("carol", 80)] == [("2001:db8::3", 80, 0, 0)]
        with pytest.raises(OSError, match="no virtual host is named 'nobody'"):
            await loop.getaddrinfo("nobody", 80)
    with pytest.raises(ValueError, match="alice"):
        network.add_host("alice")


@on_virtual_time
async def test_what_a_protocol_raises_is_reported_and_costs_the_others_no_datagram() -> None:
    class Fragile(Recorder):
        def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
            raise ValueError(data)

    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    _, alice, bob = pair(LinkConfig(delay=0.05))
    sender, _ = await open_socket(alice)
    with bob:
        await asyncio.get_running_loop().create_datagram_endpoint(Fragile, local_addr=("bob", 8))
    _, receiver = await open_socket(bob, ("bob", 9))
    for port in (8, 9, 8, 9):
        sender.sendto(b"hello", ("bob", port))
    await asyncio.sleep(1)
    assert [str(context["exception"]) for context in reported] == ["b'hello'"] * 2
    assert len(receiver.arrived) == 2
