"""A run from its flat map: the whole of recovery.

Each `work` is put where it goes on: a part of a join with the other parts, a failed attempt until
it is due. All other work is simply pending again, and finds what it did before.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, TypeVar, cast

from stepwell._engine.plan import Plan
from stepwell._engine.state import (
    Buffer,
    Buffered,
    Cursor,
    Effect,
    Failure,
    Gathered,
    Kept,
    Lineage,
    Parts,
    Payload,
    Question,
    RunState,
    Sent,
    Status,
    Stream,
    TimeLeft,
    Waiter,
    Work,
)
from stepwell._engine.waiting import open_wait
from stepwell.errors import DecodingError, RunBlocked
from stepwell.events import Event, InputRequiredEvent, StartEvent, StopEvent

__all__ = ["NUMBER", "load"]

NUMBER = re.compile("[1-9][0-9]{0,17}")
"""A number in the name of a field, as we write it."""

_POSITION = re.compile("0|[1-9][0-9]{0,17}")

_T = TypeVar("_T")
_E = TypeVar("_E", bound=Event)


def load(plan: Plan, fields: Mapping[str, str]) -> RunState:
    """Build the state that a map describes.

    Raises:
        DecodingError: a field can't be read; names it.
        RunBlocked: the map needs a step that the workflow does not have.
    """
    return _Loader(plan, fields).load()


class _Loader:
    """Reads the fields of one map, the facts of a kind in the order of their numbers."""

    def __init__(self, plan: Plan, fields: Mapping[str, str]) -> None:
        self._plan = plan
        self._fields = fields
        self._state = RunState.of_steps(list(plan.steps))
        self._highest = 0
        self._gathering: dict[tuple[int | None, str], tuple[Work, int]] = {}

    def load(self) -> RunState:
        """Read them all."""
        self._load_run()
        for name, parts in self._named("join", 2):
            self._load_stream(name, parts)
        works = {parts[0]: self._load_work(name, parts) for name, parts in self._named("work", 2)}
        self._load_progress(works)
        for name, parts in self._named("join", 3):
            self._load_gathered(name, parts)
        self._check_gathered()
        for name, parts in self._named("buffer", 3):
            self._load_buffered(name, parts)
        for name, parts in self._named("kept", 2):
            self._state.kept[self._number(name, parts[0])] = Kept(self._event(name, Event))
        for name, parts in self._named("question", 2):
            question = Question(self._event(name, InputRequiredEvent))
            self._state.questions[self._number(name, parts[0])] = question
        for work in works.values():
            self._place(work)
        self._check_streams()
        self._state.next_id = max(self._state.next_id, self._highest + 1)
        return self._state

    def _load_progress(self, works: dict[str, Work]) -> None:
        """What each step has done so far."""
        readers = {
            "sent": self._load_sent,
            "each": self._load_cursor,
            "once": self._load_effect,
            "wait": self._load_waiter,
        }
        for kind, read in readers.items():
            for name, parts in self._named(kind, 3):
                read(name, parts, self._owner(works, name, parts))

    def _load_run(self) -> None:
        state, fields = self._state, self._fields
        state.status = self._status()
        state.next_id = self._json("next", int) if "next" in fields else 1
        if "input" in fields:
            state.input = self._event("input", StartEvent)
        if "result" in fields:
            state.result = self._event("result", StopEvent)
        if "timer:run" in fields:
            state.time_left = self._load_time_left("timer:run")

    def _load_time_left(self, name: str) -> TimeLeft:
        record = self._record(name)
        left, at = (self._optional(name, record, key, float) for key in ("left", "at"))
        if left is None:
            raise DecodingError(f"field {name!r} should have a number of seconds 'left'")
        return TimeLeft(left, at)

    def _status(self) -> Status:
        text = self._fields.get("status", Status.NEW.value)
        try:
            return Status(text)
        except ValueError:
            raise DecodingError(f"field 'status' holds {text!r}, which is no status") from None

    def _load_stream(self, name: str, parts: list[str]) -> None:
        record = self._record(name, producer=str, scope=list, fired=list)
        self._check_step(name, record["producer"])
        number, lineage = self._number(name, parts[0]), self._lineage(name, record)
        stream = Stream(number, record["producer"], lineage)
        self._count(lineage)
        stream.fired = set(self._listed(name, record, "fired", str))
        self._state.streams[stream.id] = stream

    def _load_work(self, name: str, parts: list[str]) -> Work:
        record = self._record(name, step=str, attempt=int, scope=list)
        self._check_step(name, record["step"])
        work = Work(
            id=self._number(name, parts[0]),
            step=record["step"],
            payload=self._payload(name, record),
            lineage=self._lineage(name, record),
            stream=self._optional(name, record, "stream", int),
            attempt=record["attempt"],
            failure=self._failure(name, record),
        )
        gathered = self._optional(name, record, "gathered", int)
        if gathered is not None:
            work.batch = {}
            self._gathering[work.stream, work.step] = work, gathered
        if settled := self._listed(name, record, "settled", int):
            work.progress.settled.update(settled)
        return work

    def _place(self, work: Work) -> None:
        queue, step = self._state.queues[work.step], self._plan.steps[work.step]
        if step.joins_on and isinstance(work.payload, Event):
            self._state.parts.setdefault((work.step, work.scope), Parts()).add(work)
            return
        self._count(work.lineage)
        if work.failure is not None and work.failure.due is not None:
            queue.delayed[work.id] = work
        else:
            queue.waiting.append(work)

    def _count(self, lineage: Lineage) -> None:
        """Work, or a stream, is one open piece of the stream that it is in."""
        if lineage.scope:
            self._state.streams[lineage.scope[-1]].open += 1

    def _failure(self, name: str, record: dict[str, Any]) -> Failure | None:
        failure = cast("dict[str, Any] | None", self._optional(name, record, "failure", dict))
        if failure is None:
            return None
        error = self._plan.codec.decode_parsed(failure.get("error"), f"field {name!r}")
        began, at = (self._optional(name, failure, key, float) for key in ("began", "at"))
        count = self._optional(name, failure, "count", int)
        if count is None or began is None or at is None or not isinstance(error, Exception):
            raise DecodingError(f"field {name!r} has a failure without its count, times or error")
        return Failure(count, error, began, at, self._optional(name, failure, "due", float))

    def _load_waiter(self, name: str, parts: list[str], work: Work) -> None:
        record = self._record(name, expired=bool)
        read = partial(self._plan.codec.decode_parsed, where=f"field {name!r}")
        event_type, requirements = read(record.get("for")), read(record.get("requirements"))
        question, answer = read(record.get("question")), read(record.get("answer"))
        deadline = self._optional(name, record, "deadline", float)
        if event_type is None and deadline is None:
            raise DecodingError(f"field {name!r} waits for no event, and should have a deadline")
        if event_type is not None and not _is_event_class(event_type):
            raise DecodingError(f"field {name!r} should say which class of events it waits for")
        if not (isinstance(question, Event | None) and isinstance(answer, Event | None)):
            raise DecodingError(f"field {name!r} should have events for 'question' and 'answer'")
        work.progress.waiters[parts[1]] = waiter = Waiter(
            event_type=cast("type[Event] | None", event_type),
            requirements=cast("dict[str, Any] | None", requirements),
            question=question,
            deadline=deadline,
            answer=answer,
            is_sole=record.get("sole") is True,
            expired=record["expired"],
        )
        if waiter.is_open:
            open_wait(self._state, work, parts[1])

    def _payload(self, name: str, record: dict[str, Any]) -> Payload:
        if "gathered" in record:
            return []  # its events are fields of their own
        if "events" in record:
            events = self._listed(name, record, "events", object)
            return [self._revive(name, event) for event in events]
        return self._revive(name, record.get("event"))

    def _load_sent(self, name: str, parts: list[str], work: Work) -> None:
        sent = work.progress.sent
        if parts[1] != str(len(sent)):
            raise DecodingError(f"field {name!r} comes where position {len(sent)} should be")
        sent.append(Sent(self._json(name, str)))

    def _load_cursor(self, name: str, parts: list[str], work: Work) -> None:
        record = self._record(name, digest=str, done=int)
        work.progress.cursors[parts[1]] = Cursor(record["digest"], record["done"])

    def _load_effect(self, name: str, parts: list[str], work: Work) -> None:
        record = self._record(name, done=bool)
        result = self._plan.codec.decode_parsed(record.get("result"), f"field {name!r}")
        work.progress.effects[parts[1]] = Effect(record["done"], result)

    def _load_gathered(self, name: str, parts: list[str]) -> None:
        record = self._record(name, step=str)
        self._check_step(name, record["step"])
        of_stream, number = self._number(name, parts[0]), self._number(name, parts[1])
        event = self._revive(name, record.get("event"))
        gathered = Gathered(record["step"], event, self._recoveries(name, record))
        stream = self._state.streams.get(of_stream)
        if stream is not None:
            stream.arrived = number
        work, wanted = self._gathering.get((of_stream, record["step"]), (None, 0))
        if work is not None and len(work.batch or ()) < wanted:
            work.gather(number, gathered)
        elif stream is not None and record["step"] not in stream.fired:
            stream.batches.setdefault(record["step"], {})[number] = gathered
        else:
            raise DecodingError(f"field {name!r} belongs to a list that nobody gathers any more")

    def _check_gathered(self) -> None:
        for work, wanted in self._gathering.values():
            there = len(work.batch or ())
            if there != wanted:
                raise DecodingError(
                    f"field 'work:{work.id}' should have {wanted} events that were gathered for it "
                    f"and has {there}: some are lost"
                )

    def _load_buffered(self, name: str, parts: list[str]) -> None:
        record = self._record(name, step=str, buffer=str)
        self._check_step(name, record["step"])
        event = self._revive(name, record.get("event"))
        work, position = self._number(name, parts[0]), self._position(name, parts[1])
        one = Buffered(record["step"], record["buffer"], event, work, position)
        self._state.buffers.setdefault((one.step, one.buffer), Buffer()).add(one)

    def _named(self, kind: str, parts: int) -> Iterator[tuple[str, list[str]]]:
        """The fields of a kind and their other parts, in the order of the numbers in them."""
        found = [
            (name, name.split(":", 2)[1:]) for name in self._fields if name.startswith(f"{kind}:")
        ]
        wanted = [(name, rest) for name, rest in found if len(rest) == parts - 1]
        return iter(sorted(wanted, key=lambda pair: [_sort_key(part) for part in pair[1]]))

    def _number(self, name: str, part: str) -> int:
        if not NUMBER.fullmatch(part):
            raise DecodingError(f"field {name!r:.80} should have a number in its name")
        self._highest = max(self._highest, int(part))
        return int(part)

    def _position(self, name: str, part: str) -> int:
        if not _POSITION.fullmatch(part):
            raise DecodingError(f"field {name!r:.80} should have a position in its name")
        return int(part)

    def _owner(self, works: dict[str, Work], name: str, parts: list[str]) -> Work:
        if parts[0] not in works:
            raise DecodingError(f"field {name!r} belongs to work that is not there")
        return works[parts[0]]

    def _lineage(self, name: str, record: dict[str, Any]) -> Lineage:
        return Lineage(self._scope(name, record), self._recoveries(name, record))

    def _recoveries(self, name: str, record: dict[str, Any]) -> dict[str, int]:
        recoveries = cast(
            "dict[str, object]", self._optional(name, record, "recoveries", dict) or {}
        )
        if not all(isinstance(count, int) for count in recoveries.values()):
            raise DecodingError(f"field {name!r} should have numbers of calls in 'recoveries'")
        return cast("dict[str, int]", recoveries)

    def _scope(self, name: str, record: dict[str, Any]) -> tuple[int, ...]:
        """The streams that a piece of work, or a stream, is in, each in the next."""
        scope = tuple(self._listed(name, record, "scope", int))
        if scope:
            around = self._state.streams.get(scope[-1])
            if around is None or around.scope != scope[:-1]:
                raise DecodingError(
                    f"field {name!r} belongs to streams that are not there: {scope}"
                )
        return scope

    def _check_streams(self) -> None:
        for stream in self._state.streams.values():
            if not stream.open:
                raise DecodingError(
                    f"field 'join:{stream.id}' is a stream of which no work is left: some is lost"
                )

    def _check_step(self, name: str, step: str) -> None:
        if step not in self._plan.steps:
            known = ", ".join(self._plan.steps)
            raise RunBlocked(
                f"field {name!r} is work for step {step!r}, which workflow {self._plan.workflow!r} "
                f"does not have (it has: {known}). Bring the step back, or rename it back, and "
                f"start the run again; nothing of it was changed."
            )

    def _record(self, name: str, **wanted: type) -> dict[str, Any]:
        record = cast("dict[str, Any]", self._json(name, dict))
        for key, kind in wanted.items():
            if not isinstance(record.get(key), kind):
                raise DecodingError(f"field {name!r} should have a {kind.__name__} {key!r}")
        return record

    def _optional(self, name: str, record: dict[str, Any], key: str, kind: type[_T]) -> _T | None:
        value = record.get(key)
        if value is None or isinstance(value, kind):
            return value
        if kind is float and isinstance(value, int):
            return kind(value)
        raise DecodingError(f"field {name!r} should have a {kind.__name__} {key!r}, or none")

    def _listed(self, name: str, record: dict[str, Any], key: str, kind: type[_T]) -> list[_T]:
        listed = record.get(key, [])
        if not isinstance(listed, list) or not all(
            isinstance(one, kind) for one in cast("list[object]", listed)
        ):
            raise DecodingError(f"field {name!r} should have a list of {kind.__name__} {key!r}")
        return cast("list[_T]", listed)

    def _json(self, name: str, kind: type[_T]) -> _T:
        try:
            value = json.loads(self._fields[name])
        except (ValueError, RecursionError) as error:
            raise DecodingError(f"field {name!r} is not JSON: {error}") from error
        if not isinstance(value, kind):
            raise DecodingError(f"field {name!r} should hold a {kind.__name__}, not {value!r:.80}")
        return value

    def _event(self, name: str, kind: type[_E]) -> _E:
        event = self._plan.codec.decode(self._fields[name], f"field {name!r}")
        if not isinstance(event, kind):
            raise DecodingError(f"field {name!r} should hold a {kind.__name__}, not {event!r:.80}")
        return event

    def _revive(self, name: str, parsed: object) -> Event:
        event = self._plan.codec.decode_parsed(parsed, f"field {name!r}")
        if not isinstance(event, Event):
            raise DecodingError(f"field {name!r} should hold an event, not {event!r:.80}")
        return event


def _is_event_class(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, Event)


def _sort_key(part: str) -> tuple[int, str]:
    return (int(part), "") if NUMBER.fullmatch(part) else (0, part)
