"""What is computed: contractions and convolutions of two tensors (docs/loops.md, section 1)."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections.abc import Mapping

import numpy as np

from gamekit.errors import InputError

MAX_VARIABLES = 7
MAX_AXES = 4
# Of a variable, of a factor before one, and of a tensor.
MAX_SIZE = 4096
MAX_FACTOR = 16
MAX_ELEMENTS = 1 << 24
# Floats of a vector register; also what the innermost loop's size has to be a multiple of.
WIDTH = 8
MAX_TEXT = 1000

_NAME = r"[A-Za-z][A-Za-z0-9]{0,15}"
_STATEMENT = re.compile(
    rf"\s*(?P<out>{_NAME}\s*\[[^\]]*\])\s*\+=\s*(?P<a>{_NAME}\s*\[[^\]]*\])"
    rf"\s*\*\s*(?P<b>{_NAME}\s*\[[^\]]*\])\s*"
)
_TENSOR = re.compile(rf"({_NAME})\s*\[([^\]]*)\]")
_TERM = re.compile(rf"(?:(\d{{1,3}})\s*\*\s*)?({_NAME})(?:\s*\*\s*(\d{{1,3}}))?")
# An index of an axis: factors by variable, x + 2 * r as {"x": 1, "r": 2}.
Index = tuple[tuple[str, int], ...]


@dataclasses.dataclass(frozen=True)
class Tensor:
    """name; axes: the index of each axis, outermost first. Elements are float32, row-major."""

    name: str
    axes: tuple[Index, ...]

    def __str__(self) -> str:
        return f"{self.name}[{', '.join(_index_text(axis) for axis in self.axes)}]"

    @property
    def variables(self) -> frozenset[str]:
        return frozenset(name for axis in self.axes for name, _ in axis)


@dataclasses.dataclass(frozen=True)
class Computation:
    """out[...] += a[...] * b[...] for all values of the variables.

    name: unique among those of a run. sizes: of the variables, in the order in which the text first
    names them; an index goes from 0 to size - 1.
    """

    name: str
    out: Tensor
    inputs: tuple[Tensor, Tensor]
    sizes: tuple[tuple[str, int], ...]

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        return (self.out, *self.inputs)

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.sizes)

    @property
    def size(self) -> Mapping[str, int]:
        return dict(self.sizes)

    @property
    def macs(self) -> int:
        """Multiplications, each with its addition."""
        return math.prod(size for _, size in self.sizes)

    def shape(self, tensor: Tensor) -> tuple[int, ...]:
        """Extents of a tensor's axes, as far as the computation touches it."""
        size = self.size
        return tuple(1 + sum(f * (size[v] - 1) for v, f in axis) for axis in tensor.axes)

    def strides(self, tensor: Tensor) -> dict[str, int]:
        """By how many elements a tensor's address moves with each of its variables."""
        found: dict[str, int] = {}
        step = 1
        for axis, extent in zip(reversed(tensor.axes), reversed(self.shape(tensor)), strict=True):
            for name, factor in axis:
                found[name] = found.get(name, 0) + factor * step
            step *= extent
        return found

    @property
    def text(self) -> str:
        """The computation as it can be read again."""
        sizes = " ".join(f"{name}={size}" for name, size in self.sizes)
        return f"{self.out} += {self.inputs[0]} * {self.inputs[1]}; {sizes}"

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]


def parse(text: str, name: str) -> Computation:
    """A computation from a text such as "C[m,n] += A[m,k] * B[k,n]; m=64 n=64 k=64".

    Raises:
      InputError: it is none; the message names what is wrong.
    """
    if len(text) > MAX_TEXT:
        raise InputError(f"{name}: must have at most {MAX_TEXT} characters, got {len(text)}")
    statement, semicolon, sizes = text.partition(";")
    match = _STATEMENT.fullmatch(statement)
    if not match or not semicolon:
        raise InputError(
            f"{name}: must be of the form 'C[m,n] += A[m,k] * B[k,n]; m=64 n=64 k=64', got {text!r}"
        )
    out, a, b = (_tensor(match[key], name) for key in ("out", "a", "b"))
    given = _sizes(sizes, name)
    used = list(dict.fromkeys(v for tensor in (out, a, b) for axis in tensor.axes for v, _ in axis))
    for variable in used:
        if variable not in given:
            raise InputError(f"{name}: {variable}: has no size; write {variable}=64")
    for variable in given:
        if variable not in used:
            raise InputError(f"{name}: {variable}: has a size, but no tensor has such an index")
    made = Computation(name, out, (a, b), tuple((v, given[v]) for v in used))
    _check(made)
    return made


def _tensor(text: str, source: str) -> Tensor:
    match = _TENSOR.fullmatch(text.strip())
    assert match is not None, text
    name, inside = match[1], match[2]
    axes = []
    for axis in inside.split(","):
        factors: dict[str, int] = {}
        for term in axis.split("+"):
            found = _TERM.fullmatch(term.strip())
            if not found or (found[1] and found[3]):
                raise InputError(
                    f"{source}: {name}: must have indices such as x + 2*r, got {axis!r}"
                )
            factor = int(found[1] or found[3] or 1)
            if not 1 <= factor <= MAX_FACTOR:
                raise InputError(
                    f"{source}: {name}: a factor must be in 1..{MAX_FACTOR}, got {factor}"
                )
            if found[2] in factors:
                raise InputError(f"{source}: {name}: {found[2]} is twice in {axis.strip()!r}")
            factors[found[2]] = factor
        axes.append(tuple(factors.items()))
    return Tensor(name, tuple(axes))


def _sizes(text: str, source: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for word in text.split():
        match = re.fullmatch(rf"({_NAME})=(\d{{1,6}})", word)
        if not match:
            raise InputError(f"{source}: a size must be such as m=64, got {word!r}")
        if match[1] in found:
            raise InputError(f"{source}: {match[1]}: has two sizes")
        found[match[1]] = int(match[2])
    return found


def _check(made: Computation) -> None:
    """Raises InputError for the first rule that is broken."""
    name, size = made.name, made.size
    names = [tensor.name for tensor in made.tensors]
    if len(set(names)) < 3:
        raise InputError(f"{name}: tensors must have three different names, got {names}")
    for word in names:
        if word in made.variables:
            raise InputError(f"{name}: {word!r} is the name of a tensor and of an index")
    if len(made.sizes) > MAX_VARIABLES:
        raise InputError(
            f"{name}: must have at most {MAX_VARIABLES} indices, got {len(made.sizes)}"
        )
    for variable, extent in made.sizes:
        if not 1 <= extent <= MAX_SIZE:
            raise InputError(f"{name}: {variable}: must be in 1..{MAX_SIZE}, got {extent}")
    for tensor in made.tensors:
        if len(tensor.axes) > MAX_AXES:
            raise InputError(f"{name}: {tensor.name}: must have at most {MAX_AXES} axes")
        if math.prod(made.shape(tensor)) > MAX_ELEMENTS:
            raise InputError(f"{name}: {tensor.name}: must have at most {MAX_ELEMENTS} elements")
    plain = [axis for axis in made.out.axes if len(axis) == 1 and axis[0][1] == 1]
    if len(plain) < len(made.out.axes) or len(made.out.variables) < len(made.out.axes):
        raise InputError(f"{name}: {made.out.name}: must have one index of its own for each axis")
    if made.macs > MAX_ELEMENTS * 64:
        raise InputError(f"{name}: must have at most {MAX_ELEMENTS * 64} multiplications")
    last = made.out.axes[-1][0][0]
    if size[last] != 1 and size[last] % WIDTH:
        raise InputError(
            f"{name}: {last}: the last index of {made.out.name} must be 1 or a multiple of "
            f"{WIDTH}, got {size[last]}"
        )


def _index_text(axis: Index) -> str:
    return " + ".join(name if factor == 1 else f"{factor}*{name}" for name, factor in axis)


def view(computation: Computation, tensor: Tensor, array: np.ndarray) -> np.ndarray:
    """A tensor's array as one with an axis for each of its variables, in the order of `sizes`:
    where indices are sums, elements occur more than once."""
    size, strides = computation.size, computation.strides(tensor)
    names = [v for v in computation.variables if v in strides]
    return np.lib.stride_tricks.as_strided(
        array,
        [size[v] for v in names],
        [strides[v] * array.itemsize for v in names],
        writeable=False,
    )


def random_inputs(computation: Computation, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Float32 arrays of both inputs, of numbers in [-1, 1)."""
    rng = np.random.default_rng(seed)
    a, b = (rng.uniform(-1, 1, computation.shape(t)) for t in computation.inputs)
    return a.astype(np.float32), b.astype(np.float32)


def reference(computation: Computation, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """What is computed, by numpy, in float64 [shape of the output]."""
    letter = {v: chr(ord("a") + i) for i, v in enumerate(computation.variables)}
    of = {
        t.name: "".join(letter[v] for v in computation.variables if v in t.variables)
        for t in computation.inputs
    }
    out = "".join(letter[axis[0][0]] for axis in computation.out.axes)
    first, second = computation.inputs
    return np.einsum(
        f"{of[first.name]},{of[second.name]}->{out}",
        view(computation, first, a.astype(np.float64)),
        view(computation, second, b.astype(np.float64)),
        optimize=True,
    )
