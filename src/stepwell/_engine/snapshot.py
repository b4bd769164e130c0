"""A run as a flat map of text, and back: one small field a fact.

    status next input result error           the run
    work:<id>                                one delivery of an event to a step, queued or running
    sent:<work>:<position>                   an event that a running step has sent
    each:<work>:<name>                       how far a durable loop of a running step has come
    once:<work>:<key>                        what a running step did once, or meant to
    join:<stream>   join:<stream>:<n>        an open stream, and an event that it gathered
    buffer:<work>:<name>                     an event that `collect_events` keeps
    state, state:<key>, state:<key>+<n>      the state store (`_engine/ledger.py`)

Every value is JSON. Loading is the whole of recovery: each `work` is simply pending again.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast

from stepwell._engine.plan import Plan
from stepwell._engine.state import (
    Buffer,
    Buffered,
    Cursor,
    Effect,
    Fact,
    Gathered,
    Payload,
    RunState,
    Sent,
    Status,
    Stream,
    Work,
)
from stepwell.errors import DecodingError, RunBlocked
from stepwell.events import Event, StartEvent, StopEvent

__all__ = [
    "FACTS",
    "NUMBER",
    "Encode",
    "encode_fact",
    "encode_outcome",
    "encode_run",
    "facts",
    "load",
]

FACTS = ("work", "sent", "each", "once", "join", "buffer")

NUMBER = re.compile("[1-9][0-9]{0,17}")
"""A number in the name of a field, as we write it."""

_T = TypeVar("_T")
_E = TypeVar("_E", bound=Event)

Encode = Callable[[Any, str], str]
"""Turns a value into JSON text; the second argument says where the value sits."""


def facts(state: RunState) -> Iterator[tuple[str, Fact]]:
    """All facts of a run by field name, as a full snapshot lists them."""
    for work in state.works():
        yield f"work:{work.id}", work
        for position, sent in enumerate(work.sent):
            yield f"sent:{work.id}:{position}", sent
        for name, cursor in work.cursors.items():
            yield f"each:{work.id}:{name}", cursor
        for key, effect in work.effects.items():
            yield f"once:{work.id}:{key}", effect
    for stream in state.streams.values():
        yield f"join:{stream.id}", stream
        for batch in stream.batches.values():
            for number, gathered in batch.items():
                yield f"join:{stream.id}:{number}", gathered
    unfinished = {work.id for work in state.works()}
    for one in _standing(state, unfinished):
        yield f"buffer:{one.work}:{one.buffer}", one


def _standing(state: RunState, unfinished: set[int]) -> Iterator[Buffered]:
    """Buffered events whose own work is done: the others are offered again when it runs again."""
    for buffer in state.buffers.values():
        yield from (one for one in buffer.kept if one.work not in unfinished)
    for work in state.works():
        yield from (one for one in work.taken if one.work not in unfinished)


def encode_run(state: RunState, encode: Encode) -> dict[str, str]:
    """The fields that say where the run stands as a whole."""
    fields = {"next": str(state.next_id)}
    if state.input is not None:
        fields["input"] = encode(state.input, "the input")
    return fields | encode_outcome(state, encode)


def encode_outcome(state: RunState, encode: Encode) -> dict[str, str]:
    """The fields that say how the run ended, if it did."""
    fields = {"status": state.status.value}
    if state.result is not None and state.status is Status.COMPLETED:
        fields["result"] = encode(state.result, "the result")
    if state.error is not None:
        fields["error"] = encode_error(state.error, state.failed_step)
    return fields


def encode_error(error: BaseException, step: str | None) -> str:
    """An exception as text: what it was, what it said, and the step that raised it."""
    cls = type(error)
    where = (
        cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}:{cls.__qualname__}"
    )
    return json.dumps({"type": where, "message": str(error), "step": step})


def encode_fact(fact: Fact, encode: Encode) -> str:
    """The text of one fact."""
    match fact:
        case Work():
            return _encode_work(fact, encode)
        case Sent():
            return json.dumps(fact.digest)
        case Cursor():
            return f'{{"done":{fact.done},"digest":"{fact.digest}"}}'
        case Effect():
            result = encode(fact.result, "the result of ctx.once") if fact.done else "null"
            return f'{{"done":{json.dumps(fact.done)},"result":{result}}}'
        case Stream():
            stream = {"producer": fact.producer, "scope": fact.scope, "fired": sorted(fact.fired)}
            return json.dumps(stream, separators=(",", ":"))
        case Gathered() | Buffered():
            event = encode(fact.event, f"the {type(fact.event).__name__} for step {fact.step!r}")
            return f'{{"step":"{fact.step}","event":{event}}}'


def _encode_work(work: Work, encode: Encode) -> str:
    where = f"the event for step {work.step!r}"
    head = f'"step":"{work.step}","attempt":{work.attempt},"scope":{list(work.scope)}'
    if work.settled:
        head += f',"settled":{json.dumps(sorted(work.settled))}'
    if not isinstance(work.payload, list):
        return f'{{{head},"event":{encode(work.payload, where)}}}'
    events = ",".join(encode(event, where) for event in work.payload)
    return f'{{{head},"events":[{events}]}}'


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

    def load(self) -> RunState:
        """Read them all."""
        self._load_run()
        for name, parts in self._named("join", 2):
            self._load_stream(name, parts)
        works = {parts[0]: self._load_work(name, parts) for name, parts in self._named("work", 2)}
        for name, parts in self._named("sent", 3):
            self._load_sent(name, parts, self._owner(works, name, parts))
        for name, parts in self._named("each", 3):
            self._load_cursor(name, parts, self._owner(works, name, parts))
        for name, parts in self._named("once", 3):
            self._load_effect(name, parts, self._owner(works, name, parts))
        for name, parts in self._named("join", 3):
            self._load_gathered(name, parts)
        for name, parts in self._named("buffer", 3):
            self._load_buffered(name, parts)
        self._check_streams()
        self._state.next_id = max(self._state.next_id, self._highest + 1)
        return self._state

    def _load_run(self) -> None:
        state, fields = self._state, self._fields
        state.status = self._status()
        state.next_id = self._json("next", int) if "next" in fields else 1
        if "input" in fields:
            state.input = self._event("input", StartEvent)
        if "result" in fields:
            state.result = self._event("result", StopEvent)

    def _status(self) -> Status:
        text = self._fields.get("status", Status.NEW.value)
        try:
            return Status(text)
        except ValueError:
            raise DecodingError(f"field 'status' holds {text!r}, which is no status") from None

    def _load_stream(self, name: str, parts: list[str]) -> None:
        record = self._record(name, producer=str, scope=list, fired=list)
        self._check_step(name, record["producer"])
        stream = Stream(self._number(name, parts[0]), record["producer"])
        stream.scope = self._scope(name, record)
        stream.fired = set(self._listed(name, record, "fired", str))
        self._state.streams[stream.id] = stream

    def _load_work(self, name: str, parts: list[str]) -> Work:
        record = self._record(name, step=str, attempt=int, scope=list)
        self._check_step(name, record["step"])
        work = Work(
            id=self._number(name, parts[0]),
            step=record["step"],
            payload=self._payload(name, record),
            scope=self._scope(name, record),
            attempt=record["attempt"],
            settled=set(self._listed(name, record, "settled", str)),
        )
        self._state.queues[work.step].waiting.append(work)
        return work

    def _payload(self, name: str, record: dict[str, Any]) -> Payload:
        if "events" in record:
            events = self._listed(name, record, "events", object)
            return [self._revive(name, event) for event in events]
        return self._revive(name, record.get("event"))

    def _load_sent(self, name: str, parts: list[str], work: Work) -> None:
        if parts[1] != str(len(work.sent)):
            raise DecodingError(f"field {name!r} comes where position {len(work.sent)} should be")
        work.sent.append(Sent(self._json(name, str)))

    def _load_cursor(self, name: str, parts: list[str], work: Work) -> None:
        record = self._record(name, digest=str, done=int)
        work.cursors[parts[1]] = Cursor(record["digest"], record["done"])

    def _load_effect(self, name: str, parts: list[str], work: Work) -> None:
        record = self._record(name, done=bool)
        result = self._plan.codec.decode_parsed(record.get("result"), f"field {name!r}")
        work.effects[parts[1]] = Effect(record["done"], result)

    def _load_gathered(self, name: str, parts: list[str]) -> None:
        record = self._record(name, step=str)
        self._check_step(name, record["step"])
        stream = self._state.streams.get(self._number(name, parts[0]))
        if stream is None or record["step"] in stream.fired:
            raise DecodingError(f"field {name!r} belongs to a list that nobody gathers any more")
        stream.arrived = self._number(name, parts[1])
        event = self._revive(name, record.get("event"))
        batch = stream.batches.setdefault(record["step"], {})
        batch[stream.arrived] = Gathered(record["step"], event)

    def _load_buffered(self, name: str, parts: list[str]) -> None:
        record = self._record(name, step=str)
        self._check_step(name, record["step"])
        event = self._revive(name, record.get("event"))
        one = Buffered(record["step"], parts[1], event, self._number(name, parts[0]))
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

    def _owner(self, works: dict[str, Work], name: str, parts: list[str]) -> Work:
        if parts[0] not in works:
            raise DecodingError(f"field {name!r} belongs to work that is not there")
        return works[parts[0]]

    def _scope(self, name: str, record: dict[str, Any]) -> tuple[int, ...]:
        """The streams that a piece of work, or a stream, is in; it counts as one open piece."""
        scope = tuple(self._listed(name, record, "scope", int))
        if scope:
            around = self._state.streams.get(scope[-1])
            if around is None or around.scope != scope[:-1]:
                raise DecodingError(
                    f"field {name!r} belongs to streams that are not there: {scope}"
                )
            around.open += 1
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


def _sort_key(part: str) -> tuple[int, str]:
    return (int(part), "") if NUMBER.fullmatch(part) else (0, part)
