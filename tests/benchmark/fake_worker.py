"""Answers as PyTorch's process does, without PyTorch; the environment says what it refuses."""

import json
import os
import sys

DOES = json.loads(os.environ.get("FAKE_WORKER", "{}"))


def answer(request: dict) -> dict:
    match request["do"]:
        case "begin":
            return {"version": "fake", "layouts": ["contiguous", "channels_last", "compiled"]}
        case "build_step" | "build_operation":
            if request["layout"] in DOES.get("ends", "").split():
                sys.exit("no memory is left")
            if request["layout"] in DOES.get("refuses", "").split():
                return {"error": f"{request['layout']} has no {'very ' * 100}such thing"}
            return {"left_out": ["clip in optimizer.before"]}
        case "run":
            return {"seconds": 1.0}
    return {}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
