"""The console's other pages in a real browser: live, garments and their record, savings, languages, a phone."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.e2e.desk import STALE, client, enter, log, look, newest, press, until
from tests.inference_service.kit import picture
from tests.inference_service.site import WAIT_S, Site

pytestmark = pytest.mark.e2e

NASTY = "<img src=x onerror=alert(1)>'\"&"
PAGES = ("look", "garments", "live", "savings")


def test_a_map_appears_by_itself(browser: Chrome, served: Site) -> None:
    enter(browser, served, page="#/live")
    until(browser, "[data-tile]", count=6)
    with client(served) as http:
        where = {"rig_id": "rig-7", "ticket": "L-1", "garment_id": "L-1", "side": "back"}
        made = http.post("/v1/detect", params={"mm_per_px": 0.5, **where}, content=picture()).json()
    until(browser, f"[data-map='{made['id']}']", f"{made['stained_area_mm2']:g} mm² of stain")
    until(browser, "[data-rig='rig-7'] canvas")
    until(browser, "[data-tile='state.age']", "95 % within")
    assert "ready" in until(browser, "[data-tile='state.ready']").text
    until(browser, f"[data-map='{made['id']}'] a", "L-1").click()
    until(browser, ".record h2", "Ticket L-1")


def test_live_goes_on_when_the_network_was_away(browser: Chrome, served: Site) -> None:
    enter(browser, served, page="#/live")
    until(browser, "[data-tile]", count=6)
    link = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": True, **link})
    until(browser, ".problem", "cannot be reached")
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": False, **link})
    WebDriverWait(browser, WAIT_S).until(lambda _: browser.find_elements(By.CSS_SELECTOR, ".problem") == [])
    assert any("ERR_INTERNET_DISCONNECTED" in line["message"] for line in log(browser))


def test_what_others_write_stays_text(browser: Chrome, served: Site) -> None:
    """Names from rigs and counters are shown as they are; none becomes an element."""
    with client(served) as http:
        names = dict.fromkeys(("rig_id", "ticket", "garment_id", "source"), NASTY)
        assert http.post("/v1/detect", params={"mm_per_px": 0.5, **names}, content=picture()).status_code == 200
        assert http.put("/v1/garments/plain", json={"ticket": NASTY, "fabric": NASTY, "site": NASTY}).status_code == 200
    enter(browser, served, page="#/live")
    until(browser, ".rig h3", NASTY)
    until(browser, ".feed a", NASTY).click()
    until(browser, ".record h2", NASTY)
    assert browser.find_elements(By.CSS_SELECTOR, "img[src=x]") == []


def test_both_sides_of_a_ticket_before_and_after(browser: Chrome, served: Site, shirt: tuple[Path, float]) -> None:
    enter(browser, served)
    look(browser, shirt, ticket="G-1", side="front")
    first = newest(served)
    browser.find_element(By.CSS_SELECTOR, "form .primary").click()
    WebDriverWait(browser, WAIT_S).until(lambda _: newest(served)["id"] != first["id"])
    until(browser, "form:not(.busy) .primary")
    Select(browser.find_element(By.ID, "side")).select_by_value("back")
    browser.find_element(By.CSS_SELECTOR, "form .primary").click()
    WebDriverWait(browser, WAIT_S).until(lambda _: newest(served)["garment_id"] == "G-1" and _sides(served) == 2)
    browser.find_element(By.CSS_SELECTOR, "a[href='#/garments']").click()
    until(browser, "#garment").send_keys("G-1")
    until(browser, ".search button").click()
    until(browser, ".record canvas", count=3)
    told = until(browser, ".record").text.lower()
    assert told.index("\nfront\n") < told.index("\nback\n")
    assert "0% less stain" in told  # the same picture twice
    assert "not looked at again yet." in told
    page = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    assert base64.b64decode(page["data"]).startswith(b"%PDF-")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    hidden = [browser.find_element(By.CSS_SELECTOR, part).is_displayed() for part in (".top", ".search", ".no-print")]
    assert hidden == [False] * 3
    assert "Customer" in until(browser, ".signatures").text
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    field = browser.find_element(By.ID, "garment")
    field.clear()
    field.send_keys("nobody")
    until(browser, ".search button").click()
    until(browser, ".empty", "nobody")


def _sides(served: Site) -> int:
    with client(served) as http:
        return len(http.get("/v1/garments/G-1").json()["garments"][0]["sides"])


def test_sliders_move_the_answer_and_the_report_is_saved(browser: Chrome, served: Site, tmp_path: Path) -> None:
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    enter(browser, served, page="#/savings")
    until(browser, ".slider", count=5)
    for knob in browser.find_elements(By.CSS_SELECTOR, ".slider"):
        told = knob.find_element(By.CSS_SELECTOR, "input[type=range]").get_attribute("value")
        shown = knob.find_element(By.CSS_SELECTOR, ".exact").get_attribute("value")
        share = knob.get_attribute("data-key") == "full_wash_share"
        assert float(told or 0) * (100 if share else 1) == pytest.approx(float(shown or 0), rel=0.05)
    before = float(until(browser, "[data-share]").get_attribute("data-share"))
    exact = browser.find_element(By.CSS_SELECTOR, "[data-key=full_wash_share] .exact")
    exact.clear()
    exact.send_keys("0\t")
    WebDriverWait(browser, WAIT_S, ignored_exceptions=STALE).until(
        lambda _: float(until(browser, "[data-share]").get_attribute("data-share")) > before
    )
    until(browser, ".answer[aria-busy=false] .headline", "9 times in 10 between")
    Select(browser.find_element(By.ID, "s-region")).select_by_value("eu")
    until(browser, ".costs", "€")
    until(browser, "[data-format=html]").click()
    report = tmp_path / "spotgrid-savings.html"
    WebDriverWait(browser, WAIT_S).until(lambda _: report.is_file() and report.stat().st_size > 10_000)
    assert "€" in report.read_text(encoding="utf-8")


def test_the_language_changes_where_one_stands(browser: Chrome, served: Site, shirt: tuple[Path, float]) -> None:
    enter(browser, served)
    look(browser, shirt)
    browser.find_element(By.CSS_SELECTOR, ".cells button").click()
    until(browser, ".inspector", "Probability")
    browser.find_element(By.CSS_SELECTOR, "[data-language=zh]").click()
    until(browser, ".inspector", "有污渍的概率")  # picture, map and chosen cell are still there
    assert "污渍面积" in browser.find_element(By.CSS_SELECTOR, ".result").text
    assert browser.execute_script("return document.documentElement.lang") == "zh-CN"
    assert "检测" in browser.title
    for page in PAGES:
        browser.find_element(By.CSS_SELECTOR, f"a[href='#/{page}']").click()
        until(browser, ".view:not([hidden]) h1")
    browser.refresh()
    until(browser, "h1", "节省了多少")
    browser.find_element(By.CSS_SELECTOR, "[data-language=en]").click()
    until(browser, "h1", "What it saves")


def test_a_phone_shows_everything_within_its_width(
    browser: Chrome, served: Site, shirt: tuple[Path, float], tmp_path: Path
) -> None:
    phone = {"width": 375, "height": 667, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    enter(browser, served)
    look(browser, shirt, ticket="P-1")
    press(browser, ".cells button")
    until(browser, ".inspector .bars")
    for page, sign in zip(PAGES, (".result", ".search", "[data-tile]", ".slider"), strict=True):
        browser.find_element(By.CSS_SELECTOR, f"a[href='#/{page}']").click()
        until(browser, sign)
        width = browser.execute_script("return document.documentElement.scrollWidth")
        assert width <= 375, f"{page} is {width} px wide"
        small = browser.execute_script(
            "return [...document.querySelectorAll('button:not(.link, .caption), nav a, select')].filter((node) => "
            "node.offsetParent && node.getBoundingClientRect().height < 32).map((node) => node.outerHTML)"
        )
        assert small == [], f"{page}: too small for a finger"
        if folder := os.environ.get("SPOTGRID_SHOTS"):
            browser.save_screenshot(f"{folder}/phone-{page}.png")
