"""Inner loops in C; absent where the package was built without a compiler. Sources are in this folder.

All arrays are C-contiguous and aligned, and any contents are safe. A size that does not fit the others is refused.
`planes` are (component, orientation, line, sample) unless another shape is given.
"""

from typing import NewType

from numpy import float32, float64, int32, int64, uint32, uint64, void
from numpy.typing import NDArray

# ans.c: the ANS coder. `counts` are (row,) of one block or (block, row) of several.

Tables = NewType("Tables", object)
"""Frequency tables, prepared."""

def ans_tables(length: NDArray[int32], frequencies: NDArray[uint32], /) -> Tables:
    """Prepare frequency tables."""

def ans_encode(tables: Tables, positions: NDArray[int32], counts: NDArray[int64], words: NDArray[uint32], /) -> int:
    """Return the number of words written; `words` has room for two more than there are positions."""

def ans_group(rows: NDArray[int32], counts: NDArray[int64], order: NDArray[int64], /) -> None:
    """Fill in what `AnsCoder.grouped` returns; a row that `counts` has no item for is refused."""

def ans_decode(
    tables: Tables,
    words: NDArray[uint32],
    counts: NDArray[int64],
    positions: NDArray[int32],
    cursor: NDArray[uint64] = ...,
    /,
) -> bool:
    """Fill in `positions`, and return whether the words from the cursor on hold them and nothing else.

    `cursor`, the state and the number of words taken, says where to read on, and is set to where reading ended. Two
    zeros, or no cursor, stand before the first position.
    """

# wavelet.c. After the details of all levels come the weights of one component: approximation, and details by level.

Factors = tuple[float, float, float, float, float, float]
"""Scales of the low and high halves, and factors of the four lifting steps."""

def analyse(
    factors: Factors,
    components: int,
    lines: int,
    samples: int,
    planes: NDArray[float32],
    approximation: NDArray[float32],
    /,
    *details_and_weights: NDArray[float32],
) -> None:
    """Fill in approximation and details of `wavelet.analyse` from planes (component, line, sample)."""

synthesise = analyse
"""Fill in the planes of `wavelet.synthesise`; steps are negated, and scales inverted."""

# quantiser.c

def tables_and_offsets(
    scale_index: NDArray[int32],
    mean_steps: NDArray[int32],
    gain: NDArray[int32],
    prediction: NDArray[float32],
    tables: NDArray[int32],
    offsets: NDArray[int32],
    /,
) -> bool:
    """Fill in the last two, and return whether the first three are within their ranges."""

def rd_sums(planes: NDArray[float32], saved: NDArray[float64], total: NDArray[float64], /) -> None:
    """Fill in the last two, (plane,): what the integers of `quantiser.estimated_rd` save, and their sum."""

def choose(
    coefficients: NDArray[float32],
    tables: NDArray[int32],
    offsets: NDArray[int32],
    lagrangian: float,
    first: NDArray[int32],
    length: NDArray[int32],
    starts: NDArray[int64],
    bits: NDArray[float32],
    integers: NDArray[float32],
    symbols: NDArray[int32],
    /,
) -> tuple[tuple[float, float], tuple[int, int]]:
    """Fill in the last two, and return `off` and `counts` of a `quantiser.Choice`."""

# checkerboard.c

def take_positions(
    components: int,
    orientation: int,
    non_anchor: bool,
    lines: int,
    samples: int,
    planes: NDArray[float32],
    coefficients: NDArray[float32],
    /,
) -> None:
    """Fill in coefficients (component, position) of one orientation from planes."""

put_positions = take_positions
"""Inverse of `take_positions`."""

# magnitudes.c, prediction.c

def magnitudes(
    lines: int, samples: int, planes: NDArray[float32], own: NDArray[float32], sums: NDArray[float32], /
) -> None:
    """Fill in the last two: the result of `context_arithmetic.magnitudes`."""

def add_magnitudes(
    components: int,
    lines: int,
    samples: int,
    details: NDArray[float32],
    previous_components: NDArray[float32],
    total: NDArray[float32],
    largest: NDArray[float32],
    new_previous_components: NDArray[float32],
    new_total: NDArray[float32],
    new_largest: NDArray[float32],
    /,
) -> None:
    """Fill in the last three: the state of `LevelContexts` after these components are added."""

def predict(
    components: int,
    predictors: int,
    lines: int,
    samples: int,
    parents: NDArray[float32],
    predictor_parents: NDArray[float32],
    predictor_details: NDArray[float32],
    prediction: NDArray[float32],
    parent_energy: NDArray[float32],
    residual_energy: NDArray[float32],
    /,
) -> None:
    """Fill in the last three: a `prediction.Prediction`."""

# contexts.c

Group = NewType("Group", object)
"""A `GroupContexts`: shared by all its blocks."""
Network = NewType("Network", object)
"""A context network for one instruction set; reads the arrays that it was made of."""

def group_contexts(
    level: int,
    first: int,
    lines: int,
    samples: int,
    parent: NDArray[float32],
    parent_sum_3x3: NDArray[float32],
    grandparent: NDArray[float32] | None,
    previous_components: NDArray[float32],
    mean: NDArray[float32],
    previous_sum_3x3: NDArray[float32],
    largest: NDArray[float32],
    prediction: NDArray[float32],
    parent_energy: NDArray[float32],
    residual_energy: NDArray[float32],
    log2_spread: NDArray[float32],
    /,
) -> Group:
    """Hold the arrays of a `GroupContexts`."""

def describe(
    group: Group,
    orientation: int,
    non_anchor: bool,
    decoded: NDArray[float32],
    sum_3x3: NDArray[float32] | None,
    second_sum_3x3: NDArray[float32] | None,
    first_line: int,
    end_line: int,
    first_component: int,
    end_component: int,
    contexts: NDArray[float32],
    prediction: NDArray[float32],
    /,
) -> None:
    """Fill in the last two: the result of `GroupContexts.at` for some lines and components."""

def context_network(
    instruction_set: int, sizes: NDArray[int32], weights: NDArray[int32], rows: NDArray[void], /
) -> Network:
    """Hold a network: input pairs and rows of every layer; weights (pair, row) of all layers; rows of all layers."""

def network_tables(
    network: Network,
    group: Group,
    orientation: int,
    non_anchor: bool,
    decoded: NDArray[float32],
    sum_3x3: NDArray[float32] | None,
    second_sum_3x3: NDArray[float32] | None,
    tables: NDArray[int32],
    offsets: NDArray[int32],
    /,
) -> None:
    """Fill in the last two: tables and offsets that the network chooses, (component, position)."""

def evaluate(network: Network, contexts: NDArray[float32], outputs: NDArray[int32], /) -> None:
    """Fill in the network's outputs (output, coefficient) for contexts (entry, coefficient)."""

def instruction_sets() -> tuple[str, ...]:
    """Return the instruction sets of this processor, the fastest first."""
