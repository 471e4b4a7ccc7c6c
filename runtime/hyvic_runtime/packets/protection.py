"""Packets that only the holders of a key write and read, in the style of CCSDS 355.0-B-2 (Space Data Link Security).

A protected packet's data field holds, behind the secondary header,

    security parameter index (2 octets) │ salt of the session (16) │ number of the packet (4) │ AES-256-GCM of what an
    unprotected packet holds there │ MAC (16)

and the MAC covers every octet before it. A nonce must never serve twice under one key, whatever a restart, a crash or
a second encoder does, and nothing of it is kept on a disk that may fail or be restored: every session draws a salt of
128 bits and derives a key of its own (HKDF, RFC 5869), under which its packets' numbers are the nonces. Numbers are
given out once and end before they wrap; a process that forks begins another session.
"""

from __future__ import annotations

import itertools
import os
import stat
import struct
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from hyvic_runtime.errors import SecurityError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_OCTETS = 32
SECURITY_PARAMETER_INDEX = 1
"""The book's SPI names keys and algorithms that both sides agreed on; 0 and 65,535 are reserved."""
SALT_OCTETS = 16
MAC_OCTETS = 16
MAX_NUMBER = 2**32 - 1
REPLAY_WINDOW = 2**16
"""Packets that one may arrive behind the newest of its session."""

_HEADER = struct.Struct(f">H{SALT_OCTETS}sI")
SECURITY_HEADER_OCTETS = _HEADER.size
SECURITY_OCTETS = SECURITY_HEADER_OCTETS + MAC_OCTETS
"""By which protection lengthens a packet."""


class Refusal(StrEnum):
    """Why an undamaged packet was dropped."""

    UNPROTECTED = "unprotected"
    """A key is asked for and the packet has no protection."""
    NO_KEY = "no key"
    """The packet is protected and no key was given."""
    FORGED = "forged"
    """Its MAC is not that of the key."""
    REPLAYED = "replayed"
    """Its number was seen, or is too old to tell."""


class RefusedError(Exception):
    """Internal to the parser: a packet is to be dropped and counted."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


def read_key(path: Path) -> bytes:
    """The key of a file: 32 octets that nobody but its owner may read.

    Raises:
        SecurityError: it is something else.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise SecurityError(f"{path} is no regular file; a key is {KEY_OCTETS} octets of one")
            if os.name == "posix" and status.st_mode & 0o077:
                raise SecurityError(f"{path} can be reached by others than its owner: chmod 600 {path}")
            key = file.read(KEY_OCTETS + 1)
    except OSError as error:
        raise SecurityError(f"{path}: cannot be read ({error.strerror})") from error
    if len(key) != KEY_OCTETS:
        raise SecurityError(
            f"{path} holds {status.st_size} octets; a key is {KEY_OCTETS} random ones: "
            f"(umask 077; head -c {KEY_OCTETS} /dev/urandom > {path})"
        )
    return key


def _session_cipher(key: bytes, salt: bytes) -> AESGCM:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    except ImportError as error:
        raise SecurityError(f"{error.name} is missing: pip install 'hyvic-onboard[security]'") from error
    info = b"hyvic packet" + SECURITY_PARAMETER_INDEX.to_bytes(2, "big")
    return AESGCM(HKDF(algorithm=SHA256(), length=KEY_OCTETS, salt=salt, info=info).derive(key))


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


class PacketProtector:
    """Protects the packets of a sender; each instance is a session."""

    def __init__(self, key: bytes) -> None:
        """Begin a session.

        Raises:
            ValueError: a key of another length.
            SecurityError: cryptography is not installed.
        """
        if len(key) != KEY_OCTETS:
            raise ValueError(f"a key of {len(key)} octets; {KEY_OCTETS} are needed")
        self._key = key
        self._begin_session()

    def _begin_session(self) -> None:
        self._process = os.getpid()
        self._salt = os.urandom(SALT_OCTETS)
        self._numbers = itertools.count()
        self._cipher = _session_cipher(self._key, self._salt)

    def protected(self, headers: bytes, content: bytes) -> bytes:
        """Security header, encrypted content and MAC.

        Args:
            headers: the packet's octets before them, which the MAC covers too.
            content: what to encrypt.

        Raises:
            SecurityError: the session has used all its numbers.
        """
        if os.getpid() != self._process:  # a fork holds its parent's numbers
            self._begin_session()
        number = next(self._numbers)  # also where encryption fails: it is never given again
        if number > MAX_NUMBER:
            raise SecurityError(f"a session protects {MAX_NUMBER + 1} packets; begin another")
        header = _HEADER.pack(SECURITY_PARAMETER_INDEX, self._salt, number)
        return header + self._cipher.encrypt(_nonce(number), content, headers + header)


@dataclass(slots=True)
class ReplayWindow:
    """Numbers of a session that were seen.

    Attributes:
        newest: the largest; -1 before any.
        seen: bit i stands for newest - i.
    """

    newest: int = -1
    seen: int = 0

    def is_new(self, number: int) -> bool:
        """Whether a number has not been seen and can still be told from those that were."""
        behind = self.newest - number
        return behind < 0 or (behind < REPLAY_WINDOW and not self.seen >> behind & 1)

    def mark(self, number: int) -> None:
        """Remember a number that is new."""
        ahead = number - self.newest
        if ahead > 0:
            # A shift by more than the window leaves nothing of it, and must not make an integer of 2**32 bits.
            self.seen = (self.seen << ahead) & ((1 << REPLAY_WINDOW) - 1) if ahead < REPLAY_WINDOW else 0
            self.newest = number
        self.seen |= 1 << self.newest - number


class PacketOpener:
    """Opens the protected packets of one key; remembers what it has opened."""

    def __init__(self, key: bytes) -> None:
        """Begin without any session.

        Raises:
            ValueError: a key of another length.
        """
        if len(key) != KEY_OCTETS:
            raise ValueError(f"a key of {len(key)} octets; {KEY_OCTETS} are needed")
        self._key = key
        self._sessions: dict[bytes, tuple[AESGCM, ReplayWindow]] = {}

    def opened(self, headers: bytes, protected: bytes) -> bytes:
        """Inverse of `PacketProtector.protected`.

        Raises:
            RefusedError: forged, of another key, or a replay.
        """
        index, salt, number = _HEADER.unpack_from(protected)
        if index != SECURITY_PARAMETER_INDEX:
            raise RefusedError(Refusal.FORGED)
        cipher, window = self._sessions.get(salt) or (_session_cipher(self._key, salt), ReplayWindow())
        from cryptography.exceptions import InvalidTag

        header, encrypted = protected[:SECURITY_HEADER_OCTETS], protected[SECURITY_HEADER_OCTETS:]
        try:
            content = cipher.decrypt(_nonce(number), encrypted, headers + header)
        except InvalidTag:
            raise RefusedError(Refusal.FORGED) from None
        if not window.is_new(number):
            raise RefusedError(Refusal.REPLAYED)
        # Only now: what is not authentic neither moves a window nor takes memory.
        window.mark(number)
        self._sessions[salt] = cipher, window
        return content
