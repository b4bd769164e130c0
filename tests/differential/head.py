"""What every random program has at its disposal; its text comes before the program's own."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

from stepwell import Context, Workflow, catch_error, step
from stepwell.collect import Collect, Take
from stepwell.events import (
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
)
from stepwell.retry_policy import retry_policy, stop_after_attempt, wait_none

__all__ = [
    "Annotated",
    "Answer",
    "Ask",
    "Begin",
    "Collect",
    "Context",
    "Note",
    "StepFailedEvent",
    "StopEvent",
    "Take",
    "Token",
    "Workflow",
    "add",
    "asked",
    "asyncio",
    "catch_error",
    "gathered",
    "retry_policy",
    "step",
    "stop_after_attempt",
    "wait_none",
]


class Token(Event):
    """What is passed on: a number, rounds that are left to go, and where it came from."""

    n: int = 0
    fuel: int = 0
    path: str = ""


class Begin(StartEvent):
    """The first token."""

    n: int = 0
    fuel: int = 0
    path: str = ""


class Note(Event):
    """Written to the stream."""

    step: str
    n: int


class Answer(HumanResponseEvent):
    """To the question with the same key."""

    key: str
    n: int


class Ask(InputRequiredEvent):
    """A question, and what the human will say."""

    key: str
    answer: Answer


for _number in range(100):  # made once: a class takes longer than a small program
    globals()[f"E{_number}"] = type(f"E{_number}", (Token,), {"__module__": __name__})


def gathered(events: Sequence[Token]) -> tuple[int, int, str]:
    """Number, fuel and path of the token that several become."""
    return sum(ev.n for ev in events) % 97, min((ev.fuel for ev in events), default=0), ""


async def asked(ctx: Context, key: str) -> int:
    """Ask a human."""
    question = Ask(key=key, answer=Answer(key=key, n=len(key)))
    answer = await ctx.wait_for_event(Answer, waiter_event=question, requirements={"key": key})
    return answer.n


async def add(ctx: Context, key: str, number: int) -> None:
    """Add to a sum in the state."""
    async with ctx.store.edit_state() as state:
        state[key] = state.get(key, 0) + number
