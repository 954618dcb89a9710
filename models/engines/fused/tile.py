"""What LLVM does not make of a loop by itself: a tile of a matrix product in registers, a row added without asking.

Of a product written as loops LLVM loads and stores each sum at every step of n. In a tile, out [R, L] += a [R, N] w [N, L],
the sums stay in registers while n runs, so each weight that is loaded serves R products and nothing else moves.
Before a loop that adds one row to another it asks whether they overlap, which takes longer than adding ten numbers.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from spiketwin.models.engines.vector_math import HAS_FMA

ROWS = 4


def tile(lanes: int, vectors: int) -> Callable:
    """product_tile(a, w, out, r, j): rows r … r+3, columns j … j + lanes·vectors - 1 of out += a w, for C-contiguous arrays."""

    @intrinsic
    def product_tile(_typing, a, w, out, r, j):
        signature = types.void(a, w, out, types.intp, types.intp)

        def build(context, builder, signature, arguments):
            arrays = [make_array(t)(context, builder, v) for t, v in zip(signature.args[:3], arguments[:3], strict=True)]
            first, column = arguments[3:]
            number = arrays[0].data.type.pointee
            vector = ir.VectorType(number, lanes)
            widths = [cgutils.unpack_tuple(builder, x.shape, 2)[1] for x in arrays]
            size = widths[0]
            index = size.type

            def at(array: int, row, position):
                """Pointer to an element of a, w or out."""
                return builder.gep(arrays[array].data, [builder.add(builder.mul(row, widths[array]), position)])

            def as_vector(pointer):
                return builder.bitcast(pointer, vector.as_pointer())

            places = []
            for row in range(ROWS):
                for k in range(vectors):
                    offset = builder.add(column, ir.Constant(index, k * lanes))
                    places.append(as_vector(at(2, builder.add(first, ir.Constant(index, row)), offset)))
            start = [builder.load(p, align=number_bytes(number)) for p in places]

            before = builder.block
            loop, after = builder.append_basic_block("tile.loop"), builder.append_basic_block("tile.after")
            builder.cbranch(builder.icmp_signed(">", size, ir.Constant(index, 0)), loop, after)
            builder.position_at_end(loop)
            n = builder.phi(index)
            n.add_incoming(ir.Constant(index, 0), before)
            sums = [builder.phi(vector) for _ in places]
            for total, value in zip(sums, start, strict=True):
                total.add_incoming(value, before)
            weights = []
            for k in range(vectors):
                pointer = as_vector(at(1, n, builder.add(column, ir.Constant(index, k * lanes))))
                weights.append(builder.load(pointer, align=number_bytes(number)))
            new = []
            for row in range(ROWS):
                factor = builder.load(at(0, builder.add(first, ir.Constant(index, row)), n))
                single = builder.insert_element(ir.Constant(vector, ir.Undefined), factor, ir.Constant(ir.IntType(32), 0))
                everywhere = builder.shuffle_vector(
                    single, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
                )
                new += [_multiply_add(builder, everywhere, weights[k], sums[row * vectors + k]) for k in range(vectors)]
            following = builder.add(n, ir.Constant(index, 1))
            n.add_incoming(following, loop)
            for total, value in zip(sums, new, strict=True):
                total.add_incoming(value, loop)
            builder.cbranch(builder.icmp_signed("<", following, size), loop, after)
            builder.position_at_end(after)
            results = [builder.phi(vector) for _ in places]
            for place, result, old, value in zip(places, results, start, new, strict=True):
                result.add_incoming(old, before)
                result.add_incoming(value, loop)
                builder.store(result, place, align=number_bytes(number))
            return context.get_dummy_value()

        return signature, build

    return product_tile


def _multiply_add(builder: ir.IRBuilder, a, b, c):
    """a b + c for vectors, in one instruction where the processor has it; else LLVM would call a function for each number."""
    if not HAS_FMA:
        return builder.fadd(builder.fmul(a, b), c)
    kind = f"v{a.type.count}f{8 * number_bytes(a.type.element)}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(a.type, [a.type] * 3), f"llvm.fma.{kind}")
    return builder.call(function, [a, b, c])


def number_bytes(number: ir.Type) -> int:
    return 8 if isinstance(number, ir.DoubleType) else 4


@intrinsic
def add_row(_typing, target, row, source, start):
    """target[row] += source[start: start + width], for a matrix and a vector that are C-contiguous and do not overlap."""
    signature = types.void(target, types.intp, source, types.intp)

    def build(context, builder, signature, arguments):
        to = make_array(signature.args[0])(context, builder, arguments[0])
        of = make_array(signature.args[2])(context, builder, arguments[2])
        number = to.data.type.pointee
        width = cgutils.unpack_tuple(builder, to.shape, 2)[1]
        first = builder.gep(to.data, [builder.mul(arguments[1], width)])
        second = builder.gep(of.data, [arguments[3]])
        done = ir.Constant(width.type, 0)
        for lanes in (16, 4, 1):
            vector = ir.VectorType(number, lanes) if lanes > 1 else number
            stop = builder.and_(width, ir.Constant(width.type, -lanes))
            with cgutils.for_range_slice(builder, done, stop, ir.Constant(width.type, lanes), width.type) as (n, _):
                places = [builder.bitcast(builder.gep(p, [n]), vector.as_pointer()) for p in (first, second)]
                values = [builder.load(p, align=number_bytes(number)) for p in places]
                builder.store(builder.fadd(*values), places[0], align=number_bytes(number))
            done = stop
        return context.get_dummy_value()

    return signature, build


WIDE, NARROW = 32, 8  # columns of a tile
wide_tile, narrow_tile = tile(16, 2), tile(8, 1)
