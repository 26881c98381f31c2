"""A trained encoder as an ONNX file, for use without Python.

    python export.py ReID_Models/KS20/probe/best.pt --onnx simmc.onnx

The graph takes windows `skeletons` (batch, f, J, 3) float32 as a sensor gives them and returns
`features` (batch, d); the root of a skeleton is subtracted inside, where the model needs it. The
file is left in its place if the features of random windows are those of PyTorch. Its metadata say
what it was made of. It needs `pip install onnx onnxruntime`.
"""

import io
import warnings
from argparse import Namespace
from pathlib import Path

from skeleton_reid.common.command_line import add_device, output_file, script_parser
from skeleton_reid.common.errors import InputError, run_command


def parse() -> Namespace:
    """The options of export.py: checkpoint and onnx, two paths, and device."""
    parser = script_parser(__doc__, "CHECKPOINT --onnx FILE")
    parser.add_argument("checkpoint", type=Path, help="best.pt of an encoder")
    parser.add_argument("--onnx", type=output_file, required=True, help="the file to write")
    add_device(parser, "cpu")
    return parser.parse_args()


if __name__ == "__main__":  # --help and wrong use need no torch, which takes seconds to import
    run_command(parse)

import numpy as np
import torch
from torch import Tensor, nn

from skeleton_reid import Encoder, load
from skeleton_reid.common.files import write_whole

try:
    import onnx
    import onnxruntime
except ImportError:
    onnx = None

BATCHES = (1, 2, 7, 64)  # windows that are compared
TOLERANCE = 1e-5  # of a feature, or of the largest if that is above 1
DATA = {True: "simulated", False: "real", None: "not known"}


class Graph(nn.Module):
    """Windows (B, f, J, 3) to features (B, d): what `Encoder.encode` does."""
    def __init__(self, encoder: Encoder):
        super().__init__()
        self.model, self.centred, self.skeleton = encoder.model, encoder.centred, encoder.skeleton

    def forward(self, skeletons: Tensor) -> Tensor:
        if self.centred:
            skeletons = skeletons - self.skeleton.mean(self.skeleton.root, skeletons)
        return self.model.pool(self.model.embed(skeletons))


def convert(encoder: Encoder) -> "onnx.ModelProto":
    """The ONNX model. InputError if it has a step that ONNX has not, or other features."""
    graph = Graph(encoder).eval().requires_grad_(False)
    shape, file = (encoder.length, len(encoder.joints), 3), io.BytesIO()
    names = {"input_names": ["skeletons"], "output_names": ["features"]}
    names["dynamic_axes"] = {"skeletons": {0: "batch"}, "features": {0: "batch"}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes that may be fixed: they are compared below
            # By tracing: the exporter by torch.export needs minutes for AGE's LSTMs.
            example = torch.zeros(3, *shape, device=next(graph.parameters()).device)
            torch.onnx.export(graph, example, file, dynamo=False, **names)
        session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
        for batch in BATCHES:
            windows = np.random.RandomState(batch).normal(0.5, 1, (batch, *shape))
            expected = encoder.encode(windows)
            [features] = session.run(None, {"skeletons": windows.astype(np.float32)})
            error = abs(features - expected).max() / max(1, abs(expected).max())
            if not error <= TOLERANCE:
                raise RuntimeError(f"its features differ from PyTorch's by {error:.1e}")
    except Exception as error:  # the runtime's are of no common kind
        reason = str(error).splitlines()[0]
        raise InputError(f"{encoder.method} cannot be exported to ONNX: {reason}") from error
    model = onnx.load_from_string(file.getvalue())
    about = {
        "method": encoder.method, "dataset": encoder.dataset, "supervision": encoder.supervision
    }
    about |= {"data": DATA[encoder.simulated], "f": encoder.length, "joints": len(encoder.joints)}
    about["skeleton"] = encoder.skeleton.name
    onnx.helper.set_model_props(model, {name: str(value) for name, value in about.items()})
    return model


def main() -> None:
    options = parse()
    if onnx is None:
        raise InputError("expected the packages of ONNX: pip install onnx onnxruntime")
    encoder = load(options.checkpoint, options.device)
    content = convert(encoder).SerializeToString()
    write_whole(options.onnx, lambda file: file.write(content))
    print(f"{options.onnx}: {encoder}; {encoder.size} features, equal to PyTorch's")


if __name__ == "__main__":
    run_command(main, go_on="run again")
