"""A run as a flat map of text: one small field a fact.

    status next input result error           the run
    work:<id>                                one delivery of an event to a step, queued or running
    sent:<work>:<position>                   an event that a running step has sent
    each:<work>:<name>                       how far a durable loop of a running step has come
    once:<work>:<key>                        what a running step did once, or meant to
    wait:<work>:<name>                       an event that a step waits for, or has got; a sleep
    join:<stream>   join:<stream>:<n>        an open stream, and an event that it gathered, which
                                             stays until the step that got it is done
    buffer:<work>:<position>                 an event that `collect_events` keeps
    kept:<n>                                 an event that nobody has taken
    question:<n>                             what a human was asked, and has not answered
    timer:run                                how long the run may still work, and since when
    state, state:<key>, state:<key>+<n>      the state store (`_engine/ledger.py`)

Every value is JSON. `_engine/loading.py` makes a run of it again.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from stepwell._engine.state import (
    Buffered,
    Cursor,
    Effect,
    Fact,
    Failure,
    Gathered,
    Kept,
    Question,
    RunState,
    Sent,
    Status,
    Stream,
    TimeLeft,
    Waiter,
    Work,
)
from stepwell._exceptions import describe_exception
from stepwell.errors import EncodingError

__all__ = [
    "FACTS",
    "Encode",
    "encode_fact",
    "encode_outcome",
    "encode_run",
    "facts",
]

FACTS = ("work", "sent", "each", "once", "wait", "join", "buffer", "kept", "question", "timer")

Encode = Callable[[Any, str], str]
"""Turns a value into JSON text; the second argument says where the value sits."""


def facts(state: RunState) -> Iterator[tuple[str, Fact]]:
    """All facts of a run by field name, as a full snapshot lists them."""
    for work in state.works():
        yield from work.facts()
    for stream in state.streams.values():
        yield f"join:{stream.id}", stream
        for batch in stream.batches.values():
            for number, gathered in batch.items():
                yield f"join:{stream.id}:{number}", gathered
    for one in _standing(state):
        yield f"buffer:{one.work}:{one.position}", one
    for number, kept in state.kept.items():
        yield f"kept:{number}", kept
    for number, question in state.questions.items():
        yield f"question:{number}", question
    if state.time_left is not None:
        yield "timer:run", state.time_left


def _standing(state: RunState) -> Iterator[Buffered]:
    """Buffered events that no step will offer again, those that a running step has taken too."""
    for buffer in state.buffers.values():
        yield from (one for one in buffer.kept if one.stands)
    for work in state.works():
        if work.begun is not None:
            yield from (one for one in work.begun.taken if one.stands)


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
    told = describe_exception(error)
    return json.dumps(
        {"type": told["exception_type"], "message": told["exception_message"], "step": step}
    )


def encode_fact(fact: Fact, encode: Encode) -> str:  # noqa: C901, PLR0911  one line a kind
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
            text = json.dumps(stream, separators=(",", ":"))
            return _with_recoveries(text, fact.lineage.recoveries)
        case Gathered():
            event = encode(fact.event, f"the {type(fact.event).__name__} for step {fact.step!r}")
            return _with_recoveries(f'{{"step":"{fact.step}","event":{event}}}', fact.recoveries)
        case Buffered():
            event = encode(fact.event, f"the {type(fact.event).__name__} for step {fact.step!r}")
            name = json.dumps(fact.buffer)
            return f'{{"step":"{fact.step}","buffer":{name},"event":{event}}}'
        case Waiter():
            return _encode_waiter(fact, encode)
        case Kept() | Question():
            return encode(fact.event, f"the {type(fact.event).__name__}")
        case TimeLeft():
            return json.dumps({"left": fact.left, "at": fact.at})


def _encode_work(work: Work, encode: Encode) -> str:
    where = f"the event for step {work.step!r}"
    head = f'"step":"{work.step}","attempt":{work.attempt},"scope":{list(work.scope)}'
    if work.begun is not None and work.begun.settled:
        head += f',"settled":{json.dumps(sorted(work.begun.settled))}'
    if work.stream is not None:
        head += f',"stream":{work.stream}'
    if work.failure is not None:
        head += f',"failure":{_encode_failure(work.failure, encode)}'
    if work.batch is not None:
        text = f'{{{head},"gathered":{len(work.batch)}}}'
    elif not isinstance(work.payload, list):
        text = f'{{{head},"event":{encode(work.payload, where)}}}'
    else:
        events = ",".join(encode(event, where) for event in work.payload)
        text = f'{{{head},"events":[{events}]}}'
    return _with_recoveries(text, work.lineage.recoveries)


def _with_recoveries(record: str, recoveries: Mapping[str, int]) -> str:
    """Most have none, and say nothing of them."""
    return f'{record[:-1]},"recoveries":{json.dumps(dict(recoveries))}}}' if recoveries else record


def _encode_failure(failure: Failure, encode: Encode) -> str:
    numbers = {"count": failure.count, "began": failure.began, "at": failure.at, "due": failure.due}
    return f'{json.dumps(numbers)[:-1]},"error":{encode(failure.error, "the error of a step")}}}'


def _encode_waiter(waiter: Waiter, encode: Encode) -> str:
    where = f"the wait for {waiter.event_type.__name__}" if waiter.event_type else "a sleep"
    parts = {
        "for": encode(waiter.event_type, where),
        "requirements": _encode_requirements(waiter, encode),
        "question": encode(waiter.question, f"the question of {where}"),
        "deadline": json.dumps(waiter.deadline),
        "answer": encode(waiter.answer, f"the answer to {where}"),
        "sole": json.dumps(waiter.is_sole),
        "expired": json.dumps(waiter.expired),
    }
    return "{" + ",".join(f'"{name}":{text}' for name, text in parts.items()) + "}"


def _encode_requirements(waiter: Waiter, encode: Encode) -> str:
    """Requirements may be anything: what has no durable form is known when the step runs again."""
    try:
        return "null" if waiter.requirements is None else encode(dict(waiter.requirements), "")
    except EncodingError:
        return "null"
