"""Behaviour that every codec family promises; a family subclasses `CodecContract` and says what its codec is.

The classes run in tests/runtime/families/*/test_contract.py; what only one family does is tested beside them.
"""

from __future__ import annotations

from board_contract import BoardContract
from live_contract import LiveContract
from stream_contract import StreamContract


class CodecContract(StreamContract, LiveContract, BoardContract):
    """Tests of one codec family; see `CodecUnderTest` for what a subclass says."""
