"""Types of the runtime that code written for LlamaIndex Workflows imports."""
