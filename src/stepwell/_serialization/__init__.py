"""Values to JSON text and back, with their types: the one place that knows the stored form.

`codec` walks a value; `values` holds the forms of Python's own types, `classes`, `models` and
`exceptions` those of classes; `registry` says which classes may come back from stored data, and
`names` what may name a field. `captures` is for values that only an await can read, and `foreign`
for packages that we know more about.
"""

from stepwell._names import type_name
from stepwell._serialization.best_effort import BestEffort
from stepwell._serialization.captures import NOTHING_CAPTURED, Captured, captured
from stepwell._serialization.codec import Codec
from stepwell._serialization.foreign import namespaces_of
from stepwell._serialization.names import check_name
from stepwell._serialization.registry import (
    DEFAULT_TYPES,
    TypeRegistry,
    register,
    register_codec,
)

__all__ = [
    "DEFAULT_TYPES",
    "NOTHING_CAPTURED",
    "BestEffort",
    "Captured",
    "Codec",
    "TypeRegistry",
    "captured",
    "check_name",
    "namespaces_of",
    "register",
    "register_codec",
    "type_name",
]
