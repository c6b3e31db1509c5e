"""Generated code is what the proto files say, and what the proto files promised is kept."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor

from inference_service.proto.spotgrid.v1 import stain_detection_pb2, stain_map_pb2

ROOT = Path(__file__).resolve().parents[2]
PROTO = ROOT / "inference_service" / "proto"
SNAPSHOT = Path(__file__).parent / "snapshots" / "spotgrid.v1.txt"
TYPES = {
    value: name.removeprefix("TYPE_").lower()
    for name, value in vars(FieldDescriptor).items()
    if name.startswith("TYPE_") and isinstance(value, int)
}


def promises(file: FileDescriptor) -> Iterator[str]:
    """One line for each field and each call: what a client that was built once relies on."""
    for message in file.message_types_by_name.values():
        yield from (field_line(message, field) for field in message.fields)
    for service in file.services_by_name.values():
        for method in service.methods:
            ends = [(method.client_streaming, method.input_type), (method.server_streaming, method.output_type)]
            asked, answered = (("stream " if stream else "") + kind.full_name for stream, kind in ends)
            yield f"rpc {method.full_name} ({asked}) -> ({answered})"


def field_line(message: Descriptor, field: FieldDescriptor) -> str:
    kind = field.message_type.full_name if field.message_type else TYPES[field.type]
    group = field.containing_oneof
    mark = "repeated " if field.is_repeated else "optional " if group and group.name.startswith("_") else ""
    return f"{message.full_name}.{field.name} = {field.number} {mark}{kind}"


def generated(folder: Path) -> dict[Path, str]:
    found = (path for path in folder.rglob("*_pb2*.py*") if path.suffix in {".py", ".pyi"})
    return {path.relative_to(folder): path.read_text() for path in found}


def test_generated_code_is_up_to_date(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="needs grpcio-tools: pip install '.[dev]'")
    command = [sys.executable, str(ROOT / ".ci" / "proto.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*_pb2*")}
    committed = {
        path.relative_to(PROTO): path.read_text() for path in PROTO.rglob("*_pb2*.py*") if path.suffix != ".pyc"
    }
    assert made.keys() == committed.keys()
    stale = [str(name) for name in made if made[name] != committed[name]]
    assert stale == [], "run `python .ci/proto.py` and commit what it writes"


def test_the_contract_is_the_one_that_was_promised() -> None:
    """A line that goes or changes breaks clients in the field; a new line is fine: add it to the snapshot."""
    now = [line for module in (stain_map_pb2, stain_detection_pb2) for line in promises(module.DESCRIPTOR)]
    promised = SNAPSHOT.read_text().splitlines()
    assert [line for line in promised if line not in now] == [], "broken promises"
    assert now == promised, f"new promises: write them into {SNAPSHOT.relative_to(ROOT)}"


def test_numbers_are_given_once_and_small() -> None:
    for module in (stain_map_pb2, stain_detection_pb2):
        for message in module.DESCRIPTOR.message_types_by_name.values():
            assert sorted(field.number for field in message.fields) == list(range(1, len(message.fields) + 1))
