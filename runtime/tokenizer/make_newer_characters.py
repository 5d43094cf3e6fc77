#!/usr/bin/env python3
"""Writes newer_characters_table.h: what Unicode 16.0 has and 14.0, the tables of PCRE2 10.42, has not.

Run by CPython 3.11, whose own tables are of 14.0, with PyPI's unicodedata2 16.0.0:
  python3.11 make_newer_characters.py > newer_characters_table.h
"""

from __future__ import annotations

import unicodedata as old

import unicodedata2 as new

HEADER = """\
// Characters of Unicode {new} that {old} has not, with their general categories. Written by make_newer_characters.py;
// what it is for is said in newer_characters.h. No character changed its class (first letter) between the two.
#pragma once
#include <cstdint>

namespace bitnet::runtime {{

/// In the order of code points; no two overlap.
struct NewerCharacters {{
  uint32_t first, last;
  char category[3];
}};
constexpr NewerCharacters kNewerCharacters[] = {{"""


def main() -> None:
    """Prints the header."""
    assert (old.unidata_version, new.unidata_version) == ("14.0.0", "16.0.0"), "see the first lines"
    rows: list[tuple[int, int, str]] = []
    for code in range(0x110000):
        before, after = old.category(chr(code)), new.category(chr(code))
        if before == after or before != "Cn":
            assert before[0] == after[0], f"U+{code:04X} changed from {before} to {after}"
        elif rows and rows[-1][1:] == (code - 1, after):
            rows[-1] = (rows[-1][0], code, after)
        else:
            rows.append((code, code, after))
    print(HEADER.format(old="14.0", new="16.0"))
    for first, last, category in rows:
        print(f'    {{0x{first:x}, 0x{last:x}, "{category}"}},')
    print("};\n\n} // namespace bitnet::runtime")


if __name__ == "__main__":
    main()
