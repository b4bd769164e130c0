"""The tools of the other tests: they must count right, and cut where they say."""

# redis-py leaves its **kwargs and its messages untyped:
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as BrokenConnection

from support.processes import Child
from support.proxy import Command, Position, Proxy
from support.resp import Frames, arguments
from support.servers import RedisServer

WRITER = """
import os, redis
with redis.Redis.from_url(os.environ["STORE"]) as client:
    for number in range(10):
        client.incr(os.environ["KEY"])
        print("wrote", number)
"""


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Redis]:
    async with Redis.from_url(url, retry=Retry(NoBackoff(), 0)) as client:
        yield client


# frames


@pytest.mark.parametrize(
    "frame",
    [
        b"+OK\r\n",
        b":1\r\n",
        b"$-1\r\n",
        b"$0\r\n\r\n",
        b"$4\r\n\r\n\r\n\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*2\r\n*1\r\n:1\r\n$1\r\na\r\n",
        b"%1\r\n+a\r\n*2\r\n:1\r\n_\r\n",
        b">2\r\n+a\r\n#t\r\n",
        b"|1\r\n+a\r\n:1\r\n$1\r\na\r\n",
        b"=5\r\ntxt:a\r\n",
    ],
)
def test_a_frame_is_found_however_its_bytes_arrive(frame: bytes) -> None:
    frames = Frames()
    found = [list(frames.feed(frame[at : at + 1])) for at in range(len(frame))]
    assert found == [[]] * (len(frame) - 1) + [[frame]]
    assert list(frames.feed(frame + frame)) == [frame, frame]


def test_the_words_of_a_command_are_read_from_both_of_its_forms() -> None:
    assert arguments(b"*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n") == [b"GET", b"a\r\nb"]
    assert arguments(b"GET a\r\n") == [b"GET", b"a"]


# proxy


@pytest.mark.parametrize("tcp", [False, True])
async def test_the_proxy_counts_each_command_of_a_pipeline(
    redis_server: RedisServer, namespace: str, tcp: bool
) -> None:
    with Proxy(redis_server.socket_path, tcp=tcp) as proxy:
        async with connected(proxy.url) as client, client.pipeline(transaction=False) as batch:
            for value in range(50):
                batch.set(f"{namespace}:{value}", "x" * 3000)
            await batch.execute()
            assert await client.get(f"{namespace}:49") == b"x" * 3000
    assert proxy.counts()["SET"] == 50
    assert proxy.counts()["GET"] == 1
    assert proxy.bytes_sent()["SET"] > 150_000
    assert proxy.bytes_sent().total() == sum(command.size for command in proxy.commands)


async def test_the_proxy_tells_a_subscriber_from_a_writer(
    redis_server: RedisServer, namespace: str
) -> None:
    asked: list[tuple[str, str, Position]] = []

    def note(command: Command, position: Position) -> bool:
        asked.append((command.first, command.name, position))
        return False

    with Proxy(redis_server.socket_path, on_command=note) as proxy:
        async with connected(proxy.url) as client, client.pubsub() as channel:
            await channel.subscribe(namespace)
            await client.publish(namespace, "news")
            assert (await anext(channel.listen()))["type"] == "subscribe"
            assert (await anext(channel.listen()))["data"] == b"news"
    assert [entry for entry in asked if entry[0] == "SUBSCRIBE"] == [
        ("SUBSCRIBE", "SUBSCRIBE", "before")
    ]
    assert ("PUBLISH", "PUBLISH", "after") in asked
    by_connection = proxy.commands_by_connection()
    assert sorted(commands[-1].first for commands in by_connection.values()) == [
        "PUBLISH",
        "SUBSCRIBE",
    ]


@pytest.mark.parametrize(("position", "written"), [("before", 2), ("after", 3)])
async def test_a_client_can_be_killed_exactly_around_its_third_write(
    redis_server: RedisServer, namespace: str, position: Position, written: int
) -> None:
    with Proxy(redis_server.socket_path) as proxy:
        async with Child(WRITER, env={"STORE": proxy.url, "KEY": namespace}) as child:

            def crash(command: Command, at: Position) -> bool:
                if command.name != "INCRBY" or (proxy.counts()["INCRBY"], at) != (3, position):
                    return False
                child.kill()
                return True

            proxy.on_command = crash
            assert await child.exit() == -signal.SIGKILL
        assert child.lines == ["wrote 0", "wrote 1"]
        async with connected(proxy.url) as client:  # a cut does not close the proxy
            assert await client.get(namespace) == str(written).encode()


async def test_a_client_sees_a_cut_as_a_broken_connection(
    redis_server: RedisServer, namespace: str
) -> None:
    with Proxy(redis_server.socket_path, on_command=lambda c, _: c.name == "SET") as proxy:
        async with connected(proxy.url) as client:
            with pytest.raises(BrokenConnection):
                await client.set(namespace, 1)
            assert await client.exists(namespace) == 0


async def test_what_a_hook_raises_is_raised_where_the_proxy_was_opened(
    redis_server: RedisServer,
) -> None:
    def fail(_command: Command, _position: Position) -> bool:
        raise LookupError("hook")

    async def use_proxy() -> None:
        with Proxy(redis_server.socket_path, on_command=fail) as proxy:
            async with connected(proxy.url) as client:
                with pytest.raises(BrokenConnection):
                    await client.get("key")

    with pytest.raises(LookupError, match="hook"):
        await use_proxy()


# servers and children


async def test_a_killed_server_comes_back_with_its_data(
    own_server: Callable[..., RedisServer],
) -> None:
    server = own_server()
    for url in (server.url, server.unix_url):
        async with connected(url) as client:
            await client.incr("key")
        server.kill()
        server.start()
    server.restart()
    async with connected(server.url) as client:
        assert await client.get("key") == b"2"


async def test_a_server_with_a_password_lets_only_its_owner_in(
    own_server: Callable[..., RedisServer],
) -> None:
    server = own_server(password="p@ss:/word", maxmemory="64mb")  # noqa: S106 - of a test server
    async with connected(server.url) as client:
        assert (await client.config_get("maxmemory"))["maxmemory"] == str(64 * 1024 * 1024)
    async with connected(f"unix://{server.socket_path}") as stranger:
        with pytest.raises(BrokenConnection, match="authenticated"):
            await stranger.get("key")


def test_a_server_that_can_not_start_shows_its_log(own_server: Callable[..., RedisServer]) -> None:
    with pytest.raises(RuntimeError, match="FATAL CONFIG"):
        own_server(appendfsync="sometimes")


async def test_a_child_reports_its_lines_and_its_end(tmp_path: Path) -> None:
    program = tmp_path / "child.py"
    program.write_text("import os, sys; print(); print('is', os.environ['NAME']); sys.exit(3)")
    async with Child(program, env={"NAME": "here"}) as child:
        assert await child.line("is") == "is here"
        with pytest.raises(EOFError, match="nothing"):
            await child.line("nothing")
        assert await child.exit() == 3
    assert child.lines == ["", "is here"]
