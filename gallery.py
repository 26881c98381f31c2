"""A gallery of people on disk: enrol recordings, and identify the person of a new recording.

    python gallery.py add people.gallery anna/*.npy --checkpoint ReID_Models/KS20/probe/best.pt
    python gallery.py calibrate people.gallery labelled/*/*.npy --far 0.05 --picture rates.png
    python gallery.py identify people.gallery new.npy
    python gallery.py list people.gallery
    python gallery.py remove people.gallery --name anna

A recording is FILE.npy (T, J, 3). Files of your own format need --dataset my_data.yaml. The person
is --name, else as my_data.yaml says, else the name of the file's folder. Without files, recordings
are those of a preprocessed --dataset: add and calibrate take its gallery, identify its probes.
calibrate sets the threshold: a recording farther away is of nobody (docs/10-python-and-gallery.md).
"""

import math
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from skeleton_reid.common.command_line import (add_options, option, output_file, positive_int,
                                               script_parser, share, visible)
from skeleton_reid.common.errors import InputError, run_command
from skeleton_reid.data import datasets
from skeleton_reid.engine.options import SEARCHES

PICTURES = (".png", ".jpg", ".pdf", ".svg")


@dataclass(frozen=True)
class GalleryOptions:
    """Gallery."""

    checkpoint: Path | None = option(None, "encoder of a new gallery", type=Path, metavar="FILE")
    name: str | None = option(None, "person of the files, or person to remove", type=visible)
    dataset: datasets.Dataset | None = option(None, "recordings of a data set, or FILE.yaml",
                                              type=datasets.get, metavar="NAME")
    probe: str | None = option(None, "test split of --dataset: probe, A, ... (the first)")
    data: Path = option(Path("Datasets"), "what preprocess.py wrote", type=Path, metavar="DIR")
    persons: int | None = option(None, "only the first N of the data set", type=positive_int)
    recordings: int | None = option(None, "only the first N of each", type=positive_int)
    far: float = option(0.01, "largest false acceptance rate", type=share)
    search: str = option("torch", "library of the exact search", choices=SEARCHES)
    picture: Path | None = option(None, "of the error rates: .png, .jpg, .pdf or .svg",
                                  type=output_file, metavar="FILE")
    device: str = option("auto", "auto, cpu, cuda or cuda:N, or N", "--gpu")
    command: str = ""
    gallery: Path = Path()
    files: tuple[Path, ...] = ()


def parse() -> GalleryOptions:
    """The options of gallery.py."""
    parser = script_parser(__doc__, "COMMAND GALLERY [FILE.npy ...] [options]")
    parser.add_argument("command", choices=("add", "remove", "list", "identify", "calibrate"))
    parser.add_argument("gallery", type=Path, help="file of the gallery")
    parser.add_argument("files", nargs="*", type=Path, default=(),
                        help="recordings (T, J, 3), FILE.npy")
    add_options(parser, GalleryOptions, first=("checkpoint", "name", "dataset", "far", "picture"))
    options = GalleryOptions(**vars(parser.parse_args()))
    if options.picture and options.picture.suffix.lower() not in PICTURES:
        raise InputError(f"--picture: expected {', '.join(PICTURES)}, found {options.picture}")
    return options


if __name__ == "__main__":  # --help and wrong use need no torch, which takes seconds to import
    run_command(parse)

import numpy as np

from skeleton_reid import Encoder, Gallery, load, read
from skeleton_reid.common.files import composed, hold, write_whole
from skeleton_reid.common.log import fit, start_log
from skeleton_reid.data import loader
from skeleton_reid.data.files import recording_names
from skeleton_reid.data.plausible import doubts
from skeleton_reid.data.raw.own import entry_of
from skeleton_reid.people import SAME, error_rates

OUTCOMES = ("identified", "misnamed", "rejected")
SHOWN = (0, 0.001, 0.01, 0.02, 0.05, 0.1, 0.2)  # false acceptance rates in the table


def main() -> None:
    options = parse()
    start_log(quiet=True)  # each warning is a line
    file, is_new = options.gallery, options.command == "add" and not options.gallery.exists()
    if options.files and options.command in ("list", "remove"):
        raise InputError(f"{options.command} takes no files, found {options.files[0]}")
    if is_new and not options.checkpoint:
        raise InputError(f"no gallery at {file}: a new one needs the --checkpoint of its encoder")
    with ExitStack() as stack:
        if changes := options.command not in ("list", "identify"):
            # of two processes one would lose what the other has added
            place = Path(os.path.realpath(file))
            stack.callback(hold(place.with_name(f".{place.name}.lock")).release)
        device = "cpu" if options.command in ("list", "remove") else options.device
        encoder = load(options.checkpoint, device) if options.checkpoint else None
        people = Gallery(encoder) if is_new else Gallery.load(file, encoder, device)
        people.search = options.search
        match options.command:
            case "add":  # all of the recordings, or none if one is bad
                known = {*zip(people.names, people.recordings, strict=True)}
                for recording, name, windows in recordings(people.encoder, options):
                    before = len(people.names)
                    people.add_features(name, windows, recording)
                    own = options.dataset and (composed(name), recording)
                    if own in known and len(people.names) > before:
                        warnings.warn(f"{name} has another recording {recording}: is it the same?",
                                      loader.DataWarning, stacklevel=1)
            case "remove":
                people.remove(options.name or "")
            case "identify":
                identify(people, options)
            case "calibrate":
                calibrate(people, options)
        if changes:
            people.save(file)
    if options.command != "identify":
        print(fit(f"{file}: {people}"))
    if options.command == "list":
        persons = defaultdict(list)
        for name, recording in zip(people.names, people.recordings, strict=True):
            persons[name].append(recording)
        for name, own in persons.items():
            print(fit("  ".join([name, str(len(own)), *filter(None, own)])))


def recordings(encoder: Encoder, options: GalleryOptions) -> Iterator[tuple[str, str, np.ndarray]]:
    """Name, person and window features (N, d) of every recording that is asked for. InputError for
    what holds no recordings.
    """
    dataset = options.dataset
    if not (options.files or dataset) or (options.files and dataset and not dataset.source):
        raise InputError("expected recordings: files (those of your own format with the --dataset "
                         "FILE.yaml that describes them), or a --dataset")
    if dataset and dataset.skeleton.joints != encoder.joints:
        raise InputError(
            f"expected recordings of the skeleton {encoder.skeleton.name}, as {encoder} "
            f"was trained on, found {dataset.skeleton.name} of {dataset.name}")
    return (of_files if options.files else of_dataset)(encoder, options)


def of_files(encoder: Encoder, options: GalleryOptions) -> Iterator[tuple[str, str, np.ndarray]]:
    """The same of files."""
    dataset = options.dataset
    for path in options.files:
        recording, name = path.name, options.name or path.absolute().parent.name
        if dataset:
            source, entry = dataset.source, entry_of(path, dataset, options.name)
            recording, name = entry.name(source.root), options.name or entry.person
            if not name and options.command != "identify":
                raise InputError(
                    f"{path}: expected a file that {source.table or source.recordings} "
                    f"in {source.file} gives a person, found none; use --name")
        pieces = read(path, dataset, options.name)
        try:
            windows = encoder.windows(pieces)
        except InputError as error:
            raise InputError(f"{path}: expected a recording: {error}") from error
        found = {} if dataset else doubts(np.concatenate(pieces), encoder.skeleton)
        if found:  # `read` warns of what is described
            warnings.warn(f"{path} looks wrong: {', '.join(found.values())}", loader.DataWarning,
                          stacklevel=1)
        yield str(path) if options.command == "identify" else recording, name, windows


def of_dataset(encoder: Encoder, options: GalleryOptions) -> Iterator[tuple[str, str, np.ndarray]]:
    """The same of a preprocessed data set, of its probes to identify, else of its gallery."""
    dataset, seen = options.dataset, Counter()
    part = "probe" if options.command == "identify" else "gallery"
    sets = loader.load(dataset, options.probe or next(iter(dataset.gallery_of)), encoder.length,
                       options.data, train=False, centred=False)
    windows = getattr(sets, part)
    if windows.recordings is None:
        raise InputError(f"expected recording_id files, which preprocess.py writes, in the {part} "
                         f"of {dataset.name} below {options.data}, found none")
    titles = dict(enumerate(recording_names(dataset, encoder.length, options.data)))
    wanted = set(np.unique(windows.labels)[:options.persons].tolist())
    for number in np.unique(windows.recordings):
        own = windows.take(windows.recordings == number)
        label = int(own.labels[0])
        seen[label] += 1
        if label in wanted and seen[label] <= (options.recordings or len(windows)):
            features = encoder.encode(own.skeletons)
            title = titles.get(number, f"{dataset.name} recording {number}")
            yield title, sets.names.get(label, str(label)), features


def identify(people: Gallery, options: GalleryOptions) -> None:
    """Print who each recording is; for a data set also how often that is right: the enrolled
    persons' share that is rejected (FRR), the others' that is misnamed (FAR).
    """
    tallies, enrolled = {"enrolled": Counter(), "other": Counter()}, set(people.names)
    for title, person, windows in recordings(people.encoder, options):
        nearest = people.nearest(windows)
        answer = nearest[0].name if nearest[0].distance <= people.threshold else None
        print(fit("  ".join([f"{title}: {answer or 'nobody'}; nearest", *map(repr, nearest)])))
        named = "identified" if answer == person else "misnamed"
        tally = tallies["enrolled" if person in enrolled else "other"]
        tally[named if answer else "rejected"] += 1
    if people.threshold == math.inf:
        warnings.warn("everybody is named: calibrate sets the threshold", loader.DataWarning,
                      stacklevel=1)
    for kind, tally in tallies.items() if not options.files else ():
        words = ", ".join(f"{name} {tally[name] / max(1, tally.total()):.1%}" for name in OUTCOMES)
        print(f"{kind} persons, {tally.total()} recordings: {words}")


def calibrate(people: Gallery, options: GalleryOptions) -> None:
    """Set the largest threshold whose FAR is at most --far; print and draw both error rates."""
    genuine, impostor, persons = [], [], len(set(people.names))
    for _, person, windows in recordings(people.encoder, options):
        matches = people.nearest(windows, persons)
        if matches[0].distance > SAME:  # else it is itself enrolled
            genuine += [match.distance for match in matches if match.name == person]
            impostor += [match.distance for match in matches if match.name != person][:1]
    rates = error_rates(genuine, impostor)
    thresholds, FAR, FRR = rates["threshold"], rates["FAR"], rates["FRR"]
    if options.far < FAR[0]:
        raise InputError(f"the nearest of all is an impostor: no threshold has a FAR of "
                         f"{options.far:g}, the first has {FAR[0]:.3f}")
    kept, *shown = np.searchsorted(FAR, [options.far, *SHOWN], side="right") - 1
    people.threshold = float(thresholds[kept])
    print(f"{len(genuine)} genuine, {len(impostor)} impostor distances\n  FAR %   FRR %  threshold")
    for n in sorted({kept, *shown} - {-1}):
        mark = "  kept" if n == kept else ""
        print(f"{100 * FAR[n]:7.1f} {100 * FRR[n]:7.1f} {thresholds[n]:10.4f}{mark}")
    if options.picture:
        from matplotlib.figure import Figure  # here, because it is slow to load
        figure = Figure(layout="constrained")
        axes = figure.subplots()
        axes.step(thresholds, 100 * FAR, where="post", label="FAR")
        axes.step(thresholds, 100 * FRR, where="post", label="FRR")
        axes.axvline(people.threshold, color="grey", linestyle="--", label="threshold")
        axes.set(xlabel="distance", ylabel="%", title=str(people.encoder))
        axes.legend()
        form = options.picture.suffix[1:].lower()
        write_whole(options.picture, lambda file: figure.savefig(file, format=form))


if __name__ == "__main__":
    run_command(main, go_on="run again")
