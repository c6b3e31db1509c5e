"""Bring pictures with truth into the form that training and evaluation read, split without leakage.

    python -m datasets.prepare my_labels --out prepared                                # photo folders to measure on
    python -m datasets.prepare my_labels --out prepared --as scenes --mm-per-px 0.2    # scenes to train on
    python -m datasets.prepare --public mvtec_ad mvtec --out prepared --research-only
    python -m datasets.prepare --list

OUT/train, OUT/val and OUT/test are written, OUT/splits.csv tells where each picture went and why, OUT/prepared.json
under which licence. A file that cannot be used is told in one line and left out.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from datasets.annotations import Annotated
from datasets.formats import READERS, format_of
from datasets.leakage import NEAR_BITS, LeakError, Member, groups_of, picture_hash, split
from datasets.meaning import Meanings
from datasets.pictures import SPLITS
from datasets.prepared import flat_name, write_photo, write_record, write_scenes
from datasets.public import PublicSet, listing, public_sets, read_public, senders_of
from datasets.readers import Problem, ReaderError
from datasets.scale import checked, from_marker

PICTURES_CSV: Final = "pictures.csv"
SPLITS_CSV: Final = "splits.csv"


@dataclass(frozen=True)
class Known:
    """What `pictures.csv` says of a picture beside its truth."""

    garment: str | None = None
    sender: str | None = None
    mm_per_px: float | None = None


def read_known(path: Path) -> dict[str, Known]:
    """`picture,garment,sender,mm_per_px` -> picture's name -> what is known; every column but the first may lack.

    Raises:
        ValueError: no column `picture`, or a scale that is none; the message names the line.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if "picture" not in (rows.fieldnames or ()):
            raise ValueError(f"{path}: no column `picture`; the columns are picture, garment, sender, mm_per_px")
        known = {}
        for number, row in enumerate(rows, start=2):
            try:
                scale = checked(float(row["mm_per_px"])) if row.get("mm_per_px") else None
            except ValueError as error:
                raise ValueError(f"{path}: line {number}: {error}") from None
            known[row["picture"]] = Known(row.get("garment") or None, row.get("sender") or None, scale)
    return known


class Preparation:
    """One run of the command: reads twice (to group, then to write), so that one picture is in memory at a time."""

    def __init__(self, args: argparse.Namespace, tell: Problem) -> None:
        self.args, self.tell, self.root = args, tell, Path(args.root)
        self.public: PublicSet | None = _public(args.public) if args.public else None
        given = dict(self.public.classes) if self.public else {}
        if args.classes:
            given |= Meanings.from_file(args.classes).given
        self.meanings = Meanings(given)
        table = args.pictures or self.root / PICTURES_CSV
        self.known = read_known(table) if args.pictures or table.is_file() else {}
        self.senders = senders_of(self.public, self.root) if self.public else {}
        self.format = self.public.layout if self.public else args.format or format_of(self.root)
        self._refuse_unfit()

    def _refuse_unfit(self) -> None:
        if self.public and not self.public.may_ship and not self.args.research_only:
            raise ValueError(
                f"{self.public.name} is {self.public.licence}: weights trained on it may not be shipped; "
                f"give --research-only to prepare it for research, marked so"
            )
        try:
            groups = re.compile(self.args.garment_from or "()").groups
        except re.error as error:
            raise ValueError(f"--garment-from {self.args.garment_from!r} is no regular expression: {error}") from None
        if groups != 1:
            raise ValueError(f"--garment-from needs one group in brackets, such as '(ticket-[0-9]+)', not {groups}")
        if self.args.as_ == "scenes" and self.args.mm_per_px is not None:
            checked(self.args.mm_per_px)

    def pictures(self, tell: Problem) -> Iterator[Annotated]:
        """The set's pictures, one at a time and each once."""
        seen: set[str] = set()
        found = read_public(self.public, self.root, tell) if self.public else READERS[self.format](self.root, tell)
        for picture in found:
            if picture.name in seen:
                tell(f"{picture.path}: is annotated twice, the first time counts; delete the other")
                continue
            seen.add(picture.name)
            yield picture

    def members(self) -> list[Member]:
        """What ties pictures together; problems are told here, once."""
        return [self._member(picture) for picture in self.pictures(self.tell)]

    def _member(self, picture: Annotated) -> Member:
        known = self.known.get(picture.name, Known())
        sender = known.sender or self.senders.get(picture.path.stem)
        named = re.search(self.args.garment_from, picture.name) if self.args.garment_from else None
        garment = known.garment or (named[1] if named else None)
        return Member(picture.name, picture_hash(picture.image), garment, sender)

    def scale(self, picture: Annotated) -> float:
        """mm per px: what the table says, a line in the annotations, a marker, or the call.

        Raises:
            ValueError: nothing tells it.
        """
        told = self.known.get(picture.name, Known()).mm_per_px or picture.mm_per_px
        if told is not None:
            return told
        if self.args.marker_mm is not None:
            return from_marker(picture.image, self.args.marker_mm)
        if self.args.mm_per_px is None:
            raise ValueError("no scale: give --mm-per-px, --marker-mm, pictures.csv, or a line labelled `scale 100 mm`")
        return float(self.args.mm_per_px)

    def write(self, picture: Annotated, folder: Path) -> str:
        """Write one picture below `folder`; returns its name there.

        Raises:
            ValueError: it does not fit what was asked for.
        """
        if self.args.as_ == "photos":
            return write_photo(picture, self.meanings, folder).stem
        meta = {"part": self.name, "set": self.name, "split": folder.name, "may_ship": self.may_ship, "cloth": "photo"}
        write_scenes(picture, self.meanings, self.scale(picture), folder, meta)
        return flat_name(picture.name)

    @property
    def name(self) -> str:
        """The set's name, for records."""
        return self.public.name if self.public else self.root.resolve().name

    @property
    def may_ship(self) -> bool:
        """Whether weights trained on this may be shipped: own pictures may, unless the call says otherwise."""
        return not self.args.research_only and (self.public is None or self.public.may_ship)

    def run(self) -> dict[str, int]:
        """Do it all; returns how many pictures each split has.

        Raises:
            ValueError: no picture is left. LeakError: an earlier split of these pictures leaks.
        """
        members = self.members()
        before = _read_splits(self.args.keep) if self.args.keep else None
        places = split(members, dict(zip(SPLITS, self.args.shares, strict=True)), self.args.near, before)
        written: dict[str, str] = {}
        for picture in self.pictures(lambda line: None):
            try:
                written[picture.name] = self.write(picture, self.args.out / places[picture.name])
            except ValueError as error:
                self.tell(f"{picture.path}: {error}")
        if not written:
            raise ValueError(f"{self.root}: no picture could be used; see the lines above")
        _write_splits(self.args.out / SPLITS_CSV, members, places, self.args.near, written)
        counts = Counter(places[name] for name in written)
        write_record(self.args.out, self._record(len(members), dict(counts)))
        return dict(counts)

    def _record(self, seen: int, counts: dict[str, int]) -> dict[str, Any]:
        licence = self.public.licence if self.public else self.args.licence
        return {
            "set": self.name,
            "format": self.format,
            "as": self.args.as_,
            "licence": licence,
            "origin": self.public.where if self.public else None,
            "verified": self.public.checked if self.public else True,
            "may_ship": self.may_ship,
            "classes": dict(self.meanings.given),
            "near_bits": self.args.near,
            "pictures": {"read": seen, **counts},
        }


def _public(name: str) -> PublicSet:
    sets = public_sets()
    if name not in sets:
        raise ValueError(f"public set {name!r} is unknown; --list shows {', '.join(sets)}")
    return sets[name]


def _read_splits(path: Path) -> dict[str, str]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row["picture"]: row["split"] for row in csv.DictReader(file)}


def _write_splits(
    path: Path, members: list[Member], places: dict[str, str], near: int, written: dict[str, str]
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["picture", "split", "group", "garment", "sender", "hash", "file"])
        for member, group in zip(members, groups_of(members, near), strict=True):
            row = [members[group].name, member.garment or "", member.sender or "", f"{member.hash:016x}"]
            lines.writerow([member.name, places[member.name], *row, written.get(member.name, "")])


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    p = argparse.ArgumentParser(prog="python -m datasets.prepare", description=__doc__.split("\n")[0])
    p.add_argument("root", nargs="?", help="the set's folder")
    p.add_argument("--out", type=Path, help="folder to write train/, val/ and test/ into (must be new or empty)")
    p.add_argument("--format", choices=tuple(READERS), help="how the folder is laid out (default: recognised)")
    p.add_argument("--public", metavar="NAME", help="a public set of the table that --list shows")
    p.add_argument("--list", action="store_true", help="show the public sets and stop")
    p.add_argument("--as", dest="as_", choices=("photos", "scenes"), default="photos", help="default photos")
    p.add_argument("--mm-per-px", type=float, metavar="F", help="scale of all pictures, 0.02 to 5")
    p.add_argument("--marker-mm", type=float, metavar="MM", help="an ArUco marker of this side lies in each picture")
    p.add_argument(
        "--pictures", type=Path, metavar="CSV", help=f"picture,garment,sender,mm_per_px (ROOT/{PICTURES_CSV})"
    )
    p.add_argument("--garment-from", metavar="REGEX", help="its group, found in a picture's path, names the garment")
    p.add_argument("--classes", type=Path, metavar="TOML", help="[classes]: what each class name means")
    p.add_argument("--shares", type=float, nargs=3, default=[80, 10, 10], metavar=("TRAIN", "VAL", "TEST"))
    p.add_argument(
        "--near", type=int, default=NEAR_BITS, help=f"near-duplicates: bits of 64, 0 to 32 (default {NEAR_BITS})"
    )
    p.add_argument("--keep", type=Path, metavar="CSV", help="splits.csv of an earlier run, whose pictures stay put")
    p.add_argument("--licence", default="own pictures", help="of your pictures, for the record")
    p.add_argument("--research-only", action="store_true", help="mark the result: weights of it may not be shipped")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 nothing usable, 2 the call was wrong."""
    args = parser().parse_args(argv)
    if args.list:
        print(listing())
        return 0
    problems: list[str] = []

    def tell(line: str) -> None:
        problems.append(line)
        print(f"datasets.prepare: {line}", file=sys.stderr)

    try:
        if args.root is None or args.out is None:
            raise ValueError("give the set's folder and --out FOLDER")
        if args.out.is_dir() and any(args.out.iterdir()):
            raise ValueError(f"--out {args.out} is not empty; choose a new folder, so that no old picture stays in it")
        work = Preparation(args, tell)
    except (ValueError, OSError) as error:
        tell(str(error))
        return 2
    try:
        counts = work.run()
    except (ReaderError, LeakError, ValueError, OSError) as error:
        tell(str(error))
        return 1
    shown = ", ".join(f"{counts.get(name, 0)} {name}" for name in SPLITS)
    print(f"{shown}; {len(problems)} left out; in {args.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
