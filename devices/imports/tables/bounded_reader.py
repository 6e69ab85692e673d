"""openpyxl's reader, bounded in what it unpacks into memory.

A workbook says itself where its shared strings and other parts are: their names prove nothing. So the parts
are counted as the reader opens them. Sheets are read as a stream, from an archive that does not count.
"""

from typing import Any, BinaryIO
from zipfile import ZipFile, ZipInfo

from openpyxl.reader.excel import ExcelReader
from openpyxl.workbook import Workbook

from devices.imports.tables.source_row import TOO_MUCH, CannotRead


class CountedArchive(ZipFile):
    """An archive of which `left` more bytes may be unpacked. A part that is opened twice counts twice."""

    def __init__(self, file: BinaryIO, left: int) -> None:
        super().__init__(file)
        self.left = left

    def open(self, name: str | ZipInfo, *args: Any, **options: Any) -> Any:
        """Raises CannotRead."""
        info = name if isinstance(name, ZipInfo) else self.getinfo(name)
        self.left -= info.file_size
        if self.left < 0:
            raise CannotRead(TOO_MUCH)
        return super().open(name, *args, **options)


class BoundedReader(ExcelReader):
    archive: ZipFile

    def __init__(self, file: BinaryIO, most: int) -> None:
        super().__init__(file, read_only=True, data_only=True, keep_links=False)
        self.uncounted = self.archive
        self.archive = CountedArchive(file, most)

    def read_workbook(self) -> None:
        super().read_workbook()
        # From here the sheets of the workbook are read.
        self.wb._archive = self.uncounted


def load_workbook(file: BinaryIO, most: int) -> Workbook:
    """Load all but the sheets, which are read later. Raises CannotRead, and openpyxl's many errors."""
    reader = BoundedReader(file, most)
    reader.read()
    return reader.wb
