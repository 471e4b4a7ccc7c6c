"""How much memory a process takes at most while something runs."""

from __future__ import annotations

import ctypes
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): sets VmHWM to the present resident size


class PeakMemory:
    """Resident memory above what the process held when this was made, on Linux.

    It counts the whole process, so that nothing else may run in it.
    """

    def __init__(self) -> None:
        # Memory that was freed and is still held would be used again unseen.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
        try:
            _CLEAR.write_text(_RESET_PEAK)
            self._before: int | None = _kilobytes("VmRSS")
        except (OSError, KeyError):
            self._before = None

    def megabytes(self) -> float | None:
        """At most, so far; None where the system does not tell."""
        return None if self._before is None else max(0, _kilobytes("VmHWM") - self._before) * 1024 / 1e6


def _kilobytes(name: str) -> int:
    fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(fields[name].split()[0])
