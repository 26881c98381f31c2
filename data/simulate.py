"""Simulated walkers as raw files, in the format of each data set (docs/FORMATS.md).

    python -m data.simulate --dataset KS20 --raw .demo/raw
    python -m data.simulate --dataset KGBD --raw .demo/raw --persons 40 --frames 200 --recordings 4 --seed 1

Nobody was recorded for these files: they stand in for data sets that cannot be passed on, and a
figure made with them says so. Persons, recordings and sensor errors are drawn from the seed; the
same command writes the same bytes, and person k is the same for every number of persons. A file
SIMULATED.txt beside the recordings names the settings.

What --frames and --recordings count, by default and (in brackets) from least to most:
    BIWI     120 frames a walk   1 (1-4) walks, one after the other, in each folder of a person
    IAS      120 frames a walk   2 (1-4) walks, likewise
    KGBD     120 frames a file   5 (3-6) files a person, to train, for the gallery and for the probe; the real files
             have about 600 frames
    KS20      30 frames a file   5 (5) views, all there are, in each of 3 settings; the real set has about 100 frames
    CASIA_B   80 frames a file   2 (1-6) videos nm of each of 11 views, a third as many (1 or 2) of bg and of cl
One recording in twenty is shorter, by up to a half.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from common.command_line import script_parser
from common.errors import InputError, run_command
from common.files import staging_folder
from data.datasets import DATASETS
from data.raw.casia_b import VIEWS
from data.raw.ks20 import BODIES
from data.simulation.sensor import Sensor, draw_clothes, lost_joints, observe
from data.simulation.walkers import Person, Track, change_posture, draw_person, walk

MARKER = "SIMULATED.txt"
SHORT_SHARE = 0.05  # of the recordings
EXTRA_SHARE = 0.02  # of BIWI's frames, in which lines for a second body follow the 20 joints

KS20_SETTINGS = ("gc1", "gc2", "gc3")
# Degrees between walking and the way to the sensor; the lateral and diagonal views of the real set.
KS20_VIEWS = {
    "frontal": 0,
    "left_diagonal": -60,
    "left_lateral": -90,
    "right_diagonal": 40,
    "right_lateral": 90,
}
# Name in the file and Kinect joint, in the order of the file.
KGBD_JOINTS = {
    "Head": 3,
    "Shoulder-Center": 2,
    "Shoulder-Right": 8,
    "Shoulder-Left": 4,
    "Elbow-Right": 9,
    "Elbow-Left": 5,
    "Wrist-Right": 10,
    "Wrist-Left": 6,
    "Hand-Right": 11,
    "Hand-Left": 7,
    "Spine": 1,
    "Hip-centro": 0,
    "Hip-Right": 16,
    "Hip-Left": 12,
    "Knee-Right": 17,
    "Knee-Left": 13,
    "Ankle-Right": 18,
    "Ankle-Left": 14,
    "Foot-Right": 19,
    "Foot-Left": 15,
}
CASIA_JOINTS = (3, 2, 8, 9, 10, 4, 5, 6, 16, 17, 18, 12, 13, 14)
BIWI_TEST_SHARE = 28 / 50
FOCAL_LENGTH = 525.0  # pixels, of Kinect v1's image of 640 x 480
FRAME_MILLISECONDS = 33

# Offsets of the joints, metres: the same clothes as they sit on one occasion, and other clothes.
SAME_CLOTHES = 0.003
OTHER_CLOTHES = 0.010

KINECT_V1 = Sensor(white=0.012, drift=0.024)
KINECT_V2 = Sensor()
POSE_ESTIMATOR = Sensor(white=0.015, drift=0.030, fit=0.020, occlusion=0.20, scale=0.05)


@dataclass(frozen=True)
class Scene:
    """Where and how recordings are made; degrees, metres, seconds.

    heading, heading_spread: mean direction of walking and its standard deviation between
    recordings; 0 is towards the sensor. turn: standard deviation of the turning from first to last
    frame. sway: mean amplitude of slow swinging. speed: mean factor on the person's own speed; 0
    stands. floor: height of the floor, with the sensor as the origin. tilt: of the sensor. rate:
    frames a second.
    """

    sensor: Sensor
    heading: float = 0.0
    heading_spread: float = 7.0
    turn: float = 15.0
    sway: float = 5.0
    speed: float = 1.0
    floor: float = -0.85
    tilt: float = 0.0
    rate: float = 30.0


@dataclass(frozen=True)
class Request:
    """What the command asks for; `root` is the folder that is written."""

    dataset: str
    root: Path
    persons: int
    frames: int
    recordings: int
    seed: int


def record(
    person: Person, scene: Scene, clothes: np.ndarray, frames: int, random: np.random.RandomState
) -> np.ndarray:
    """One recording: tracked positions (at most `frames`, 25, 3) in the sensor's axes, metres.

    clothes: (25, 3) offsets in the body's axes.
    """
    if random.random_sample() < SHORT_SHARE:
        frames = max(1, round(frames * random.uniform(0.5, 0.9)))
    track = Track(
        heading=np.deg2rad(random.normal(scene.heading, scene.heading_spread)),
        turn=np.deg2rad(random.normal(0, scene.turn)),
        sway=np.deg2rad(scene.sway * random.normal(1, 0.2)),
        centre=np.array([random.normal(0, 0.15), scene.floor, random.uniform(2.5, 3.0)]),
        speed=scene.speed * random.normal(1, 0.08),
        rate=scene.rate,
    )
    positions, heading = walk(change_posture(person, random), track, frames, random)
    tracked = observe(positions, heading, clothes, scene.sensor, scene.rate, random)
    sine, cosine = np.sin(np.deg2rad(scene.tilt)), np.cos(np.deg2rad(scene.tilt))
    return tracked @ np.array([[1, 0, 0], [0, cosine, sine], [0, -sine, cosine]])


def persons_of(request: Request) -> Iterator[tuple[int, Person, np.random.RandomState]]:
    """Number from 0, person, and the generator of everything that is recorded of the person."""
    # A fixed number of seeds: a person does not depend on how many others there are.
    seeds = np.random.RandomState(request.seed).randint(2**31 - 1, size=1000)[: request.persons]
    for number, seed in enumerate(
        tqdm(seeds, desc=f"{request.dataset}: persons", unit="", leave=False)
    ):
        random = np.random.RandomState(seed)
        yield number, draw_person(random), random


def write_ks20(request: Request) -> None:
    """<view>/<setting>_body<N>_<timestamp>_skel.txt, a file a frame, 25 lines `id,x,y,z`."""
    template = "".join(f"{j},%.4f,%.4f,%.4f\n" for j in range(25))
    for view in KS20_VIEWS:
        (request.root / view).mkdir(parents=True)
    for number, person, random in persons_of(request):
        for setting in KS20_SETTINGS:
            clothes = draw_clothes(SAME_CLOTHES, random)
            for view, heading in KS20_VIEWS.items():
                scene = Scene(KINECT_V2, heading=heading, heading_spread=15.0, turn=42.0)
                stem = request.root / view / f"{setting}_body{BODIES[number]}"
                for t, frame in enumerate(record(person, scene, clothes, request.frames, random)):
                    path = Path(f"{stem}_{100000 + FRAME_MILLISECONDS * t}_skel.txt")
                    path.write_text(template % tuple(frame.ravel()))


def write_kgbd(request: Request) -> None:
    """kinect gait raw dataset/PersonNNN/<recording>.txt, 20 lines `Name;x;y;z` a frame, the head
    first.
    """
    template = "".join(f"{name};%.4f;%.4f;%.4f\r\n" for name in KGBD_JOINTS)
    # Persons walk along a half circle, to and fro, and the sensor turns with them.
    scene = Scene(KINECT_V1, heading_spread=10.0, sway=25.0)
    for number, person, random in persons_of(request):
        folder = request.root / "kinect gait raw dataset" / f"Person{number + 1:03d}"
        folder.mkdir(parents=True)
        clothes = draw_clothes(SAME_CLOTHES, random)
        for recording in range(1, request.recordings + 1):
            frames = record(person, scene, clothes, request.frames, random)[
                :, list(KGBD_JOINTS.values())
            ]
            text = "".join(template % tuple(frame.ravel()) for frame in frames)
            (folder / f"{recording}.txt").write_bytes(text.encode())


def write_biwi(request: Request) -> None:
    """Training/<person>/… and, of 28 persons in 50, Testing/{Walking,Still}/<person>/…, a file a
    frame.
    """
    count = max(1, round(BIWI_TEST_SHARE * request.persons))
    tested = np.random.RandomState(request.seed).permutation(request.persons)[:count]
    walking = Scene(KINECT_V1, heading_spread=10.0, turn=20.0)
    sets = [("Training", replace(walking, heading_spread=5.0, turn=10.0, sway=35.0))]
    tests = [
        ("Testing/Walking", walking),
        ("Testing/Still", replace(walking, speed=0.0, turn=10.0)),
    ]
    for number, person, random in persons_of(request):
        first_day, other_day = (
            draw_clothes(SAME_CLOTHES, random),
            draw_clothes(OTHER_CLOTHES, random),
        )
        for name, scene in sets + (tests if number in tested else []):
            clothes = first_day if name == "Training" else other_day
            folder = request.root / name / f"{number + 1:03d}"
            write_walks(folder, "{:06d}-a_{}_skel.txt", person, scene, clothes, request, random)
            for path in sorted(folder.iterdir()):
                if random.random_sample() < EXTRA_SHARE:
                    path.write_text(
                        path.read_text() + "".join(f"{j},0,0,0,0,0,0,0\n" for j in range(20))
                    )


def write_ias(request: Request) -> None:
    """{Training,TestingA,TestingB}/<person>/…, a file a frame. A: other clothes; B: another
    room.
    """
    room = Scene(KINECT_V1, heading_spread=5.0, turn=10.0, sway=35.0)
    other = replace(room, floor=-1.05, tilt=6.0)
    for number, person, random in persons_of(request):
        usual, changed = draw_clothes(SAME_CLOTHES, random), draw_clothes(OTHER_CLOTHES, random)
        for name, scene, clothes in (
            ("Training", room, usual),
            ("TestingA", room, changed),
            ("TestingB", other, usual),
        ):
            folder = request.root / name / f"p{number:02d}"
            write_walks(folder, "{:05d}_skel.txt", person, scene, clothes, request, random)


def write_walks(
    folder: Path,
    name: str,
    person: Person,
    scene: Scene,
    clothes: np.ndarray,
    request: Request,
    random: np.random.RandomState,
) -> None:
    """All walks of a person as Kinect v1 gives them, a file a frame; between two walks the numbers
    leap.

    A line a joint: `id,x,y,z,u,v,TrackingState,QualityFlag`. name: a file's name for frame number
    and timestamp.
    """
    folder.mkdir(parents=True)
    template = "".join(f"{j},%.4f,%.4f,%.4f,%.1f,%.1f,%d,1\n" for j in range(20))
    number = 0
    for _ in range(request.recordings):
        frames = record(person, scene, clothes, request.frames, random)[:, :20]
        state = lost_joints(len(frames), scene.sensor.lost, random)[:, :20, None]
        image = FOCAL_LENGTH * frames[..., :2] / np.maximum(frames[..., 2:], 0.5)
        pixels = np.array([320, 240]) + image * [1, -1]
        lines = np.concatenate(
            [np.where(state > 0, frames, 0), np.where(state > 0, pixels, 0), state], -1
        )
        for frame in lines:
            path = folder / name.format(number, 1000000 + FRAME_MILLISECONDS * number)
            path.write_text(template % tuple(frame.ravel()))
            number += 1
        number += 30


def write_casia(request: Request) -> None:
    """<person>-<condition>-<number>-<view>.npy, (frames, 14, 3) float32, as a pose estimator gives
    them.
    """
    fewer = min(2, max(1, request.recordings // 3))
    for number, person, random in persons_of(request):
        usual = draw_clothes(SAME_CLOTHES, random)
        for condition, videos in (("nm", request.recordings), ("bg", fewer), ("cl", fewer)):
            clothes = draw_clothes(OTHER_CLOTHES, random) if condition == "cl" else usual
            for video in range(1, videos + 1):
                walker = burden(person, condition, random)
                for view in VIEWS:  # degrees; 0 walks towards the camera
                    scene = Scene(
                        POSE_ESTIMATOR, heading=view, heading_spread=6.0, turn=10.0, rate=25.0
                    )
                    frames = record(walker, scene, clothes, request.frames, random)[:, CASIA_JOINTS]
                    name = f"{number + 1:03d}-{condition}-{video:02d}-{view:03d}.npy"
                    np.save(request.root / name, frames.astype(np.float32))


def burden(person: Person, condition: str, random: np.random.RandomState) -> Person:
    """The person with what the condition adds: bg a bag on one arm, cl a coat, nm nothing."""
    gait = dict(person.gait)
    if condition == "bg":
        arm = np.array([1.0, 0.0]) if random.random_sample() < 0.3 else np.array([0.0, 1.0])
        gait["arm_swing"] = gait["arm_swing"] * (1 - 0.7 * arm)
        gait["elbow_flexion"] = gait["elbow_flexion"] + 0.5 * arm
        gait["list"] = gait["list"] + 0.04 * (arm[0] - arm[1])
    if condition == "cl":
        gait["arm_spread"] = gait["arm_spread"] + 0.10
        gait["arm_swing"] = gait["arm_swing"] * 0.8
        gait["hip_swing"] = gait["hip_swing"] * 0.95
    return replace(person, gait=gait)


@dataclass(frozen=True)
class Simulation:
    """How a data set is written, the default sizes, and from how many to how many recordings a
    person has.

    The least are those that preprocess.py needs: KGBD's splits take one each, KS20 has five views.
    """

    write: Callable[[Request], None]
    frames: int
    recordings: int
    least_recordings: int
    most_recordings: int


SIMULATIONS = {
    "BIWI": Simulation(write_biwi, 120, 1, 1, 4),
    "IAS": Simulation(write_ias, 120, 2, 1, 4),
    "KGBD": Simulation(write_kgbd, 120, 5, 3, 6),
    "KS20": Simulation(write_ks20, 30, 5, 5, 5),
    "CASIA_B": Simulation(write_casia, 80, 2, 1, 6),
}


def simulate(
    dataset: str,
    raw: Path,
    persons: int | None = None,
    frames: int | None = None,
    recordings: int | None = None,
    seed: int = 0,
) -> Path:
    """Write a simulated data set below `raw` and return its folder; None is the default of the data
    set.

    An earlier simulation in the same place is replaced. Raises InputError for sizes beyond the real
    set's, for fewer recordings than its splits need and for a folder that holds anything but a
    simulation.
    """
    if dataset not in SIMULATIONS:
        raise InputError(f"unknown data set {dataset!r}; choose one of {', '.join(SIMULATIONS)}")
    simulation = SIMULATIONS[dataset]
    folder = Path(raw) / dataset
    request = Request(
        dataset,
        folder,
        _within(
            dataset, "persons", persons, DATASETS[dataset].persons, 1, DATASETS[dataset].persons
        ),
        _within(dataset, "frames", frames, simulation.frames, 1, 10000),
        _within(
            dataset,
            "recordings",
            recordings,
            simulation.recordings,
            simulation.least_recordings,
            simulation.most_recordings,
        ),
        seed,
    )
    if not 0 <= seed < 2**32:
        raise InputError(f"expected a seed from 0 to {2**32 - 1}, found {seed}")
    if folder.exists() and not (folder / MARKER).is_file():
        raise InputError(
            f"{folder} exists and is no simulation (it has no {MARKER}); choose another --raw"
        )
    # Written beside its place, so that an interruption leaves neither half a data set nor a mixture
    # of two, and so that another simulation may go on beside this one.
    with staging_folder(folder.parent, f".{dataset}-") as staging:
        written = staging / dataset
        written.mkdir()
        simulation.write(replace(request, root=written))
        (written / MARKER).write_text(
            f"Simulated walkers, no recordings of persons: data.simulate --dataset {dataset} --persons "
            f"{request.persons} --frames {request.frames} --recordings {request.recordings} --seed {seed}\n"
        )
        if folder.exists():
            folder.rename(staging / "replaced")
        written.rename(folder)
    return folder


def _within(dataset: str, name: str, value: int | None, default: int, least: int, most: int) -> int:
    """The value, or the default where it is None. Raises InputError unless it is least ... most."""
    value = default if value is None else value
    if not least <= value <= most:
        allowed = f"a number from {least} to {most}" if least < most else f"{most}"
        raise InputError(f"--{name}: expected {allowed} for {dataset}, found {value} (see --help)")
    return value


def main() -> None:
    parser = script_parser(__doc__)
    parser.prog = "python -m data.simulate"
    parser.add_argument("--dataset", required=True, choices=list(SIMULATIONS))
    parser.add_argument(
        "--raw", type=Path, required=True, help="folder in which the data set's folder is made"
    )
    parser.add_argument("--persons", type=int, help="default: as many as the real set has")
    parser.add_argument("--frames", type=int, help="frames of a recording")
    parser.add_argument("--recordings", type=int, help="recordings of a person (see above)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    folder = simulate(args.dataset, args.raw, args.persons, args.frames, args.recordings, args.seed)
    files = sum(1 for path in folder.rglob("*") if path.is_file() and path.name != MARKER)
    print(f"simulated {args.dataset}: {files} files in {folder}")


if __name__ == "__main__":
    run_command(main, go_on="run again")
