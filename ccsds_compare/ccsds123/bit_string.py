"""Bits of a header, most significant first, in plain Python, since headers are small; `bit_stream` is for bodies."""

from __future__ import annotations

from typing import Any, NoReturn

from hyvic_runtime.errors import DecodeError

from ccsds123.record import Record


class BitWriter:
    """Appends fields to a header.

    >>> bits = BitWriter()
    >>> bits.put(5, 3)
    >>> bits.fill()
    >>> bits.octets().hex()
    'a0'
    """

    def __init__(self) -> None:
        self._bits: list[str] = []
        self._count = 0

    def put(self, value: int, width: int) -> None:
        """Append an unsigned integer; `width` 0 appends nothing."""
        assert 0 <= value < 1 << width, f"{value} does not fit {width} bits"
        if width:
            self._bits.append(f"{value:0{width}b}")
            self._count += width

    def put_fields(self, record: Record, *names: str) -> None:
        """Append the named fields of a record; without names, all that have a width."""
        for name, (_, field) in record.definitions().items():
            if field.width and (not names or name in names):
                self.put(0, field.reserved)
                self.put(field.code(getattr(record, name)), field.width)

    def fill(self) -> None:
        """Append zeros up to the next octet (5.3.1.2)."""
        self.put(0, -self._count % 8)

    def octets(self) -> bytes:
        """Return everything that was put, which must be whole octets."""
        assert self._count % 8 == 0
        text = "".join(self._bits)
        return int(text, 2).to_bytes(len(text) // 8, "big") if text else b""


class BitReader:
    """Takes fields off a header.

    Raises:
        DecodeError: by every method, if the octets end early or a field has no meaning.
    """

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._position = 0

    @property
    def octets_read(self) -> int:
        """Number of octets begun so far."""
        return -(-self._position // 8)

    def get(self, width: int) -> int:
        """Take an unsigned integer off."""
        self.need(width)
        begin, end = self._position, self._position + width
        self._position = end
        value = int.from_bytes(self._octets[begin // 8 : -(-end // 8)], "big")
        return value >> -end % 8 & (1 << width) - 1

    def get_signed(self, width: int) -> int:
        """Take an integer in two's complement off."""
        value = self.get(width)
        return value - (1 << width) if value >> width - 1 else value

    def skip(self, width: int) -> None:
        """Pass over bits."""
        self.need(width)
        self._position += width

    def get_fields(self, kind: type[Record], *names: str) -> dict[str, Any]:
        """Take the named fields of a record off; without names, all that have a width."""
        values = {}
        for name, (hint, field) in kind.definitions().items():
            if field.width and (not names or name in names):
                self.get_zeros(field.reserved)
                values[name] = hint(field.value(self.get(field.width)))
        return values

    def get_zeros(self, width: int) -> None:
        """Take reserved bits off."""
        if self.get(width):
            self.refuse(f"reserved bits before bit {self._position} of the header are set")

    def skip_fill(self) -> None:
        """Take fill bits off, up to the next octet (5.3.1.2)."""
        if self.get(-self._position % 8):
            self.refuse(f"fill bits before octet {self.octets_read} of the header are set")

    def need(self, bits: int) -> None:
        """Refuse an announcement of more bits than there are."""
        left = 8 * len(self._octets) - self._position
        if bits > left:
            self.refuse(f"the header needs {bits} more bits and {left} are there")

    def refuse(self, reason: str) -> NoReturn:
        """Raise an error that says what is wrong with these octets."""
        raise DecodeError(f"{reason}; this is not a CCSDS 123.0-B-2 image, or is a damaged one")
