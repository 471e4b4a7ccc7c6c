"""Peak memory of a process while something runs."""

from __future__ import annotations

import ctypes
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): sets VmHWM to the present resident size


class PeakMemory:
    """Resident memory above the amount that the process held at the construction of this object, on Linux.

    The whole process counts, so nothing else may run in it.
    """

    def __init__(self) -> None:
        # Freed memory that the process still holds would be used again without being counted.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
        try:
            _CLEAR.write_text(_RESET_PEAK)
            self._before: int | None = _kilobytes("VmRSS")
        except (OSError, KeyError):
            self._before = None

    def megabytes(self) -> float | None:
        """Return the peak so far, or None if the system does not tell."""
        return None if self._before is None else max(0, _kilobytes("VmHWM") - self._before) * 1024 / 1e6


def _kilobytes(name: str) -> int:
    fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(fields[name].split()[0])
