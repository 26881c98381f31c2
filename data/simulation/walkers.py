"""Simulated walkers: a kinematic model of gait, from bone lengths and joint angles to positions.

No paper's data: every person is drawn from walkers.yaml. The 25 joints are Kinect v2's; the
first 20 are Kinect v1's. The body's own axes are forward, right and up; the sensor's are x to the
right of somebody who faces the sensor, y up and z away from it, in metres.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.random import RandomState

JOINTS = 25
SIDES = np.array([-1.0, 1.0])  # sign of the axis "right" on the left and on the right side
LEGS = [[12, 13, 14, 15], [16, 17, 18, 19]]  # hip, knee, ankle, foot
ARMS = [[4, 5, 6, 7, 21], [8, 9, 10, 11, 23]]  # shoulder, elbow, wrist, hand, tip
FLOOR_CLEARANCE = 0.07  # metres from the floor to an ankle
REACH = 2.5  # metres walked before a person leaves the sensor's view and comes in again
HEIGHT = (1.70, 0.09)  # of the body, metres: mean, standard deviation between persons

LENGTHS, GAIT = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text()).values()
# What differs between a person's recordings, by a share of the standard deviation between persons.
POSTURE = ("lean", "slouch", "head_tilt", "list", "shoulder_twist", "arm_swing", "arm_flexion",
           "arm_spread", "elbow_flexion", "elbow_swing", "hip_swing", "toe_out")
POSTURE_CHANGE = 0.2


@dataclass(frozen=True)
class Person:
    """Bone lengths in metres, (2, 1), and the values of GAIT, (2,): left, right."""

    lengths: dict[str, np.ndarray]
    gait: dict[str, np.ndarray]


def draw_person(random: RandomState) -> Person:
    """A person from LENGTHS and GAIT."""
    def draw(mean: float, spread: float, side: float) -> np.ndarray:
        return mean + spread * random.normal() + side * random.normal(size=2)

    height = random.normal(*HEIGHT)
    lengths = {name: height * mean * draw(1, *s)[:, None] for name, (mean, *s) in LENGTHS.items()}
    return Person(lengths, {name: draw(*values) for name, values in GAIT.items()})


def change_posture(person: Person, random: RandomState) -> Person:
    """The same person on another occasion: nobody carries trunk, head and arms twice alike."""
    gait = dict(person.gait)
    for name in POSTURE:
        gait[name] = gait[name] + POSTURE_CHANGE * GAIT[name][1] * random.normal()
    return Person(person.lengths, gait)


def slow_noise(frames: int, width: int, rate: float, seconds: float,
               random: RandomState) -> np.ndarray:
    """Noise (frames, width) of unit variance whose correlation falls to 1/e in `seconds`."""
    keep = np.exp(-1 / (rate * seconds))
    drive = random.normal(size=(frames, width))
    drive[1:] *= np.sqrt(1 - keep**2)
    from scipy.signal import lfilter  # here, because --help needs none of it

    return lfilter([1.0], [1.0, -keep], drive, axis=0)


def walk(person: Person, frames: int, random: RandomState, *, heading: float, turn: float,
         sway: float, centre: np.ndarray, speed: float = 1.0,
         rate: float = 30.0) -> tuple[np.ndarray, np.ndarray]:
    """True positions (frames, 25, 3) in the sensor's axes, and headings (frames,) in radians.

    heading: direction of walking at mid-recording, radians; 0 is to the sensor, positive to x.
    turn: its change from first to last frame, an arc. sway: amplitude of a slow swinging of it.
    centre: (3,) of the hip centre at mid-recording, metres, but y is the floor's height. speed:
    factor on the person's own; 0 stands still. rate: frames a second.
    """
    seconds = (np.arange(frames) - (frames - 1) / 2) / rate
    speed = max(speed, 0.0)
    cadence = person.gait["cadence"][0] * np.sqrt(speed)
    wander = 0.15 * slow_noise(frames, 1, rate, 1.0, random)[:, 0]
    phase = random.uniform(0, 2 * np.pi) + np.pi * cadence * seconds + wander * (speed > 0)
    body = pose(person, phase, np.sqrt(speed))
    period = random.uniform(4, 7)
    wave = 2 * np.pi * seconds / period + random.uniform(0, 2 * np.pi)
    headings = heading + turn * seconds * rate / frames + sway * np.sin(wave)
    leg = (person.lengths["thigh"] + person.lengths["shank"]).mean()
    step = 2 * leg * np.sin(np.sqrt(speed) * person.gait["hip_swing"].mean())
    travelled = (step * cadence * seconds + REACH / 2) % REACH - REACH / 2
    direction = np.array([np.sin(heading), 0, -np.cos(heading)])
    way = (travelled[:, None] * direction)[:, None]  # (frames, 1, 3)
    return to_sensor(body, headings) + centre + way, headings


def to_sensor(body: np.ndarray, heading: np.ndarray) -> np.ndarray:
    """Vectors (frames, ..., 3) from the body's axes forward, right, up to the sensor's x, y, z."""
    shape = (-1,) + (1,) * (body.ndim - 2)
    sine, cosine = np.sin(heading).reshape(shape), np.cos(heading).reshape(shape)
    forward, right, up = np.moveaxis(body, -1, 0)
    across, towards = forward * sine + right * cosine, right * sine - forward * cosine
    return np.stack(np.broadcast_arrays(across, up, towards), -1)


def pose(person: Person, phase: np.ndarray, vigour: float) -> np.ndarray:
    """Joint positions (frames, 25, 3) forward, right, up, from the floor below the hip centre.

    phase: (frames,) phase of the left leg, radians; 0 is its foremost point, the right leg is half
    a stride behind. vigour: factor on all movement; 0 is the person standing.
    """
    joints = np.zeros((len(phase), JOINTS, 3))
    _place_trunk(joints, person, phase, vigour)
    phases = phase[:, None] + [0, np.pi]  # (frames, 2), of the left and of the right leg
    _place_legs(joints, person, phases, vigour)
    _place_arms(joints, person, phases, vigour)
    # The lower ankle stands on the floor.
    joints[..., 2] += FLOOR_CLEARANCE - joints[:, (14, 18), 2].min(1, keepdims=True)
    return joints


def _hanging(pitch: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Unit vectors (..., 3) that hang down, swung forwards by `pitch` and right by `spread`."""
    pitch, spread = np.broadcast_arrays(pitch, spread)
    forward, up = np.sin(pitch) * np.cos(spread), -np.cos(pitch) * np.cos(spread)
    return np.stack([forward, np.sin(spread), up], -1)


def _turned(yaw: np.ndarray) -> np.ndarray:
    """Unit vectors (..., 3) to the right of a body part that is turned to the right by `yaw`."""
    return np.stack([-np.sin(yaw), np.cos(yaw), np.zeros_like(yaw)], -1)


def _chain(*bones: np.ndarray) -> np.ndarray:
    """The joints (..., bones, 3) at the ends of bones (..., 3) that hang on each other."""
    return np.cumsum(np.stack(bones, -2), axis=-2)


def _place_trunk(joints: np.ndarray, person: Person, phase: np.ndarray, vigour: float):
    """Spine, neck, head, spine at the shoulders, shoulders; the hip centre is the origin."""
    tables = (person.lengths, person.gait)
    length, gait = ({name: pair[0] for name, pair in table.items()} for table in tables)
    lean = gait["lean"] + vigour * gait["bob"] * 0.3 * np.cos(2 * phase)
    roll = gait["list"] + vigour * gait["roll"] * np.cos(phase + 0.6)
    lower, upper = -_hanging(-lean, -roll), -_hanging(-lean - gait["slouch"], -roll)
    joints[:, 1] = 0.42 * length["torso"] * lower
    joints[:, 20] = joints[:, 1] + 0.50 * length["torso"] * upper
    joints[:, 2] = joints[:, 1] + 0.58 * length["torso"] * upper
    nod = lean + gait["slouch"] + gait["head_tilt"]
    joints[:, 3] = joints[:, 2] - length["head"] * _hanging(-nod, -0.5 * roll)
    yaw = gait["shoulder_twist"] - vigour * gait["shoulder_turn"] * np.cos(phase)
    across = SIDES[:, None] * length["shoulder_width"] / 2 * _turned(yaw)[:, None]
    down = person.lengths["shoulder_drop"] * upper[:, None]  # (frames, 2, 3)
    joints[:, (4, 8)] = joints[:, 20:21] + across - down


def _place_legs(joints: np.ndarray, person: Person, phase: np.ndarray, vigour: float):
    """Hips, knees, ankles and feet at phases (frames, 2); the hip centre is the origin."""
    length, gait = person.lengths, person.gait
    # Both hips hang on one pelvis: its turn follows the left leg.
    yaw = vigour * gait["pelvis_turn"] * np.cos(phase - [0, np.pi])
    hip = SIDES[:, None] * length["hip_width"] / 2 * _turned(yaw) - [0, 0, 1] * length["hip_drop"]
    stride = np.cos(phase) - 0.12 * np.cos(2 * phase)
    thigh = gait["hip_flexion"] + vigour * gait["hip_swing"] * stride
    swing = np.exp(2.2 * (np.cos(phase + gait["knee_lag"]) - 1))  # the bend while the leg swings
    stance = np.exp(3.0 * (np.cos(phase - 0.8) - 1))  # the small bend that takes up the weight
    bend = np.abs(gait["knee_flexion"]) + vigour * (gait["knee_swing"] * swing + 0.22 * stance)
    lift = 1.40 + thigh - bend + vigour * gait["ankle_swing"] * np.sin(phase + 0.5)
    joints[:, LEGS] = _chain(hip, length["thigh"] * _hanging(thigh, SIDES * gait["stance"]),
                             length["shank"] * _hanging(thigh - bend, SIDES * gait["stance"]),
                             length["foot"] * _hanging(lift, SIDES * gait["toe_out"]))


def _place_arms(joints: np.ndarray, person: Person, phase: np.ndarray, vigour: float):
    """Elbows, wrists, hands, their tips and thumbs, below the shoulders, which are placed."""
    length, gait = person.lengths, person.gait
    wave = np.cos(phase + gait["arm_lag"])  # the arm swings against the leg of its side
    arm = gait["arm_flexion"] - vigour * gait["arm_swing"] * wave
    elbow = np.abs(gait["elbow_flexion"]) * (0.4 + 0.6 * min(vigour, 1.0))
    elbow = elbow - vigour * gait["elbow_swing"] * wave
    spread = SIDES * gait["arm_spread"]
    forearm, thumb = _hanging(arm + elbow, 0.3 * spread), _hanging(arm + elbow + 0.6, -1.5 * spread)
    joints[:, ARMS] = _chain(joints[:, (4, 8)], length["upper_arm"] * _hanging(arm, spread),
                             length["forearm"] * forearm, *[length["hand"] * forearm] * 2)
    joints[:, (22, 24)] = joints[:, (6, 10)] + length["hand"] * thumb
