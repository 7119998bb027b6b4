"""Problems that look like networks: what the contest's graphs are made of, in other sizes.

Every family takes a random generator, which draws depth, sizes, costs and the machine.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from games.graphs.problem.problem import Problem
from games.graphs.synthetic.builder import Builder

Grow = Callable[[Builder, np.random.Generator, int], int]


def attention(build: Builder, rng: np.random.Generator, blocks: int) -> int:
    """Blocks of attention heads on one input, joined, projected and added to it."""
    width, rows = _size(rng, 256, 512), _size(rng, 128, 256)
    x = build.tensor(width, rows)
    for _ in range(blocks):
        heads = []
        for _ in range(int(rng.integers(1, 4))):
            query = build.times(x, 128)
            key = build.matmul(build.tensor(width, 128), build.tensor(rows, width))
            value = build.times(x, 128)
            scores = build.matmul(query, build.pointwise(key))
            for _ in range(int(rng.integers(1, 4))):
                scores = build.pointwise(scores)
            heads.append(build.matmul(scores, value))
        x = build.pointwise(build.times(build.joined(heads), width), x)
    return x


def mlp(build: Builder, rng: np.random.Generator, blocks: int) -> int:
    """Wide and narrow layers in turn, an activation each, some with residual connections."""
    narrow, wide, rows = _size(rng, 128, 512), _size(rng, 512, 2048), _size(rng, 128, 1024)
    x = build.tensor(narrow, rows)
    for _ in range(blocks):
        before = x
        for width in (wide, narrow):
            x = build.times(x, width)
            for _ in range(int(rng.integers(0, 3))):
                x = build.pointwise(x)
        if rng.random() < 0.6:
            x = build.pointwise(x, before)
    for _ in range(int(rng.integers(0, 5))):
        x = build.pointwise(x)
    return x


def gated(build: Builder, rng: np.random.Generator, blocks: int) -> int:
    """Two products of one input, one of which gates the other, and a product back."""
    narrow, wide, rows = _size(rng, 128, 512), _size(rng, 256, 1024), _size(rng, 128, 512)
    x = build.tensor(narrow, rows)
    for _ in range(blocks):
        gate = build.pointwise(build.times(x, wide))
        passed = build.pointwise(build.times(x, wide), gate)
        x = build.pointwise(build.times(passed, narrow), x)
    return x


def convolution(build: Builder, rng: np.random.Generator, blocks: int) -> int:
    """Layers of several taps: products of shifted inputs, added up, with a skip now and then."""
    width, rows, taps = _size(rng, 128, 256), _size(rng, 128, 512), int(rng.integers(2, 5))
    x = build.tensor(width, rows)
    skip = x
    for layer in range(blocks):
        shifted = [build.pointwise(x) for _ in range(taps)]
        x = build.pointwise(build.joined([build.times(tap, width) for tap in shifted]))
        if layer % 2 and rng.random() < 0.7:
            x = build.pointwise(x, skip)
            skip = x
    return x


def graph_network(build: Builder, rng: np.random.Generator, blocks: int) -> int:
    """Messages along several kinds of edges, whose adjacency all layers share."""
    nodes, width = _size(rng, 256, 1024), _size(rng, 128, 256)
    edges = [build.tensor(nodes, nodes) for _ in range(int(rng.integers(1, 4)))]
    x = build.tensor(width, nodes)
    for _ in range(blocks):
        own = build.times(x, width)
        messages = [build.matmul(kind, build.times(x, width)) for kind in edges]
        x = build.pointwise(build.joined([own, *messages]))
    return x


FAMILIES: dict[str, Grow] = {
    "attention": attention,
    "mlp": mlp,
    "gated": gated,
    "convolution": convolution,
    "graph_network": graph_network,
}


def generate(family: str, seed: int, most_ops: int = 64) -> Problem:
    """A problem of a family, of at most `most_ops` operations or else one block."""
    rng = np.random.default_rng((list(FAMILIES).index(family), seed))
    matmul_cost = float(rng.choice([500, 1000, 2000, 3000, 5000]))
    pointwise_cost = float(rng.choice([100, 200, 300, 500]))
    most_blocks = int(rng.integers(1, 9))
    state = rng.bit_generator.state
    build = Builder(matmul_cost, pointwise_cost)
    for blocks in range(most_blocks, 0, -1):
        rng.bit_generator.state = state
        build = Builder(matmul_cost, pointwise_cost)
        FAMILIES[family](build, rng, blocks)
        if build.num_ops <= most_ops:
            break
    capacity = int(rng.choice([25, 35, 50, 80, 150, 250, 400, 600])) * 1000
    bandwidth = float(rng.choice([10, 15, 20, 30, 50, 80, 100]))
    return build.problem(f"{family}_{seed}", capacity, bandwidth)


def generate_many(count: int, first_seed: int = 0, most_ops: int = 64) -> list[Problem]:
    """Problems of all families in turn; the i-th depends on `first_seed` and i alone."""
    names = list(FAMILIES)
    return [
        generate(names[i % len(names)], first_seed + i // len(names), most_ops)
        for i in range(count)
    ]


def _size(rng: np.random.Generator, least: int, most: int) -> int:
    """A power of two times 128, between two of them."""
    low, high = int(np.log2(least)), int(np.log2(most))
    return 1 << int(rng.integers(low, high + 1))
