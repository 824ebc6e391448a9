"""Which source line an instruction comes from, by the tables that `-g1` leaves in a file (DWARF, versions 4 and 5).

A line is told as a reader looks for it: of code that was inlined, the innermost place that is not a helper of csrc/simd
or of the compiler's own headers. `a * b_row[v]` in a rung, rather than the `*` of the vector type.

pyelftools parses; the line programs are run here, since that takes it ten times as long.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .records import SourceLine

HELPERS = ("simd/", "/usr/", "/opt/")
"""Files in which nobody looks for a kernel."""


@dataclass(frozen=True)
class _Table:
    """A compilation unit's rows, by address: from each on, this line of this file; line 0 is none."""

    addresses: list[int]
    files: list[int]
    lines: list[int]
    names: dict[int, str]

    def at(self, address: int) -> SourceLine | None:
        n = bisect.bisect_right(self.addresses, address) - 1
        return (self.names.get(self.files[n], "?"), self.lines[n]) if n >= 0 and self.lines[n] else None


class SourceLines:
    """The source lines of a file's code.

    elf  pyelftools' ELFFile
    """

    def __init__(self, elf: Any) -> None:
        told = elf.has_dwarf_info() and elf["e_type"] != "ET_REL"
        self._info: Any = elf.get_dwarf_info() if told else None
        self._tables: dict[int, _Table] = {}
        self._ranges: list[tuple[int, int, Any]] | None = None

    def of(self, address: int, size: int, helpers: tuple[str, ...] = HELPERS) -> Callable[[int], SourceLine | None]:
        """For a function, what tells the line of each of its addresses; of what was inlined from files that begin as
        one of `helpers`, the line that it was inlined to."""
        unit = self._unit_at(address)
        if unit is None:
            return lambda at: None
        table = self._table(unit)
        if table is None:
            return lambda at: None
        inlined = list(self._inlined(unit, address, size))

        def line(at: int) -> SourceLine | None:
            innermost = table.at(at)
            calls = [call for low, high, call in inlined if low <= at < high]
            for place in (innermost, *reversed(calls)):
                if place is not None and not place[0].startswith(helpers):
                    return place
            return innermost

        return line

    def _unit_at(self, address: int) -> Any:
        if self._info is None:
            return None
        aranges = self._info.get_aranges()
        if aranges is not None:
            offset = aranges.cu_offset_at_addr(address)
            if offset is not None:
                return self._info.get_CU_at(offset)
        if self._ranges is None:
            self._ranges = [
                (low, high, unit)
                for unit in self._info.iter_CUs()
                for low, high in self._ranges_of(unit.get_top_DIE(), unit)
            ]
        return next((unit for low, high, unit in self._ranges if low <= address < high), None)

    def _table(self, unit: Any) -> _Table | None:
        if unit.cu_offset not in self._tables:
            program = self._info.line_program_for_CU(unit)
            if program is None:
                return None
            start, end = program.program_start_offset, program.program_end_offset
            program.stream.seek(start)
            rows = sorted(_rows(program.stream.read(end - start), program.header, unit["address_size"]))
            columns = zip(*rows, strict=True) if rows else ((), (), ())
            addresses, files, lines = (list(column) for column in columns)
            self._tables[unit.cu_offset] = _Table(addresses, files, lines, _names(program.header))
        return self._tables[unit.cu_offset]

    def _inlined(self, unit: Any, address: int, size: int) -> Iterator[tuple[int, int, SourceLine]]:
        """The pieces of a function that other functions were inlined to, outer ones first, each with where from."""
        table = self._table(unit)
        assert table is not None
        for top in unit.get_top_DIE().iter_children():
            if top.tag == "DW_TAG_subprogram" and "DW_AT_low_pc" in top.attributes:
                low = top.attributes["DW_AT_low_pc"].value
                if address <= low < address + size or low == address:
                    yield from self._calls_in(top, unit, table)

    def _calls_in(self, die: Any, unit: Any, table: _Table) -> Iterator[tuple[int, int, SourceLine]]:
        for child in die.iter_children():
            if child.tag == "DW_TAG_inlined_subroutine":
                told = child.attributes
                if "DW_AT_call_file" in told and "DW_AT_call_line" in told:
                    name = table.names.get(told["DW_AT_call_file"].value, "?")
                    for low, high in self._ranges_of(child, unit):
                        yield low, high, (name, told["DW_AT_call_line"].value)
            if child.tag in ("DW_TAG_inlined_subroutine", "DW_TAG_lexical_block"):
                yield from self._calls_in(child, unit, table)

    def _ranges_of(self, die: Any, unit: Any) -> Iterator[tuple[int, int]]:
        told = die.attributes
        if "DW_AT_high_pc" in told:
            low, high = told["DW_AT_low_pc"].value, told["DW_AT_high_pc"]
            yield low, high.value if high.form == "DW_FORM_addr" else low + high.value
        elif "DW_AT_ranges" in told:
            lists = self._info.range_lists()
            base = unit.get_top_DIE().attributes.get("DW_AT_low_pc")
            start = base.value if base is not None else 0
            for entry in lists.get_range_list_at_offset(told["DW_AT_ranges"].value, cu=unit):
                if hasattr(entry, "base_address"):
                    start = entry.base_address
                elif getattr(entry, "is_absolute", False):
                    yield entry.begin_offset, entry.end_offset
                else:
                    yield start + entry.begin_offset, start + entry.end_offset


def _rows(program: bytes, header: Any, address_size: int) -> Iterator[tuple[int, int, int]]:
    """What a line program says: address, number of the file, line; 0 ends a sequence (DWARF 5, §6.2.5)."""
    base, span, first, step = header.line_base, header.line_range, header.opcode_base, header.minimum_instruction_length
    operands = header.standard_opcode_lengths
    address, file, line, at, size = 0, 1, 1, 0, len(program)

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = program[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def signed() -> int:
        begin = at
        value = number()
        return value - (1 << 7 * (at - begin)) if program[at - 1] & 64 else value

    while at < size:
        code = program[at]
        at += 1
        if code >= first:
            code -= first
            address += code // span * step
            line += base + code % span
            yield address, file, line
        elif code == 0:  # an extended one: its length, its code
            length = number()
            end = at + length
            if program[at] == 1:
                yield address, file, 0
                address, file, line = 0, 1, 1
            elif program[at] == 2:
                address = int.from_bytes(program[at + 1 : at + 1 + address_size], "little")
            at = end
        elif code == 1:
            yield address, file, line
        elif code == 2:
            address += number() * step
        elif code == 3:
            line += signed()
        elif code == 4:
            file = number()
        elif code == 8:
            address += (255 - first) // span * step
        elif code == 9:
            address += int.from_bytes(program[at : at + 2], "little")
            at += 2
        else:
            for _ in range(operands[code - 1]):
                number()


def _names(header: Any) -> dict[int, str]:
    """The line program's files by number; the project's own from csrc/ on."""
    newer = header["version"] >= 5
    directories = header["include_directory"]
    names = {}
    for n, entry in enumerate(header["file_entry"]):
        name = entry.name.decode("utf-8", "replace")
        index = entry.dir_index - (0 if newer else 1)
        if not name.startswith("/") and 0 <= index < len(directories):
            name = directories[index].decode("utf-8", "replace") + "/" + name
        names[n + (0 if newer else 1)] = name.rpartition("csrc/")[2]
    return names
