"""What tells one state of a workflow's code from another, as far as its runs can see it."""

import json
from hashlib import sha256
from typing import Any

from pydantic.fields import FieldInfo

from stepwell._engine.plan import Plan, StepPlan
from stepwell._names import type_name

__all__ = ["fingerprint_of"]


def fingerprint_of(plan: Plan) -> str:
    """16 hex digits: of the version, of the steps, and of the state and the events they take.

    Stored values that one class can't read, another one of the same name may read: so the fields
    of the classes count, too.
    """
    steps = sorted(
        (step.name, sorted(map(type_name, _taken(step)))) for step in plan.steps.values()
    )
    classes = {plan.state_type}.union(*(_taken(step) for step in plan.steps.values()))
    fields = sorted((type_name(cls), _fields(cls)) for cls in classes)
    return sha256(json.dumps([plan.version, steps, fields]).encode()).hexdigest()[:16]


def _taken(step: StepPlan) -> set[type[Any]]:
    return {*step.accepts, *step.joins_on, *step.gathers}


def _fields(cls: type[Any]) -> list[tuple[str, str, bool]]:
    """What a model consists of: names, types, and whether they have to be there."""
    fields: dict[str, FieldInfo] = getattr(cls, "model_fields", {})
    return sorted((name, str(one.annotation), one.is_required()) for name, one in fields.items())
