"""Two stores are asked the same at random: they give the same answers, and keep the same.

So the specification in memory and the scripts on the server keep each other honest. Time passes
in both only when a rule says so, and chance is the same for both.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any, cast
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,  # pyright: ignore[reportUnknownVariableType]  its default is untyped
)

from stepwell.storage.protocol import RunStore
from stepwell.storage.records import Claim, Commit, Due, Lane, Message, NewRun, Release
from support.stores import MemoryPlace, Place

LEASE = 10.0
"""Seconds."""

OWNERS = ("ann", "bob", "cid")
RUNS = {"d1~1": "d1", "d1~2": "d1", "d1~odd": "d2", "letters": "d1"}
"""Ids, with the digests of their runs; all but the last live in one partition."""

LANES = [Lane(queue, workflow) for queue in ("default", "vip") for workflow in ("Letters", "Maps")]

owners = st.sampled_from(OWNERS)
lanes = st.sampled_from(LANES)
prints = st.sampled_from(["print-1", "print-2"])
seconds = st.sampled_from([0, 0, 0.5, 5, 3600, -1])
runs = st.sampled_from(["d1~1", "d1~1", "d1~1", *RUNS])
names = st.sampled_from(["state:a", "work:1", "work:ä", "never"])
patches = st.dictionaries(names, st.none() | st.sampled_from(["1", '"ä"', ""]), max_size=3)
statuses = st.sampled_from(["completed", "failed", "cancelled", "timed_out"])
logs = st.lists(st.sampled_from(['"step",1,0.5,"returned"', '"other",2,1,"failed"']), max_size=2)


class TwoStores(RuleBasedStateMachine):
    """The same verbs on a store in memory and on one on a server, each with three connections."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._places: tuple[Place, Place] = (MemoryPlace(), place)
        self._stores: dict[str, list[RunStore]] = {}
        self._claims: dict[str, list[Claim]] = {}
        self._commits: list[Commit] = []
        self._steps = 0
        self._weeks = 0

    @initialize()
    def connect(self) -> None:
        for owner in OWNERS:
            self._connect(owner)
            self.appear(owner, "d1~1")
        self.create("ann", "d1~1")

    # --- runs ---

    @rule(owner=owners, run_id=runs, lane=lanes)
    def create(self, owner: str, run_id: str, lane: Lane = LANES[0]) -> None:
        run = self._new(run_id, owner, lane, "running")
        self._claimed(self._ask(owner, lambda s: s.create(run)))

    @rule(owner=owners, run_id=runs, lane=lanes, delay=seconds)
    def enqueue(self, owner: str, run_id: str, lane: Lane, delay: float) -> None:
        run = self._new(run_id, "", lane, "pending")
        self._ask(owner, lambda s: s.enqueue(run, delay))

    @rule(
        owner=owners,
        run_id=runs,
        was=st.none() | st.sampled_from(["", *OWNERS]),
        lane=st.none() | lanes,
        due=st.booleans(),
        late=st.none() | st.integers(0, 1),
    )
    def claim(
        self,
        owner: str,
        run_id: str,
        was: str | None,
        lane: Lane | None = None,
        due: bool = False,
        late: int | None = None,
    ) -> None:
        """From whoever has it, if `was` is None; in the lane where it waits, if `lane` is.

        `late` is how many owners it had since it was seen; None if that does not matter.
        """
        kept = self._places[0].contents().runs.get(run_id)
        holder = kept.owner if kept else ""
        there = Lane(kept.queue, kept.fields["workflow"]) if kept else LANES[0]
        asked = holder if was is None else was
        epoch = int(kept.token.split(":")[0]) - late if kept and late is not None else None

        def claim(store: RunStore) -> Awaitable[Any]:
            return store.claim(run_id, owner, asked, lane or there, due=due, epoch=epoch)

        self._claimed(self._ask(owner, claim))

    @rule(owner=owners, limit=st.sampled_from([1, 2, 100]), some=st.lists(lanes, unique=True))
    def serve(self, owner: str, limit: int, some: list[Lane]) -> None:
        """As a worker does."""
        found = self._ask(owner, lambda s: s.due(s.partition_of("d1~1"), some, limit))
        for run_id, lane, since in found.runs[:1]:
            self._claim_due(owner, run_id, lane, since)

    def _claim_due(self, owner: str, run_id: str, lane: Lane, since: int) -> None:
        def claim(store: RunStore) -> Awaitable[Any]:
            return store.claim(run_id, owner, "", lane, due=True, since=since)

        self._claimed(self._ask(owner, claim))

    @rule(owner=owners, run_id=runs)
    def take_over(self, owner: str, run_id: str) -> None:
        """As a process does that was told to execute the run."""
        kept = self._places[0].contents().runs.get(run_id)
        if kept and kept.owner:
            self.presence(owner, kept.owner, run_id)
            self._let_pass(0.4)
            self.presence(owner, kept.owner, run_id)
        self.claim(owner, run_id, None)

    @precondition(lambda self: self._claims)
    @rule(
        data=st.data(),
        changes=patches,
        log=logs,
        ended=st.none() | st.none() | statuses,
        progress=st.booleans(),
    )
    def commit(
        self,
        data: st.DataObject,
        changes: dict[str, str | None],
        log: list[str],
        ended: str | None,
        progress: bool,
    ) -> None:
        claim = data.draw(st.sampled_from(self._newest()))
        kept = self._places[0].contents().runs.get(claim.run_id)
        seq = kept.seq + 1 if kept else 2
        taken = data.draw(st.integers(0, kept.sends if kept else 0))
        self._commit(claim, seq, f"c{seq}", changes, log, ended, taken, progress)

    @precondition(lambda self: self._claims)
    @rule(
        data=st.data(),
        seq=st.integers(0, 6),
        cid=st.sampled_from(["c2", "c3", "c4"]),
        ended=st.none() | statuses,
    )
    def commit_out_of_turn(
        self, data: st.DataObject, seq: int, cid: str, ended: str | None
    ) -> None:
        claim = data.draw(st.sampled_from(self._all_claims()))
        self._commit(claim, seq, cid, {"state:zombie": "1"}, [], ended, 1, progress=True)

    @precondition(lambda self: self._commits)
    @rule(data=st.data(), owner=owners)
    def commit_again(self, data: st.DataObject, owner: str) -> None:
        commit = data.draw(st.sampled_from(self._commits[-3:]))
        self._ask(owner, lambda s: s.commit(commit))

    @precondition(lambda self: self._claims)
    @rule(data=st.data(), owner=owners, wait=st.none() | seconds, parked=st.booleans(), lane=lanes)
    def release(
        self, data: st.DataObject, owner: str, wait: float | None, parked: bool, lane: Lane
    ) -> None:
        claim = data.draw(st.sampled_from(self._newest()))
        when = None if wait is None else self._places[0].now_ms() + round(wait * 1000)
        given = Release(claim.run_id, claim.token, lane, when, parked)
        self._ask(owner, lambda s: s.release(given))

    @precondition(lambda self: self._claims)
    @rule(data=st.data(), owner=owners, run_id=runs)
    def release_out_of_turn(self, data: st.DataObject, owner: str, run_id: str) -> None:
        tokens = ["nonsense", "1:", *(claim.token for claim in self._all_claims())]
        token = data.draw(st.sampled_from(tokens))
        self._ask(owner, lambda s: s.release(Release(run_id, token, LANES[0])))

    @precondition(lambda self: self._claims)
    @rule(data=st.data(), owner=owners, fingerprint=prints)
    def block(self, data: st.DataObject, owner: str, fingerprint: str) -> None:
        claim = data.draw(st.sampled_from(self._newest()))
        self._ask(owner, lambda s: s.block(claim, fingerprint, '"ä"'))

    @rule(owner=owners, lane=lanes, fingerprint=prints)
    def unblock(self, owner: str, lane: Lane, fingerprint: str) -> None:
        self._ask(owner, lambda s: s.unblock(s.partition_of("d1~1"), lane, fingerprint))

    @rule(owner=owners, run_id=runs)
    def delete(self, owner: str, run_id: str) -> None:
        self._ask(owner, lambda s: s.delete(run_id))

    # --- messages ---

    @rule(
        owner=owners,
        run_id=runs,
        key=st.sampled_from(["k1", "k2", "k3", "kä"]),
        urgent=st.booleans(),
        wait=st.none() | st.none() | st.sampled_from([("work:1", "{}"), ("state:a", "1")]),
    )
    def deliver(
        self, owner: str, run_id: str, key: str, urgent: bool, wait: tuple[str, str] | None
    ) -> None:
        message = Message(run_id, f"{key} ö\n", key, urgent, wait)
        self._ask(owner, lambda s: s.deliver(message))

    @rule(owner=owners)
    def mail(self, owner: str) -> None:
        self._ask(owner, lambda s: s.mail(owner, s.partition_of("d1~1")))

    @rule(owner=owners, run_id=runs, after=st.integers(0, 3))
    def inbox(self, owner: str, run_id: str, after: int) -> None:
        self._ask(owner, lambda s: s.inbox(run_id, after))

    @rule(owner=owners, run_id=runs)
    def look(self, owner: str, run_id: str) -> None:
        self._ask(owner, lambda s: s.peek(run_id))
        self._ask(owner, lambda s: s.read(run_id))
        self._ask(owner, lambda s: s.same_input(RUNS[run_id]))

    @rule(owner=owners, limit=st.integers(1, 3))
    def page_through(self, owner: str, limit: int) -> None:
        page = self._ask(owner, lambda s: s.runs(limit))
        while page:
            last = page[-1].created_at, page[-1].run_id
            page = self._ask(owner, lambda s: s.runs(limit, last))  # noqa: B023 - called at once

    # --- owners ---

    @rule(owner=owners, run_id=runs)
    def appear(self, owner: str, run_id: str) -> None:
        self._ask(owner, lambda s: s.appear(owner, s.partition_of(run_id)))

    @rule(owner=owners)
    def renew(self, owner: str) -> None:
        self._ask(owner, lambda s: s.renew(owner))

    @rule(owner=owners)
    def disappear(self, owner: str) -> None:
        self._ask(owner, lambda s: s.disappear(owner))

    @rule(owner=owners, whose=owners, run_id=runs)
    def presence(self, owner: str, whose: str, run_id: str) -> None:
        self._ask(owner, lambda s: s.presence(whose, run_id))

    @rule(owner=owners, run_id=runs, twice=st.booleans())
    def sweep(self, owner: str, run_id: str, twice: bool) -> None:
        self._ask(owner, lambda s: s.sweep(s.partition_of(run_id)))
        if twice:
            self._let_pass(0.4)
            self._ask(owner, lambda s: s.sweep(s.partition_of(run_id)))

    @rule(owner=owners, witness=owners, run_id=runs)
    def die(self, owner: str, witness: str, run_id: str) -> None:
        for place, store in zip(self._places, self._stores[owner], strict=True):
            self._runner.run(store.close())
            place.until_absent(owner)
        self._connect(owner)
        self.presence(witness, owner, run_id)

    # --- time ---

    @rule(seconds=st.sampled_from([0.1, 0.4, 0.4, 1, 5, 5, 12, 60, -1, -7200]))
    def time_passes(self, seconds: float) -> None:
        self._let_pass(seconds)

    @precondition(lambda self: self._weeks < 3 and self._steps > 20)
    @rule()
    def a_week_passes(self) -> None:
        """Up to a month, after which the index by input of a server is another story."""
        self._weeks += 1
        self._let_pass(8 * 86400)

    @rule()
    def the_server_is_restarted(self) -> None:
        for place in self._places:
            place.restart()

    @invariant()
    def both_keep_the_same(self) -> None:
        kept = [place.contents() for place in self._places]
        assert kept[0] == kept[1]

    def teardown(self) -> None:
        for stores in self._stores.values():
            for store in stores:
                self._runner.run(store.close())
        for place in self._places:
            place.close()
        self._runner.close()

    # --- how ---

    def _new(self, run_id: str, owner: str, lane: Lane, status: str) -> NewRun:
        fields = {"format": "1", "workflow": lane.workflow, "status": status, "work:1": "{}"}
        return NewRun(run_id, RUNS[run_id], owner, fields, lane.queue, {"by": "ä"})

    def _connect(self, owner: str) -> None:
        self._stores[owner] = [place.connect(lease=LEASE) for place in self._places]
        for store in self._stores[owner]:
            self._runner.run(store.open())

    def _let_pass(self, seconds: float) -> None:
        for place in self._places:
            place.let_pass(seconds)

    def _ask(self, owner: str, verb: Callable[[RunStore], Awaitable[Any]]) -> Any:
        """The answer of both, an error included."""
        self._steps += 1
        nonce = f"{self._steps:016x}"
        with patch("secrets.token_hex", return_value=nonce):
            answers = [self._runner.run(_answer(verb, store)) for store in self._stores[owner]]
        assert answers[0] == answers[1]
        return answers[0]

    def _claimed(self, answer: Any) -> None:
        if answer is not None:
            assert isinstance(answer, Claim)
            self._claims.setdefault(answer.run_id, []).append(answer)

    def _newest(self) -> list[Claim]:
        return [claims[-1] for claims in self._claims.values()]

    def _all_claims(self) -> list[Claim]:
        return [claim for claims in self._claims.values() for claim in claims]

    def _commit(
        self,
        claim: Claim,
        seq: int,
        cid: str,
        changes: dict[str, str | None],
        log: list[str],
        ended: str | None,
        taken: int,
        progress: bool,
    ) -> None:
        changes = changes | ({"status": ended} if ended else {})
        commit = Commit(claim.run_id, claim.token, seq, cid, changes, log, ended, taken, progress)
        self._commits.append(commit)
        self._ask("ann", lambda s: s.commit(commit))


async def _answer(verb: Callable[[RunStore], Awaitable[Any]], store: RunStore) -> Any:
    try:
        answer = await verb(store)
    except Exception as error:  # noqa: BLE001  an error is an answer
        return type(error), str(error)
    if isinstance(answer, Due):
        return Due(list(answer.runs), answer.next_in)
    return list(cast("Sequence[Any]", answer)) if type(answer) in (list, tuple) else answer  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]  only its type is asked


@pytest.mark.parametrize(
    ("founder", "examples"),
    [("valkey-9", 30), ("cluster", 10)],  # a cluster takes the same scripts, and more time
    indirect=["founder"],
)
def test_memory_and_servers_answer_alike_and_keep_the_same(
    founder: Callable[[str], Place], namespace: str, examples: int
) -> None:
    numbers = count()
    make: Any = lambda: TwoStores(founder(f"{namespace}.{next(numbers)}"))  # noqa: E731
    run_state_machine_as_test(
        make,
        settings=settings(max_examples=examples, stateful_step_count=40, deadline=None),
    )
