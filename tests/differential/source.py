"""An abstract program as Python source: what a failing test shows is what ran."""

from dataclasses import dataclass, field

from differential.model import (
    Act,
    Arms,
    Branch,
    Loop,
    Pass,
    Pipeline,
    Program,
    Scatter,
    Spread,
    Stage,
    Trouble,
)

__all__ = ["FUEL", "written"]

FUEL = 3
"""How often a token may go round a loop; leaving one fills it up again."""

ONE = "n, fuel, path = ev.n, ev.fuel, ev.path"
STOP = "StopEvent"


def written(program: Program) -> str:
    """The source of the workflow class `W`; its events E0, E1, ... are tokens."""
    return _Writer(program.wildcard).program(program)


@dataclass
class _Step:
    """A step that is about to be written.

    Attributes:
        act: what it does.
        takes: its event parameters.
        returns: its return annotation.
        rescue: what a handler makes of its failure.
        unpacks: the lines that make n, fuel and path out of the parameters.
        ends: the lines that return.
    """

    act: Act
    takes: str
    returns: str
    rescue: str
    unpacks: list[str]
    ends: list[str]


@dataclass
class _Writer:
    wildcard: int | None
    events: int = 0
    steps: list[str] = field(default_factory=list[str])
    handlers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def program(self, program: Program) -> str:
        last = self._event()
        self._pipeline(program.stages, "Begin", last)
        result = f"{STOP}(result=[n, fuel])"
        rescue = f"{STOP}(result=ev.attempts)"
        self._step(_Step(program.end, f"ev: {last}", STOP, rescue, [ONE], [f"return {result}"]))
        if self.handlers and self.wildcard is not None:
            self.steps.append(self._wildcard(self.wildcard))
        return "\n".join(["class W(Workflow):", "\n\n".join(self.steps), ""])

    # --- stages ---

    def _pipeline(self, stages: Pipeline, source: str, target: str) -> None:
        for stage in stages[:-1]:
            between = self._event()
            self._stage(stage, source, between)
            source = between
        self._stage(stages[-1], source, target)

    def _stage(self, stage: Stage, source: str, target: str) -> None:
        match stage:
            case Pass():
                self._pass(stage, source, target)
            case Branch():
                self._branch(stage, source, target)
            case Loop():
                self._loop(stage, source, target)
            case Spread():
                self._spread(stage, source, target)
            case Scatter():
                self._scatter(stage, source, target)
            case Arms():
                self._arms(stage, source, target)

    def _pass(self, stage: Pass, source: str, target: str) -> None:
        ends = [f"return {_token(target, '(2 * n + 1) % 7')}"]
        returns = target
        if stage.dies_at is not None:
            ends.insert(0, f"if n % 3 == {stage.dies_at}: return None")
            returns = f"{target} | None"
        self._simple(stage.act, source, target, returns, ends)
        if stage.aside:
            self._step(_Step(stage.aside, f"ev: {source}", "None", "None", [ONE], ["return None"]))

    def _branch(self, stage: Branch, source: str, target: str) -> None:
        odd, even = self._event(), self._event()
        ends = [f"return {_token(odd)} if n % 2 else {_token(even)}"]
        self._simple(stage.act, source, target, f"{odd} | {even}", ends)
        self._pipeline(stage.odd, odd, target)
        self._pipeline(stage.even, even, target)

    def _loop(self, stage: Loop, source: str, target: str) -> None:
        inside, done = self._event(), self._event()
        ends = [
            f"if fuel > {FUEL - stage.turns}: return {_token(inside, 'n', 'fuel - 1')}",
            f"return {_token(target, 'n', str(FUEL))}",
        ]
        self._simple(stage.act, source, target, f"{inside} | {target}", ends)
        self._pipeline(stage.body, inside, done)
        self._simple(stage.back, done, target, source, [f"return {_token(source)}"])

    def _spread(self, stage: Spread, source: str, target: str) -> None:
        size = "n % 4" if stage.size is None else str(stage.size)
        ins, outs = self._parts(stage.parts)
        ends = [f"return [{_element(ins)} for i in range({size})]"]
        self._simple(stage.act, source, target, f"list[{' | '.join(ins)}]", ends)
        takes, unpacks = f"list[{' | '.join(outs)}]", "n, fuel, path = gathered(ev)"
        if stage.take is not None:
            takes = f"Annotated[{takes}, Collect(Take({stage.take}))]"
            unpacks = "n, fuel, path = len(ev), 0, ''"
        self._join(stage.join, f"ev: {takes}", target, target, [unpacks])

    def _scatter(self, stage: Scatter, source: str, target: str) -> None:
        ins, outs = self._parts(stage.parts)
        ends = [f"for i in range({stage.size}): ctx.send_event({_element(ins)})", "return None"]
        self._simple(stage.act, source, target, f"{' | '.join(ins)} | None", ends)
        expected = ", ".join(outs[i % len(outs)] for i in range(stage.size))
        unpacks = [
            f"found = ctx.collect_events(ev, [{expected}])",
            "if found is None: return None",
            "n, fuel, path = gathered(found)",
        ]
        self._join(stage.join, f"ev: {' | '.join(outs)}", target, f"{target} | None", unpacks)

    def _arms(self, stage: Arms, source: str, target: str) -> None:
        same = self._event() if stage.alike else ""
        outs = [same or self._event() for _ in stage.arms]
        for arm, out in zip(stage.arms, outs, strict=True):
            comes_back = isinstance(arm[0], Loop)  # to its own beginning, not to that of all arms
            self._pipeline((Pass(Act()), *arm) if comes_back else arm, source, out)
        names = "abc"[: len(outs)]
        takes = ", ".join(f"{name}: {out}" for name, out in zip(names, outs, strict=True))
        unpacks = f"n, fuel, path = gathered([{', '.join(names)}])"
        if not stage.alone:
            unpacks = "n, fuel, path = 1, 0, ''"
        self._join(stage.join, takes, target, target, [unpacks])

    def _parts(self, parts: tuple[Pipeline, ...]) -> tuple[list[str], list[str]]:
        """Write pipelines next to each other; return the events that they take and lead to."""
        ins, outs = [self._event() for _ in parts], [self._event() for _ in parts]
        for part, source, target in zip(parts, ins, outs, strict=True):
            self._pipeline(part, source, target)
        return ins, outs

    # --- steps ---

    def _event(self) -> str:
        self.events += 1
        return f"E{self.events - 1}"

    def _simple(self, act: Act, source: str, target: str, returns: str, ends: list[str]) -> None:
        """A step that takes one event."""
        old = "ev.input_event"
        rescue = f"{target}(n=ev.attempts, fuel={old}.fuel, path={old}.path)"
        self._step(_Step(act, f"ev: {source}", returns, rescue, [ONE], ends))

    def _join(self, act: Act, takes: str, target: str, returns: str, unpacks: list[str]) -> None:
        """A step that takes several: a handler of its failure can't know whose were the last."""
        rescue = f"{target}(n=ev.attempts)"
        self._step(_Step(act, takes, returns, rescue, unpacks, [f"return {_token(target)}"]))

    def _step(self, step: _Step) -> None:
        name = f"s{len(self.steps)}"
        kind = "def" if step.act.sync else "async def"
        lines = [
            f"@step({_options(step.act)})",
            f"{kind} {name}(self, ctx: Context, {step.takes}) -> {step.returns}:",
            *(
                f"    {line}"
                for line in [*_pauses(step.act), *step.unpacks, *_acts(step.act, name)]
            ),
            *(f"    {line}" for line in step.ends),
        ]
        self.steps.append("\n".join(f"    {line}" for line in lines))
        if step.act.trouble:
            self._handled(name, step, step.act.trouble.recoveries)

    def _handled(self, name: str, step: _Step, recoveries: int | None) -> None:
        self.handlers.append((name, step.rescue))
        if self.wildcard is None and recoveries is not None:
            returns = step.rescue.partition("(")[0]
            lines = [
                f"@catch_error(for_steps=['{name}'], max_recoveries={recoveries})",
                f"async def h_{name}(self, ev: StepFailedEvent) -> {returns}:",
                f"    return {step.rescue}",
            ]
            self.steps.append("\n".join(f"    {line}" for line in lines))

    def _wildcard(self, recoveries: int) -> str:
        returns = dict.fromkeys(rescue.partition("(")[0] for _, rescue in self.handlers)
        lines = [
            f"@catch_error(max_recoveries={recoveries})",
            f"async def handler(self, ev: StepFailedEvent) -> {' | '.join(returns)}:",
            *(
                f"    if ev.step_name == '{name}': return {rescue}"
                for name, rescue in self.handlers
            ),
            "    raise LookupError(ev.step_name)",
        ]
        return "\n".join(f"    {line}" for line in lines)


def _token(cls: str, n: str = "n", fuel: str = "fuel") -> str:
    return f"{cls}(n={n}, fuel={fuel}, path=path)"


def _element(classes: list[str]) -> str:
    cls = classes[0] if len(classes) == 1 else f"({', '.join(classes)})[i % {len(classes)}]"
    return f"{cls}(n=(n + i) % 7, fuel=fuel, path=f'{{path}}_{{i}}')"


def _options(act: Act) -> str:
    options = [f"num_workers={act.workers}"]
    if act.trouble and act.trouble.attempts > 1:
        stop = f"stop_after_attempt({act.trouble.attempts})"
        options.append(f"retry_policy=retry_policy(wait=wait_none(), stop={stop})")
    return ", ".join(options)


def _pauses(act: Act) -> list[str]:
    return ["await asyncio.sleep(0)"] * act.pauses


def _acts(act: Act, name: str) -> list[str]:
    lines: list[str] = []
    if act.asks:
        lines.append(f"n = (n + await asked(ctx, f'{name}{{path}}/{{fuel}}')) % 7")
    if act.notes:
        lines.append(f"ctx.write_event_to_stream(Note(step='{name}', n=n))")
    if act.adds:
        lines.append(f"await add(ctx, 'sum', {act.adds})")
    if act.keeps:
        lines.append(f"await ctx.store.set(f'{name}{{path}}', n)")
    return [*lines, *_trouble(act.trouble, name)]


def _trouble(trouble: Trouble | None, name: str) -> list[str]:
    if trouble is None:
        return []
    odd = " and n % 2" if trouble.odd_only else ""
    condition = f"ctx.retry_info().retry_number < {trouble.fails}{odd}"
    return [f"if {condition}: raise ValueError('{name} failed')"]
