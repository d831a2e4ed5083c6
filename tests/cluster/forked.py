"""One of Ray's worker processes, taken from the nursery: what Ray runs in the place of `python`.

    raylet ── python forked.py SOCKET default_worker.py ... ──▶ nursery ── fork ──▶ the worker

It hands its arguments, environment, folder and outputs to the nursery, and ends when the worker does. It imports next
to nothing, which is the point.
"""

from __future__ import annotations

import json
import os
import socket
import sys


def main() -> None:
    nursery, *arguments = sys.argv[1:]
    with socket.socket(socket.AF_UNIX) as way:
        way.connect(nursery)
        order = json.dumps({"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}).encode()
        socket.send_fds(way, [len(order).to_bytes(8, "little")], [0, 1, 2])
        way.sendall(order)
        # Nothing is ever sent back: this is the end of the worker, which alone holds the other end.
        way.recv(1)


if __name__ == "__main__":
    main()
