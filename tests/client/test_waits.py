"""Which wait an event is meant for, decided from the fields of a run alone."""

import json
from typing import Any

import pytest

from stepwell._serialization import DEFAULT_TYPES, Codec, TypeRegistry
from stepwell.client.waits import Wait, find_wait
from stepwell.errors import RunCorrupt
from support.clients import Answer, Order, Sharper

TYPES = TypeRegistry(DEFAULT_TYPES)
TYPES.register(Answer, Order, Sharper)
CODEC = Codec(TYPES)


def wait(
    wanted: object = Answer,
    requirements: object = None,
    *,
    answer: object = None,
    expired: bool = False,
) -> str:
    """The text of a wait."""
    record = {
        "for": CODEC.encode(wanted, ""),
        "requirements": CODEC.encode({} if requirements is None else requirements, ""),
        "answer": CODEC.encode(answer, ""),
        "expired": json.dumps(expired),
    }
    return "{" + ",".join(f'"{name}":{text}' for name, text in record.items()) + "}"


def fields(step: str = "ask", **waits: str) -> dict[str, str]:
    """A run in which work 1 is that step's, with these waits."""
    found = {f"wait:1:{name}": text for name, text in waits.items()}
    return {"status": "running", "work:1": f'{{"step":"{step}"}}', **found}


def find(of: dict[str, str], event: Any = None, step: str = "ask", **options: Any) -> Wait | None:
    return find_wait(CODEC, of, event or Answer(value=1), step, **options)


def test_an_open_wait_that_fits_is_found_with_its_text() -> None:
    found = find(fields(a=wait()))
    assert found == Wait("wait:1:a", wait(), is_open=True)
    assert found is not None
    assert found.guard == ("wait:1:a", wait())


@pytest.mark.parametrize("closed", [wait(answer=Answer(value=1)), wait(expired=True)])
def test_a_closed_wait_is_found_and_no_store_finds_it_open(closed: str) -> None:
    found = find(fields(a=closed))
    assert found == Wait("wait:1:a", closed, is_open=False)
    assert found is not None
    assert found.guard == ("wait:1:a", "")


def test_an_open_wait_counts_before_a_closed_one() -> None:
    found = find(fields(a=wait(expired=True), b=wait(), c=wait(expired=True)))
    assert found is not None
    assert found.field == "wait:1:b"


NONE: list[dict[str, str]] = [
    {},
    {"status": "running", "work:1": '{"step":"ask"}'},
    fields(step="other", a=wait()),
    fields(a=wait(Order)),
    fields(a=wait(Sharper)),
    fields(a=wait(requirements={"value": 2})),
    fields(a=wait(requirements={"unknown": 2})),
    fields(a=wait(Order, expired=True)),
    {"status": "running", "wait:9:a": wait()},
    {**fields(), "wait:1:a": '{"for":null,"requirements":{},"deadline":5,"expired":false}'},
    {**fields(), "wait:1:a": wait().replace('"requirements":{}', '"requirements":null')},
    {**fields(), "wait:1:a": wait().replace("support.clients:Answer", "nowhere:Answer")},
]


@pytest.mark.parametrize("of", NONE)
def test_where_no_wait_is_known_to_fit_none_is_found(of: dict[str, str]) -> None:
    assert find(of) is None


@pytest.mark.parametrize("requirements", [{"value": 1}, {}, {"value": 1.0}])
def test_requirements_that_the_event_meets_do_not_matter(requirements: Any) -> None:
    assert find(fields(a=wait(requirements=requirements))) is not None


def test_a_derived_event_fits_only_where_the_step_takes_such() -> None:
    of = fields(a=wait(Answer))
    assert find(of, Sharper(value=1)) is None
    assert find(of, Sharper(value=1), subclasses=True) is not None


def test_names_of_waits_may_have_colons() -> None:
    assert find({**fields(), "wait:1:a:b:c": wait()}) is not None


@pytest.mark.parametrize("name", ["work:1", "wait:1:a"])
@pytest.mark.parametrize("text", ["{", "[]", "5", "[" * 100_000])
def test_a_field_that_can_not_be_read_is_named(name: str, text: str) -> None:
    with pytest.raises(RunCorrupt, match=name):
        find({**fields(a=wait()), name: text})
