"""Scenes in tar files, as WebDataset has them: one sample's files lie together and share the name before the first dot.

    from datasets.shards import read_shards

    for name, scene in read_shards(sorted(Path("shards").glob("*.tar"))):
        ...

`python -m datasets.render --shards N` writes them, `webdataset.WebDataset` reads them, and `tar -xf` makes the folder
that `training.train` takes. The same scenes give the same bytes: owner, time and mode are fixed.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from datasets.scene import Scene, decoded


def write_shard(path: Path, samples: Iterable[tuple[str, Mapping[str, bytes]]]) -> int:
    """Write samples, (name, ending -> bytes) each, into a tar file; a cut in the middle leaves no file of that name.

    Returns:
        how many samples were written.

    Raises:
        ValueError: a name has a dot or a slash, at which readers would cut it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, count = path.with_suffix(".partial"), 0
    with tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, files in samples:
            if "." in name or "/" in name:
                raise ValueError(f"sample {name!r}: a name in a shard has no dot and no slash")
            for ending, data in files.items():
                member = tarfile.TarInfo(f"{name}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
            count += 1
    partial.replace(path)
    return count


def read_shards(paths: Iterable[Path]) -> Iterator[tuple[str, Scene]]:
    """(name, scene) of every sample, in order.

    Raises:
        ValueError: a file is no tar file, or a scene in it is not whole; the message names it.
    """
    for path in paths:
        try:
            for name, files in _samples(path):
                yield name, decoded(files, f"{path}: {name}")
        except (tarfile.TarError, EOFError) as error:
            raise ValueError(f"{path}: no whole tar file ({error}); render the shard again") from None


def _samples(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    now, files = "", dict[str, bytes]()
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is None:
                continue
            name, _, ending = member.name.partition(".")
            if name != now and files:
                yield now, files
                files = {}
            now, files[ending] = name, content.read()
    if files:
        yield now, files
