"""Files as tables of cells: text, JSON lines and workbooks, read row by row, whatever their size."""
