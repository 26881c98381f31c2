"""Twelve simulated persons as files of a user's own data: COCO in CSV, MediaPipe in JSON.

    python -m examples.own_data.simulate_walkers
    python preprocess.py 6 --dataset examples/own_data/coco_walkers.yaml

writes coco/<person>/<recording>.csv, mediapipe/<person>/<recording>.json and SIMULATED.txt beside
the YAML files that describe them. Nobody was recorded for these files. As from a camera, joints are
lost for some frames: empty cells in CSV, low visibility in JSON.
"""

import json
from pathlib import Path

import numpy as np
from numpy.random import RandomState

from skeleton_reid.common.command_line import script_parser
from skeleton_reid.common.errors import run_command
from skeleton_reid.data.simulate import MARKER
from skeleton_reid.data.simulation.recording import Actor, Scene, Sensor, draw_clothes, lost_joints
from skeleton_reid.data.simulation.walkers import draw_person
from skeleton_reid.data.skeleton import read

HERE = Path(__file__).parent
PERSONS, RECORDINGS, FRAMES = 12, 4, 60
SENSOR = Sensor(white=0.012, drift=0.020)
# Joints of the simulator (Kinect v2's numbers) by the ends of COCO's and MediaPipe's names.
LEFT = {"shoulder": 4, "elbow": 5, "wrist": 6, "hip": 12, "knee": 13, "ankle": 14}
LEFT |= {"pinky": 7, "index": 21, "thumb": 22, "heel": 14, "foot_index": 15}
RIGHT = {"shoulder": 8, "elbow": 9, "wrist": 10, "hip": 16, "knee": 17, "ankle": 18}
RIGHT |= {"pinky": 11, "index": 23, "thumb": 24, "heel": 18, "foot_index": 19}
HEAD = 3  # also of eyes, ears and mouth, which the simulator does not have
SIDEWAYS = {"eye_inner": 0.02, "eye": 0.03, "eye_outer": 0.04, "ear": 0.07, "mouth": 0.02}  # metres


def place_joints(frames: np.ndarray, names: tuple[str, ...]) -> tuple[np.ndarray, list[int]]:
    """Positions (T, J, 3) of named joints, and the simulator's joint for each of them."""
    across = frames[:, LEFT["shoulder"]] - frames[:, RIGHT["shoulder"]]
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    positions, sources = [], []
    for name in names:
        sign = 1 if "left" in name else -1 if "right" in name else 0
        part = name.replace("left", "").replace("right", "").strip("_")
        source = (LEFT if sign > 0 else RIGHT).get(part, HEAD)
        offset = sign * SIDEWAYS.get(part, 0.0) * across
        positions.append(frames[:, source] + offset)
        sources.append(source)
    return np.stack(positions, axis=1), sources


def write_csv(path: Path, frames: np.ndarray, lost: np.ndarray) -> None:
    """A line a frame, COCO's joints in metres, y up; lost joints are empty cells."""
    names = read("coco").joints
    poses, sources = place_joints(frames, names)
    lines = [",".join(f"{joint}_{axis}" for joint in names for axis in "xyz")]
    for pose, gone in zip(poses, lost[:, sources], strict=True):
        cells = [
            ",," if out else "{:.4f},{:.4f},{:.4f}".format(*point)
            for point, out in zip(pose, gone, strict=True)
        ]
        lines.append(",".join(cells))
    path.write_text("\n".join(lines) + "\n")


def write_json(path: Path, frames: np.ndarray, lost: np.ndarray) -> None:
    """A list of frames of MediaPipe's world landmarks: metres from the hips, y down."""
    poses, sources = place_joints(frames, read("mediapipe").joints)
    poses = (poses - frames[:, :1]) * [1, -1, -1]
    visible = np.where(lost[:, sources], 0.1, 0.9)
    content = [{
        "pose_world_landmarks": [
            dict(zip("xyz", map(float, point.round(4)), strict=True), visibility=float(seen))
            for point, seen in zip(pose, row, strict=True)
        ]
    } for pose, row in zip(poses, visible, strict=True)]
    path.write_text(json.dumps(content))


def write(folder: Path, seed: int = 0) -> None:
    """Write both data sets into a folder."""
    for kind in ("coco", "mediapipe"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        (folder / kind / MARKER).write_text("Simulated walkers, no recordings of persons\n")
    for number in range(PERSONS):
        random = RandomState(seed * 1000 + number)
        actor = Actor(number, draw_person(random), FRAMES, random)
        for recording in range(1, RECORDINGS + 1):
            scene = Scene(SENSOR, heading=random.uniform(-30, 30), turn=10.0)
            frames = actor.record(scene, draw_clothes(0.003, random))
            lost = lost_joints(len(frames), 0.05, random) == 0
            for kind, suffix, writer in (("coco", "csv", write_csv), ("mediapipe", "json",
                                                                      write_json)):
                path = folder / kind / f"person{number:02d}" / f"walk{recording}.{suffix}"
                path.parent.mkdir(exist_ok=True)
                writer(path, frames, lost)


def main() -> None:
    parser = script_parser(__doc__, prog="python -m examples.own_data.simulate_walkers")
    parser.add_argument("--out", type=Path, default=HERE, help="default: beside the YAML files")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    write(args.out, args.seed)
    print(f"simulated walkers: {args.out / 'coco'}, {args.out / 'mediapipe'}")


if __name__ == "__main__":
    run_command(main, go_on="run again")
