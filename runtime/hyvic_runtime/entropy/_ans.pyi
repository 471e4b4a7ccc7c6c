"""The ANS coder in C, absent where the package was built without a compiler.

All buffers are C-contiguous and aligned. Any contents are safe: what is not of the tables is refused. `counts` are
(row,) of one block or (block, row) of several.
"""

from typing import NewType

import numpy as np
from numpy.typing import NDArray

Tables = NewType("Tables", object)

def tables(length: NDArray[np.int32], frequencies: NDArray[np.uint32], /) -> Tables: ...
def encode(
    tables: Tables, positions: NDArray[np.int32], counts: NDArray[np.int64], words: NDArray[np.uint32], /
) -> int:
    """Number of words written; `words` has room for two more than there are positions."""

def group(rows: NDArray[np.int32], counts: NDArray[np.int64], order: NDArray[np.int64], /) -> None:
    """Fill in what `ans.grouped` gives; a row that `counts` has no item for is refused."""

def decode(
    tables: Tables,
    words: NDArray[np.uint32],
    counts: NDArray[np.int64],
    positions: NDArray[np.int32],
    cursor: NDArray[np.uint64] = ...,
    /,
) -> bool:
    """Fill `positions`, and say whether the words from the cursor on hold them and nothing else.

    `cursor`, the state and the number of words taken, is where the words are read on, and where they were read to; two
    zeros, or none, stand before the first position.
    """
