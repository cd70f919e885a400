"""Gzip, as far as it goes: all bytes that a cut-off or damaged file still holds, and what is wrong with it.

The standard library's reader gives nothing of a block that fails; nothing else is different here.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

MAGIC = b"\x1f\x8b"
_PIECE = 1 << 14
_OUTPUT = 1 << 20


def gunzip(chunks: Iterable[bytes | memoryview], damage: list[str]) -> Iterator[bytes]:
    """The decompressed content, over all members of the file, in pieces of at most 1 MiB.

    Args:
        chunks: the file.
        damage: gets one sentence when the data ends too early or is damaged.
    """
    inflate = zlib.decompressobj(wbits=31)
    total = 0
    for chunk in chunks:
        for start in range(0, len(chunk), _PIECE):
            piece = bytes(chunk[start : start + _PIECE])
            while piece:
                if inflate.eof:
                    if not piece.strip(b"\x00"):
                        break  # Tapes and some tools pad with zeros.
                    inflate = zlib.decompressobj(wbits=31)
                before = inflate.copy()
                try:
                    plain = inflate.decompress(piece, _OUTPUT)
                except zlib.error as error:
                    for plain in _bytewise(before, piece):
                        total += len(plain)
                        yield plain
                    damage.append(f"the gzip data is damaged after {total:,} bytes of content ({error})")
                    return
                total += len(plain)
                if plain:
                    yield plain
                piece = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
    if not inflate.eof:
        damage.append(f"the gzip data ends too early, after {total:,} bytes of content")


def _bytewise(inflate: zlib._Decompress, piece: bytes) -> Iterator[bytes]:
    """What a failing piece holds before the point where it fails."""
    for position in range(len(piece)):
        rest = piece[position : position + 1]
        while rest:
            try:
                plain = inflate.decompress(rest, _OUTPUT)
            except zlib.error:
                return
            if plain:
                yield plain
            rest = inflate.unconsumed_tail
