"""Values to JSON text and back, with their types: the one place that knows the stored form.

`codec` walks a value; `values` holds the forms of Python's own types, `classes` and `models` those
of registered classes; `registry` says which classes may come back from stored data.
"""

from stepwell._serialization.codec import Codec
from stepwell._serialization.registry import (
    DEFAULT_TYPES,
    TypeRegistry,
    register,
    register_codec,
    type_name,
)

__all__ = ["DEFAULT_TYPES", "Codec", "TypeRegistry", "register", "register_codec", "type_name"]
