"""The store as its users see it: what it promises when servers, connections and owners fail."""

# redis-py leaves its replies partly untyped:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import asyncio
import gc
import json
import re
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from redis import Redis

from stepwell.errors import (
    OutcomeUnknown,
    RunCorrupt,
    RunNotFound,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from stepwell.redis.keys import Keys
from stepwell.redis.source import Source
from stepwell.redis.store import RedisStore
from stepwell.redis.wire import Stats
from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Commit, Message, NewRun, Presence
from support.processes import Child
from support.proxy import Command, Position, Proxy
from support.servers import RedisServer
from support.verbs import (
    FIELDS,
    LANE,
    PENDING,
    RUN,
    commit,
    create,
    deliver,
    end,
    enqueue,
    presence_after_looks,
    release,
)

LAYOUT = Path(__file__).parents[2] / "docs" / "redis-layout.md"

OWNER = """
import asyncio, sys
from stepwell.redis.source import Source
from stepwell.redis.store import RedisStore
from stepwell.redis.wire import Stats
from stepwell.storage.records import NewRun

async def main():
    store = RedisStore(Source.of(sys.argv[1]), sys.argv[2], partitions=4, stats=Stats())
    await store.open()
    await store.appear("ann", store.partition_of("d1~1"))
    fields = {"format": "1", "workflow": "Letters", "status": "running"}
    await store.create(NewRun("d1~1", "d1", "ann", fields))
    print("owning")
    await asyncio.Event().wait()

asyncio.run(main())
"""

Hook = Callable[[Command, Position], bool]


@asynccontextmanager
async def opened(
    place: str, namespace: str, *, lease: float = 15.0, partitions: int = 4
) -> AsyncGenerator[RedisStore]:
    stats = Stats()
    store = RedisStore(Source.of(place), namespace, lease=lease, partitions=partitions, stats=stats)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(redis_server: RedisServer, namespace: str) -> AsyncGenerator[RedisStore]:
    async with opened(redis_server.unix_url, namespace) as store:
        yield store


@pytest.fixture
def keys(namespace: str) -> Keys:
    return Keys(namespace, 4)


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Any]:
    """Another program that uses the server."""
    with Redis.from_url(redis_server.unix_url, decode_responses=True) as client:
        yield client


async def until_subscribed(client: Any, channel: str) -> None:
    """Return when somebody listens to a channel."""
    while not client.pubsub_shardnumsub(channel)[0][1]:  # noqa: ASYNC110 - the server's fact
        await asyncio.sleep(0)


def lasting(client: Any, keys: Keys) -> set[str]:
    """The keys of a namespace that have no time to live."""
    names = client.keys(f"{keys.meta[: -len('}:meta')]}*".replace("{", "\\{"))
    return {name for name in names if client.ttl(name) < 0}


# The life of a run


async def test_when_a_run_ended_nothing_is_left_without_a_time_to_live(
    store: RedisStore, keys: Keys, client: Any
) -> None:
    await store.appear("ann", store.partition_of(RUN))
    await store.commit(end(await create(store), 2, "failed"))
    claim = await store.claim(RUN, "ann", "", LANE)
    assert claim is not None
    await store.commit(end(claim, 3, "completed"))
    await store.disappear("ann")
    here = store.partition_of(RUN)
    assert lasting(client, keys) == {keys.meta, keys.runs(here), keys.ended(here)}


async def test_when_all_ended_and_all_left_no_key_is_without_an_owner_or_a_time_to_live(
    store: RedisStore, keys: Keys, client: Any
) -> None:
    """But for what a sweep forgets: names of runs when they expire, the dead after a minute."""
    here = store.partition_of(RUN)
    await live_all(store)
    indexes = {keys.runs(here), keys.ended(here)}
    the_dead = {keys.owners(here), keys.mail(here, "bob")}
    assert lasting(client, keys) == {keys.meta, *indexes, *the_dead}
    runs = client.zrange(keys.runs(here), 0, -1)
    assert len(runs) == 4
    assert set(runs) == set(client.zrange(keys.ended(here), 0, -1))
    assert all(client.ttl(keys.run(run)) > 0 for run in runs)
    client.zadd(keys.owners(here), {"bob": 1})
    client.zadd(keys.ended(here), dict.fromkeys(runs, 1))
    await store.sweep(here)
    assert lasting(client, keys) == {keys.meta}


# Ids, sizes, encodings


@pytest.mark.parametrize("namespace", ["", "a b", "a/b", "{a}", "x" * 65])
def test_a_namespace_that_is_none_is_named(namespace: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(namespace))):
        RedisStore(Source.of("redis://"), namespace, stats=Stats())


# Damage by others


async def test_a_field_that_is_no_text_is_named(store: RedisStore, keys: Keys, client: Any) -> None:
    await create(store)
    client.hset(keys.run(RUN), "state:a", b"\xff")
    with pytest.raises(RunCorrupt, match="'state:a' is not UTF-8"):
        await store.read(RUN)


async def test_a_run_that_can_not_be_read_is_not_kept_by_its_claimer(
    store: RedisStore, keys: Keys, client: Any
) -> None:
    await create(store)
    client.hset(keys.run(RUN), "state:a", b"\xff")
    with pytest.raises(RunCorrupt, match="'state:a' is not UTF-8"):
        await store.claim(RUN, "bob", "ann", LANE)
    assert not client.hexists(keys.run(RUN), "owner")


async def test_a_run_that_lost_a_field_is_told_so_by_a_look(
    store: RedisStore, keys: Keys, client: Any
) -> None:
    await create(store)
    client.hdel(keys.run(RUN), "token")
    with pytest.raises(RunCorrupt, match="'token'"):
        await store.peek(RUN)


@pytest.mark.parametrize(
    "verb",
    ["peek", "read", "same_input", "claim", "commit", "create", "enqueue", "deliver", "release"],
)
async def test_a_key_of_another_type_is_named_with_a_remedy(
    store: RedisStore, keys: Keys, client: Any, verb: str
) -> None:
    claim = await create(store)
    key = keys.same("d1") if verb == "same_input" else keys.run(RUN)
    client.delete(key)
    client.set(key, "not ours")
    calls: dict[str, Callable[[], Any]] = {
        "peek": lambda: store.peek(RUN),
        "read": lambda: store.read(RUN),
        "same_input": lambda: store.same_input("d1"),
        "claim": lambda: store.claim(RUN, "bob", "ann", LANE),
        "commit": lambda: store.commit(commit(claim, 2)),
        "create": lambda: create(store),
        "enqueue": lambda: enqueue(store),
        "deliver": lambda: deliver(store, "a"),
        "release": lambda: release(store, claim),
    }
    with pytest.raises(RunCorrupt, match=re.escape(key)) as caught:
        await calls[verb]()
    assert "nothing was changed" in str(caught.value)
    assert "another namespace" in str(caught.value)
    assert client.get(key) == "not ours"


async def test_a_run_that_was_deleted_is_told_so_and_not_made_again(
    store: RedisStore, keys: Keys, client: Any
) -> None:
    claim = await create(store)
    client.delete(keys.run(RUN))
    with pytest.raises(RunNotFound, match=RUN):
        await store.commit(commit(claim, 2, a="1"))
    with pytest.raises(RunNotFound, match=RUN):
        await store.commit(end(claim, 2, "completed"))
    with pytest.raises(RunNotFound, match=RUN):
        await release(store, claim)
    assert await store.read(RUN) is None


async def test_a_server_that_forgot_commits_is_told_so(
    store: RedisStore, keys: Keys, client: Any
) -> None:
    claim = await create(store)
    earlier = client.hgetall(keys.run(RUN))
    await store.commit(commit(claim, 2, a="1"))
    client.hset(keys.run(RUN), mapping=earlier)
    with pytest.raises(StoreRefused, match=r"at commit 1.*lost commits"):
        await store.commit(commit(claim, 3, a="2"))


# Owners


async def test_a_dead_process_is_known_to_be_gone_long_before_its_lease_ends(
    store: RedisStore, redis_server: RedisServer, namespace: str
) -> None:
    async with Child(OWNER, redis_server.unix_url, namespace) as owner:
        await owner.line("owning")
        assert await store.presence("ann", RUN) is Presence.PRESENT
        owner.kill()
        await owner.exit()
        assert await presence_after_looks(store, "ann") is Presence.GONE
        assert await store.claim(RUN, "bob", "ann", LANE) is not None


async def test_killing_all_subscribers_takes_no_run_from_a_living_owner(
    own_server: Callable[..., RedisServer],
) -> None:
    server, keys = own_server(), Keys("n", 4)
    channel = keys.owner(keys.partition_of(RUN), "ann")
    async with opened(server.unix_url, "n") as store, opened(server.unix_url, "n") as other:
        await store.appear("ann", store.partition_of(RUN))
        await create(store)
        with Redis.from_url(server.unix_url) as client:
            for _ in range(5):
                assert cast("Any", client).client_kill_filter(_type="pubsub") == 1
                assert await presence_after_looks(other, "ann") is Presence.PRESENT
                await until_subscribed(client, channel)
        assert await other.claim(RUN, "bob", "ann", LANE) is None


async def test_an_owner_survives_a_restart_of_the_server(
    own_server: Callable[..., RedisServer],
) -> None:
    server = own_server()
    async with opened(server.unix_url, "n") as store, opened(server.unix_url, "n") as other:
        await store.appear("ann", store.partition_of(RUN))
        await create(store)
        await asyncio.to_thread(server.restart)
        assert await presence_after_looks(other, "ann") is Presence.PRESENT
        await store.renew("ann")
        assert await other.claim(RUN, "bob", "ann", LANE) is None


async def test_an_owner_whose_lease_is_over_is_gone(
    store: RedisStore, redis_server: RedisServer, namespace: str
) -> None:
    async with opened(redis_server.unix_url, namespace, lease=0.2) as brief:
        await brief.appear("ann", store.partition_of(RUN))
        await create(store)
        while await store.presence("ann", RUN) is not Presence.GONE:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
    assert await store.claim(RUN, "bob", "ann", LANE) is not None


# Faults


async def live(store: RunStore) -> None:
    """One life with every verb that writes to a run; the run ends as it should."""
    partition = store.partition_of(RUN)
    await store.appear("ann", partition)
    await enqueue(store, count="0")
    claim = await store.claim(RUN, "ann", "", LANE, due=True)
    assert claim is not None
    await store.deliver(Message(RUN, "a", "a"))  # a second try finds that it is there
    assert list(await store.mail("ann", partition)) == [RUN]
    await store.commit(commit(claim, 2, count="1"))
    assert not (await store.renew("ann")).lapsed
    await release(store, claim, due_at=None, parked=True)
    await store.deliver(Message(RUN, "b", "b"))
    claim = await store.claim(RUN, "ann", "", LANE, due=True)
    assert claim is not None
    assert [text for _, text in claim.inbox] == ["a", "b"]
    await store.block(claim, "print-1", "{}")
    assert await store.unblock(partition, LANE, "print-2") in (0, 1)  # a second try finds none
    claim = await store.claim(RUN, "ann", "", LANE, due=True)
    assert claim is not None
    await store.commit(end(claim, 3, "failed"))
    claim = await store.claim(RUN, "ann", "", LANE)
    assert claim is not None
    assert (claim.fields["status"], claim.claims) == ("failed", 1)
    await store.commit(Commit(RUN, claim.token, 4, "c4", {"count": "2"}, (), taken=2))
    await store.commit(end(claim, 5, "completed"))
    await store.sweep(partition)
    await store.disappear("ann")


async def live_all(store: RunStore) -> None:
    """Lives of several ends: one completes, one fails with mail unread, one goes with its owner."""
    partition = store.partition_of(RUN)
    await live(store)
    await store.appear("bob", partition)
    for number, status in enumerate(["failed", "cancelled"], 2):
        claim = await create(store, "bob", f"d1~{number}")
        await deliver(store, "a", run_id=claim.run_id)
        await store.commit(end(claim, 2, status))
    await create(store, "bob", "d1~4")
    await store.disappear("bob")
    assert (await store.sweep(partition)).orphaned == 1
    await store.appear("ann", partition)
    (found, *_), _ = await store.due(partition, [LANE], 10)
    claim = await store.claim(found[0], "ann", "", LANE, due=True)
    assert claim is not None
    await store.commit(end(claim, 2, "completed"))
    assert await store.enqueue(NewRun("d1~5", "d1", "", PENDING), 3600)
    await store.delete("d1~5")
    await store.disappear("ann")
    await store.disappear("bob")


HISTORY = [
    (1, "(enqueued)", 1), (1, "(claimed)", 2), (2, "step", 2), (2, "(parked)", 2),
    (2, "(claimed)", 3), (2, "(blocked)", 3), (2, "(claimed)", 4), (3, "(unread)", 4),
    (3, "(claimed)", 5),
]  # fmt: skip


def check_life(client: Any, keys: Keys) -> None:
    fields = client.hgetall(keys.run(RUN))
    assert fields.items() >= {"count": "2", "status": "completed", "seq": "5"}.items()
    assert "owner" not in fields
    lines = [json.loads(line) for line in client.lrange(keys.log(RUN), 0, -1)]
    assert [(line[0], line[2], line[3]) for line in lines] == HISTORY


@pytest.mark.parametrize("position", ["before", "after"])
async def test_wherever_the_connection_breaks_all_happens_once(
    redis_server: RedisServer, namespace: str, client: Any, position: Position
) -> None:
    with Proxy(redis_server.socket_path) as proxy:
        async with opened(proxy.url, f"{namespace}.whole") as store:
            await live(store)
        commands = len(proxy.commands)
        assert proxy.counts()["SSUBSCRIBE"] == 1
        for k in range(commands):
            proxy.on_command = cut_at(len(proxy.commands) + k, position)
            async with opened(proxy.url, f"{namespace}.{k}") as store:
                await live(store)
            check_life(client, Keys(f"{namespace}.{k}", 4))
        async with opened(proxy.url, namespace) as store:  # all connections made by now are closed
            await live(store)


LARGE: dict[str, str | None] = {f"work:{n}": str(n) for n in range(6000)}


@pytest.mark.parametrize("position", ["before", "after"])
async def test_wherever_the_connection_breaks_a_large_commit_happens_once(
    redis_server: RedisServer, namespace: str, position: Position
) -> None:
    async def write(proxy: Proxy, name: str) -> None:
        async with opened(proxy.url, name) as store:
            claim = await create(store)
            await store.commit(commit(claim, 2, **LARGE))
            await store.commit(end(claim, 3, "failed"))
            assert await store.read(RUN) == {**FIELDS, **LARGE, "status": "failed"}

    with Proxy(redis_server.socket_path) as proxy:
        await write(proxy, f"{namespace}.whole")
        commands = len(proxy.commands)
        for k in range(0, commands, 3):
            proxy.on_command = cut_at(len(proxy.commands) + k, position)
            await write(proxy, f"{namespace}.{k}")


async def test_whoever_comes_across_a_large_commit_of_a_process_that_died_goes_on_with_it(
    redis_server: RedisServer, store: RedisStore, namespace: str
) -> None:
    def cut_when_settling(command: Command, position: Position) -> bool:
        return b"c2" in command.words and b"0" in command.words[-2:] and position == "before"

    async def die_settling(run_id: str) -> None:
        with Proxy(redis_server.socket_path) as proxy:
            async with opened(proxy.url, namespace, lease=0.3) as theirs:
                claim = await create(theirs, run_id=run_id)
                proxy.on_command = cut_when_settling
                with pytest.raises(StoreError, match=f"settling a commit of run {run_id}"):
                    await theirs.commit(commit(claim, 2, status="odd", **LARGE))

    for number in range(3):
        await die_settling(f"d1~{number}")
    whole = {**FIELDS, **LARGE}
    assert await store.read("d1~0") == whole | {"status": "odd"}
    claimed = await store.claim("d1~1", "bob", "ann", LANE)
    assert claimed is not None
    assert claimed.fields == whole | {"status": "odd"}
    wait = ("work:5999", "5999")
    assert await store.deliver(Message("d1~2", "a", "a", open_wait=wait))


def cut_at(index: int, position: Position) -> Hook:
    return lambda command, now: (command.index, now) == (index, position)


async def test_scripts_that_the_server_forgot_are_loaded_again(
    redis_server: RedisServer, namespace: str, client: Any, keys: Keys
) -> None:
    called = set[tuple[bytes, ...]]()

    def forget_before_first_call(command: Command, position: Position) -> bool:
        if command.name == "EVALSHA" and command.words not in called and position == "before":
            called.add(command.words)
            client.script_flush()
        return False

    with Proxy(redis_server.socket_path, on_command=forget_before_first_call) as proxy:
        async with opened(proxy.url, namespace) as store:
            await live(store)
    check_life(client, keys)
    assert proxy.counts()["EVALSHA"] == 2 * proxy.counts()["SCRIPT"] == 2 * len(called)


@pytest.mark.parametrize("ending", ["stop", "kill"])
async def test_commits_go_on_when_the_server_comes_back(
    own_server: Callable[..., RedisServer], ending: str
) -> None:
    server = own_server(appendfsync="always")
    async with opened(server.unix_url, "n") as store:
        claim = await create(store)
        await store.commit(commit(claim, 2, count="2"))

        async def commit_on() -> None:
            for seq in range(3, 300):
                await store.commit(commit(claim, seq, count=str(seq)))

        committing = asyncio.create_task(commit_on())
        while int((await store.read(RUN) or {})["count"]) < 20:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        await asyncio.to_thread(server.stop if ending == "stop" else server.kill)
        await asyncio.to_thread(server.start)
        await committing
    with Redis.from_url(server.unix_url, decode_responses=True) as client:
        lines = cast("Any", client).lrange(Keys("n", 4).log(RUN), 1, -1)
    assert [json.loads(line)[0] for line in lines] == list(range(2, 300))


async def test_a_cancelled_commit_leaves_the_next_one_in_order(store: RedisStore) -> None:
    claim = await create(store)
    for seq in range(2, 40):
        first = asyncio.ensure_future(store.commit(commit(claim, seq, count=str(seq))))
        for _ in range(seq % 6):
            await asyncio.sleep(0)
        first.cancel()
        await store.commit(commit(claim, seq, count=str(seq)))
    assert await store.read(RUN) == {**FIELDS, "count": "39"}


def test_a_commit_under_way_ends_with_its_event_loop(
    own_server: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    server = own_server()

    async def commit_unheard() -> asyncio.Future[None]:
        store = RedisStore(Source.of(server.unix_url), "n", partitions=4, stats=(stats := Stats()))
        await store.open()
        claim = await create(store)
        sent = stats.commands
        server.freeze()
        committing = store.commit(commit(claim, 2))
        while stats.commands == sent:  # noqa: ASYNC110 - counted by the store, which tells nobody
            await asyncio.sleep(0)
        return committing

    committing = asyncio.run(commit_unheard())
    server.thaw()
    assert committing.cancelled()
    gc.collect()
    assert not caplog.records  # as of a task that nobody awaited


async def test_commits_of_many_runs_in_one_turn_share_a_write(
    redis_server: RedisServer, namespace: str
) -> None:
    stats = Stats()
    source = Source.of(redis_server.unix_url)
    store = RedisStore(source, namespace, partitions=4, stats=stats)
    await store.open()
    runs = [NewRun(f"d{n}~1", f"d{n}", "ann", FIELDS) for n in range(100)]
    await store.create(NewRun("first", "d", "ann", FIELDS))
    writes = stats.writes
    assert all(await asyncio.gather(*map(store.create, runs)))
    assert stats.writes == writes + 1
    await store.close()


async def test_a_commit_is_small_on_the_wire(redis_server: RedisServer, namespace: str) -> None:
    with Proxy(redis_server.socket_path) as proxy:
        async with opened(proxy.url, namespace) as store:
            claim = await store.create(NewRun(f"{'d' * 16}~{'1' * 8}", "d" * 16, "ann", FIELDS))
            assert claim is not None
            log = ['"collect",1,12.345,"returned"']
            for seq in (2, 3):
                cid = f"{seq:016x}"
                await store.commit(Commit(claim.run_id, claim.token, seq, cid, {}, log))
    assert proxy.commands[-1].name == "EVALSHA"
    assert proxy.commands[-1].size < 450


# Servers that can't be used


async def test_where_nobody_listens_the_answer_comes_soon_and_names_the_place() -> None:
    store = RedisStore(Source.of("redis://user:secret@127.0.0.1:1"), "n", stats=Stats())
    with pytest.raises(StoreUnavailable, match=r"redis://127.0.0.1:1/0") as caught:
        await store.open()
    assert "Nothing was changed" in str(caught.value)
    assert "Start the server" in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_a_host_that_nobody_knows_is_named() -> None:
    store = RedisStore(Source.of("redis://nobody.invalid"), "n", stats=Stats())
    with pytest.raises(StoreUnavailable, match=r"nobody\.invalid"):
        await store.open()


@pytest.mark.parametrize("given", [None, "wrong"])
async def test_a_wrong_password_is_refused_at_once_and_not_repeated_to_anybody(
    own_server: Callable[..., RedisServer], given: str | None
) -> None:
    server = own_server(password="secret")  # noqa: S106 - for as long as the test runs
    source = Source.of(f"redis://{f':{given}@' if given else ''}127.0.0.1:{server.port}")
    stats = Stats()
    with pytest.raises(StoreRefused, match="user and password") as caught:
        await RedisStore(source, "n", stats=stats).open()
    assert not {"secret", "wrong"} & set(re.findall(r"\w+", str(caught.value)))
    assert stats.retries == 0


async def test_a_user_needs_no_more_permissions_than_the_documentation_lists(
    own_server: Callable[..., RedisServer],
) -> None:
    server = own_server()
    rules = re.findall(r"^```acl\n(.*?)^```", LAYOUT.read_text(), re.DOTALL | re.MULTILINE)
    with Redis.from_url(server.unix_url, decode_responses=True) as client:
        cast("Any", client).execute_command(
            "ACL", "SETUSER", "clerk", "reset", "on", ">pw", *rules[0].split()
        )
        place = f"redis://clerk:pw@127.0.0.1:{server.port}"
        async with opened(place, "n") as store, opened(place, "n") as other:
            await live(store)
            check_life(client, Keys("n", 4))
            await other.wait_for_end(RUN, 3600)
            await other.same_input("d1")
            await other.peek(RUN)
            await other.presence("ann", RUN)
            await other.read(RUN)
            await other.inbox(RUN, 0)
            await other.runs(10)
            await other.due(0, [LANE], 10)
            await other.delete(RUN)
            await live_all(other)


async def test_a_missing_permission_is_named_when_the_store_is_opened(
    own_server: Callable[..., RedisServer],
) -> None:
    server = own_server()
    with Redis.from_url(server.unix_url) as client:
        cast("Any", client).execute_command(
            "ACL", "SETUSER", "clerk", "on", ">pw", "~*", "&*", "+@all", "-spublish"
        )
    with pytest.raises(StoreRefused, match="may not run SPUBLISH"):
        async with opened(f"redis://clerk:pw@127.0.0.1:{server.port}", "n"):
            pass


async def test_a_channel_that_may_not_be_joined_is_refused(
    own_server: Callable[..., RedisServer],
) -> None:
    server = own_server()
    place = f"redis://clerk:pw@127.0.0.1:{server.port}"
    with Redis.from_url(server.unix_url) as client:
        grant = cast("Any", client).execute_command
        grant("ACL", "SETUSER", "clerk", "on", ">pw", "~*", "&*", "+@all")
        async with opened(place, "n") as store:
            grant("ACL", "SETUSER", "clerk", "-ssubscribe")
            with pytest.raises(StoreRefused, match="NOPERM"):
                await store.appear("ann", 0)
            assert await store.peek(RUN) is None


@pytest.mark.usefixtures("store")
async def test_a_namespace_with_another_number_of_partitions_is_refused(
    redis_server: RedisServer, namespace: str
) -> None:
    with pytest.raises(StoreRefused, match=r"'4' partitions.* '8'"):
        async with opened(redis_server.unix_url, namespace, partitions=8):
            pass


@pytest.mark.parametrize(
    ("version", "mode", "complaint"),
    [("6.2.14", "standalone", "version 6.2.14.*7.0")],
)
async def test_a_server_that_will_not_do_is_named(version: str, mode: str, complaint: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        words = ["version", version, "mode", mode]
        writer.write(b"*4\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(w), w.encode()) for w in words))
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(StoreRefused, match=complaint):
            async with opened(f"redis://127.0.0.1:{port}", "n"):
                pass


async def test_a_server_that_goes_away_for_good_leaves_the_outcome_unknown(
    own_server: Callable[..., RedisServer],
) -> None:
    server = own_server()

    def kill(command: Command, position: Position) -> bool:
        if b"c2" not in command.words or position == "before":
            return False
        server.kill()
        return True

    with Proxy(server.socket_path, on_command=kill) as proxy:
        async with opened(proxy.url, "n", lease=0.5) as store:
            claim = await create(store)
            with pytest.raises(OutcomeUnknown, match=f"commit 2 of run {RUN}") as caught:
                await store.commit(commit(claim, 2))
            assert "may or may not have been done" in str(caught.value)
            with pytest.raises(StoreUnavailable, match="Nothing was changed"):
                await store.peek(RUN)


async def test_a_server_without_memory_refuses_before_anything_is_written(
    own_server: Callable[..., RedisServer],
) -> None:
    server = own_server()
    with Redis.from_url(server.unix_url) as client:
        async with opened(server.unix_url, "n", lease=0.3) as store:
            claim = await create(store)
            cast("Any", client).config_set("maxmemory", "1")
            with pytest.raises(StoreUnavailable, match=r"Nothing was changed.*more memory"):
                await store.commit(commit(claim, 2, a="1"))
            assert await store.read(RUN) == FIELDS
            await release(store, claim)
            cast("Any", client).config_set("maxmemory", "0")
            assert await store.claim(RUN, "bob", "", LANE) is not None
