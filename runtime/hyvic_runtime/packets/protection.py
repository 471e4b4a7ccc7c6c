"""Encrypts and authenticates packets with a shared key, in the style of CCSDS 355.0-B-2 (Space Data Link Security).

After the secondary header, the data field of a protected packet holds:

    security parameter index (2 octets) │ session salt (16) │ packet number (4) │ encrypted content │ MAC (16)

The content is what an unprotected packet holds in this place. The cipher is AES-256-GCM, and the MAC covers every
octet before it.

A nonce must never be used twice under one key, even after a restart or a crash, or with a second encoder. No state is
stored for this, because a disk can fail or be restored. Instead, each session draws a random salt of 128 bits and
derives its own key from it (HKDF, RFC 5869). The packet numbers of the session are the nonces. A number is given out
once, numbers never wrap, and a forked process begins a new session.
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
"""SPI of the book: names the keys and algorithms that both sides agreed on; 0 and 65,535 are reserved."""
SALT_OCTETS = 16
MAC_OCTETS = 16
MAX_NUMBER = 2**32 - 1
REPLAY_WINDOW = 2**16
"""Number of packets by which a packet may arrive late, counted from the newest packet of its session."""

_HEADER = struct.Struct(f">H{SALT_OCTETS}sI")
SECURITY_HEADER_OCTETS = _HEADER.size
SECURITY_OCTETS = SECURITY_HEADER_OCTETS + MAC_OCTETS
"""Octets that protection adds to a packet."""


class Refusal(StrEnum):
    """Reason for which an undamaged packet was dropped."""

    UNPROTECTED = "unprotected"
    """A key was given and the packet is not protected."""
    NO_KEY = "no key"
    """The packet is protected and no key was given."""
    FORGED = "forged"
    """The MAC does not match the key."""
    REPLAYED = "replayed"
    """The packet number was seen before, or is older than the replay window."""


class RefusedError(Exception):
    """Tells the parser to drop and count a packet; never leaves this package."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


def read_key(path: Path) -> bytes:
    """Return the key of a file: 32 octets that only the owner of the file can read.

    Raises:
        SecurityError: the file is unreadable, has another size, or is open to other users.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise SecurityError(f"{path} is not a regular file; a key is a file of {KEY_OCTETS} octets")
            if os.name == "posix" and status.st_mode & 0o077:
                raise SecurityError(f"{path} can be read or changed by other users: chmod 600 {path}")
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
    """Protects the packets of one sender; each instance is one session."""

    def __init__(self, key: bytes) -> None:
        """Begin a session.

        Raises:
            ValueError: the key has the wrong length.
            SecurityError: the package `cryptography` is not installed.
        """
        if len(key) != KEY_OCTETS:
            raise ValueError(f"the key has {len(key)} octets; {KEY_OCTETS} are needed")
        self._key = key
        self._begin_session()

    def _begin_session(self) -> None:
        self._process = os.getpid()
        self._salt = os.urandom(SALT_OCTETS)
        self._numbers = itertools.count()
        self._cipher = _session_cipher(self._key, self._salt)

    def protected(self, headers: bytes, content: bytes) -> bytes:
        """Return the security header, the encrypted content and the MAC, as one string of octets.

        Args:
            headers: octets of the packet before the security header; the MAC covers them too.
            content: octets to encrypt.

        Raises:
            SecurityError: the session has used all its packet numbers.
        """
        if os.getpid() != self._process:  # a forked process holds copies of its parent's numbers
            self._begin_session()
        number = next(self._numbers)  # used up even if encryption fails
        if number > MAX_NUMBER:
            raise SecurityError(f"a session protects {MAX_NUMBER + 1} packets; begin a new session")
        header = _HEADER.pack(SECURITY_PARAMETER_INDEX, self._salt, number)
        return header + self._cipher.encrypt(_nonce(number), content, headers + header)


@dataclass(slots=True)
class ReplayWindow:
    """Records which packet numbers of a session were seen.

    Attributes:
        newest: largest number seen; -1 at the start.
        seen: bit i tells whether the number newest - i was seen.
    """

    newest: int = -1
    seen: int = 0

    def is_new(self, number: int) -> bool:
        """Return True if the number is not seen yet and not older than the window."""
        age = self.newest - number
        return age < 0 or (age < REPLAY_WINDOW and not self.seen >> age & 1)

    def mark(self, number: int) -> None:
        """Record a new number."""
        advance = number - self.newest
        if advance > 0:
            # A shift by more than the window clears it, and must not make an integer of 2**32 bits.
            self.seen = (self.seen << advance) & ((1 << REPLAY_WINDOW) - 1) if advance < REPLAY_WINDOW else 0
            self.newest = number
        self.seen |= 1 << self.newest - number


class PacketOpener:
    """Opens the protected packets of one key, and refuses copies of packets that it has opened."""

    def __init__(self, key: bytes) -> None:
        """Begin without a session.

        Raises:
            ValueError: the key has the wrong length.
        """
        if len(key) != KEY_OCTETS:
            raise ValueError(f"the key has {len(key)} octets; {KEY_OCTETS} are needed")
        self._key = key
        self._sessions: dict[bytes, tuple[AESGCM, ReplayWindow]] = {}

    def opened(self, headers: bytes, protected: bytes) -> bytes:
        """Return the content that `PacketProtector.protected` encrypted.

        Raises:
            RefusedError: the packet is forged, made with another key, or a replay.
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
        # Only now: a forged packet must neither move a window nor take memory.
        window.mark(number)
        self._sessions[salt] = cipher, window
        return content
