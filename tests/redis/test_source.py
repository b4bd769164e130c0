"""Where a store finds its server: URLs and redis-py clients of every kind."""

# redis-py leaves the arguments of its clients partly untyped:
# pyright: reportUnknownMemberType=false

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fakeredis
import pytest
import redis
import redis.asyncio
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import SSLConnection
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.sentinel import Sentinel

from stepwell.redis.doors import Seeds, Sentinels
from stepwell.redis.server import Server
from stepwell.redis.slots import Node
from stepwell.redis.source import Source
from stepwell.redis.store import RedisStore
from stepwell.redis.wire import Stats
from support.servers import RedisServer

PASSWORD = "p:@s/s w%rd"  # noqa: S105 - of a server that lives as long as a test

CLIENTS: dict[str, Callable[[RedisServer], Any]] = {
    "url over TCP": lambda server: server.url,
    "url over a Unix socket": lambda server: server.unix_url,
    "url with options of clients": lambda server: (
        f"{server.unix_url}?db=3&decode_responses=true&protocol=3&health_check_interval=1"
        "&retry_on_timeout=true&max_connections=5"
    ),
    "sync": lambda server: redis.Redis.from_url(server.url),
    "sync, decoding": lambda server: redis.Redis.from_url(server.url, decode_responses=True),
    "sync, Unix socket": lambda server: redis.Redis(
        unix_socket_path=str(server.socket_path), password=server.password
    ),
    "sync, blocking pool": lambda server: redis.Redis(
        connection_pool=redis.BlockingConnectionPool.from_url(server.url, max_connections=1)
    ),
    "sync, user": lambda server: redis.Redis(
        port=server.port, username="default", password=server.password, db=2
    ),
    "async": lambda server: redis.asyncio.Redis.from_url(server.url),
    "async, decoding": lambda server: redis.asyncio.Redis.from_url(
        server.url, decode_responses=True, protocol=3
    ),
    "async, Unix socket": lambda server: redis.asyncio.Redis.from_url(server.unix_url),
    "async, blocking pool": lambda server: redis.asyncio.Redis(
        connection_pool=redis.asyncio.BlockingConnectionPool.from_url(server.url)
    ),
    "async, slow and stubborn": lambda server: redis.asyncio.Redis(
        port=server.port, password=server.password, socket_timeout=0.000001, health_check_interval=1
    ),
}


@pytest.fixture(scope="module")
def locked_server() -> Any:
    with RedisServer(password=PASSWORD) as server:
        yield server


@pytest.mark.parametrize("kind", CLIENTS)
async def test_a_store_connects_as_the_client_would(
    kind: str, locked_server: RedisServer, namespace: str
) -> None:
    source = Source.of(CLIENTS[kind](locked_server))
    assert PASSWORD not in repr(source)
    assert quote(PASSWORD, safe="") not in repr(source)
    store = RedisStore(source, namespace, stats=Stats())
    await store.open()
    try:
        assert await store.read("nothing") is None
    finally:
        await store.close()


async def test_the_database_of_the_client_is_used(
    locked_server: RedisServer, namespace: str
) -> None:
    store = RedisStore(Source.of(f"{locked_server.unix_url}?db=5"), namespace, stats=Stats())
    await store.open()
    await store.close()
    with redis.Redis.from_url(f"{locked_server.unix_url}?db=5") as client:
        assert client.exists(f"stepwell:{{{namespace}}}:meta")


async def test_an_embedded_server_is_started(namespace: str, tmp_path: Path) -> None:
    source = Source.of(f"embedded://{tmp_path}/data")
    assert source.address == f"embedded:{tmp_path}/data"
    store = RedisStore(source, namespace, stats=Stats())
    await store.open()
    await store.close()
    assert (tmp_path / "data" / "redis.sock").exists()


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://user:secret@example.org:7000/3", "redis://example.org:7000/3"),
        ("redis://", "redis://localhost:6379/0"),
        ("rediss://:secret@example.org", "rediss://example.org:6379/0"),
        ("unix://user:secret@/run/redis.sock?db=2", "unix:///run/redis.sock?db=2"),
        ("redis://example.org?username=user&password=secret", "redis://example.org:6379/0"),
        ("redis+cluster://:secret@a:7000,b,[::1]:7001", "redis+cluster://a:7000,b:6379,[::1]:7001"),
        ("rediss+cluster://a", "rediss+cluster://a:6379"),
        ("redis+sentinel://u:secret@a:1,b/main", "redis+sentinel://a:1,b:26379/main/0"),
        (
            "rediss+sentinel://a/main/2?sentinel_password=secret",
            "rediss+sentinel://a:26379/main/2",
        ),
    ],
)
def test_an_address_for_messages_has_no_user_and_no_password(url: str, address: str) -> None:
    source = Source.of(url)
    assert source.address == address
    assert "secret" not in repr(source)


@pytest.mark.parametrize("client", [redis.Redis, redis.asyncio.Redis])
def test_tls_settings_are_those_of_the_client(client: Any) -> None:
    source = Source.of(
        client(host="example.org", ssl=True, ssl_ca_certs="/ca.pem", ssl_check_hostname=True)
    )
    assert isinstance(source.door, Server)
    assert source.door.connection_class is SSLConnection
    assert source.door.settings["ssl_ca_certs"] == "/ca.pem"
    assert source.address.startswith("rediss://")


def test_ocsp_which_is_not_there_on_async_connections_is_not_dropped_silently() -> None:
    client = redis.Redis(host="example.org", ssl=True, ssl_validate_ocsp_stapled=True)
    with pytest.raises(TypeError, match="OCSP"):
        Source.of(client)


@pytest.mark.parametrize(
    "client",
    [
        fakeredis.FakeRedis,
        fakeredis.FakeAsyncRedis,
        lambda: redis.Redis(connection_pool=fakeredis.FakeRedis().connection_pool),
    ],
)
def test_a_fake_server_lives_in_one_process_only_and_is_refused(client: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match="nothing would outlive it; use 'embedded:'"):
        Source.of(client())


@pytest.mark.parametrize("sentinel", [Sentinel, AsyncSentinel])
def test_settings_of_a_client_made_by_sentinel_are_taken_apart(sentinel: Any) -> None:
    places = [("one.example.org", 26379), ("two.example.org", 26380)]
    made = sentinel(
        places, sentinel_kwargs={"password": "theirs"}, password=PASSWORD, db=3, ssl=True
    ).master_for("main")
    source = Source.of(made)
    assert source.address == (
        "rediss+sentinel://one.example.org:26379,two.example.org:26380/main/3"
    )
    assert isinstance(source.door, Sentinels)
    assert source.door.master.connection_class is SSLConnection
    assert source.door.master.settings["password"] == PASSWORD
    assert [one.settings["password"] for one in source.door.sentinels] == ["theirs", "theirs"]
    assert PASSWORD not in repr(source)


@pytest.mark.parametrize("sentinel", [Sentinel, AsyncSentinel])
def test_a_client_that_reads_from_replicas_is_refused(sentinel: Any) -> None:
    with pytest.raises(TypeError, match="pass one made by master_for"):
        Source.of(sentinel([("localhost", 1)]).slave_for("main"))


def test_settings_of_a_cluster_client_are_taken() -> None:
    def remapped(place: tuple[str, int]) -> tuple[str, int]:
        return "outside", place[1] + 1

    nodes = [ClusterNode("one", 7000), ClusterNode("two", 7001)]
    client = redis.asyncio.RedisCluster(
        startup_nodes=nodes, password=PASSWORD, ssl=True, address_remap=remapped
    )
    source = Source.of(client)
    assert source.address == "rediss+cluster://one:7000,two:7001"
    assert isinstance(source.door, Seeds)
    node = source.door.at(Node("inside", 7002))
    assert node.connection_class is SSLConnection
    assert node.settings["password"] == PASSWORD
    assert node.node == ("outside", 7003)
    assert PASSWORD not in repr(source)


def test_user_and_password_of_sentinels_are_their_own() -> None:
    door = Source.of(
        "rediss+sentinel://u:master@a/main/2?sentinel_username=s&sentinel_password=theirs"
        "&ssl_ca_certs=/ca.pem"
    ).door
    assert isinstance(door, Sentinels)
    master, sentinel = door.master.settings, door.sentinels[0].settings
    assert (master["username"], master["password"], master["db"]) == ("u", "master", 2)
    assert (sentinel["username"], sentinel["password"]) == ("s", "theirs")
    assert sentinel["ssl_ca_certs"] == master["ssl_ca_certs"] == "/ca.pem"
    assert door.sentinels[0].connection_class is SSLConnection


def test_a_synchronous_connect_hook_is_refused() -> None:
    client = redis.Redis(redis_connect_func=print)
    with pytest.raises(TypeError, match="redis_connect_func"):
        Source.of(client)


def test_what_is_no_client_is_refused() -> None:
    with pytest.raises(TypeError, match="dict is no redis-py client"):
        Source.of({})  # pyright: ignore[reportArgumentType] - as above


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://:secret@example.org", "the scheme 'http'"),
        ("localhost:6379", "the scheme 'localhost'"),
        ("redis://:secret@localhost?bd=3", "no option bd"),
        ("redis://:secret@localhost:many", "many|[Pp]ort"),
        ("embedded://host/x?y", "no embedded server"),
        ("redis+nothing://:secret@localhost", r"the scheme 'redis\+nothing'"),
        ("unix+cluster://:secret@localhost", r"the scheme 'unix\+cluster'"),
        ("redis+cluster://:secret@a:1,b:many", "many|[Pp]ort"),
        ("redis+cluster://:secret@a/zero", "database 'zero'"),
        ("redis+sentinel://:secret@a:1,b:2", "names no service for the sentinels at a:1,b:2"),
        ("redis+sentinel://:secret@a/main/zero", "database 'zero'"),
        ("redis+sentinel://:secret@a/main?sentinel_host=x", "no option sentinel_host"),
    ],
)
def test_a_url_that_means_nothing_is_refused_without_its_password(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        Source.of(url)
    assert "secret" not in str(caught.value)
