"""The wire: one write for one turn of the event loop, replies in order, whatever is cancelled."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from redis.exceptions import ResponseError

from stepwell.errors import StoreUnavailable, WorkflowRuntimeError
from stepwell.redis.acks import Acks
from stepwell.redis.source import Source
from stepwell.redis.wire import Disconnected, Stats, Wire, pack
from support.processes import Child
from support.proxy import Command, Position, Proxy
from support.resp import arguments
from support.servers import RedisServer

FORKED = """
import asyncio, os, sys
from stepwell.redis.source import Source
from stepwell.redis.wire import Stats, Wire

async def main():
    wire = Wire(Source.of(sys.argv[1]), Stats(), patience=5)
    print(await wire.call("PING"))
    if os.fork() == 0:
        try:
            await wire.call("PING")
        except Exception as error:
            print(type(error).__name__, "forked" in str(error))
        os._exit(0)
    os.wait()
    await wire.close()

asyncio.run(main())
"""


@asynccontextmanager
async def connected(url: str, patience: float = 5.0) -> AsyncGenerator[tuple[Wire, Stats]]:
    stats = Stats()
    wire = Wire(Source.of(url), stats, patience)
    try:
        yield wire, stats
    finally:
        await wire.close()


async def test_commands_of_one_turn_leave_in_one_write(redis_server: RedisServer) -> None:
    async with connected(redis_server.unix_url) as (wire, stats):
        replies = await asyncio.gather(*(wire.call("ECHO", n) for n in range(200)))
    assert replies == [str(n).encode() for n in range(200)]
    assert (stats.commands, stats.writes, stats.connections) == (200, 1, 1)


async def test_a_write_is_bounded(redis_server: RedisServer) -> None:
    async with connected(redis_server.unix_url) as (wire, stats):
        await asyncio.gather(*(wire.call("ECHO", n) for n in range(1025)))
        assert stats.writes == 3
        await asyncio.gather(*(wire.call("ECHO", "x" * (1 << 19)) for _ in range(4)))
        assert stats.writes == 5


async def test_bytes_are_counted_as_they_leave(redis_server: RedisServer) -> None:
    with Proxy(redis_server.socket_path) as proxy:
        async with connected(proxy.url) as (wire, stats):
            await wire.call("ECHO", "ä" * 1000)
        assert stats.bytes_sent == proxy.bytes_sent().total()


async def test_an_error_reply_is_that_of_its_command(redis_server: RedisServer) -> None:
    async with connected(redis_server.unix_url) as (wire, _):
        replies = await asyncio.gather(
            wire.call("ECHO", "a"), wire.call("NONSENSE"), wire.call("ECHO", "b"),
            return_exceptions=True,
        )  # fmt: skip
    assert (replies[0], replies[2]) == (b"a", b"b")
    assert isinstance(replies[1], ResponseError)


async def test_a_cancelled_caller_takes_nobodys_reply(redis_server: RedisServer) -> None:
    async with connected(redis_server.unix_url) as (wire, stats):
        for turns in range(20):
            calls = [asyncio.create_task(wire.call("ECHO", n)) for n in range(3)]
            for _ in range(turns % 5):
                await asyncio.sleep(0)
            calls[1].cancel()
            assert await calls[0] == b"0"
            assert await calls[2] == b"2"
        assert await wire.call("ECHO", "last") == b"last"
    assert stats.connections == 1


async def test_what_was_in_flight_when_the_connection_broke_is_in_doubt(
    redis_server: RedisServer,
) -> None:
    def cut(command: Command, position: Position) -> bool:
        return command.words == (b"ECHO", b"1") and position == "after"

    with Proxy(redis_server.socket_path, on_command=cut) as proxy:
        async with connected(proxy.url) as (wire, stats):
            replies = await asyncio.gather(
                *(wire.call("ECHO", n) for n in range(3)), return_exceptions=True
            )
            assert replies[0] == b"0"
            assert all(isinstance(reply, Disconnected) and reply.sent for reply in replies[1:])
            assert await wire.call("ECHO", "again") == b"again"
        assert stats.connections == 2


async def test_without_a_connection_nothing_was_sent() -> None:
    async with connected("redis://127.0.0.1:1") as (wire, _):
        with pytest.raises(Disconnected) as caught:
            await wire.call("PING")
        assert not caught.value.sent


async def test_a_server_that_does_not_reply_is_given_up() -> None:
    silent = asyncio.Event()

    async def listen(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with connected(f"redis://127.0.0.1:{port}", patience=0.02) as (wire, _):
            with pytest.raises(Disconnected, match="no reply") as caught:
                await wire.call("PING")
        assert caught.value.sent
        silent.set()


async def test_a_text_that_is_no_unicode_hurts_its_caller_only(redis_server: RedisServer) -> None:
    async with connected(redis_server.unix_url) as (wire, _):
        good = asyncio.create_task(wire.call("ECHO", "good"))
        with pytest.raises(UnicodeEncodeError):
            await wire.call("ECHO", "\ud800")
        assert await good == b"good"


async def test_a_closed_wire_is_of_no_use(redis_server: RedisServer) -> None:
    async with connected(redis_server.unix_url) as (wire, _):
        await wire.call("PING")
    with pytest.raises(StoreUnavailable, match="was closed"):
        await wire.call("PING")


async def test_an_abandoned_wire_fails_what_it_has_and_connects_no_more(
    redis_server: RedisServer,
) -> None:
    async with connected(redis_server.unix_url) as (wire, stats):
        await wire.call("PING")
        waiting = asyncio.create_task(wire.call("BLPOP", "nothing", 0))
        await asyncio.sleep(0)
        wire.abandon()
        for call in (waiting, wire.call("PING")):
            with pytest.raises(Disconnected):
                await call
        with pytest.raises(Disconnected, match="nothing lives at this server") as caught:
            await wire.call("PING")
        assert not caught.value.sent
        assert stats.connections == 1


async def test_closing_fails_what_has_no_reply(redis_server: RedisServer) -> None:
    async with connected(redis_server.unix_url) as (wire, _):
        await wire.call("PING")
        waiting = asyncio.create_task(wire.call("BLPOP", "nothing", 0))
        await asyncio.sleep(0)
    with pytest.raises(Disconnected):
        await waiting


def test_another_event_loop_is_told_so(redis_server: RedisServer) -> None:
    wire = Wire(Source.of(redis_server.unix_url), Stats(), patience=5)

    async def call_and_drop() -> None:
        await wire.call("PING")
        await wire.drop()

    asyncio.run(call_and_drop())
    with pytest.raises(WorkflowRuntimeError, match="event loop"):
        asyncio.run(call_and_drop())


async def test_a_forked_process_is_told_so(redis_server: RedisServer) -> None:
    async with Child(FORKED, redis_server.unix_url) as child:
        assert await child.exit() == 0
        assert child.lines == ["b'PONG'", "WorkflowRuntimeError True"]


@pytest.mark.parametrize(
    "words",
    [("PING",), ("SET", "ä", b"\x00\r\n", 17), ("SET", "", b""), ("SET", Acks.DISK, -(10**30))],
)
def test_commands_are_packed_as_the_protocol_wants(words: tuple[str | bytes | int, ...]) -> None:
    expected = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    assert arguments(pack(words)) == expected
