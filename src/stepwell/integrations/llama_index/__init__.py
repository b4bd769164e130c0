"""LlamaIndex's agents on Stepwell: how what they keep is stored in runs.

There is nothing to call. Stepwell imports this when it first meets a class of `llama_index.core`,
so `checkpointer.attach(agent)` is all that an agent needs. A codec that the program registered
itself for one of these classes, before or after, counts instead.
"""

from stepwell.integrations.llama_index import events, memories, messages
from stepwell.integrations.llama_index.tools import namespaces_of

__all__ = ["namespaces_of"]

messages.register_codecs()
events.register_codecs()
memories.register_codecs()
