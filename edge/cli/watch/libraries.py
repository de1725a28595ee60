"""Give back the memory of libraries that only the start has used."""

from __future__ import annotations

import ctypes
import sys
from mmap import PAGESIZE

MADV_DONTNEED = 4  # of sys/mman.h
PT_LOAD, PT_DYNAMIC, PF_W = 1, 2, 2  # of elf.h
DT_NULL, DT_TEXTREL, DT_FLAGS, DF_TEXTREL = 0, 22, 30, 4


class _Segment(ctypes.Structure):
    """Elf64_Phdr of elf.h."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        *((name, ctypes.c_uint64) for name in ("offset", "address", "physical", "in_file", "size", "align")),
    )


class _Library(ctypes.Structure):
    """The beginning of dl_phdr_info of link.h."""

    _fields_ = (
        ("base", ctypes.c_uint64),
        ("name", ctypes.c_char_p),
        ("segments", ctypes.POINTER(_Segment)),
        ("count", ctypes.c_uint16),
    )


def unmap_libraries() -> None:
    """Unmap code and constants of every library: of what the start uses of them, half is never used again.

    A page that is used again comes back from the page cache. Segments that may be written stay, and libraries whose
    code the linker has changed (dl_iterate_phdr(3), madvise(2), on 64-bit Linux). No other thread can import a library
    meanwhile: the interpreter's lock is held.
    """
    if sys.platform != "linux" or sys.maxsize < 2**32:
        return
    libc = ctypes.PyDLL(None)

    def unmap(address: int, size: int, data: int | None) -> int:
        library = _Library.from_address(address)
        segments = library.segments[: library.count]
        if library.name.startswith(b"/") and not any(_code_changed(library.base, each) for each in segments):
            for each in segments:
                if each.type == PT_LOAD and not each.flags & PF_W:
                    begin = library.base + each.address
                    before = begin % PAGESIZE
                    libc.madvise(
                        ctypes.c_void_p(begin - before), ctypes.c_size_t(each.size + before), MADV_DONTNEED
                    )  # fmt: skip
        return 0

    callback = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)(unmap)
    libc.dl_iterate_phdr(callback, None)


def _code_changed(base: int, segment: _Segment) -> bool:
    """Return True if a library's dynamic section says that its code has relocations."""
    if segment.type != PT_DYNAMIC:
        return False
    entries = (ctypes.c_uint64 * (segment.size // 8)).from_address(base + segment.address)
    for tag, value in zip(entries[::2], entries[1::2], strict=True):
        if tag == DT_NULL:
            break
        if tag == DT_TEXTREL or (tag == DT_FLAGS and value & DF_TEXTREL):
            return True
    return False
