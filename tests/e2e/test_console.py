"""The console in a real browser before a real service: a picture in, cells out, by mouse, finger and keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from model.calibration import Calibration, Lens
from model.legend import PALETTE
from tests.e2e.desk import enter, log, look, newest, until
from tests.inference_service.site import WAIT_S, Site

pytestmark = pytest.mark.e2e


def test_a_wrong_key_is_told_and_nothing_is_kept(browser: Chrome, served: Site) -> None:
    browser.get(served.url)
    until(browser, "#key").send_keys("sg_000000000000_" + "x" * 43, Keys.ENTER)
    until(browser, ".problem", "not valid")
    assert browser.execute_script("return sessionStorage.length + localStorage.length") == 0
    assert browser.find_elements(By.CSS_SELECTOR, "nav a") == []
    until(browser, "#key").send_keys(served.keys["all"], Keys.ENTER)
    until(browser, "header nav a[aria-current]", "Look")
    kept = browser.execute_script("return JSON.stringify([localStorage, document.cookie, location.href])")
    assert served.keys["all"] not in kept
    browser.refresh()
    until(browser, "header nav a[aria-current]", "Look")  # this tab stays in
    browser.find_element(By.CSS_SELECTOR, ".end > button").click()
    until(browser, "#key")
    assert browser.execute_script("return sessionStorage.length") == 0


def test_a_key_that_is_revoked_meanwhile_brings_the_door_back(browser: Chrome, served: Site) -> None:
    key_id, secret = served.service.keys.create(["detect"])
    browser.get(served.url)
    until(browser, "#key").send_keys(secret, Keys.ENTER)
    until(browser, "header nav a[href='#/live']").click()
    until(browser, "[data-tile]", count=6)
    served.service.keys.revoke(key_id)
    until(browser, ".problem", "revoked")
    assert browser.find_elements(By.CSS_SELECTOR, "[data-tile]") == []


def test_a_key_sees_what_its_scope_allows(browser: Chrome, served: Site) -> None:
    enter(browser, served, "report", "#/look")
    until(browser, ".empty", "spotgrid keys create --scope detect")
    browser.find_element(By.CSS_SELECTOR, "a[href='#/savings']").click()
    until(browser, ".headline")
    browser.find_element(By.CSS_SELECTOR, "a[href='#/live']").click()
    until(browser, "section", "scope detect or admin")


def test_a_picture_shows_its_cells_and_a_click_asks_one(
    browser: Chrome, served: Site, shirt: tuple[Path, float]
) -> None:
    enter(browser, served)
    look(browser, shirt)
    found = newest(served)
    cells = found["cells"]
    assert len(cells) > 3
    assert f"{len(cells):,} of" in until(browser, ".result").text
    assert len(browser.find_elements(By.CSS_SELECTOR, ".cells tbody tr")) == min(40, len(cells))
    cell = max(cells, key=lambda row: row["area_mm2"])
    where = Calibration.from_scale(found["mm_per_px"], tuple(found["image_px"]))
    middle = np.array([[10 * cell["col"] + 5, 10 * cell["row"] + 5]], dtype=np.float64)
    share = (where.px_from_mm(middle)[0] + 0.5) / found["image_px"]  # of the picture's width and height
    canvas = browser.find_element(By.CSS_SELECTOR, ".frame canvas")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    click(browser, canvas, share, found["image_px"])
    panel = until(browser, ".inspector", f"Row {cell['row'] + 1}, column {cell['col'] + 1}").text
    assert f"{cell['area_mm2']:g} of 100 mm²" in panel
    assert panel.count("%") >= 7  # six classes and the probability
    assert ("unsure" in panel) == cell["unsure"]
    marked = browser.find_elements(By.CSS_SELECTOR, "tr[aria-current]")
    assert [row.get_attribute("data-cell") for row in marked] in ([f"{cell['row']},{cell['col']}"], [])


def click(browser: Chrome, canvas: Any, share: Any, image_px: list[int]) -> None:
    """Click a point of the fitted picture, given as shares of its width and height."""
    width, height = canvas.size["width"], canvas.size["height"]
    scale = min(width / image_px[0], height / image_px[1])
    x, y = ((np.asarray(share) - 0.5) * image_px * scale).round().astype(int).tolist()
    ActionChains(browser).move_to_element_with_offset(canvas, x, y).click().perform()


def test_stains_are_drawn_in_their_chemistrys_colour(browser: Chrome, served: Site, shirt: tuple[Path, float]) -> None:
    """Where neither a line nor a rim is near, a stained cell is the bare picture tinted as the overlay's file is."""
    enter(browser, served)
    look(browser, shirt)
    found = newest(served)
    canvas = browser.find_element(By.CSS_SELECTOR, ".frame canvas")
    spots = list(islice((spot for cell in found["cells"] for spot in calm_spots(cell)), 8))
    assert spots
    shown = [pixel(browser, canvas, found, x, y) for _, x, y in spots]
    browser.find_element(By.ID, "overlay").click()
    bare = [pixel(browser, canvas, found, x, y) for _, x, y in spots]
    for (cell, _, _), seen, cloth in zip(spots, shown, bare, strict=True):
        colour = np.array(PALETTE[int(np.argmax(list(cell["classes"].values())))])
        wanted = cloth + (colour - cloth) * (0.15 if cell["unsure"] else 0.35)
        assert np.abs(seen - wanted).max() <= 6, cell
    browser.find_element(By.ID, "overlay").click()
    again = [pixel(browser, canvas, found, x, y) for _, x, y in spots]
    assert np.abs(np.array(again) - np.array(shown)).max() <= 2


def calm_spots(cell: dict[str, Any]) -> Iterator[tuple[dict[str, Any], float, float]]:
    """(cell, x mm, y mm) of the middles of mm² around which 5 × 5 are all stained, or all clean."""
    bits = np.array([int(digit) for digit in f"{int(cell['mask'], 16):0100b}"]).reshape(10, 10)
    for y in range(3, 7):
        for x in range(3, 7):
            if bits[y - 2 : y + 3, x - 2 : x + 3].sum() in (0, 25):
                yield cell, 10 * cell["col"] + x + 0.5, 10 * cell["row"] + y + 0.5
                return


def pixel(browser: Chrome, canvas: Any, found: dict[str, Any], x_mm: float, y_mm: float) -> Any:
    """Colour of the fitted picture at a point of the table, RGB."""
    script = """const [canvas, wide, high, u, v] = arguments;
        const scale = Math.min(canvas.width / wide, canvas.height / high);
        const [x, y] = [(canvas.width - scale * wide) / 2 + scale * u, (canvas.height - scale * high) / 2 + scale * v];
        return Array.from(canvas.getContext("2d").getImageData(Math.floor(x), Math.floor(y), 1, 1).data)"""
    u, v = x_mm / found["mm_per_px"], y_mm / found["mm_per_px"]
    return np.array(browser.execute_script(script, canvas, *found["image_px"], u, v)[:3], dtype=np.float64)


def test_keys_alone_do_it_all(browser: Chrome, served: Site, shirt: tuple[Path, float]) -> None:
    browser.get(served.url)
    until(browser, "#key")
    ActionChains(browser).send_keys(served.keys["all"], Keys.ENTER).perform()
    until(browser, "#file + label")
    browser.find_element(By.ID, "file").send_keys(str(shirt[0]))  # what the system's file dialog would give
    WebDriverWait(browser, WAIT_S).until(lambda _: "Find" in browser.switch_to.active_element.text)
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    until(browser, ".result")
    WebDriverWait(browser, WAIT_S).until(lambda _: browser.switch_to.active_element.tag_name == "canvas")
    first, second = newest(served)["cells"][:2]
    ActionChains(browser).send_keys(Keys.PAGE_DOWN).perform()
    until(browser, ".inspector h2", f"Row {first['row'] + 1}, column {first['col'] + 1}")
    ActionChains(browser).send_keys(Keys.PAGE_DOWN).perform()
    until(browser, ".inspector h2", f"Row {second['row'] + 1}, column {second['col'] + 1}")
    ActionChains(browser).send_keys(Keys.ARROW_DOWN).perform()
    until(browser, ".inspector h2", f"Row {second['row'] + 2}, column {second['col'] + 1}")
    assert f"Row {second['row'] + 2}" in str(browser.find_element(By.ID, "announcer").get_attribute("textContent"))
    ActionChains(browser).send_keys("+").perform()
    assert "zoomed" in str(browser.switch_to.active_element.get_attribute("class"))
    ActionChains(browser).send_keys("0").perform()
    assert "zoomed" not in str(browser.switch_to.active_element.get_attribute("class"))


def test_the_camera_gives_a_picture_and_keeps_looking(browser: Chrome, served: Site) -> None:
    enter(browser, served)
    before = served.service.metrics.total("spotgrid_maps_total")
    until(browser, "button", "Use the camera").click()
    until(browser, "video")
    browser.find_element(By.ID, "continuous").click()
    WebDriverWait(browser, WAIT_S).until(lambda _: served.service.metrics.total("spotgrid_maps_total") >= before + 2)
    until(browser, ".result")
    browser.find_element(By.ID, "continuous").click()
    until(browser, "button", "Take the picture").click()
    until(browser, "form .primary:enabled", "Find").click()  # not before the picture is there
    until(browser, ".result")
    assert browser.find_elements(By.TAG_NAME, "video") == []


def test_text_cannot_become_markup_whatever_a_script_tries(browser: Chrome, served: Site) -> None:
    browser.get(served.url)
    until(browser, "#key")
    script = "try { document.body.innerHTML = '<b>x</b>'; return 'made' } catch (error) { return error.name }"
    assert browser.execute_script(script) == "TypeError"
    assert any("TrustedHTML" in line["message"] for line in log(browser))


def test_what_is_no_picture_is_told(browser: Chrome, served: Site, tmp_path: Path) -> None:
    wrong = tmp_path / "note.jpg"
    wrong.write_text("<b>not a picture</b>")
    enter(browser, served)
    browser.find_element(By.ID, "file").send_keys(str(wrong))
    until(browser, ".problem", "cannot be read")


def test_calibrated_cells_lie_where_python_puts_them(browser: Chrome, served: Site) -> None:
    """The page's own geometry, lens included, against `model.calibration`: within 0.01 px everywhere."""
    matrix = np.array([[900.0, 0, 410], [0, 905, 290], [0, 0, 1]])
    distortion = np.array([-0.21, 0.08, 0.001, -0.0007, -0.01])
    homography = np.array([[0.5, 0.02, -30.0], [-0.01, 0.52, -20.0], [1e-5, 2e-5, 1.0]])
    place = Calibration(
        id="table-1",
        date="2026-11-25T08:00:00Z",
        image_px=(800, 600),
        lens=Lens(matrix, distortion),
        px_to_mm=homography,
        area_mm=(0.0, 0.0, 300.0, 220.0),
        camera_mm=None,
    )
    points = np.array([[x, y] for x in (5.0, 95, 155, 290) for y in (5.0, 105, 215)])
    stain_map = {
        "image_px": place.image_px,
        "px_to_mm": place.px_to_mm.tolist(),
        "grid": {"rows": place.grid.rows, "cols": place.grid.cols, "origin_mm": place.grid.origin_mm},
    }
    lens = {"matrix": matrix.tolist(), "distortion": distortion.tolist()}
    browser.get(f"{served.url}/favicon.svg")
    browser.get(served.url)
    script = """const [map, lens, points, done] = arguments;
        import("/js/geometry.js").then(({ PicturePlace }) => {
          const place = new PicturePlace(JSON.parse(map), JSON.parse(lens));
          const there = points.map(([x, y]) => place.point(x, y));
          done([there, there.map(([u, v]) => place.mm(u, v))]);
        })"""
    there, back = browser.execute_async_script(script, json.dumps(stain_map), json.dumps(lens), points.tolist())
    assert np.abs(np.array(there) - 0.5 - place.px_from_mm(points)).max() < 0.01
    assert np.abs(np.array(back) - points).max() < 0.01


@pytest.mark.parametrize(
    ("before", "after", "share", "wanted"),
    [
        (None, [[10, 0], [20, 50], [None, 100]], 0.25, 15),
        (None, [[10, 0], [20, 50], [None, 100]], 0.9, 20),  # beyond the last edge: at least that
        ([[10, 90], [20, 100], [None, 100]], [[10, 90], [20, 104], [None, 104]], 0.5, 15),
        ([[10, 5], [None, 5]], [[10, 5], [None, 5]], 0.5, None),
        (None, [[10, 4], [None, 4]], 0.5, 5),
    ],
)
def test_quantiles_are_of_what_came_since(
    browser: Chrome, served: Site, before: Any, after: Any, share: float, wanted: float | None
) -> None:
    browser.get(served.url)
    script = """const [before, after, share, done] = arguments;
        import("/js/quantile.js").then(({ gained }) => done(gained(before, after, share)))"""
    assert browser.execute_async_script(script, before, after, share) == wanted
