"""A run asks a human by an InputRequiredEvent, and goes on with a HumanResponseEvent.

There are two ways to write it. `ctx.wait_for_event` asks in the middle of a step, which stands
still until the answer comes. Or one step returns the question and another takes the answer, so that
nothing stands still at all. Whoever runs the workflow reads the question in the stream, and sends
the answer with `handler.send_event`. It need not be a human: anything outside the run may answer.
"""

from stepwell import Context, Workflow, step
from stepwell.events import HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent


class Question(InputRequiredEvent):
    text: str


class Answer(HumanResponseEvent):
    text: str


class Publish(Workflow):
    @step
    async def publish(self, ev: StartEvent, ctx: Context) -> StopEvent:
        question = Question(text=f"Publish {ev.document}?")
        answer = await ctx.wait_for_event(Answer, waiter_event=question)
        return StopEvent(result="published" if answer.text == "yes" else "kept")


async def test_a_step_waits_for_an_answer() -> None:
    handler = Publish().run(document="the report")
    async for event in handler.stream_events():
        if isinstance(event, Question):
            assert event.text == "Publish the report?"
            await handler.send_event(Answer(text="yes"))
    assert await handler == "published"


class PublishInTwoSteps(Workflow):
    @step
    async def ask(self, ev: StartEvent) -> Question:
        return Question(text=f"Publish {ev.document}?")

    @step
    async def publish(self, ev: Answer) -> StopEvent:
        return StopEvent(result="published" if ev.text == "yes" else "kept")


async def test_one_step_asks_and_another_takes_the_answer() -> None:
    handler = PublishInTwoSteps().run(document="the report")
    async for event in handler.stream_events():
        if isinstance(event, Question):
            await handler.send_event(Answer(text="no"))
    assert await handler == "kept"


class Sign(Workflow):
    @step
    async def sign(self, ev: StartEvent, ctx: Context) -> StopEvent:
        names: list[str] = []
        for role in ("author", "editor"):
            answer = await ctx.wait_for_event(HumanResponseEvent, requirements={"role": role})
            names.append(answer.name)
        return StopEvent(result=names)


async def test_requirements_tell_several_answers_apart() -> None:
    handler = Sign().run()
    await handler.send_event(HumanResponseEvent(role="editor", name="Grace"))
    await handler.send_event(HumanResponseEvent(role="author", name="Ada"))
    assert await handler == ["Ada", "Grace"]
