"""Cases of texts of numbers and moments, for the server's formatter and for the script of charts."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from devices.notation.numbers import GROUP as G

# A number, its channel's decimals, its text as a reading and as a derived figure.
NUMBERS = [
    (20.646849166666666, 2, "20.65", "20.65"),
    (1014.0726999999999, 4, "1014.0727", "1014.0727"),
    (20.5, 2, "20.50", "20.50"),
    (20.5, 0, "21", "20.5"),
    (2 / 3, 0, "1", "0.67"),
    (3.0, 0, "3", "3"),
    (-3.0, 1, "-3.0", "-3.0"),
    (2.449, 1, "2.4", "2.45"),
    # Half is rounded away from zero, and what is no half in binary is none: 1.005 is less.
    (0.125, 2, "0.13", "0.13"),
    (-0.125, 2, "-0.13", "-0.13"),
    (2.5, 0, "3", "2.5"),
    (1.005, 2, "1.00", "1.00"),
    (-0.001, 2, "0.00", "0.00"),
    (-0.0, 1, "0.0", "0.0"),
    (0.0, 0, "0", "0"),
    (9999, 0, "9999", "9999"),
    (12345, 0, f"12{G}345", f"12{G}345"),
    (-1234567.891, 1, f"-1{G}234{G}567.9", f"-1{G}234{G}567.89"),
    (999999.96, 1, f"1{G}000{G}000.0", f"999{G}999.96"),
    (
        123456789012345.0,
        15,
        f"123{G}456{G}789{G}012{G}345.{'0' * 15}",
        f"123{G}456{G}789{G}012{G}345.{'0' * 15}",
    ),
    (1e15, 2, "1e+15", "1e+15"),
    (1.5e22, 0, "1.5e+22", "1.5e+22"),
    (-1.7976931348623157e308, 3, "-1.79769e+308", "-1.79769e+308"),
    (0.1 + 0.2, 15, "0.300000000000000", "0.300000000000000"),
    (1e-7, 7, "0.0000001", "0.0000001"),
    # Without decimals: six significant digits.
    (20.646849166666666, None, "20.6468", "20.6468"),
    (-1234.56789012345, None, "-1234.57", "-1234.57"),
    (123456.5, None, f"123{G}457", f"123{G}457"),
    (1234567.0, None, f"1{G}234{G}570", f"1{G}234{G}570"),
    (0.0, None, "0", "0"),
    (-0.0, None, "0", "0"),
    (1e-6, None, "0.000001", "0.000001"),
    (1.23456789e-7, None, "1.23457e-7", "1.23457e-7"),
    (5e-324, None, "4.94066e-324", "4.94066e-324"),
    (999999.5e9, None, "1e+15", "1e+15"),
]
# Values of a channel, and the decimals that they teach.
LEARNT = [
    ([20.5, 20.65, 21.0], 2),
    ([3.0, -4.0], 0),
    ([1014.0726999999999], 4),
    ([0.1 + 0.2], 1),
    ([20.299999237060547], 1),  # the 32-bit number 20.3
    ([1e-7, 1.0], 7),
    ([-1234.56789012345, 1.0], 2),
    ([2 / 3], 6),
    ([1e-12], None),
    ([5e-324], None),
    ([1e300], 0),
    ([], None),
]

BERLIN, NEW_YORK, UTC_ZONE = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York"), ZoneInfo("UTC")
# A moment, a zone, its text to the second, its fraction, its offset.
STAMPS = [
    (datetime(2026, 11, 21, 9, 30, tzinfo=UTC), UTC_ZONE, "2026-11-21 09:30:00", "", ""),
    (datetime(2026, 11, 21, 9, 30, 0, 1, tzinfo=UTC), BERLIN, "2026-11-21 10:30:00", ".000001", "+01:00"),
    (datetime(2026, 11, 21, 9, 30, 5, 999_999, tzinfo=UTC), UTC_ZONE, "2026-11-21 09:30:05", ".999999", ""),
    (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), BERLIN, "2026-10-25 02:30:00", "", "+02:00"),
    (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), BERLIN, "2026-10-25 02:30:00", "", "+01:00"),
    (datetime(2026, 3, 8, 7, 0, tzinfo=UTC), NEW_YORK, "2026-03-08 03:00:00", "", "-04:00"),
    (datetime(1, 1, 1, tzinfo=UTC), NEW_YORK, "0001-01-01 00:00:00", "", "+00:00"),
]
NOW = datetime(2026, 11, 21, tzinfo=UTC)
# Seconds since a moment, and its text.
AGES = [
    (0.0, "just now"),
    (1.9, "just now"),
    (-1.9, "just now"),
    (2.0, "2 s ago"),
    (59.9, "59 s ago"),
    (60.0, "1 min ago"),
    (7199.0, "1 h ago"),
    (86_400.0 * 400, "400 d ago"),
    (-61.0, "in 1 min"),
]


def before_now(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)
