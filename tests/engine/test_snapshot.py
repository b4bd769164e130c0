"""A run as a flat map: what is written is what is loaded, and nothing else is believed."""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell._engine.invariants import broken
from stepwell._engine.loading import load
from stepwell._engine.snapshot import encode_outcome, encode_run, facts
from stepwell._engine.state import Cursor, RunState, Status
from stepwell._engine.ticks import CancelAsked
from stepwell.collect import Collect, Take
from stepwell.decorators import step
from stepwell.errors import DecodingError, RunBlocked
from stepwell.events import Event, StartEvent, StopEvent
from support.engine import Drive, Steps, snapshot_of


class Input(StartEvent):
    topic: str


class A(Event):
    n: int = 0


class B(Event):
    n: int = 0


everything = Steps()


@step(workflow=everything)
def spread(ev: Input) -> list[A]: ...


@step(workflow=everything, num_workers=2)
def part(ev: A) -> list[A | B] | B | None: ...


@step(workflow=everything)
def first(ev: Annotated[list[B], Collect(Take(1))]) -> None: ...


@step(workflow=everything)
def last(ev: list[B]) -> StopEvent: ...


PLAN = everything.plan()


def busy() -> Drive:
    """A run in which there is one fact of every kind."""
    run = Drive(PLAN)
    run.start(Input(topic="x"))
    run.fans_out(run.only("spread"), *(A(n=n) for n in range(6)))
    run.returns(run.running("part")[0], B(n=7))
    run.fans_out(run.running("part")[0], A(n=8), B(n=9))
    done, works = run.running("part")[0], run.running("part")
    run.collects(done, [A, A])
    run.returns(done, B(n=10))
    run.sends(works[1], A(n=11), digest="d1")
    works[1].progress.cursors["my: loop"] = Cursor("d2", 3)
    run.state.note(f"each:{works[1].id}:my: loop", works[1].progress.cursors["my: loop"])
    run.tick(CancelAsked())
    run.crash()
    return run


@cache
def _busy_map() -> dict[str, str]:
    run = busy()
    return encode_run(run.state, PLAN.codec.encode) | run.map


def busy_map() -> dict[str, str]:
    """The map of a busy run, to be damaged."""
    return dict(_busy_map())


def test_the_busy_run_has_a_fact_of_every_kind() -> None:
    kinds = {name.split(":")[0] for name, _ in facts(busy().state)}
    assert kinds == {"work", "sent", "each", "join", "buffer"}


def kept_in(state: RunState) -> dict[tuple[str, str], list[tuple[Event, int, int]]]:
    return {
        key: [(one.event, one.work, one.position) for one in buffer.kept]
        for key, buffer in state.buffers.items()
    }


def test_what_is_written_is_what_is_loaded() -> None:
    run = busy()
    loaded = load(PLAN, snapshot_of(PLAN, run.state))
    assert broken(PLAN, loaded, at_rest=True) == []
    assert loaded.input == Input(topic="x")
    assert loaded.next_id == run.state.next_id
    assert loaded.streams == run.state.streams
    assert kept_in(loaded) == kept_in(run.state)
    assert sorted(
        (work.id, work.payload, work.scope, work.progress.sent) for work in loaded.works()
    ) == (
        sorted(
            (work.id, work.payload, work.scope, work.progress.sent) for work in run.state.works()
        )
    )


def test_loaded_work_is_pending_in_the_order_in_which_it_came() -> None:
    loaded = load(PLAN, busy_map())
    assert not any(queue.running for queue in loaded.queues.values())
    for queue in loaded.queues.values():
        assert [work.id for work in queue.waiting] == sorted(work.id for work in queue.waiting)


def test_the_order_of_the_fields_means_nothing() -> None:
    fields = busy_map()
    backwards = dict(reversed(fields.items()))
    assert snapshot_of(PLAN, load(PLAN, backwards)) == snapshot_of(PLAN, load(PLAN, fields))


def test_a_new_id_is_never_one_that_was_there() -> None:
    fields = busy_map()
    del fields["next"]
    loaded = load(PLAN, fields)
    taken = {work.id for work in loaded.works()} | set(loaded.streams)
    assert loaded.new_id() not in taken


def test_an_empty_map_is_a_run_in_which_nothing_has_happened() -> None:
    loaded = load(PLAN, {})
    assert loaded.status is Status.NEW
    assert loaded.idle


@pytest.mark.parametrize("error", [ValueError("no"), DecodingError("no")])
def test_an_outcome_tells_the_error_its_class_and_its_step(error: Exception) -> None:
    run = busy()
    run.fails(run.running("part")[0], error)
    record = json.loads(encode_outcome(run.state, PLAN.codec.encode)["error"])
    assert record["type"].endswith(type(error).__name__)
    assert record["message"] == str(error)
    assert record["step"] == "part"


def test_a_completed_run_has_its_result_and_no_facts() -> None:
    run = busy()
    run.receives(StopEvent(result=[1, 2]))
    loaded = load(PLAN, snapshot_of(PLAN, run.state))
    assert loaded.status is Status.COMPLETED
    assert loaded.result is not None
    assert loaded.result.result == [1, 2]
    assert not list(facts(run.state))


def test_work_for_a_step_that_is_gone_blocks_the_run() -> None:
    fields = {**busy_map(), "work:99": '{"step":"gone","attempt":1,"scope":[],"event":{}}'}
    with pytest.raises(RunBlocked, match=r"'work:99' is work for step 'gone'.*spread, part"):
        load(PLAN, fields)


# --- damage ---


def only(kind: str) -> str:
    return next(name for name in busy_map() if name.startswith(kind))


DAMAGES: dict[str, Callable[[dict[str, str]], str]] = {}
"""Each damages a map, and returns the field that the error has to name."""


def damage(change: Callable[[dict[str, str]], str]) -> Callable[[dict[str, str]], str]:
    DAMAGES[change.__name__] = change
    return change


def put(fields: dict[str, str], name: str, text: str) -> str:
    fields[name] = text
    return name


@damage
def not_json(fields: dict[str, str]) -> str:
    return put(fields, only("work:"), "{")


@damage
def another_kind_of_json(fields: dict[str, str]) -> str:
    return put(fields, only("work:"), "[1]")


@damage
def no_event_in_work(fields: dict[str, str]) -> str:
    return put(fields, only("work:"), '{"step":"part","attempt":1,"scope":[]}')


@damage
def events_that_are_no_list(fields: dict[str, str]) -> str:
    return put(fields, only("work:"), '{"step":"part","attempt":1,"scope":[],"events":7}')


@damage
def scope_of_another_kind(fields: dict[str, str]) -> str:
    event = PLAN.codec.encode(A(), "")
    return put(fields, "work:88", f'{{"step":"part","attempt":1,"scope":[[]],"event":{event}}}')


@damage
def scope_of_a_stream_that_is_gone(fields: dict[str, str]) -> str:
    event = PLAN.codec.encode(A(), "")
    return put(fields, "work:88", f'{{"step":"part","attempt":1,"scope":[999],"event":{event}}}')


@damage
def settled_of_another_kind(fields: dict[str, str]) -> str:
    event = PLAN.codec.encode(A(), "")
    head = '"step":"part","attempt":1,"scope":[],"settled":3'
    return put(fields, "work:88", f'{{{head},"event":{event}}}')


@damage
def fired_of_another_kind(fields: dict[str, str]) -> str:
    return put(fields, "join:88", '{"producer":"part","scope":[],"fired":[{}]}')


@damage
def a_sleep_without_end(fields: dict[str, str]) -> str:
    work = only("work:").removeprefix("work:")
    record = '{"for":null,"deadline":null,"expired":false}'
    return put(fields, f"wait:{work}:s", record)


@damage
def time_left_without_a_number(fields: dict[str, str]) -> str:
    return put(fields, "timer:run", '{"left":"long","at":null}')


@damage
def time_left_of_nothing(fields: dict[str, str]) -> str:
    return put(fields, "timer:run", '{"at":5}')


@damage
def sent_by_nobody(fields: dict[str, str]) -> str:
    return put(fields, "sent:777:0", '"d"')


@damage
def sent_at_a_position_too_far(fields: dict[str, str]) -> str:
    name = only("sent:")
    return put(fields, name.removesuffix("0") + "5", fields.pop(name))


@damage
def one_piece_of_work_twice(fields: dict[str, str]) -> str:
    name = only("work:")
    return put(fields, name.replace(":", ":0"), fields[name])


@damage
def a_stream_in_itself(fields: dict[str, str]) -> str:
    return put(fields, "join:88", '{"producer":"part","scope":[88],"fired":[]}')


@damage
def a_stream_whose_work_is_lost(fields: dict[str, str]) -> str:
    return put(fields, "join:88", '{"producer":"part","scope":[],"fired":[]}')


@damage
def gathered_for_a_list_that_was_given(fields: dict[str, str]) -> str:
    stream = next(name for name in fields if name.startswith("join:") and "first" in fields[name])
    event = PLAN.codec.encode(B(), "")
    return put(fields, f"{stream}:55", f'{{"step":"first","event":{event}}}')


@damage
def gathered_and_lost(fields: dict[str, str]) -> str:
    stream = next(name for name in fields if name.startswith("join:") and "first" in fields[name])
    lost = next(
        name
        for name in fields
        if name.startswith(f"{stream}:") and '"step":"first"' in fields[name]
    )
    del fields[lost]
    return next(name for name in fields if '"gathered"' in fields[name])


@damage
def gathered_by_no_stream(fields: dict[str, str]) -> str:
    event = PLAN.codec.encode(B(), "")
    return put(fields, "join:777:1", f'{{"step":"last","event":{event}}}')


@damage
def a_status_that_there_is_not(fields: dict[str, str]) -> str:
    return put(fields, "status", "resting")


@damage
def a_name_without_number(fields: dict[str, str]) -> str:
    return put(fields, "work:x", fields[only("work:")])


@damage
def a_number_without_end(fields: dict[str, str]) -> str:
    name = f"work:{'9' * 5000}"
    put(fields, name, fields[only("work:")])
    return "work:999"


@damage
def input_of_another_class(fields: dict[str, str]) -> str:
    return put(fields, "input", PLAN.codec.encode(A(), ""))


@damage
def input_of_an_unknown_class(fields: dict[str, str]) -> str:
    return put(fields, "input", '{"$type":"os:system","value":{}}')


@damage
def nested_without_end(fields: dict[str, str]) -> str:
    return put(fields, only("work:"), "[" * 200_000)


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_field_is_refused_and_named(name: str) -> None:
    fields = busy_map()
    named = DAMAGES[name](fields)
    with pytest.raises(DecodingError) as caught:
        load(PLAN, fields)
    assert named in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
part_names = st.sampled_from(["step", "attempt", "scope", "event", "events", "settled", "fired"])


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_map_with_any_damage_loads_or_is_refused_by_our_own_errors(data: st.DataObject) -> None:
    fields = busy_map()
    for _ in range(data.draw(st.integers(1, 3))):
        spoil(fields, data)
    with suppress(DecodingError, RunBlocked):
        assert broken(PLAN, load(PLAN, fields), at_rest=True) == []


def spoil(fields: dict[str, str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(fields)))
    match data.draw(st.sampled_from(["drop", "text", "json", "member", "rename"])):
        case "drop":
            del fields[name]
        case "text":
            fields[name] = data.draw(st.text(max_size=10))
        case "json":
            fields[name] = json.dumps(data.draw(json_values))
        case "member" if fields[name].startswith("{"):
            record = json.loads(fields[name])
            record[data.draw(part_names)] = data.draw(json_values)
            fields[name] = json.dumps(record)
        case _:
            fields[name.partition(":")[0] + data.draw(st.text(":0123456789x", max_size=6))] = (
                fields.pop(name)
            )
