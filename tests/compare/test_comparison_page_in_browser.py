"""The page in a real Chromium: what a reader's browser does with it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import OpenPage, opened
from comparisons import comparison, everything, point
from hyvic_compare.comparison_report import write_comparison_report
from playwright.sync_api import Locator, expect

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Alone in its folder: it needs nothing beside it.
    folder = tmp_path_factory.mktemp("browser")
    write_comparison_report(folder / "report", everything())
    return (folder / "report" / "index.html").rename(folder / "index.html")


@pytest.fixture
def seen(page_file: Path) -> Iterator[OpenPage]:
    with opened(page_file) as page:
        page.page.wait_for_selector("#rate-distortion .trace")
        yield page


def traces(seen: OpenPage, chart: str) -> Locator:
    """Curves, boxes or bars that a chart shows."""
    return seen.page.locator(f"#{chart} .mlayer > .trace")


def test_the_page_opens_without_an_error_and_asks_for_nothing(seen: OpenPage, page_file: Path) -> None:
    assert seen.problems == []
    fetched = [address for address in seen.requests if not address.startswith(("data:", "blob:"))]
    assert fetched == [page_file.as_uri()]


def test_every_chart_has_something_in_it(seen: OpenPage) -> None:
    for chart, count in {
        "rate-distortion": 3,
        "spectra": 5,
        "tiles": 2,
        "scenes": 2,
        "ratios": 2,
        "throughput": 6,
        "memory": 3,
    }.items():
        expect(traces(seen, chart)).to_have_count(count)


def test_a_click_on_a_codec_hides_it_everywhere_and_another_shows_it_again(seen: OpenPage) -> None:
    button = seen.page.get_by_role("button", name="old & good")
    pictures = seen.page.locator('.pictures figure[data-codec="old & good"]:visible')
    expect(pictures).to_have_count(1)
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    expect(traces(seen, "rate-distortion")).to_have_count(2)
    expect(traces(seen, "memory")).to_have_count(2)
    expect(pictures).to_have_count(0)
    button.click()
    expect(traces(seen, "rate-distortion")).to_have_count(3)
    expect(pictures).to_have_count(1)
    assert seen.problems == []


def test_published_figures_are_hidden_until_asked_for(seen: OpenPage) -> None:
    warning = seen.page.get_by_text("their height says nothing against the coloured curves")
    assert not warning.is_visible()
    seen.page.get_by_role("button", name="published, other data").click()
    expect(traces(seen, "rate-distortion")).to_have_count(3 + 5)
    assert warning.is_visible()


def test_the_scene_selector_shows_what_was_seen_in_training_with_a_mark(seen: OpenPage) -> None:
    first = seen.page.locator("select[data-key=view]").first
    table = seen.page.locator("[data-when='view=0'] table").first
    assert table.is_visible()
    first.select_option(label="town <b> († ours trained on it)")
    assert not table.is_visible()
    assert seen.page.locator("[data-when='view=4'] table").first.get_by_text("ours †").is_visible()
    assert seen.page.locator("select[data-key=view]").nth(1).input_value() == first.input_value()
    assert seen.problems == []


def test_a_measure_can_be_chosen_and_values_read(seen: OpenPage) -> None:
    seen.page.locator("select[data-key=measure]").select_option("spectral_angle_deg")
    expect(seen.page.locator("#rate-distortion .ytitle")).to_contain_text("Spectral angle")
    place = seen.page.locator("#rate-distortion .scatterlayer .trace").first.locator(".point").first
    place.hover(force=True)
    label = seen.page.locator("#rate-distortion .hoverlayer .hovertext")
    expect(label.first).to_contain_text("spectral angle 1.500°")


def test_the_page_of_lossless_codecs_alone_opens_without_an_error(tmp_path: Path) -> None:
    write_comparison_report(tmp_path / "out", comparison(point("a", "exact", None, math.inf, ratio=2.5)))
    with opened(tmp_path / "out" / "index.html") as seen:
        seen.page.wait_for_selector("#throughput .trace")
        assert seen.problems == []


@pytest.mark.parametrize("width", [1280, 800])
def test_the_page_fits_the_window(page_file: Path, width: int) -> None:
    with opened(page_file, width=width) as seen:
        seen.page.wait_for_selector("#rate-distortion .trace")
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        assert seen.problems == []
