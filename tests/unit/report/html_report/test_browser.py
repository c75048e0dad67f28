"""The page in a real browser: what a reader with a mouse, a keyboard or a screen reader meets."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from gate.report.html_report.render import render
from tests.unit.report.html_report.pages import (
    BAD,
    LAYERS,
    everything,
    hostile,
    layer_name,
    many,
)

selenium = pytest.importorskip("selenium", reason="selenium is not installed")
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402 - after the skip
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

CONTRAST = """
const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const rgba = (colour) => {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const luminance = ([r, g, b]) => [r, g, b].map((v) => v / 255)
  .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = rgba(getComputedStyle(at).backgroundColor);
    if (colour[3] === 255) { return colour; }
    if (colour[3] !== 0) { throw new Error('half transparent: ' + at.outerHTML.slice(0, 80)); }
  }
  return [255, 255, 255, 255];
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const low = []; let seen = 0;
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || !element.checkVisibility({ visibilityProperty: true })) { continue; }
  if (element.closest('.unseen, script, style')) { continue; }
  const style = getComputedStyle(element);
  const text = rgba(element instanceof SVGElement ? style.fill : style.color);
  const [a, b] = [luminance(text), luminance(ground(element))].sort((x, y) => y - x);
  seen += 1;
  if ((a + 0.05) / (b + 0.05) < 4.5) {
    low.push([walker.currentNode.textContent.trim().slice(0, 40), ((a + 0.05) / (b + 0.05)).toFixed(2)]);
  }
}
return { low, seen };
"""


@pytest.fixture(scope="module")
def whole() -> str:
    return render(**everything())


def messages(page: Any) -> list[str]:
    return [entry["message"] for entry in page.get_log("browser")]


def requests(page: Any) -> list[str]:
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    return [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]


def visible(page: Any, selector: str) -> list[Any]:
    return [e for e in page.find_elements(By.CSS_SELECTOR, selector) if e.is_displayed()]


def press(page: Any, *keys: str) -> None:
    ActionChains(page).send_keys(*keys).perform()


def test_it_opens_without_a_complaint_and_asks_for_nothing(show, whole):
    page = show(whole)
    assert page.title.startswith("Gate: ERROR")
    assert messages(page) == []
    fetched = requests(page)
    assert fetched[0].startswith("file:///")
    assert [url for url in fetched[1:] if not url.startswith("data:image/png")] == []


def test_what_did_not_pass_is_open_and_the_rest_is_one_click_away(show, whole):
    page = show(whole)
    opened = [
        d.get_dom_attribute("data-outcome")
        for d in page.find_elements(By.CSS_SELECTOR, "details.case[open]")
    ]
    assert opened == ["error", "fail", "fail", "inconclusive"]
    page.find_element(By.LINK_TEXT, "digits/ptq-int8@ort-cpu").click()
    case = page.find_element(By.CSS_SELECTOR, "details.case[data-outcome=pass]")
    assert case.get_dom_attribute("open") is not None
    focused = page.switch_to.active_element
    assert focused.get_dom_attribute("class") == "body"
    assert focused.find_element(By.XPATH, "..") == case


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_is_readable_in_both_themes(show, whole, dark):
    page = show(whole, dark=dark)
    page.find_element(By.ID, "open-all").click()
    page.execute_script("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    page.execute_script("document.querySelector('.explore').focus()")
    found = page.execute_script(CONTRAST)
    assert found["seen"] > 300
    assert found["low"] == []


def test_the_theme_follows_the_system_until_the_reader_chooses(show, whole):
    def ground(page):
        return page.execute_script("return getComputedStyle(document.body).backgroundColor")

    light, dark = ground(show(whole)), ground(show(whole, dark=True))
    assert light != dark
    page = show(whole)
    button = page.find_element(By.ID, "theme")
    seen = []
    for _ in range(3):
        button.click()
        seen.append((button.text, ground(page)))
    assert seen == [("Theme: light", light), ("Theme: dark", dark), ("Theme: auto", light)]


def test_search_and_filter_go_together(show, whole):
    page = show(whole)
    search = page.find_element(By.ID, "search")
    search.send_keys("lite0 top1")
    rows = visible(page, "#cases-table tbody tr")
    assert [r.get_dom_attribute("data-outcome") for r in rows] == ["xfail"]
    assert len(visible(page, "details.case")) == 1
    assert page.find_element(By.ID, "shown").text == "1 of 7 shown"
    search.clear()
    search.send_keys(" ")
    page.find_element(By.CSS_SELECTOR, "input[value=pass]").click()
    assert page.find_element(By.ID, "shown").text == "6 of 7 shown"


def test_columns_sort_by_value_and_back(show, whole):
    page = show(whole)

    def speeds():
        return [
            row.find_elements(By.CSS_SELECTOR, "td.n")[3].get_dom_attribute("data-value")
            for row in page.find_elements(By.CSS_SELECTOR, "#cases-table tbody tr")
        ]

    before = speeds()
    button = page.find_element(By.XPATH, "//th[contains(., 'speed-up')]/button")
    button.click()
    numbers = [float(value) for value in speeds() if value]
    assert numbers == sorted(numbers)
    assert speeds()[len(numbers) :] == [""] * (len(before) - len(numbers))
    assert button.find_element(By.XPATH, "..").get_dom_attribute("aria-sort") == "ascending"
    button.click()
    assert [float(value) for value in speeds() if value] == numbers[::-1]
    button.click()
    assert speeds() == before


def test_the_keyboard_reaches_everything_and_shows_where_it_is(show, whole):
    page = show(whole)
    press(page, Keys.TAB)
    skip = page.switch_to.active_element
    assert skip.text == "Skip to the cases"
    assert skip.rect["y"] >= 0
    press(page, Keys.ENTER)
    assert page.switch_to.active_element.get_dom_attribute("id") == "overview"
    page.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
    wanted = page.execute_script(
        "return [...document.querySelectorAll('a, button, input, summary, [tabindex=\"0\"]')]"
        ".filter((e) => e.checkVisibility()).length"
    )
    seen = set()
    for _ in range(wanted + 5):
        press(page, Keys.TAB)
        state = page.execute_script(
            "const e = document.activeElement; if (e === document.body) { return null; }"
            "const marked = [e, e.closest('.chip')].filter(Boolean)"
            ".some((x) => getComputedStyle(x).outlineStyle !== 'none');"
            "e.dataset.walked = 1; return [e.outerHTML.slice(0, 120), marked];"
        )
        if state is not None:
            seen.add(state[0])
            assert state[1], f"no visible focus on {state[0]}"
    walked = page.execute_script("return document.querySelectorAll('[data-walked]').length")
    assert walked >= wanted - 1  # the skip link comes before where the walk began
    assert len(seen) > 20


def test_slash_leads_to_the_search_and_space_toggles_a_result(show, whole):
    page = show(whole)
    press(page, "/")
    assert page.switch_to.active_element.get_dom_attribute("id") == "search"
    press(page, Keys.TAB, Keys.SPACE)
    assert page.switch_to.active_element.get_dom_attribute("value") == "error"
    assert page.find_element(By.ID, "shown").text == "6 of 7 shown"


def test_arrow_keys_walk_the_layers(show, whole):
    page = show(whole)
    chart = page.find_element(By.CSS_SELECTOR, ".explore")
    page.execute_script("arguments[0].focus()", chart)
    press(page, *[Keys.ARROW_RIGHT] * BAD)
    card = page.find_element(By.CSS_SELECTOR, ".card")
    assert card.text.startswith(f"{BAD + 1}. {layer_name(BAD)}")
    for text in (
        "uint8 2\N{MULTIPLICATION SIGN}8\N{MULTIPLICATION SIGN}11\N{MULTIPLICATION SIGN}16",
        "per-channel-symmetric",
        "QLinearConv",
        "failed\nsqnr",
    ):
        assert text in card.text
    assert chart.get_dom_attribute("aria-valuenow") == str(BAD + 1)
    assert layer_name(BAD) in chart.get_dom_attribute("aria-valuetext")
    press(page, Keys.END)
    assert chart.get_dom_attribute("aria-valuenow") == str(LAYERS)
    press(page, Keys.ARROW_RIGHT)
    assert chart.get_dom_attribute("aria-valuenow") == str(LAYERS)
    press(page, Keys.HOME)
    assert card.text.startswith(f"1. {layer_name(0)}")


def test_the_pointer_finds_the_layer_below_it(show, whole):
    page = show(whole)
    drawing = page.find_element(By.CSS_SELECTOR, ".explore svg")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", drawing)
    left, band = 48.0, (1000.0 - 48.0 - 12.0) / LAYERS
    x = (left + 7.5 * band) * drawing.size["width"] / 1000.0
    offset = int(x - drawing.size["width"] / 2)
    ActionChains(page).move_to_element_with_offset(drawing, offset, 0).perform()
    assert page.find_element(By.CSS_SELECTOR, ".card").text.startswith(f"8. {layer_name(7)}")


def test_everything_that_acts_has_a_name_for_screen_readers(show, whole):
    page = show(whole)
    page.find_element(By.ID, "open-all").click()
    nodes = page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles: dict[str, int] = {}
    nameless = []
    for node in nodes:
        role = node.get("role", {}).get("value")
        if node.get("ignored") or role not in {
            "button", "link", "checkbox", "searchbox", "slider", "table", "region", "image", "heading",
            "main", "banner", "contentinfo", "search", "DisclosureTriangle",
        }:  # fmt: skip
            continue
        roles[role] = roles.get(role, 0) + 1
        if role not in {"main", "banner", "contentinfo"} and not node.get("name", {}).get("value"):
            nameless.append(role)
    assert nameless == []
    assert roles["main"] == roles["banner"] == roles["contentinfo"] == roles["search"] == 1
    assert {"slider", "searchbox", "checkbox", "button", "link", "image", "table"} <= set(roles)


def test_without_a_script_the_page_still_tells_everything(show, whole):
    page = show(whole, script=False)
    assert len(visible(page, "#cases-table tbody tr")) == 7
    assert len(visible(page, "details.case[open] .gauge")) > 5
    assert len(visible(page, ".profile")) == 1
    for control in ("#filter", "#theme", "#open-all", ".copy"):
        assert visible(page, control) == []


def test_names_run_no_script(show):
    page = show(render(**hostile()))
    page.find_element(By.ID, "open-all").click()
    page.execute_script("document.querySelector('.explore').focus()")
    assert page.find_element(By.CSS_SELECTOR, ".card").text.startswith("1. </script>")
    assert page.title.startswith("Gate: ")
    assert messages(page) == []
    assert len(page.find_elements(By.CSS_SELECTOR, "img[src=x]")) == 0


def test_the_policy_stops_what_would_come_in_all_the_same(show, whole):
    page = show(whole.replace("<main", "<script>document.title = 'owned'</script><main"))
    assert page.title.startswith("Gate: ")
    assert any("Content Security Policy" in message for message in messages(page))


def test_paper_shows_all_details_and_no_controls(show, whole):
    page = show(whole, media="print")
    assert visible(page, "#filter") == []
    page.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert page.find_elements(By.CSS_SELECTOR, "details.case:not([open])") == []
    page.execute_script("window.dispatchEvent(new Event('afterprint'))")
    assert len(page.find_elements(By.CSS_SELECTOR, "details.case:not([open])")) == 3
    paper = page.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
    assert base64.b64decode(paper).startswith(b"%PDF-")


@pytest.mark.parametrize("width", [320, 420, 760])
def test_a_narrow_window_scrolls_one_way_only(show, whole, width):
    page = show(whole)
    # A window of the browser is never narrower than 500 pixels; a telephone is.
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.find_element(By.ID, "open-all").click()
        page.execute_script(
            "document.querySelectorAll('details').forEach((d) => { d.open = true; })"
        )
        wide, room = page.execute_script(
            "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wide <= room == width


def test_nothing_moves_for_readers_who_do_not_want_it(show, whole):
    page = show(whole)
    behaviour = page.execute_script(
        "return getComputedStyle(document.documentElement).scrollBehavior"
    )
    assert behaviour == "auto"


def test_hundreds_of_cases_are_searched_at_once(show):
    page = show(render(**many(400)))
    assert messages(page) == []
    spent = page.execute_script(
        "const t = performance.now(); const s = document.getElementById('search');"
        "s.value = 'model_47/'; s.dispatchEvent(new Event('input', {bubbles: true}));"
        "return performance.now() - t;"
    )
    assert page.find_element(By.ID, "shown").text == "8 of 403 shown"
    assert spent < 2000
