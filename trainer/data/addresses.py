"""Reads tokens where they lie: a memory address as a typed pointer inside a numba kernel."""

from typing import Any

from numba.core import types
from numba.extending import intrinsic


@intrinsic
def pointer(typing_context: Any, address: Any, item: Any) -> Any:
    """An address as a pointer to items like those of the array `item`: pieces lie in any of many file mappings."""
    signature = types.CPointer(item.dtype)(types.uint64, item)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return signature, codegen
