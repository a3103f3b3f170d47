"""The search page in a real browser."""

import pytest

pytestmark = pytest.mark.xdist_group("browser")
CASES = [("phone", "light"), ("phone", "dark"), ("desk", "light"), ("desk", "dark")]


def test_why_did_my_page_go(window, server) -> None:
    """From the report to the search, a filter, the next page, one record, and back to the kept one."""
    found = window()
    page, url = found.page, server.url
    page.goto(url)
    page.get_by_role("link", name="Search the records").click()
    assert page.locator(".results > li").count() == 20
    page.get_by_role("combobox", name="Verdict").select_option("filtered")
    page.get_by_label("Record", exact=True).fill("PAGE-1")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.url == url + "search?record=PAGE-1&text=&doc=&verdict=filtered&rule=&kind=&source=&language="
    assert "1 to 10 of 10 records" in page.locator(".pager").first.inner_text()
    assert page.get_by_role("combobox", name="Verdict").input_value() == "filtered"
    page.get_by_role("link", name="web/page-12.html#12").click()
    assert "its score 40 is below the limit 50" in page.locator("#record").inner_text()
    page.goto(url + "search?kind=near&size=1")
    page.get_by_role("link", name="Next").first.click()
    assert "2 to 2 of 4 records" in page.locator(".pager").first.inner_text()
    page.locator(".why a").click()
    assert page.locator(".results .record").first.inner_text() == "web/page-0.html#0"
    found.assert_quiet(url)


@pytest.mark.parametrize(("size", "colours"), CASES)
def test_hostile_texts_do_nothing_and_the_layout_holds(window, server, size: str, colours: str) -> None:
    found = window(size, colours)
    page = found.page
    for path in ("search?text=script", "record?n=40", "search?text=xxxx", "record?n=41", "search?size=100"):
        page.goto(server.url + path)
        found.assert_fits()
        assert page.evaluate("document.images.length") == 0
    page.goto(server.url + "record?n=40")
    told = page.evaluate("document.body.innerText")
    for text in ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "⟨U+202E⟩", "⟨U+0000⟩", "{{ 7*7 }}"):
        assert text in told
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 30)"}[colours]
    found.assert_quiet(server.url)


@pytest.mark.parametrize(("size", "colours"), [("phone", "dark"), ("desk", "light")])
def test_axe_finds_nothing_serious(window, server, size: str, colours: str) -> None:
    found = window(size, colours)
    for path in ("search?verdict=filtered", "record?n=12"):
        found.page.goto(server.url + path)
        assert found.serious_violations() == {}, path


def test_it_works_without_script(window, server) -> None:
    page = window(java_script_enabled=False).page
    page.goto(server.url + "search")
    page.get_by_label("Text", exact=True).fill("überfall")
    page.get_by_role("button", name="Search").click()
    assert page.locator(".results .record").all_inner_texts() == ["web/page-42.html#42"]
