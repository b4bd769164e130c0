"""The ledger: patches that bring the store up to date, and cost what changed."""

import math
from collections.abc import Collection
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule

from stepwell._engine.ledger import Ledger, state_field
from stepwell._engine.writes import Writes
from stepwell._serialization import Codec
from stepwell.errors import DecodingError, EncodingError

CODEC = Codec()


def incremented(key: str, amount: float) -> Writes:
    writes = Writes()
    writes.increment(key, amount)
    return writes


def appended_to(key: str, *values: Any) -> Writes:
    writes = Writes()
    writes.append(key, values)
    return writes


def added_to(key: str, *values: Any) -> Writes:
    writes = Writes()
    writes.add(key, values)
    return writes


class Book:
    """A live state, what is stored of it, and the ledger between them."""

    def __init__(self, **values: Any) -> None:
        self.values: dict[str, Any] = {}
        self.stored: dict[str, str] = {}
        self.written = 0
        self._ledger = Ledger(CODEC.encode)
        self.values.update(values)
        self.commit(Writes(assigned=set(values)))

    def commit(self, writes: Writes, shared: Collection[str] = ()) -> dict[str, str | None]:
        """Commit what a step did; return the patch."""
        patch = self._ledger.draft(writes, self.values, shared).accept()
        for name, text in patch.items():
            if text is None:
                self.stored.pop(name, None)
            else:
                self.stored[name] = text
            self.written += len(name) + len(text or "")
        return patch

    def restart(self) -> None:
        """Go on as another process: with what is stored, and nothing else."""
        self._ledger = Ledger(CODEC.encode)
        self.values = dict(self._ledger.load(self.stored, CODEC.decode))

    def loaded(self) -> dict[str, Any]:
        return dict(Ledger(CODEC.encode).load(self.stored, CODEC.decode))


def exact(value: Any) -> Any:
    """What compares equal only if values and types are equal all the way down."""
    inner: Any = value
    if isinstance(value, dict):
        inner = {key: exact(one) for key, one in cast("dict[Any, Any]", value).items()}
    elif isinstance(value, set | frozenset):
        inner = frozenset(map(exact, cast("set[Any]", value)))
    elif isinstance(value, list | tuple):
        inner = tuple(map(exact, cast("list[Any]", value)))
    return type(cast("object", value)), inner


def test_the_comparison_of_these_tests_sees_types() -> None:
    assert exact([1, {"a": (1.0,)}]) != exact([1, {"a": (1,)}])
    assert exact({1}) != exact({True})


# --- one key, one field ---


@pytest.mark.parametrize("key", ["a", "a.b", "a+1", "100%", "a%2B", "ünï", "", "a:b", "+", " "])
@pytest.mark.parametrize("value", [1, "text", None, [1], {"x": [(1, 2)]}, {1, 2}])
def test_any_key_and_value_come_back(key: str, value: Any) -> None:
    book = Book(**{key: value})
    assert exact(book.loaded()) == exact({key: value})


@pytest.mark.parametrize("key", ["a", "a+1", "100%", ""])
def test_a_list_under_any_key_grows_by_chunks(key: str) -> None:
    book = Book(**{key: [0]})
    book.values[key].append(1)
    assert list(book.commit(Writes(fetched={key}))) == [f"{state_field(key)}+1"]
    assert book.loaded() == {key: [0, 1]}


def test_a_value_that_did_not_change_is_not_written() -> None:
    book = Book(a={"x": 1}, b=[1, 2], c="text", d=[{"x": 1}], e={1, 2})
    assert book.commit(Writes(assigned={*"abcde"})) == {}


def test_only_touched_keys_are_looked_at() -> None:
    book = Book(a=1, b=2)
    book.values.update(a=3, b=4)
    assert book.commit(Writes(assigned={"a"})) == {"state:a": "3"}


def test_a_removed_key_is_deleted_with_its_chunks() -> None:
    book = Book(a=[0])
    book.values["a"].append(1)
    book.commit(Writes(fetched={"a"}))
    del book.values["a"]
    assert book.commit(Writes(assigned={"a"})) == {"state:a": None, "state:a+1": None}
    assert book.stored == {}


def test_to_remove_what_was_never_stored_writes_nothing() -> None:
    book = Book()
    assert book.commit(Writes(assigned={"a"})) == {}


def test_a_replaced_list_takes_its_chunks_with_it() -> None:
    book = Book(a=[0])
    book.values["a"].append(1)
    book.commit(Writes(fetched={"a"}))
    book.values["a"] = [5]
    assert book.commit(Writes(assigned={"a"})) == {"state:a": "[5]", "state:a+1": None}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([1, 2], [True, 2]),
        ([1, 2], [1.0, 2]),
        ({1, 2}, {True, 2}),
        ({1, 2}, {1.0, 2}),
        ({0}, {False, 5}),
        (1, True),
        ([1], (1,)),
        ([1], {1}),
        ({1}, frozenset({1})),
        ([[1]], [[True]]),
        ([1], [1, [2]]),
        (["a"], ["a", None, 3]),
        ([1, 2, 3], [1, 3]),
        ([1, 2], [2, 1]),
        ([{"x": 1}], [{"x": 1}, {"x": 2}]),
        ([1], []),
        ({1}, set[int]()),
        ({(1, 2)}, {(1, 2), (3, 4)}),
    ],
)
def test_a_change_is_stored_with_its_exact_types(before: Any, after: Any) -> None:
    book = Book(a=before)
    book.values["a"] = after
    book.commit(Writes(assigned={"a"}))
    assert exact(book.loaded()) == exact({"a": after})


def test_a_value_without_stored_form_changes_nothing() -> None:
    book = Book(a=[1], b=1)
    book.values.update(a=[1, object()], b=2)
    with pytest.raises(EncodingError, match="state:a"):
        book.commit(Writes(assigned={"a", "b"}))
    assert book.loaded() == {"a": [1], "b": 1}
    book.values["a"] = [1, 2]
    book.commit(Writes(assigned={"a", "b"}))
    assert book.loaded() == {"a": [1, 2], "b": 2}


def test_a_draft_that_is_not_accepted_can_be_made_again() -> None:
    ledger = Ledger(CODEC.encode)
    values = {"a": [1]}
    ledger.draft(Writes(assigned={"a"}), values, ())
    assert ledger.draft(Writes(assigned={"a"}), values, ()).accept() == {"state:a": "[1]"}


# --- what it costs ---


def appended(number: int) -> Book:
    """A list that grew one by one; its elements are equally long, so that bytes are work."""
    book = Book(a=list[int]())
    for n in range(100_000, 100_000 + number):
        book.values["a"].append(n)
        book.commit(appended_to("a", n))
    return book


def test_appending_one_by_one_writes_a_linear_number_of_bytes() -> None:
    small, large = appended(1_000), appended(10_000)
    assert large.loaded() == {"a": list(range(100_000, 110_000))}
    assert math.log10(large.written / small.written) < 1.1
    assert len(large.stored) < 64


def test_a_list_that_is_changed_in_place_costs_what_was_added() -> None:
    book = Book(a=[str(n) for n in range(1_000)])
    before = book.written
    book.values["a"].append("new")
    book.commit(Writes(fetched={"a"}))
    assert book.written - before < 30


def test_chunks_are_merged_after_a_restart_too() -> None:
    book = Book(a=list[int]())
    for n in range(600):
        book.values["a"].append(n)
        book.commit(Writes(fetched={"a"}))
        if n % 7 == 0:
            book.restart()
    assert book.loaded() == {"a": list(range(600))}
    assert len(book.stored) < 50


# --- several steps at once ---


def test_increments_of_two_steps_are_added_up_in_any_order() -> None:
    book = Book(n=10)
    one, two = incremented("n", 1), incremented("n", 5)
    book.values["n"] = 16
    book.commit(two, shared={"n"})
    assert book.loaded() == {"n": 15}
    book.commit(one)
    assert book.loaded() == {"n": 16}


def test_an_increment_of_a_key_that_is_not_there_counts_from_nought() -> None:
    book = Book()
    book.values["n"] = 3
    book.commit(incremented("n", 3))
    assert exact(book.loaded()) == exact({"n": 3})


def test_an_increment_over_a_sibling_s_assignment_does_not_trip() -> None:
    book = Book(n="not a number")
    book.values["n"] = 1
    book.commit(incremented("n", 1))
    book.commit(Writes(assigned={"n"}))
    assert book.loaded() == {"n": 1}


def test_each_step_commits_the_elements_that_it_appended_itself() -> None:
    book = Book(a=["x"])
    book.values["a"] += ["one", "two"]
    book.commit(appended_to("a", "two"), shared={"a"})
    assert book.loaded() == {"a": ["x", "two"]}
    book.commit(appended_to("a", "one"))
    assert book.loaded() == {"a": ["x", "two", "one"]}


@pytest.mark.parametrize("first", [[1], list[Any](), ["x"]])
def test_an_element_of_another_kind_does_not_bring_the_sibling_s_along(first: list[Any]) -> None:
    book = Book(a=list(first))
    book.values["a"] += [1, {"x": 1}]
    book.commit(appended_to("a", {"x": 1}), shared={"a"})
    book.commit(appended_to("a", 1))
    assert exact(book.loaded()) == exact({"a": [*first, {"x": 1}, 1]})


def test_a_set_takes_each_element_once() -> None:
    book = Book(a={"x"})
    book.values["a"] |= {"y", "z"}
    book.commit(added_to("a", "y", "x", "y"), shared={"a"})
    book.commit(added_to("a", "z", "y"))
    assert book.loaded() == {"a": {"x", "y", "z"}}
    assert book.commit(added_to("a", "x")) == {}


def test_to_have_fetched_a_shared_key_commits_nothing_of_the_others() -> None:
    book = Book(a=[1])
    book.values["a"].append(2)
    assert book.commit(Writes(fetched={"a"}), shared={"a"}) == {}


# --- any sequence of changes ---

scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b", 0.5, 1.0])
hashables = scalars | st.tuples(scalars, scalars)
values = st.recursive(
    scalars | st.sets(hashables, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["x", "y", "$type"]), inner, max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=8,
)
keys = st.sampled_from(["a", "b", "a+1", "a%2B1", ""])


class LedgerMachine(RuleBasedStateMachine):
    """Steps assign, change in place, remove, commit; processes come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.book = Book()
        self.writes = Writes()

    present = Bundle("present")

    @rule(target=present, key=keys, value=values)
    def assign(self, key: str, value: Any) -> str:
        self.book.values[key] = value
        self.writes.assign([key])
        return key

    @rule(key=consumes(present))
    def remove(self, key: str) -> None:
        self.book.values.pop(key, None)
        self.writes.assign([key])

    @rule(key=present, value=values, member=hashables)
    def add(self, key: str, value: Any, member: Any) -> None:
        held, kind = self._fetch(key)
        if kind is list:
            held.append(value)
        elif kind is set:
            held.add(member)
        elif kind is dict:
            held["x"] = value

    @rule(key=present, member=hashables, pick=st.integers(0, 3))
    def change(self, key: str, member: Any, pick: int) -> None:
        held, kind = self._fetch(key)
        if not held:
            return
        if kind is list:
            held[pick % len(held)] = member
        elif kind is set:
            held.pop()
            held.add(member)
        elif kind is dict:
            held.clear()

    def _fetch(self, key: str) -> tuple[Any, object]:
        self.writes.fetch([key])
        held: Any = self.book.values.get(key)
        return held, type(cast("object", held))

    @rule()
    def commit(self) -> None:
        self.book.commit(self.writes)
        self.writes = Writes()
        assert exact(self.book.loaded()) == exact(self.book.values)

    @rule()
    def restart(self) -> None:
        self.commit()
        self.book.restart()
        assert exact(self.book.loaded()) == exact(self.book.values)


LedgerMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestLedger = LedgerMachine.TestCase


# --- damage ---


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"state:a": "{"}, "state:a"),
        ({"state:a+1": "[1]"}, "state:a"),
        ({"state:a": "[1]", "state:a+x": "[1]"}, r"state:a\+x"),
        ({"state:a": "[1]", f"state:a+{'9' * 5000}": "[1]"}, "state:a"),
        ({"state:a": "[1]", "state:a+1": "{}"}, r"state:a\+1"),
        ({"state:a": "1", "state:a+1": "[1]"}, r"state:a\+1"),
        ({"state:a": "[1]", "state:a+1": "[[1]]"}, r"state:a\+1"),
        ({"state:a": CODEC.encode({1}, ""), "state:a+1": "[[1]]"}, r"state:a\+1"),
        ({"state:a": CODEC.encode({(1, 2)}, ""), "state:a+1": "[[1]]"}, r"state:a\+1"),
    ],
)
def test_damaged_fields_are_refused_and_named(fields: dict[str, str], named: str) -> None:
    with pytest.raises(DecodingError, match=named):
        dict(Ledger(CODEC.encode).load(fields, CODEC.decode))


names = st.sampled_from(["state:a", "state:a+1", "state:a+2", "state:b+1", "state", "state+1"])
texts = st.sampled_from(
    ["[1]", "[[]]", '["x"]', "{}", "3", "", "[", '{"$type":"set"}', CODEC.encode({1, "a"}, "")]
)


@settings(max_examples=200, deadline=None)
@given(fields=st.dictionaries(names, texts | st.text(max_size=5), max_size=5))
def test_any_fields_load_or_are_refused(fields: dict[str, str]) -> None:
    ledger = Ledger(CODEC.encode)
    try:
        loaded = dict(ledger.load(fields, CODEC.decode))
    except DecodingError:
        return
    if all(_is_our_text(text) for text in fields.values()):
        assert ledger.draft(Writes(assigned=set(loaded)), loaded, ()).patch == {}


def _is_our_text(text: str) -> bool:
    """Somebody else may write the same value in other words: 0E0 is 0.0."""
    return CODEC.encode(CODEC.decode(text, ""), "") == text
