"""What all tests share; and a real browser, headless, that loads nothing by itself."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings

# A machine that pauses is no failure: time is measured in benchmarks/.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
SIZES = {"phone": (390, 844), "desk": (1280, 900)}


class Window:
    """A page in a window of a new user, and all that it tried to do."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.dialogs: list[str] = []
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.on("dialog", self._dialog)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self.errors.append(message.text))

    def _dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def assert_quiet(self, under: str) -> None:
        """No dialog, no message, and no request of anything that does not begin with `under`."""
        assert (self.dialogs, self.errors) == ([], [])
        assert self.requests
        assert all(url.startswith(under) for url in self.requests)

    def assert_fits(self) -> None:
        """Nothing stands out to the right."""
        wide, shown = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide == shown

    def serious_violations(self) -> dict[str, list[str]]:
        """What axe-core finds serious or critical: rule -> elements."""
        axe = pytest.importorskip("axe_playwright_python.sync_playwright")
        violations = axe.Axe().run(self.page).response["violations"]
        return {
            one["id"]: [node["html"][:200] for node in one["nodes"][:3]]
            for one in violations
            if one["impact"] in ("serious", "critical")
        }


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Of a module and no longer: while it lives, nothing else of this process can run an event loop."""
    api = pytest.importorskip("playwright.sync_api", reason="pip install playwright: no browser of its own is needed")
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    with api.sync_playwright() as driver:
        # Without a bus at hand Chromium would wait 25 s for each answer from one.
        buses = dict.fromkeys(("DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS"), "disabled:")
        browser = driver.chromium.launch(executable_path=path, args=list(FLAGS), env={**os.environ, **buses})
        yield browser
        browser.close()


@pytest.fixture
def window(chromium: Any) -> Iterator[Callable[..., Window]]:
    """(size, colours) -> a Window."""
    pages = []

    def make(size: str = "desk", colours: str = "light", **options: Any) -> Window:
        width, height = SIZES[size]
        viewport = {"width": width, "height": height}
        context = chromium.new_context(viewport=viewport, color_scheme=colours, reduced_motion="reduce", **options)
        pages.append(context.new_page())
        return Window(pages[-1])

    yield make
    for page in pages:
        page.context.close()
