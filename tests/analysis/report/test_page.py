"""The page in a browser: no errors, no dead links, full keyboard access, and it fits a phone, in light and dark mode."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import numpy as np
import pytest

from analysis.mechanisms.page import write_page
from analysis.report.page import write_report
from tests.fake_runs import diagnostic_rows, online_rows, spec, write_run

pytestmark = pytest.mark.process

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
ARGUMENTS = ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-sync")
TAB, ENTER = "\ue004", "\ue007"


class Browser:
    """A headless Chromium, by the WebDriver protocol."""

    def __init__(self, port: int, page: str) -> None:
        self.page = page
        self._open = build_opener(ProxyHandler({})).open
        self._base = f"http://127.0.0.1:{port}/session"
        options = {"binary": CHROMIUM, "args": [f"--{each}" for each in ARGUMENTS]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self._base += "/" + self._post("", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        request = Request(self._base + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with self._open(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def go(self, address: str) -> None:
        self._post("/url", {"url": address})

    def run(self, script: str, *arguments: Any) -> Any:
        return self._post("/execute/sync", {"script": script, "args": list(arguments)})

    def emulate(self, command: str, **parameters: Any) -> None:
        self._post("/goog/cdp/execute", {"cmd": f"Emulation.{command}", "params": parameters})

    def press(self, key: str) -> None:
        keys = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        self._post("/actions", {"actions": [{"type": "key", "id": "keys", "actions": keys}]})

    def log(self) -> list[str]:
        return [entry["message"] for entry in self._post("/se/log", {"type": "browser"})]

    def close(self) -> None:
        with self._open(Request(self._base, method="DELETE"), timeout=60):
            pass


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser showing a report with one chain, a control, something missing, and a name to escape."""
    if not CHROMIUM or not DRIVER:
        pytest.skip("no Chromium with its driver on this machine")
    root = tmp_path_factory.mktemp("page")
    for label, level in (("none", 0.4), ("fresh", 0.5)):
        described = spec(label, 0, ["a", "<b>&amp;", "c", "d"], members=3)
        areas = level + 0.01 * np.arange(12.0).reshape(3, 4)
        write_run(root / "runs", described, online_rows(described, areas), diagnostic_rows(described, every=100), done=label == "fresh")
    page = write_report([root / "runs"], root / "out").page
    write_page([root / "runs"], root / "out")
    with subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, text=True) as driver:
        try:
            assert driver.stdout is not None
            port = next(int(found[1]) for line in driver.stdout if (found := re.search(r"successfully on port (\d+)", line)))
            found = Browser(port, page.as_uri())
            found.go(found.page)
            yield found
            found.close()
        finally:
            driver.terminate()


def test_everything_is_there_and_nothing_is_on_the_console(browser: Browser) -> None:
    pictures = browser.run("return [...document.images].map(each => each.complete && each.naturalWidth)")
    assert len(pictures) == 9 and all(width > 400 for width in pictures)
    assert browser.run("return [...document.images].every(each => each.alt.length > 10)")
    assert browser.run("return performance.getEntriesByType('resource').filter(each => !each.name.startsWith('data:')).length") == 0
    assert browser.run("return document.querySelector('b, i, script')") is None
    assert browser.log() == []


def test_every_link_leads_to_its_place(browser: Browser) -> None:
    targets = browser.run("return [...document.links].map(each => each.getAttribute('href'))")
    assert "#part-1" in targets
    for number, target in enumerate(targets):
        browser.run("document.documentElement.style.scrollBehavior = 'auto'; document.links[arguments[0]].click()", number)
        assert browser.run("return location.hash") == target
        top, height = browser.run("return [document.querySelector(location.hash).getBoundingClientRect().top, innerHeight]")
        assert -1 <= top <= height, target
    identifiers = browser.run("return [...document.querySelectorAll('[id]')].map(each => each.id)")
    assert len(identifiers) == len(set(identifiers)) and browser.log() == []


def test_keys_reach_everything(browser: Browser) -> None:
    browser.go("about:blank")
    browser.go(browser.page)
    wanted = browser.run("return document.querySelectorAll('a, summary, [tabindex=\"0\"]').length")
    reached = []
    for _ in range(wanted):
        browser.press(TAB)
        reached.append(browser.run("return [...document.querySelectorAll('*')].indexOf(document.activeElement)"))
        if len(reached) == 1:
            assert browser.run("return document.activeElement.className") == "skip"
        if browser.run("return document.activeElement.localName") == "summary":
            before = browser.run("return document.activeElement.parentNode.open")
            browser.press(ENTER)
            assert browser.run("return document.activeElement.parentNode.open") is not before
    assert len(set(reached)) == wanted and reached == sorted(reached)  # all, in page order


def test_what_most_need_ends_after_three_screens_and_the_rest_is_folded(browser: Browser) -> None:
    browser.go(browser.page)
    order = browser.run("return [...document.querySelectorAll('section > *')].map(each => each.localName + '.' + each.className)")
    assert order[:5] == ["h2.", "p.reading", "figure.", "div.wide", "p.soft"] and set(order[5:]) <= {"details.", "p.soft"}
    height, screen = browser.run("return [document.documentElement.scrollHeight, innerHeight]")
    assert height <= 3 * max(screen, 600) and not browser.run("return document.querySelector('details[open]')")


def test_it_fits_a_phone(browser: Browser) -> None:
    browser.emulate("setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=True)
    first = "const each = document.querySelector('section img'); return [each.currentSrc, each.src, each.getBoundingClientRect()]"
    for _ in range(100):  # the browser chooses the picture some time after the width changes
        shown, wide, place = browser.run(first)
        if shown != wide:
            break
        time.sleep(0.1)
    assert shown != wide and place["width"] < place["height"]  # panels stand below each other
    browser.run("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert browser.run("return [innerWidth, document.documentElement.scrollWidth]") == [360, 360]
    assert browser.run("return [...document.querySelectorAll('p')].every(each => parseFloat(getComputedStyle(each).fontSize) >= 14)")
    whole = (
        "return [...document.images].map(each => each.getBoundingClientRect()).every(each => each.width > 300 && each.right <= innerWidth)"
    )
    assert browser.run(whole)
    browser.go(browser.page.replace("report.html", "mechanisms.html"))
    assert browser.run("return document.images.length") == 1 and browser.run(whole)
    browser.go(browser.page)
    browser.emulate("clearDeviceMetricsOverride")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_by_day_and_by_night(browser: Browser, scheme: str) -> None:
    """Contrast of at least 4.5, the level AA of the Web Content Accessibility Guidelines."""
    browser.emulate("setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    page = luminance(browser.run("return getComputedStyle(document.body).backgroundColor"))
    assert (page < 0.05) == (scheme == "dark")
    for colour in set(
        browser.run("return [...document.querySelectorAll('p, th, td, small, a, dt, span')].map(each => getComputedStyle(each).color)")
    ):
        lighter, darker = sorted([page, luminance(colour)], reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (scheme, colour)


def luminance(colour: str) -> float:
    """Relative luminance of `rgb(r, g, b)`, as the guidelines define it."""
    channels = np.array([int(each) for each in re.findall(r"\d+", colour)[:3]]) / 255
    return float(np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])
