"""Encoders of content codings: gzip, and zstd where Python has it.

An encoder keeps nothing back: what went in comes out of the same call, flushed, so that who
reads a slow stream gets each part when it came. The rule that it obeys: the memory of an
encoder is small and known, since there is one for each response in progress.

zstd is of Python 3.14, or of the package `backports.zstd` (the extra `zstd`).
"""

from __future__ import annotations

import zlib
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol

LEVELS = (1, 9)
"""The least and the most effort; both codings understand it alike."""

ENCODER_BYTES = {b"gzip": 256 * 1024, b"zstd": 512 * 1024}
"""The memory of one encoder, about."""

_GZIP = 16 + zlib.MAX_WBITS
_WINDOW_LOG = 17  # 128 KiB back; all clients must take 23 (RFC 9659)
_TABLE_LOG = 16  # entries of its tables


class Encoder(Protocol):
    """One body on its way into a coding."""

    def encode(self, data: bytes, *, last: bool) -> bytes:
        """Take content, give all of it encoded; last ends the coding."""


class GzipEncoder:
    """gzip (RFC 1952)."""

    __slots__ = ("__weakref__", "_deflate")

    def __init__(self, level: int) -> None:
        self._deflate = zlib.compressobj(level, zlib.DEFLATED, _GZIP)

    def encode(self, data: bytes, *, last: bool) -> bytes:
        """Take content, give all of it encoded; last ends the coding."""
        how = zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH
        return self._deflate.compress(data) + self._deflate.flush(how)


def _find_zstd() -> ModuleType | None:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


_zstd: Any = _find_zstd()

CODINGS = (b"zstd", b"gzip") if _zstd is not None else (b"gzip",)
"""Those that there are, the best first."""


class ZstdEncoder:
    """zstd (RFC 8878)."""

    __slots__ = ("__weakref__", "_frame")

    def __init__(self, level: int) -> None:
        named = _zstd.CompressionParameter
        self._frame = _zstd.ZstdCompressor(
            options={
                named.compression_level: level,
                named.window_log: _WINDOW_LOG,
                named.hash_log: _TABLE_LOG,
                named.chain_log: _TABLE_LOG,
            }
        )

    def encode(self, data: bytes, *, last: bool) -> bytes:
        """Take content, give all of it encoded; last ends the coding."""
        how = self._frame.FLUSH_FRAME if last else self._frame.FLUSH_BLOCK
        encoded: bytes = self._frame.compress(data, how)
        return encoded


def make_encoder(coding: bytes, level: int) -> GzipEncoder | ZstdEncoder:
    """Make an encoder of one of `CODINGS`, for one body."""
    return GzipEncoder(level) if coding == b"gzip" else ZstdEncoder(level)
