"""What the columns of a table mean, guessed by their headings and their first cells."""

import re
import unicodedata
from collections.abc import Callable, Collection, Sequence

from devices.imports.cells.decimals import is_number
from devices.imports.cells.stamps import is_stamp

IGNORED, TIME, CLOCK, DEVICE = "", "time", "clock", "device"
# The role of a channel is this and its name, which may be "time" as well.
CHANNEL = "channel "
# Of the file with faulty rows: ignored when the corrected file comes back.
REASON = "Reason"

TIMES = frozenset(
    """
    time timestamp datetime dateandtime date ts stamp utc timeutc utctime datetimeutc timestamputc
    recordedat createdat measuredat at when localtime epoch unixtime zeit zeitstempel datum
    datumzeit datumuhrzeit messzeit zeitpunkt horodatage dateheure fecha fechahora data dataora tijd
    datumtijd tid tidpunkt aika
    """.split()  # noqa: SIM905  a list of words reads better
)
CLOCKS = frozenset(
    """
    time clock timeofday uhrzeit zeit heure hora ora tijd klockslag
    """.split()  # noqa: SIM905  a list of words reads better
)
DEVICES = frozenset(
    """
    device deviceid devicename deviceuuid sensor sensorid sensorname uuid id name externalid serial
    serialnumber station stationid logger meter meterid node nodeid geraet gerat gerateid geraetid
    seriennummer appareil capteur dispositivo apparaat enhet
    """.split()  # noqa: SIM905  a list of words reads better
)
UNIT = re.compile(r"\s*(?:\[[^\]]*\]|\([^)]*\)|\{[^}]*\}|/\s*[^/\s]{1,8}|,\s*[^,\s]{1,8})\s*$")
LAST_WORD = re.compile(r"[\s_]+\S{1,8}$")


def plain(heading: str) -> str:
    """Reduce a heading to letters and digits: case, accents and marks say nothing."""
    decomposed = unicodedata.normalize("NFKD", heading.casefold())
    return "".join(char for char in decomposed if char.isalnum())


def forms(heading: str) -> list[str]:
    """Return the plain heading, then without a unit in brackets, then without its last word."""
    texts = [heading, UNIT.sub("", heading), LAST_WORD.sub("", UNIT.sub("", heading))]
    return list(dict.fromkeys(filter(None, map(plain, texts))))


def guess_roles(
    headings: Sequence[str], rows: Sequence[Sequence[str]], channels: Collection[str], *, needs_device: bool
) -> list[str]:
    """Give each column a role. No role but IGNORED is given twice."""
    columns = [[row[i] for row in rows if i < len(row)] for i in range(len(headings))]
    roles = [IGNORED] * len(headings)
    give_channels(headings, channels, roles)
    free = [i for i, role in enumerate(roles) if not role and headings[i] != REASON]
    time = find_time(headings, columns, free)
    if time is not None:
        roles[time] = TIME
        free.remove(time)
        clock = find_clock(headings, columns, time, free)
        if clock is not None:
            roles[clock] = CLOCK
            free.remove(clock)
    if needs_device:
        device = next((i for i in free if set(forms(headings[i])) & DEVICES), None)
        if device is not None:
            roles[device] = DEVICE
            free.remove(device)
    give_the_only_one(columns, channels, free, roles)
    return roles


def give_channels(headings: Sequence[str], channels: Collection[str], roles: list[str]) -> None:
    wanted = {plain(name): name for name in channels}
    # Exact headings first: of "x" and "x [mm]" the first is the channel x.
    for step in range(3):
        for i, heading in enumerate(headings):
            names = forms(heading)
            name = wanted.get(names[step]) if step < len(names) else None
            if name is not None and not roles[i] and CHANNEL + name not in roles:
                roles[i] = CHANNEL + name


def find_time(headings: Sequence[str], columns: Sequence[Sequence[str]], free: Sequence[int]) -> int | None:
    """Prefer a column that is named for the time and looks like it, then one that only looks like it."""
    looks = [i for i in free if mostly(columns[i], is_stamp)]
    named = [i for i in free if set(forms(headings[i])) & TIMES]
    both = [i for i in named if i in looks]
    numbers = [i for i in named if mostly(columns[i], is_number)]
    return next(iter([*both, *looks, *numbers, *named]), None)


def find_clock(
    headings: Sequence[str], columns: Sequence[Sequence[str]], time: int, free: Sequence[int]
) -> int | None:
    """Find the time of day beside a column of dates alone."""
    if not columns[time] or not mostly(columns[time], lambda cell: is_stamp(cell) and ":" not in cell):
        return None
    return next(
        (i for i in free if mostly(columns[i], is_clock) or set(forms(headings[i])) & CLOCKS),
        None,
    )


def is_clock(text: str) -> bool:
    return (
        re.fullmatch(r"\s*[0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?( ?[AaPp][Mm])?\s*", text) is not None
    )


def give_the_only_one(
    columns: Sequence[Sequence[str]], channels: Collection[str], free: Sequence[int], roles: list[str]
) -> None:
    """One channel and one column of numbers are left: they belong together, whatever the heading."""
    missing = [name for name in channels if CHANNEL + name not in roles]
    numbers = [i for i in free if mostly(columns[i], is_number)]
    if len(missing) == len(numbers) == 1:
        roles[numbers[0]] = CHANNEL + missing[0]


def mostly(cells: Sequence[str], is_such: Callable[[str], bool]) -> bool:
    filled = [cell for cell in cells if cell.strip()]
    return bool(filled) and 2 * sum(map(is_such, filled)) > len(filled)


def looks_like_heading(row: Sequence[str]) -> bool:
    """Tell whether a row has names: text, and neither numbers nor stamps."""
    filled = [cell for cell in row if cell.strip()]
    return bool(filled) and not any(is_number(cell) or is_stamp(cell) for cell in filled)
