"""Every error that Stepwell raises.

    StepwellError
    ├── WorkflowValidationError         a step, its signature or the step graph is wrong
    ├── WorkflowConfigurationError      a workflow has no single start or stop event
    ├── WorkflowStepDoesNotExistError   a step was named that the workflow does not have
    ├── WorkflowRuntimeError            a run was used in a way that it does not allow
    │   └── ResourceError               a resource was cancelled in its making, or failed to close
    ├── WorkflowTimeoutError            a run took longer than its `timeout`
    ├── WorkflowCancelledByUser         a run was cancelled
    ├── WorkflowDone                    a run is over (kept for code that imports the name)
    ├── ContextStateError               a context method was called in the wrong phase
    ├── ContextSerdeError               a context can't be written to or read from its fields
    │   ├── EncodingError               a value has no durable form (also a ValueError)
    │   └── DecodingError               a stored field can't be read (also a ValueError)
    ├── UnreconstructedException        stands for a step's error that can't be made again here
    └── DurabilityError                 everything about runs that outlive their process
        ├── StoreError                  the store did not do what it was asked
        │   ├── StoreUnavailable        no server there, or it stopped answering
        │   ├── StoreRefused            the server refuses us: password, permission, version
        │   └── OutcomeUnknown          the connection broke and the outcome can't be known
        ├── RunConflict                 this run id belongs to a run with another input
        ├── RunBlocked                  the code does not know a step or type of the run
        ├── RunCorrupt                  a stored run can't be read; nothing of it was changed
        ├── RunNotFound                 there is no run of that name
        ├── RunOver                     the run has ended: it takes no messages any more
        ├── WaitClosed                  the wait that a message was meant for is over
        ├── InboxFull                   too many messages wait for the run already
        ├── RunQuarantined              the run kills its workers, and was set aside
        ├── RunFailed                   a stored run failed, and its own error can't be rebuilt
        └── LeaseLost                   another process owns the run now

Each message names the run, the step or the field it is about, and what to do. A step's own
exception is never wrapped: it is what `await handler` raises.
"""

from typing_extensions import override

__all__ = [
    "ContextSerdeError",
    "ContextStateError",
    "DecodingError",
    "DurabilityError",
    "EncodingError",
    "InboxFull",
    "LeaseLost",
    "OutcomeUnknown",
    "ResourceError",
    "RunBlocked",
    "RunConflict",
    "RunCorrupt",
    "RunFailed",
    "RunNotFound",
    "RunOver",
    "RunQuarantined",
    "StepwellError",
    "StoreError",
    "StoreRefused",
    "StoreUnavailable",
    "UnreconstructedException",
    "WaitClosed",
    "WorkflowCancelledByUser",
    "WorkflowConfigurationError",
    "WorkflowDone",
    "WorkflowRuntimeError",
    "WorkflowStepDoesNotExistError",
    "WorkflowTimeoutError",
    "WorkflowValidationError",
]

# ruff: noqa: N818 - the names are those of LlamaIndex Workflows, and of the field


class StepwellError(Exception):
    """The root: `except StepwellError` catches all that is Stepwell's own."""


class WorkflowValidationError(StepwellError):
    """A step, its signature or the step graph is wrong."""


class WorkflowConfigurationError(StepwellError):
    """A workflow, or the process around it, is set up in a way that can't work."""


class WorkflowStepDoesNotExistError(StepwellError):
    """A step was named that the workflow does not have."""


class WorkflowRuntimeError(StepwellError):
    """A run was used in a way that it does not allow."""


class ResourceError(WorkflowRuntimeError):
    """A resource was cancelled while it was made, or failed to close.

    What a factory raises while it makes the resource is the step's own failure, as it is.
    """


class WorkflowTimeoutError(StepwellError):
    """A run took longer than its `timeout`."""


class WorkflowCancelledByUser(StepwellError):
    """A run was cancelled."""


class WorkflowDone(StepwellError):
    """A run is over. Never raised: kept for code that imports the name."""


class ContextStateError(StepwellError):
    """A context method was called in a phase in which it has no meaning."""


class ContextSerdeError(StepwellError):
    """A context can't be written to, or read from, its flat fields."""


class EncodingError(ContextSerdeError, ValueError):
    """A value has no durable form; the message says where it sits and of what type it is."""


class DecodingError(ContextSerdeError, ValueError):
    """A stored field can't be read back."""


class UnreconstructedException(StepwellError):
    """Stands for an exception that left its process and can't be made again in this one.

    Its class is not loaded here, or its constructor wants more than a message.

    Args:
        message: what the exception said.
        original_type: dotted name of its class.
    """

    def __init__(self, message: str, original_type: str | None = None) -> None:
        super().__init__(message)
        self.original_type = original_type

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r}, original_type={self.original_type!r})"


class DurabilityError(StepwellError):
    """Everything about runs that outlive their process."""


class StoreError(DurabilityError):
    """The store did not do what it was asked."""


class StoreUnavailable(StoreError):
    """No server answers at the address, or it stopped answering."""


class StoreRefused(StoreError):
    """The server refuses: password, permission, version, wrong type under one of our keys."""


class OutcomeUnknown(StoreError):
    """The connection broke before the reply: what was asked may or may not have happened."""


class RunConflict(DurabilityError):
    """This run id belongs to a run with another input or another workflow."""


class RunBlocked(DurabilityError):
    """The code at hand does not know a step or type that the stored run needs."""


class RunCorrupt(DurabilityError):
    """A stored run can't be read; nothing of it was changed."""


class RunNotFound(DurabilityError):
    """There is no run of that name."""


class RunOver(DurabilityError):
    """A run has ended, so that it takes no messages any more."""


class WaitClosed(DurabilityError):
    """The wait that a message was meant for is over."""


class InboxFull(DurabilityError):
    """So many messages wait for a run already that it takes no more."""


class RunQuarantined(DurabilityError):
    """A run killed the processes that executed it, again and again, and was set aside."""


class RunFailed(DurabilityError):
    """A stored run failed with an error that can't be rebuilt here; the message quotes it."""


class LeaseLost(DurabilityError):
    """Another process owns the run now; what this one still computes is refused."""
