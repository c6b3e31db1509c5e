"""How long a stain map takes, next to merely decoding its JPEG: one run, the same pictures, each subject by itself.

    python -m benchmarks.speed.measure                                  # the table of the README: six minutes
    python -m benchmarks.speed.measure --rivals .venv-rivals/bin/python # with the others beside it: eight
    python -m benchmarks.speed.measure --sizes 2 12 --stained 1 10 --threads 1 --repeat 3
    python -m benchmarks.speed.measure --out other.json                 # instead of benchmarks/results/speed.json

12 megapixels are measured with every share of stained cells and by every subject, other sizes with 1 %, decoded and
detected. Every row is a process of its own, so its peak memory is its own; it decodes the same bytes before each
repetition, and `times_decode` is the median of these ratios, which a busy machine changes little.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.origin import origin as started
from benchmarks.speed.pictures import MM_PER_PX, SIZES, Picture, garment
from benchmarks.speed.subjects import SUBJECTS, against
from model.byte_products import come_out_whole
from model.onnx_file import OnnxFile
from model.providers import OPENVINO, available_providers

ROOT: Final = Path(__file__).resolve().parent.parent.parent
RESULT: Final = ROOT / "benchmarks" / "results" / "speed.json"
SEED: Final = 1
MAIN_SIZE: Final = "12"
USUAL: Final = 1.0
"""% of cells stained, where not every share is measured."""
LOOKS: Final = ("detect", "detect_int8", "detect_openvino")
EVERY_SIZE: Final = ("decode", *LOOKS)

_COLD: Final = """
import sys, time
wall = time.perf_counter()
from model.detector import Detector
from model.picture import read_picture
detector = Detector(threads=int(sys.argv[2]))
ready, ready_cpu = time.perf_counter() - wall, time.process_time()
detector.detect(read_picture(sys.argv[1]), mm_per_px=0.25)
print(ready, ready_cpu, time.perf_counter() - wall, time.process_time())
"""


def child(arguments: list[str], interpreter: str = sys.executable) -> str:
    """What a fresh interpreter prints."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [interpreter, *arguments],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, check=True, stdout=subprocess.PIPE, text=True, timeout=7200,
    )  # fmt: skip
    return done.stdout


def plan(args: argparse.Namespace) -> Iterator[tuple[str, float, int, str]]:
    """(size, % stained, threads, subject) of every row: of all that could be, those that say most."""
    for size in args.sizes:
        main = size == MAIN_SIZE or len(args.sizes) == 1
        for percent in args.stained if main else _only(args.stained, USUAL):
            usual = percent == USUAL or len(args.stained) == 1
            for threads in args.threads:
                for subject in args.subjects:
                    if subject in LOOKS or (usual and (main or subject in EVERY_SIZE)):
                        yield size, percent, threads, subject


def _only(given: list[float], usual: float) -> list[float]:
    return [usual] if usual in given else given[:1]


def rows(args: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """One row for each place of the plan, then the rivals'."""
    picture, path, made = None, folder / "none.jpg", None
    for size, percent, threads, subject in plan(args):
        if lacking := _lacking(subject):
            print(f"{subject}: not measured, {lacking}", file=sys.stderr)
            continue
        if made != (size, percent):
            picture, path, made = (
                garment(size, percent / 100, SEED),
                folder / f"{size}-{percent:g}.jpg",
                (size, percent),
            )
            path.write_bytes(picture.jpeg)
        assert picture is not None
        yield _row(subject, picture, path, threads, args) | {"stained_percent": percent}
    if args.rivals is not None:
        yield from _rivals(args, folder)


def _lacking(subject: str) -> str:
    """What a subject needs and is not here, empty where nothing is missing."""
    if subject == "detect_int8" and not come_out_whole():
        return "this processor has no VNNI"
    if subject == "detect_openvino" and OPENVINO not in available_providers():
        return "OpenVINO is not installed"
    return ""


def _rivals(args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """The others' rows, measured by their own interpreter, on as many threads as the last rows of ours."""
    out = folder / "rivals.json"
    words = ["-m", "benchmarks.speed.rivals.run", "--threads", str(args.threads[-1]), "--out", str(out)]
    if args.rival_weights is not None:
        words += ["--weights", str(args.rival_weights)]
    child(words, str(args.rivals))
    found: list[dict[str, Any]] = json.loads(out.read_text())["rows"]
    return found


def _row(subject: str, picture: Picture, path: Path, threads: int, args: argparse.Namespace) -> dict[str, Any]:
    limits = [f"--threads={threads}", f"--repeat={args.repeat}", f"--seconds={args.seconds}"]
    found = json.loads(child(["-m", "benchmarks.speed.subjects", subject, str(path), *limits]))
    megapixels = picture.size[0] * picture.size[1] / 1e6
    cells = found.pop("cells")
    quality = {} if subject in ("decode", "endless", "longer") else against(cells, picture.truth, picture.rim)
    return {
        "subject": subject,
        "image_px": list(picture.size),
        "threads": threads,
        "bits_per_px": round(picture.bits_per_px, 2),
        **found,
        "mp_per_s": round(megapixels / (found["wall_ms"]["p50"] / 1e3), 2),
        **quality,
    }


def cold_start(threads: int, folder: Path) -> dict[str, Any]:
    """Seconds from the first import to an open session, and to the first map of a 1080p frame; median of three."""
    path = folder / "first.jpg"
    path.write_bytes(garment("2", 0.01, SEED).jpeg)
    runs = sorted(
        ([float(word) for word in child(["-c", _COLD, str(path), str(threads)]).split()] for _ in range(3)),
        key=lambda run: run[2],
    )
    session, session_processor, first_map, first_map_processor = (round(value, 2) for value in runs[1])
    return {
        "threads": threads,
        "session_s": session,
        "session_processor_s": session_processor,
        "first_map_s": first_map,
        "first_map_processor_s": first_map_processor,
    }


def origin() -> dict[str, Any]:
    """Commit, date, machine and model of a run."""
    start = started()
    cpuinfo = Path("/proc/cpuinfo")
    names = [line for line in cpuinfo.read_text().splitlines() if "model name" in line] if cpuinfo.is_file() else []
    if names:
        start["machine"]["processor"] = names[0].partition(":")[2].strip()
    return start | {"model": OnnxFile(threads=1).info.id, "seed": SEED}


def line(row: dict[str, Any]) -> str:
    """A row for a person."""
    megapixels = row["image_px"][0] * row["image_px"][1] / 1e6
    return (
        f"{row['subject']:12} {megapixels:5.1f} MP {row['stained_percent']:5g} % {row['threads']} threads: "
        f"{row['wall_ms']['p50']:8.0f} ms, processor {row['processor_ms']:8.0f} ms, "
        f"{row['times_decode_processor']:6.1f} x decode, peak {row['peak_mb']} MB"
    )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), help="megapixels")
    made.add_argument("--stained", nargs="+", type=float, default=[0, 1, 3, 10, 30, 100], help="%% of cells")
    made.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    made.add_argument("--subjects", nargs="+", choices=SUBJECTS, default=list(SUBJECTS))
    made.add_argument("--repeat", type=int, default=20, help="repetitions of each row after a warm-up")
    made.add_argument("--seconds", type=float, default=5, help="after which no further repetition of a row is begun")
    made.add_argument("--rivals", type=Path, metavar="PYTHON", help="interpreter of the others' environment")
    made.add_argument("--rival-weights", type=Path, metavar="DIR", help="trained weights of theirs, NAME.onnx each")
    made.add_argument("--out", type=Path, default=RESULT, help="the JSON to write")
    return made


def main(argv: list[str] | None = None) -> None:
    """Measure, print each row when it is done, and keep them all."""
    args = parser().parse_args(argv)
    start = origin()
    with tempfile.TemporaryDirectory() as folder:
        cold = [cold_start(threads, Path(folder)) for threads in args.threads]
        measured = []
        for row in rows(args, Path(folder)):
            print(line(row), file=sys.stderr, flush=True)
            measured.append(row)
    document = {
        "schema": "spotgrid.benchmark/v1",
        "name": "speed",
        "mm_per_px": MM_PER_PX,
        "repeat": args.repeat,
        "rows": measured,
        "cold_start": cold,
        "origin": start | {"load_at_end": round(os.getloadavg()[0], 1)},
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(document, indent=1) + "\n")
    print(args.out)
    if args.out == RESULT:
        from benchmarks.speed import report  # it reads what this module wrote

        report.main([])


if __name__ == "__main__":
    main()
