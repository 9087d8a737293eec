"""The event loop on virtual time."""

import asyncio
import itertools
import os
import signal
import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.netem import (
    Deadlock,
    NotVirtualTime,
    NoVirtualNetwork,
    VirtualEventLoop,
    VirtualNetwork,
    VirtualTimeExceeded,
    run_virtual,
    virtual_aiortc,
)
from support.virtual import on_virtual_time


def now() -> float:
    return asyncio.get_running_loop().time()


@on_virtual_time
async def test_the_clock_starts_at_zero_and_jumps() -> None:
    assert now() == 0
    started = time.monotonic()
    await asyncio.sleep(1000)
    assert now() == 1000
    assert time.monotonic() - started < 1


@on_virtual_time
async def test_timers_of_equal_time_run_in_the_order_in_which_they_were_set() -> None:
    order: list[int] = []
    for number in range(100):
        asyncio.get_running_loop().call_at(5, order.append, number)
    await asyncio.sleep(6)
    assert order == list(range(100))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=300))
def test_timers_run_in_order_of_time_and_never_when_cancelled(plan: list[tuple[int, bool]]) -> None:
    async def main() -> list[tuple[int, int]]:
        ran: list[tuple[int, int]] = []
        loop = asyncio.get_running_loop()
        timers = [
            loop.call_later(delay, ran.append, (delay, number)) for number, (delay, _) in enumerate(plan)
        ]
        for timer, (_, is_cancelled) in zip(timers, plan, strict=True):
            if is_cancelled:
                timer.cancel()
                timer.cancel()
        await asyncio.sleep(10)
        return ran

    kept = [(delay, number) for number, (delay, is_cancelled) in enumerate(plan) if not is_cancelled]
    assert run_virtual(main()) == sorted(kept)


@on_virtual_time
async def test_a_timer_cancelled_in_the_moment_it_is_due_does_not_run() -> None:
    loop = asyncio.get_running_loop()
    ran: list[str] = []

    def cancel_second() -> None:
        second.cancel()

    loop.call_at(1, cancel_second)
    second = loop.call_at(1, ran.append, "second")
    await asyncio.sleep(2)
    assert ran == []


@on_virtual_time
async def test_a_cancelled_timer_does_not_hold_the_clock() -> None:
    asyncio.get_running_loop().call_later(5, print).cancel()
    await asyncio.sleep(10)
    assert now() == 10


@on_virtual_time
async def test_many_cancelled_timers_leave_the_others_in_order() -> None:
    loop = asyncio.get_running_loop()
    order: list[int] = []
    timers = [loop.call_at(1000 - number, order.append, 1000 - number) for number in range(1000)]
    for timer in timers:
        if timer.when() % 10:
            timer.cancel()
    await asyncio.sleep(1000)
    assert order == list(range(10, 1001, 10))


@on_virtual_time
async def test_timeouts_expire_on_virtual_time() -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), 30)
    assert now() == 30


@on_virtual_time
async def test_the_clock_stands_still_while_an_executor_works() -> None:
    go_on = threading.Event()
    timer = asyncio.get_running_loop().call_later(100, go_on.set)
    job = asyncio.to_thread(go_on.wait, 0.05)
    assert await job is False
    assert now() == 0
    timer.cancel()


@on_virtual_time
async def test_another_thread_can_wake_the_loop_while_an_executor_works() -> None:
    loop, woken = asyncio.get_running_loop(), asyncio.Event()
    await asyncio.gather(asyncio.to_thread(loop.call_soon_threadsafe, woken.set), woken.wait())
    assert now() == 0


@pytest.mark.leaks_tasks
def test_a_wait_that_nothing_can_end_raises_and_says_where() -> None:
    async def wait_forever() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        waiting = asyncio.create_task(wait_forever(), name="waiter")
        await waiting

    with pytest.raises(Deadlock) as caught:
        run_virtual(main())
    assert len(caught.value.waits) == 2
    assert "waiter in wait_forever" in str(caught.value)
    assert "await asyncio.Event().wait()" in str(caught.value)


@pytest.mark.leaks_tasks
def test_a_run_that_does_not_end_is_ended() -> None:
    async def main() -> None:
        for second in itertools.count():
            await asyncio.sleep(second)

    with pytest.raises(VirtualTimeExceeded, match="100 s"):
        run_virtual(main(), limit=100)


def test_a_run_returns_the_result_and_raises_the_error() -> None:
    async def succeed() -> str:
        return "done"

    async def fail() -> None:
        raise KeyError("oops")

    assert run_virtual(succeed()) == "done"
    with pytest.raises(KeyError, match="oops"):
        run_virtual(fail())


async def test_the_laboratory_refuses_other_loops() -> None:
    with pytest.raises(NotVirtualTime, match="run_virtual"):
        VirtualNetwork()
    with pytest.raises(NotVirtualTime), virtual_aiortc():
        pass


@on_virtual_time
async def test_sockets_need_a_network_and_a_loop_has_only_one() -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(NoVirtualNetwork, match="VirtualNetwork"):
        await loop.create_datagram_endpoint(asyncio.DatagramProtocol)
    VirtualNetwork()
    with pytest.raises(RuntimeError, match="already"):
        VirtualNetwork()


@on_virtual_time
async def test_real_descriptors_are_served_before_the_clock_jumps() -> None:
    loop = asyncio.get_running_loop()
    reader, writer = socket.socketpair()
    with reader, writer:
        arrived = asyncio.Event()
        loop.add_reader(reader, arrived.set)
        writer.send(b"x")
        await asyncio.wait_for(arrived.wait(), 10)
        assert now() == 0
        loop.remove_reader(reader)


@on_virtual_time
async def test_the_loop_waits_for_a_real_descriptor_when_nothing_else_can_happen() -> None:
    loop, arrived = asyncio.get_running_loop(), asyncio.Event()
    reader, writer = socket.socketpair()
    with reader, writer:
        loop.add_reader(reader, arrived.set)
        sender = threading.Timer(0.02, writer.send, [b"x"])
        sender.start()
        await arrived.wait()
        loop.remove_reader(reader)
        sender.join()
    assert now() == 0


@on_virtual_time
async def test_timers_that_are_cancelled_are_counted_right() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualEventLoop)
    for _ in range(500):
        for timer in [loop.call_later(5, print) for _ in range(60)]:
            timer.cancel()
    await asyncio.sleep(10)
    assert (loop._timers._cancelled, len(loop._timers._heap)) == (0, 0)


@on_virtual_time
async def test_a_signal_is_noticed_while_virtual_time_passes() -> None:
    loop = asyncio.get_running_loop()
    seen = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, seen.set)
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        for _ in range(1000):
            await asyncio.sleep(1)
        assert seen.is_set()
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)


@on_virtual_time
async def test_what_a_foreign_thread_asks_for_comes_before_the_clock_jumps() -> None:
    loop = asyncio.get_running_loop()
    heard_at: list[float] = []
    thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(lambda: heard_at.append(now())))
    thread.start()
    thread.join()
    await asyncio.sleep(5)
    assert heard_at == [0]
