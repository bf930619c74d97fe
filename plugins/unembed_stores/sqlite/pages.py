"""The pages of a SQLite file (https://sqlite.org/fileformat2.html): which bytes belong to no row any more."""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Pages", "Region", "varint"]

_LEAF = 0x0D


@dataclass(frozen=True)
class Region:
    """Bytes of a page, from `first` to `last`, that no row uses."""

    first: int
    last: int


def varint(data: bytes | mmap.mmap, at: int) -> tuple[int, int]:
    """SQLite's variable-length integer and where it ends."""
    value = 0
    for count in range(8):
        byte = data[at + count]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + count + 1
    return value << 8 | data[at + 8], at + 9


class Pages:
    """A SQLite file's bytes, mapped into memory."""

    def __init__(self, path: Path) -> None:
        with open(path, "rb") as file:
            self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        size = self._number(16, 2)
        self.size = 65536 if size == 1 else size
        self.usable = self.size - self.data[20]
        self.count = len(self.data) // self.size if self.size >= 512 else 0
        self.free, self._trunks = self._free_pages()

    def close(self) -> None:
        """Unmap the file."""
        self.data.close()

    def _number(self, at: int, length: int = 4) -> int:
        return int.from_bytes(self.data[at : at + length], "big")

    def _free_pages(self) -> tuple[bytearray, dict[int, int]]:
        """A mark for each page on the free list, and how many leaves each of its trunk pages names."""
        free, trunks = bytearray(self.count + 1), {}
        page = self._number(32)
        while 0 < page <= self.count and page not in trunks:
            start = (page - 1) * self.size
            leaves = min(self._number(start + 4), self.usable // 4 - 2)
            trunks[page] = leaves
            free[page] = 1
            for place in range(leaves):
                leaf = self._number(start + 8 + 4 * place)
                if 0 < leaf <= self.count:
                    free[leaf] = 1
            page = self._number(start)
        return free, trunks

    def dead(self) -> Iterator[Region]:
        """Every stretch of bytes outside rows: free pages, and the gaps and free blocks of leaf pages."""
        for page in range(1, self.count + 1):
            start = (page - 1) * self.size
            if self.free[page]:
                used = 8 + 4 * self._trunks[page] if page in self._trunks else 0
                yield Region(start + used, start + self.usable)
            else:
                yield from self._gaps(start, 100 if page == 1 else 0)

    def _gaps(self, start: int, header: int) -> Iterator[Region]:
        at = start + header
        if self.data[at] != _LEAF:
            return
        block, cells, content = self._number(at + 1, 2), self._number(at + 3, 2), self._number(at + 5, 2) or 65536
        gap = header + 8 + 2 * cells
        if gap < content <= self.usable:
            yield Region(start + gap, start + content)
        while 0 < block <= self.usable - 4:
            size = self._number(start + block + 2, 2)
            if size < 4 or block + size > self.usable:
                return
            yield Region(start + block, start + block + size)
            following = self._number(start + block, 2)
            block = following if following > block else 0

    def local(self, payload: int) -> int:
        """How many bytes of a row of this size lie in its leaf page, the rest in overflow pages."""
        most = self.usable - 35
        if payload <= most:
            return payload
        least = (self.usable - 12) * 32 // 255 - 23
        fitting = least + (payload - least) % (self.usable - 4)
        return fitting if fitting <= most else least

    def body(self, at: int, header: int, payload: int, region: Region) -> bytes | None:
        """A deleted row's bytes from its header on, or None where some of them were overwritten."""
        local = self.local(payload)
        if at + local + (4 if local < payload else 0) > region.last:
            return None
        parts, left = [self.data[at : at + local]], payload - local
        page = self._number(at + local) if left else 0
        while left:
            if not 0 < page <= self.count or not self.free[page] or page in self._trunks:
                return None
            start = (page - 1) * self.size
            taken = min(left, self.usable - 4)
            parts.append(self.data[start + 4 : start + 4 + taken])
            left -= taken
            page = self._number(start)
        return b"".join(parts)
