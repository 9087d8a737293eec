"""The address of a store: what it may look like, and that its password is shown to nobody."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.signaling.store_url import StoreUrl, Topology


def test_a_store_alone() -> None:
    url = StoreUrl.parse("redis://localhost")
    assert url == StoreUrl(topology=Topology.STANDALONE, hosts=(("localhost", 6379),))
    assert StoreUrl.parse("redis://localhost:1/2").db == 2


def test_a_store_behind_sentinels() -> None:
    url = StoreUrl.parse("rediss+sentinel://me:p%40ss@a,b:1,[::1]:2/rooms/3?sentinel_password=other")
    assert url == StoreUrl(
        topology=Topology.SENTINEL,
        hosts=(("a", 26_379), ("b", 1), ("::1", 2)),
        tls=True,
        username="me",
        password="p@ss",
        service="rooms",
        db=3,
        sentinel_password="other",
    )


def test_a_cluster() -> None:
    url = StoreUrl.parse("redis+cluster://:secret@a:1,b:2")
    assert (url.topology, url.hosts) == (Topology.CLUSTER, (("a", 1), ("b", 2)))
    assert (url.username, url.password) == (None, "secret")


def test_nobody_is_shown_a_password() -> None:
    url = StoreUrl.parse("redis+sentinel://me:hunter2@a/rooms?sentinel_password=hunter3")
    assert str(url) == "redis+sentinel://a:26379/rooms"
    assert "hunter" not in f"{url!r} {url}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "http://localhost",
        "redis+moon://a",
        "redis://",
        "redis://a,b",
        "redis://a/x",
        "redis://a/1/2",
        "redis://a:port",
        "redis://a:99999",
        "redis+sentinel://a",
        "redis+cluster://a/1",
        "redis://[::1",
        "redis://me:hunter2@a/nonsense",
    ],
)
def test_what_is_no_address_says_so_without_the_password(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as failure:
        StoreUrl.parse(text)
    assert "hunter2" not in str(failure.value)


@given(st.text() | st.builds("redis://{}".format, st.text()))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        StoreUrl.parse(text)
