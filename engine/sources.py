"""Frame features of another model, in place of coordinates (--source): the rows "X + SimMC" and "X
+ DF".

A source is a trained encoder, AGE, SM-SGE or a checkpoint FILE.pt, or the feature files of any
model, FILE.npz for FILE.train.npz, FILE.probe.npz and FILE.gallery.npz with `frames` (N, f, d) in
the order of the data files.
"""

import argparse
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.errors import InputError
from data import Retrieval, Sequences, datasets
from data.resample import training_order
from engine import encoding as saved
from engine import evaluation as protocol
from engine import features
from engine.features import Features
from engine.run import digest_of
from engine.settings import AGE_DEFAULT, SMSGE_DEFAULT

PARTS = ("train", "probe", "gallery")
# The method's script and the variant whose encoder is looked for.
NAMED = {
    "AGE": ("train_age.py", AGE_DEFAULT["attention"]),
    "SM-SGE": ("train_smsge.py", SMSGE_DEFAULT["scales"]),
}


@dataclass(frozen=True)
class Source:
    """Where frame features come from.

    name: as results call it. file: what they are made by or read from. note: what the log says of
    it. digest: of the encoder's weights or of the training frames. size: numbers d in a frame.
    centred: the skeletons that the encoder takes. features: a part's name and its sequences in the
    order of the files -> its features, with frames.
    """

    name: str
    file: Path
    note: str
    digest: str
    size: int
    centred: bool
    features: Callable[[str, Sequences], Features]

    def frames(self, sets: Retrieval) -> Retrieval:
        """The sets with frame features (N, f, d) where they have skeletons; all in the order of the
        files.
        """
        parts = {name: part for name in PARTS if (part := getattr(sets, name)) is not None}
        return replace(
            sets, **{n: replace(p, skeletons=self.features(n, p).frames) for n, p in parts.items()}
        )


def add_argument(parser: argparse.ArgumentParser, text: str, **options: Any) -> None:
    """The option --source; text: the beginning of its help."""
    parser.add_argument(
        "--source",
        metavar="AGE|SM-SGE|FILE",
        help=f"{text}: of the encoder that train_age.py or train_smsge.py has trained with --task retrieval, of a "
        "checkpoint FILE.pt, or of feature files FILE.npz (FILE.train.npz, FILE.probe.npz, FILE.gallery.npz)",
        **options,
    )


def find(name: str | None, args: argparse.Namespace, device: torch.device) -> Source | None:
    """The source that --source names; None without a name.

    Raises InputError if it is not there, damaged, or made for other data.
    """
    if name is None:
        return None
    path = encoder_path(name, args) if name in NAMED else Path(name)
    if path.suffix == ".npz":
        return _of_files(path, args)
    if path.suffix == ".pt":
        return _of_encoder(path, args, device)
    raise InputError(f"--source: expected {', '.join(NAMED)}, FILE.pt or FILE.npz, found {name!r}")


def encoder_path(method: str, args: argparse.Namespace) -> Path:
    """The saved encoder of a method that has seen the training split alone. InputError, with the
    command, if none.
    """
    script, variant = NAMED[method]
    row, folder = datasets.get(args.dataset), Path(args.out) / method / args.dataset
    variants = [f"{variant}_retrieval"]
    if row.recognition and not row.recognition_train and not row.recognition_tested_only:
        variants.append(variant)  # recognition has the same training set
    places = [folder / name / "encoder" / "best.pt" for name in variants]
    for path in places:
        if path.is_file():
            return path
    raise InputError(
        f"--source {method}: expected an encoder at {' or '.join(map(str, places))}, found none; train it: python "
        f"{script} --dataset {args.dataset} --task retrieval --length {args.length} --data {args.data} "
        f"--out {args.out}"
    )


def _of_encoder(path: Path, args: argparse.Namespace, device: torch.device) -> Source:
    """A trained encoder, from its checkpoint."""
    row = datasets.get(args.dataset)
    model, content = saved.load_model(path, row.joints, args.length, device)

    def encode(part: str, sequences: Sequences) -> Features:
        frames = saved.encode_frames(model, sequences.skeletons)  # (N, f, d)
        whole = saved.method_of(model).sequence(frames)
        return Features(whole.cpu().numpy(), sequences.labels, frames.cpu().numpy())

    pose = np.zeros((1, args.length, row.joints, 3), dtype=np.float32)
    size = saved.encode_frames(model, pose).shape[2]
    seen = row.recognition_train if content.get("task") == "recognition" else ()
    note = (
        f"{content['method']}, epoch {content['epoch']}, trained on {' + '.join(('train', *seen))}"
    )
    centred = content["settings"].get("centred", True)
    digest = f"weights {digest_of(model)}"
    return Source(content["method"], path, note, digest, size, centred, encode)


def _of_files(path: Path, args: argparse.Namespace) -> Source:
    """Feature files of any model; checked against the data's labels where they are used."""
    files = {part: features.part_path(path, part) for part in PARTS}
    names = [file.name for file in files.values()]
    if missing := [file.name for file in files.values() if not file.is_file()]:
        raise InputError(
            f"--source {path} stands for {', '.join(names)} in {path.parent}, found no {', '.join(missing)}; a "
            f"training script writes them with --save_features {path}"
        )
    found = {part: features.read(file) for part, file in files.items()}
    shapes = {}
    for part, content in found.items():
        if content.frames is None:
            raise InputError(
                f"{features.part_path(path, part)}: expected frame features `frames` (N, f, d), found none"
            )
        shapes[part] = content.frames.shape[1:]
        if shapes[part][0] != args.length:
            raise InputError(
                f"{features.part_path(path, part)}: expected {args.length} frames in a sequence, "
                f"found {shapes[part][0]}"
            )
    if len(set(shapes.values())) > 1:
        raise InputError(f"{path}: expected frame features of one size, found (f, d) {shapes}")

    def look_up(part: str, sequences: Sequences) -> Features:
        content = found[part]
        if not np.array_equal(content.labels, sequences.labels):
            raise InputError(
                f"{features.part_path(path, part)}: expected the {len(sequences)} labels of {args.dataset}'s {part} "
                f"windows in the order of the data files, found {len(content.labels)}, others or in another order"
            )
        return content

    digest = f"frames {hashlib.sha256(np.ascontiguousarray(found['train'].frames)).hexdigest()}"
    return Source(path.stem, path, "feature files", digest, shapes["train"][1], True, look_up)


def load(
    args: argparse.Namespace,
    batch_size: int,
    source: Source | None = None,
    rng: np.random.RandomState | None = None,
) -> Retrieval:
    """The data set of a command line, with frame features (N, f, d) in place of skeletons if there
    is a source.

    The training set is there only if there is a stream to draw its order from: the same rows are
    drawn from the same stream, whether they are skeletons or features.
    """
    if source is None:
        return saved.load_retrieval(args, batch_size, rng)
    sets = source.frames(saved.load_stored(args, source.centred, train=rng is not None))
    if rng is not None:
        balance = args.balance and datasets.get(args.dataset).balanced
        order = training_order(sets.train.labels, batch_size, rng, balance)
        sets = replace(sets, train=sets.train.take(order), order=order)
    return protocol.cut(sets, batch_size, args.protocol)


def baselines(
    args: argparse.Namespace, batch_size: int, source: Source | None = None
) -> dict[str, dict]:
    """Retrieval figures of what a trained model has to beat: the descriptors and the source's own
    features.
    """
    rows = protocol.baselines(saved.load_retrieval(args, batch_size), args.protocol)
    if source is None:
        return rows
    sets = saved.load_stored(args, source.centred, train=False)
    found = [source.features(part, getattr(sets, part)) for part in ("probe", "gallery")]
    sets = protocol.cut(sets, batch_size, args.protocol)
    sizes = len(sets.probe), len(sets.gallery)

    def score(ours: list[np.ndarray]) -> dict:
        return protocol.score(
            sets, *(x[:n] for x, n in zip(ours, sizes, strict=True)), args.protocol
        )

    rows[source.name] = score([x.features for x in found])
    means = [x.frames.mean(axis=1) for x in found]
    if not all(np.allclose(m, x.features, atol=1e-5) for m, x in zip(means, found, strict=True)):
        rows[f"{source.name}, mean frame"] = score(means)
    return rows
