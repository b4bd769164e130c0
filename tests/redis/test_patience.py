"""What is said when a call was given up: how often it was tried, for how long, where, and why."""

import re
from collections.abc import Callable

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from stepwell.errors import StoreUnavailable
from stepwell.redis.patience import Patience
from stepwell.redis.source import Source
from stepwell.redis.store import RedisStore
from stepwell.redis.wire import Disconnected, Stats
from stepwell.storage.records import Topic
from support.servers import RedisServer

NEWS = Topic("due", 0)
LEASE = 0.3
SECONDS = r"\d+\.\d s"


@pytest.mark.parametrize(("tries", "said"), [(1, "tried once in "), (3, "tried 3 times in ")])
async def test_the_tries_are_counted(
    monkeypatch: pytest.MonkeyPatch, tries: int, said: str
) -> None:
    monkeypatch.setattr("stepwell.redis.patience._PAUSE_SECONDS_MAX", 0.0)
    patience = Patience("greeting", "a:1", 60, 60, changes=False)
    trouble = RedisConnectionError("no.")
    for _ in range(tries):
        await patience.after(Disconnected(trouble, sent=False))
    told = str(patience.given_up(trouble))
    end = "at a:1, the last time: no. Nothing was changed"
    assert re.match(rf"greeting: {said}{SECONDS} {end}", told)


async def test_a_server_that_is_silent_was_not_tried_by_who_listens(
    own_server: Callable[..., RedisServer],
) -> None:
    server = own_server()
    store = RedisStore(Source.of(server.unix_url), "n", lease=LEASE, stats=Stats())
    await store.open()
    server.freeze()
    try:
        with pytest.raises(StoreUnavailable) as caught:
            await store.watch(NEWS, _Deaf())
    finally:
        server.thaw()
        await store.close()
    told = str(caught.value)
    place = re.escape(server.unix_url)
    assert re.search(rf"\(due\): no answer in {SECONDS} at {place}\. Nothing was changed", told)
    assert "tried" not in told


async def test_a_server_that_is_gone_is_told_of_with_the_reason_to_who_listens(
    own_server: Callable[..., RedisServer],
) -> None:
    server = own_server()
    store = RedisStore(Source.of(server.unix_url), "n", lease=LEASE, stats=Stats())
    await store.open()
    server.kill()
    try:
        with pytest.raises(StoreUnavailable) as caught:
            await store.watch(NEWS, _Deaf())
    finally:
        await store.close()
    told = str(caught.value)
    place = re.escape(server.unix_url)
    assert re.search(rf"\(due\): no answer in {SECONDS} at {place}, the last time: Error ", told)
    assert "tried" not in told


class _Deaf:
    """Wants no news."""

    def set(self) -> None:
        """Nothing."""
