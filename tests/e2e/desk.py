"""What a person does at the console, in words that its tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.inference_service.site import WAIT_S, Site

STALE = [StaleElementReferenceException]


def until(browser: Chrome, selector: str, text: str = "", count: int = 1) -> Any:
    """The first visible element of a selector that shows a text, once there are so many."""

    def found(_: Chrome) -> Any:
        elements = [item for item in browser.find_elements(By.CSS_SELECTOR, selector) if item.is_displayed()]
        fitting = [item for item in elements if text in item.text]
        return fitting[0] if len(fitting) >= count else False

    try:
        return WebDriverWait(browser, WAIT_S, ignored_exceptions=STALE).until(found)
    except TimeoutException as error:
        shown = browser.find_element(By.TAG_NAME, "body").text[:300]
        raise TimeoutException(f"no {selector} with {text!r} within {WAIT_S} s: {shown}") from error


def log(browser: Chrome) -> list[dict[str, str]]:
    """What the page's console said since the last call."""
    read: Callable[[str], list[dict[str, str]]] = browser.get_log
    return read("browser")


def press(browser: Chrome, selector: str) -> None:
    """Click an element where nothing that stands fixed over the page covers it."""
    element = browser.find_element(By.CSS_SELECTOR, selector)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    element.click()


def enter(browser: Chrome, served: Site, key: str = "all", page: str = "") -> None:
    browser.get(f"{served.url}/{page}")
    until(browser, "#key").send_keys(served.keys[key], Keys.ENTER)
    until(browser, "header nav a[aria-current]")


def look(browser: Chrome, shirt: tuple[Path, float], **garment: str) -> None:
    """Choose the shirt, say its scale, find its stains."""
    path, mm_per_px = shirt
    browser.find_element(By.ID, "file").send_keys(str(path))
    browser.find_element(By.CSS_SELECTOR, "input[value=scale]").click()
    scale = until(browser, "#scale-scale")
    scale.clear()
    scale.send_keys(str(mm_per_px))
    for name, value in garment.items():
        field = browser.find_element(By.ID, name)
        if field.tag_name == "select":
            Select(field).select_by_value(value)
        else:
            field.send_keys(value)
    WebDriverWait(browser, WAIT_S).until(lambda _: browser.find_element(By.CSS_SELECTOR, "form .primary").is_enabled())
    browser.find_element(By.CSS_SELECTOR, "form .primary").click()
    until(browser, ".result")


def newest(served: Site) -> dict[str, Any]:
    """The map that was recorded last."""
    with client(served) as http:
        rows = http.get("/v1/stainmaps", params={"limit": 1000}).json()["maps"]
        return dict(http.get(f"/v1/stainmaps/{rows[-1]['id']}").json())


def client(served: Site) -> httpx.Client:
    return httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {served.keys['all']}"}, timeout=WAIT_S)
