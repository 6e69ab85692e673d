"""Pictures of every page of a demo, wide and narrow, light and dark: `make screenshots`.

They show a demo with new data on a free port, which ends with this.
"""

import io
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from django.conf import settings
from PIL import Image
from playwright.sync_api import Browser, FloatRect, Page, sync_playwright

from tests.pages.browser import Account, launch, log_in
from tests.pages.gallery.scenes import SCENES, STRANGERS_SCENES, Scene
from tests.pages.gallery.subjects import Api, Subjects, prepare
from tests.support.demo import client, demo
from tests.support.portal import free_port

Theme = Literal["light", "dark"]

FOLDER: Path = settings.BASE_DIR / "docs/screenshots"
SIZES = {"wide": (1280, 800), "narrow": (390, 844)}
# Longer pages are cut there.
MOST_HEIGHT = {"wide": 1600, "narrow": 2200}
THEMES: tuple[Theme, ...] = get_args(Theme)
COLOURS = 256
SETTLE_MS = 200
# The banner tells of the demo; the pictures are of the portal.
STYLE = ".demo-banner { display: none !important; }"


def main(names: list[str]) -> None:
    """Take the pictures of the scenes named, or of all in place of the folder's."""
    with tempfile.TemporaryDirectory() as folder:
        # PostgreSQL runs as another user.
        Path(folder).chmod(0o755)
        with demo(Path(folder) / "data", free_port()) as running:
            take_all(running.url, running.password(), names)


def take_all(url: str, password: str, names: list[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    if not names:
        for old in FOLDER.glob("*.png"):
            old.unlink()
    api = api_at(url)
    [device] = [found for found in api("GET", "/devices/?limit=100") if found["name"] == "Greenhouse north"]
    subjects = prepare(api, "admin", password, device=device["id"], person="ada")
    with sync_playwright() as playwright, launch(playwright) as browser:
        for account, scenes in ((Account("admin", password), SCENES), (None, STRANGERS_SCENES)):
            with page_at(browser, url, account) as page:
                take(page, subjects, scenes, names)


def api_at(url: str) -> Api:
    """The API of a demo, which asks for no credential."""

    def api(method: str, path: str, body: object = None, status: int | None = None) -> Any:
        with client() as session:
            answer = session.request(method, url + path, json=body, timeout=60)
        assert answer.ok or answer.status_code == status, answer.text
        return answer.json()

    return api


@contextmanager
def page_at(browser: Browser, url: str, account: Account | None) -> Iterator[Page]:
    # The policy forbids styles from outside, as that of the pictures.
    context = browser.new_context(base_url=url, bypass_csp=True, reduced_motion="reduce")
    page = context.new_page()
    if account is not None:
        log_in(page, account)
    yield page
    context.close()


def take(page: Page, subjects: Subjects, scenes: dict[str, Scene], names: list[str]) -> None:
    for name, scene in scenes.items():
        set_look(page, "wide", "light")
        scene(page, subjects)
        if names and name not in names:
            continue
        page.wait_for_load_state("networkidle")
        for size in SIZES:
            for theme in THEMES:
                set_look(page, size, theme)
                save(page, FOLDER / f"{name}-{size}-{theme}.png", MOST_HEIGHT[size])


def set_look(page: Page, size: str, theme: Theme) -> None:
    width, height = SIZES[size]
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=theme)


def save(page: Page, path: Path, most_height: int) -> None:
    """Write a picture of the whole page, cut below `most_height`."""
    # Charts are drawn again by a timer after a change of width.
    page.wait_for_timeout(SETTLE_MS)
    width, height = page.evaluate("[innerWidth, document.documentElement.scrollHeight]")
    clip = FloatRect(x=0, y=0, width=width, height=min(height, most_height))
    picture = page.screenshot(full_page=True, clip=clip, style=STYLE, animations="disabled")
    with_palette(Image.open(io.BytesIO(picture)).convert("RGB")).save(path, optimize=True)


def with_palette(picture: Image.Image) -> Image.Image:
    """The same picture in its most frequent colours, exactly these: a fifth of the bytes."""
    pixels = np.asarray(picture).reshape(-1, 3).astype(np.int32)
    packed, inverse, counts = np.unique(pixels @ [65536, 256, 1], return_inverse=True, return_counts=True)
    found = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1)
    palette = found[np.argsort(-counts, kind="stable")[:COLOURS]]
    nearest = np.array([np.argmin(((palette - colour) ** 2).sum(axis=1)) for colour in found], dtype=np.uint8)
    result = Image.frombytes("P", picture.size, nearest[inverse].tobytes())
    result.putpalette(palette.astype(np.uint8).tobytes())
    return result


if __name__ == "__main__":
    main(sys.argv[1:])
