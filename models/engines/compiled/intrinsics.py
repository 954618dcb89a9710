"""What LLVM can do and numba does not offer."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic


def place(context, builder, signature, arguments):
    """The address of array[index], the first two arguments; the array lies in one piece."""
    return builder.gep(context.make_array(signature.args[0])(context, builder, arguments[0]).data, [arguments[1]])


@intrinsic
def wide_vectors(_typing):
    """Let LLVM use the widest vectors of the processor in the function that calls this, not only 32 bytes of 64."""

    def build(_context, builder, _signature, _arguments):
        # llvmlite knows no attributes with values, so this goes round its check of names
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')

    return types.void(), build


@intrinsic
def borrowed(_typing, value):
    """An array that counts no references, for as long as the caller of the compiled code holds it; anything else as it is.

    Counting is atomic and happens at each call and view: it used to take as long as stepping a hundred neurons.
    """

    def build(context, builder, _signature, arguments):
        if not isinstance(value, types.Array):
            return arguments[0]
        array = context.make_array(value)(context, builder, arguments[0])
        array.meminfo, array.parent = (ir.Constant(field.type, None) for field in (array.meminfo, array.parent))
        return array._getvalue()

    return value(value), build


@intrinsic
def trailing_zeros(_typing, word):
    """How many bits of a word that is not 0 are 0 below its lowest 1."""

    def build(_context, builder, _signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return word(word), build


def _fetch(array, index, to_write):
    def build(context, builder, signature, arguments):
        address = builder.bitcast(place(context, builder, signature, arguments), ir.IntType(8).as_pointer())
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [address.type, word, word, word])
        prefetch = get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(prefetch, [address, word(to_write), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), build


@intrinsic
def fetch(_typing, array, index):
    """Let the processor get array[index] into its cache, meanwhile."""
    return _fetch(array, index, to_write=0)


@intrinsic
def fetch_to_write(_typing, array, index):
    """As fetch, for writing: while nobody else reads it."""
    return _fetch(array, index, to_write=1)
