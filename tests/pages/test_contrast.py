"""Text and controls have the contrast of WCAG 2.2 AA, in light and dark colours."""

import re

import pytest
from django.conf import settings

SHEET = (settings.BASE_DIR / "config/static/plumbline/style/plumbline.css").read_text()
# Foreground, background, least ratio: 4.5 for text, 3 for edges of controls and lines of charts.
PAIRS = [
    *((text, ground, 4.5) for text in ("ink", "muted", "accent", "bad") for ground in ("paper", "surface")),
    *((state, f"{state}-soft", 4.5) for state in ("good", "bad", "warn", "accent")),
    *(("muted", ground, 4.5) for ground in ("accent-soft",)),
    ("on-accent", "accent", 4.5),
    ("field-line", "surface", 3),
    *((f"series-{number}", "surface", 3) for number in range(1, 7)),
]


def colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", block))


LIGHT, DARK, CHOSEN_DARK = (
    colours(block) for block in re.findall(r"^ *:root[^{]* \{\n(.*?)\n *\}", SHEET, re.DOTALL | re.MULTILINE)
)


def luminance(colour: str) -> float:
    """Relative luminance of #rgb or #rrggbb, as WCAG 2.2 defines it."""
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    channels = (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [LIGHT, LIGHT | DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("front", "back", "least"), PAIRS)
def test_colours_stand_out(scheme: dict[str, str], front: str, back: str, least: float) -> None:
    assert contrast(scheme[front], scheme[back]) >= least


def test_a_chosen_theme_has_the_colours_of_the_system_s() -> None:
    assert CHOSEN_DARK == DARK
    assert len(DARK) > 15


def test_contrast_of_known_pairs() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777", "#fff") == pytest.approx(4.48, abs=0.01)
