from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from inference_service.errors import ServiceError
from inference_service.frames import Frames

JPEG, PNG = b"\xff\xd8\xff\xe0 a picture", b"\x89PNG\r\n another"
DAY = datetime(2026, 11, 20, 12)


@pytest.fixture(params=["folder", "object store"])
def frames(request: pytest.FixtureRequest, tmp_path: Path) -> Frames:
    """A folder, and fsspec's memory in the place of an object store."""
    url = str(tmp_path / "frames") if request.param == "folder" else f"memory://{tmp_path.name}/frames"
    return Frames(url, days=7)


def test_a_picture_comes_back_by_its_maps_id(frames: Frames) -> None:
    assert frames.get("M1") is None
    assert frames.put("M1", JPEG, DAY) == "2026-11-20/M1.jpg"
    assert frames.put("M2", PNG) == f"{datetime.now(UTC).date()}/M2.png"
    assert frames.get("M1") == JPEG
    assert frames.get("M2") == PNG
    assert frames.get("M") is None
    assert frames.put("M1", JPEG, DAY) == "2026-11-20/M1.jpg", "sent again"


def test_days_that_are_over_go_whole(frames: Frames) -> None:
    for n in range(10):
        frames.put(f"M{n}", JPEG, DAY + timedelta(days=n))
    assert frames.prune(today=date(2026, 11, 29)) == 2
    assert [frames.get(f"M{n}") is not None for n in range(4)] == [False, False, True, True]
    assert frames.prune(today=date(2026, 11, 29)) == 0
    assert frames.prune(today=date(2030, 1, 1)) == 8


def test_one_picture_can_be_forgotten(frames: Frames) -> None:
    frames.put("M1", JPEG)
    frames.put("M2", JPEG)
    assert frames.delete("M1") is True
    assert frames.delete("M1") is False
    assert frames.get("M1") is None
    assert frames.get("M2") == JPEG


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    frames = Frames(str(tmp_path), days=1)
    (tmp_path / "notes").mkdir()
    (tmp_path / "2020-01-01.txt").write_text("mine")
    frames.put("M1", JPEG, DAY)
    assert frames.prune() == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2020-01-01.txt", "notes"]


def test_a_day_is_of_utc(frames: Frames) -> None:
    beijing = timezone(timedelta(hours=8))
    assert frames.put("M1", JPEG, datetime(2026, 11, 21, 7, 59, tzinfo=beijing)).startswith("2026-11-20/")


@pytest.mark.parametrize("name", ["", "../M1", "a/b", "M1.jpg", "x" * 129, "M 1", "é"])
def test_names_cannot_leave_the_folder(frames: Frames, name: str) -> None:
    for call in (lambda: frames.put(name, JPEG), lambda: frames.get(name), lambda: frames.delete(name)):
        with pytest.raises(ServiceError, match="cannot name a file"):
            call()


def test_only_pictures_are_kept(frames: Frames) -> None:
    for body in (b"", b"GIF89a", b"<svg/>"):
        with pytest.raises(ServiceError, match="only JPEG and PNG") as caught:
            frames.put("M1", body)
        assert caught.value.kind.slug == "bad-request"


def test_a_store_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for url, says in (
        (f"{tmp_path}/file/frames", "refuses|lost"),
        ("nosuch://bucket", "whose driver is installed"),
        ("s3://bucket/frames", "whose driver is installed"),
    ):
        with pytest.raises(ServiceError, match=says) as caught:
            Frames(url, days=7)
        assert caught.value.kind.slug == "unavailable"


def test_a_write_that_is_cut_leaves_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = Frames(str(tmp_path), days=7)

    def cut(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(frames._files, "mv", cut)
    with pytest.raises(ServiceError, match="No space left"):
        frames.put("M1", JPEG)
    assert frames.get("M1") is None
