"""Who has to have a commit: asked once for each batch, on the connection that wrote it."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from hashlib import sha1
from itertools import groupby

import pytest

from stepwell.errors import OutcomeUnknown, StoreRefused
from stepwell.redis.acks import Acks, Confirmation, confirmation, syncs_always
from stepwell.redis.gateway import Gateway
from stepwell.redis.scripts import Script
from stepwell.redis.source import Source
from stepwell.redis.topology import Topology
from stepwell.redis.wire import Stats
from support.proxy import Command, Position, Proxy
from support.servers import SERVER_KINDS, RedisServer, ServerKind, binary_or_skip

PUT = "#!lua\nredis.call('HSET', KEYS[1], 'text', ARGV[1])\nreturn {'OK'}"
VALKEY, TRUTHFUL, OLDEST = SERVER_KINDS

Start = Callable[..., RedisServer]


@pytest.fixture(autouse=True)
def only_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that writes whenever it is run, as those do that are asked to be acknowledged."""
    put = Script("put", PUT, sha1(PUT.encode()).hexdigest())  # noqa: S324 - Redis's choice

    def script(_name: str) -> Script:
        return put

    monkeypatch.setattr("stepwell.redis.gateway.script", script)


@asynccontextmanager
async def connected(
    url: str, *, seconds: float = 15.0, patience: float = 5.0
) -> AsyncGenerator[Gateway]:
    gateway = Gateway(Topology(Source.of(url), patience), Stats(), seconds)
    try:
        await gateway.greet("opening", 5.0)
        yield gateway
    finally:
        await gateway.close()


async def put(gateway: Gateway, acks: Acks, key: str = "k") -> list[object]:
    return await gateway.run("put", f"putting {key}", [key], ["text"], acks)


@pytest.fixture
def pair(own_server: Start) -> Iterator[tuple[RedisServer, RedisServer]]:
    """A master, and its replica."""
    binary = binary_or_skip(VALKEY)
    master = own_server(binary=binary, repl_diskless_sync_delay="0")
    replica = own_server(binary=binary)
    with replica.client() as client, master.client() as asked:
        client.replicaof("127.0.0.1", master.port)
        while asked.info("replication").get("slave0", {}).get("state") != "online":
            pass
    yield master, replica
    replica.thaw()


def names(proxy: Proxy) -> list[tuple[str, int]]:
    """The commands in their order, with how often each came in a row."""
    sent = [command.name for command in proxy.commands if command.name in ("EVALSHA", "WAIT")]
    return [(name, len(list(row))) for name, row in groupby(sent)]


async def test_a_batch_ends_with_one_question(pair: tuple[RedisServer, RedisServer]) -> None:
    with Proxy(pair[0].socket_path) as proxy:
        async with connected(proxy.url) as gateway:
            await put(gateway, Acks.REPLICA)
            proxy.commands.clear()
            await asyncio.gather(*(put(gateway, Acks.REPLICA, f"k{n}") for n in range(200)))
        assert names(proxy) == [("EVALSHA", 200), ("WAIT", 1)]


async def test_levels_do_not_wait_for_each_other(pair: tuple[RedisServer, RedisServer]) -> None:
    master, replica = pair
    async with connected(master.unix_url) as gateway:
        await put(gateway, Acks.REPLICA)
        replica.freeze()
        held = asyncio.create_task(put(gateway, Acks.REPLICA))
        assert await put(gateway, Acks.SERVER) == ["OK"]
        assert not held.done()
        replica.thaw()
        assert await held == ["OK"]


async def test_without_the_replica_it_says_what_happened_and_what_did_not(
    pair: tuple[RedisServer, RedisServer],
) -> None:
    master, replica = pair
    replica.freeze()
    async with connected(master.unix_url, seconds=1.0, patience=0.4) as gateway:
        with pytest.raises(
            OutcomeUnknown, match="applied on the server, and a replica did not acknowledge it"
        ):
            await put(gateway, Acks.REPLICA)
        with master.client() as client:
            assert client.hget("k", "text") == "text"
        replica.thaw()
        assert await put(gateway, Acks.REPLICA) == ["OK"]


async def test_what_is_sent_again_after_a_cut_is_acknowledged_anew(
    pair: tuple[RedisServer, RedisServer],
) -> None:
    master, replica = pair
    cuts = 0

    def cut(command: Command, position: Position) -> bool:
        nonlocal cuts
        first = command.name == "WAIT" and position == "before" and cuts == 0
        cuts += first
        return first

    replica.freeze()
    with Proxy(master.socket_path, on_command=cut) as proxy:
        async with connected(proxy.url, seconds=1.0, patience=0.4) as gateway:
            with pytest.raises(OutcomeUnknown, match="did not acknowledge"):
                await put(gateway, Acks.REPLICA)
    assert cuts == 1


async def test_a_refusal_needs_no_acknowledgement(pair: tuple[RedisServer, RedisServer]) -> None:
    master, replica = pair
    replica.freeze()
    with master.client() as client:
        client.set("k", "no hash")
    async with connected(master.unix_url) as gateway:
        with pytest.raises(StoreRefused, match="WRONGTYPE"):
            await put(gateway, Acks.REPLICA)


@pytest.mark.parametrize("kind", SERVER_KINDS, ids=str)
async def test_a_server_that_always_syncs_is_not_asked(kind: ServerKind, own_server: Start) -> None:
    server = own_server(binary=binary_or_skip(kind), appendfsync="always")
    with Proxy(server.socket_path) as proxy:
        async with connected(proxy.url) as gateway:
            await gateway.require(Acks.DISK)
            assert await put(gateway, Acks.DISK) == ["OK"]
        assert "WAITAOF" not in proxy.counts()


async def test_a_server_that_syncs_later_is_asked_and_waited_for(own_server: Start) -> None:
    server = own_server(binary=binary_or_skip(TRUTHFUL))
    with Proxy(server.socket_path) as proxy:
        async with connected(proxy.url) as gateway:
            await gateway.require(Acks.DISK)
            assert await put(gateway, Acks.DISK) == ["OK"]
            await asyncio.gather(*(put(gateway, Acks.DISK, f"k{n}") for n in range(50)))
        assert proxy.counts()["WAITAOF"] == 4  # the first try, SCRIPT LOAD, the second, the rest


@pytest.mark.parametrize("kind", [VALKEY, OLDEST], ids=str)
async def test_a_server_whose_word_is_worth_nothing_is_refused(
    kind: ServerKind, own_server: Start
) -> None:
    server = own_server(binary=binary_or_skip(kind))
    async with connected(server.unix_url) as gateway:
        with pytest.raises(StoreRefused, match="Set 'appendfsync always'"):
            await gateway.require(Acks.DISK)
        await gateway.require(Acks.SERVER)
        await gateway.require(Acks.REPLICA)


async def test_a_server_without_a_file_is_refused(own_server: Start) -> None:
    server = own_server(binary=binary_or_skip(TRUTHFUL), appendonly="no")
    async with connected(server.unix_url) as gateway:
        with pytest.raises(StoreRefused, match="keeps no append-only file"):
            await gateway.require(Acks.DISK)


@pytest.mark.parametrize(
    ("program", "settings", "always"),
    [
        (("valkey", "9.1.2"), {"appendonly": "yes", "appendfsync": "always"}, True),
        (("redis", "7.0.15"), {"appendonly": "yes", "appendfsync": "always"}, True),
        (("redis", "8.2.1"), {"appendonly": "yes", "appendfsync": "everysec"}, False),
        (("redis", "9.0.0"), {}, False),
        (("redis", "8.2.1"), {"appendonly": "no"}, None),
        (("redis", "7.4.0"), {"appendonly": "yes", "appendfsync": "everysec"}, None),
        (("valkey", "9.1.2"), {}, None),
        (("keydb", "99.0.0"), {}, None),
    ],
)
def test_what_a_server_is_decides_whether_its_disk_is_asked(
    program: tuple[str, str], settings: dict[str, str], always: bool | None
) -> None:
    if always is None:
        with pytest.raises(StoreRefused, match="acks='disk': the server at here"):
            syncs_always("here", program, settings)
    else:
        assert syncs_always("here", program, settings) is always


def test_each_level_asks_its_own_question() -> None:
    asked = {acks: confirmation(acks, 2.5) for acks in Acks}
    assert asked == {
        "server": None,
        "disk": Confirmation(("WAITAOF", 1, 0, 2500), "the disk"),
        "replica": Confirmation(("WAIT", 1, 2500), "a replica"),
    }


@pytest.mark.parametrize(
    ("acks", "reply", "enough"),
    [
        (Acks.REPLICA, 1, True),
        (Acks.REPLICA, 2, True),
        (Acks.REPLICA, 0, False),
        (Acks.DISK, [1, 0], True),
        (Acks.DISK, [0, 3], False),
        (Acks.DISK, ValueError("unknown command"), False),
    ],
)
def test_an_answer_is_enough_or_says_who_is_missing(
    acks: Acks, reply: object, enough: bool
) -> None:
    asked = confirmation(acks, 1.0)
    assert asked is not None
    refusal = asked.refusal(reply)
    assert (refusal is None) is enough
    assert refusal is None or str(refusal).startswith(f"no acknowledgement by {asked.by}: ")
