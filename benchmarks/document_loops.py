"""The seed's loop over documents, a commit after each, in three ways; the tests count its bytes."""

from stepwell import Context, Workflow, step
from stepwell.events import StartEvent, StopEvent

__all__ = ["Each", "InPlace", "SetEach"]


class SetEach(Workflow):
    """As on the seed page: get the list once, append, set it again, commit."""

    @step
    async def convert(self, ev: StartEvent, ctx: Context) -> StopEvent:
        """Convert the documents."""
        converted = await ctx.store.get("converted", default=[])
        for document in ev.documents:
            converted.append(document)
            await ctx.store.set("converted", converted)
            await ctx.checkpoint()
        return StopEvent(result=len(converted))


class InPlace(Workflow):
    """The list is fetched once, and only changed in place."""

    @step
    async def convert(self, ev: StartEvent, ctx: Context) -> StopEvent:
        """Convert the documents."""
        await ctx.store.set("converted", [])
        converted = await ctx.store.get("converted")
        for document in ev.documents:
            converted.append(document)
            await ctx.checkpoint()
        return StopEvent(result=len(converted))


class Each(Workflow):
    """The durable loop."""

    @step
    async def convert(self, ev: StartEvent, ctx: Context) -> StopEvent:
        """Convert the documents."""
        async for document in ctx.each(ev.documents):
            await ctx.store.append("converted", document)
        return StopEvent(result=len(await ctx.store.get("converted")))
