"""A page in a real headless Chromium, and what went wrong while it was open.

python tests/support/browser.py docs/results/comparison docs/images/comparison.png  # the README's picture
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Page, sync_playwright


class NoBrowserError(Exception):
    """There is no Chromium here; the message says how to get one."""


@dataclass(frozen=True)
class OpenPage:
    """A page and what it did.

    Attributes:
        page: to look at and click on.
        problems: console errors, warnings and exceptions.
        requests: addresses that were asked for.
    """

    page: Page
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def opened(file: Path, *, width: int = 1280, height: int = 900) -> Iterator[OpenPage]:
    """A file in a window of that size."""
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        raise NoBrowserError("chromium is missing: make browser, or sudo apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable)
        try:
            seen = OpenPage(browser.new_page(viewport={"width": width, "height": height}))
            seen.page.on("console", lambda m: seen.problems.append(m.text) if m.type in ("error", "warning") else None)
            seen.page.on("pageerror", lambda error: seen.problems.append(str(error)))
            seen.page.on("request", lambda request: seen.requests.append(request.url))
            seen.page.goto(file.resolve().as_uri())
            yield seen
        finally:
            browser.close()


def main() -> None:
    report, picture = map(Path, sys.argv[1:])
    with opened(report / "index.html") as seen:
        seen.page.wait_for_selector("#rate-distortion .trace")
        bottom = seen.page.locator("#rate-distortion").bounding_box()
        assert bottom is not None
        seen.page.set_viewport_size({"width": 1280, "height": int(bottom["y"] + bottom["height"]) + 8})
        seen.page.wait_for_timeout(500)  # Plotly fits its charts to the new window
        seen.page.screenshot(path=picture)


if __name__ == "__main__":
    main()
