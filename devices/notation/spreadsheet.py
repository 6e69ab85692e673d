"""Cells of files that people open in a spreadsheet."""

# A spreadsheet computes a cell that begins with one of these; in East Asia also with the full-width ones.
FORMULA_MARKS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def harmless(text: str) -> str:
    """Return the text, after an apostrophe if a spreadsheet would compute it."""
    return f"'{text}" if text.startswith(FORMULA_MARKS) else text
