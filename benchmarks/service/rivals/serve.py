"""The same detector behind LitServe (Apache-2.0), as its own documentation shows it, in an environment of its own.

    python -m venv .venv-litserve
    .venv-litserve/bin/pip install -r benchmarks/service/rivals/requirements.lock
    .venv-litserve/bin/python -m benchmarks.service.rivals.serve NETWORK --port 8090 --mm-per-px 0.02

`benchmarks.service.overhead --rivals .venv-litserve/bin/python` starts it and measures it. A picture comes as the form
field `picture`, since LitServe takes JSON or a form; the answer is the stain map. One worker, like ours. It checks no
key, bounds no queue and records nothing, so it does less than what it is measured beside.
"""

import argparse  # no postponed annotations here: LitServe reads them
from importlib import import_module
from pathlib import Path
from typing import Any

from fastapi import Request

from model.detector import Detector
from model.picture import read_picture

litserve: Any = import_module("litserve")


class Api(litserve.LitAPI):  # type: ignore[misc]  # of its own environment, where mypy does not look
    """Bytes in, stain map out. LitServe sends it to a worker process, so it lives in a module and holds plain values.

    Args:
        network: an ONNX file of ours.
        threads: CPU threads for one picture.
        mm_per_px: the pictures' scale.
    """

    def __init__(self, network: Path, threads: int, mm_per_px: float) -> None:
        super().__init__()
        self._network, self._threads, self._mm_per_px = network, threads, mm_per_px

    def setup(self, device: str) -> None:
        """Load the network, in the worker's process."""
        self._detector = Detector(self._network, self._threads)

    def decode_request(self, request: Request) -> bytes:
        """The form's picture, as it came; what is typed a request is its form by then."""
        data: bytes = request["picture"].file.read()
        return data

    def predict(self, picture: bytes) -> dict[str, Any]:
        """Decode and look."""
        return self._detector.detect(read_picture(picture), mm_per_px=self._mm_per_px).to_json()

    def encode_response(self, document: dict[str, Any]) -> dict[str, Any]:
        """Turning it into JSON is LitServe's own business."""
        return document


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path, metavar="FILE", help="the network to serve (ONNX)")
    parser.add_argument("--port", type=int, required=True, metavar="N")
    parser.add_argument("--mm-per-px", type=float, required=True, metavar="F", help="the pictures' scale")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="CPU threads for one picture (default 1)")
    args = parser.parse_args()
    api = Api(args.network, args.threads, args.mm_per_px)
    made = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=1)
    made.run(host="127.0.0.1", port=args.port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
