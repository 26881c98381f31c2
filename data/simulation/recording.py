"""One simulated recording: a person in a scene, and what a skeleton tracker makes of it.

The tracker's errors are metres, set so that bone lengths scatter about as in Kinect recordings: a
centimetre or two a frame, slower errors of that size, others as lasting as clothes or recording.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.random import RandomState

from skeleton_reid.data.raw.recordings import progress
from skeleton_reid.data.simulation import walkers
from skeleton_reid.data.simulation.walkers import JOINTS, Person, slow_noise, to_sensor

SHORT_SHARE = 0.05  # of the recordings
# Limbs: what a tracker loses, misplaces or lets drift together.
LIMBS = ((4, 5, 6, 7, 21, 22), (8, 9, 10, 11, 23, 24), (12, 13, 14, 15), (16, 17, 18, 19), (3,),
         (0, 1, 2, 20))
LEFT_JOINTS, RIGHT_JOINTS = LIMBS[0] + LIMBS[2], LIMBS[1] + LIMBS[3]
# Hands and feet, the ends of the limbs, are tracked worse than the trunk.
UNCERTAINTY = np.ones((JOINTS, 1))
UNCERTAINTY[[6, 10, 13, 17]] = 1.3
UNCERTAINTY[[7, 11, 14, 15, 18, 19, 21, 22, 23, 24]] = 1.7
UNCERTAINTY[[0, 1, 2, 20]] = 0.7
STANDARD_DISTANCE = 2.5  # the distance at which the noise has its stated amount


@dataclass(frozen=True)
class Sensor:
    """Errors of one tracker; standard deviations in metres, rates per frame."""

    white: float = 0.010  # noise of a frame at 2.5 m, growing with the square of the distance
    drift: float = 0.019  # slow error of every joint and limb
    drift_seconds: float = 0.25  # the time in which it is forgotten
    fit: float = 0.003  # error that stays for a recording (how the tracker has fitted the body)
    occlusion: float = 0.35  # share by which a side view draws the far side's joints to the middle
    jump: float = 0.01  # share of frames in which a limb leaps away
    jump_size: float = 0.08
    lost: float = 0.04  # share of frames in which the tracker loses at least one joint
    scale: float = 0.0  # relative error of a recording's body size: a camera takes small for far
    rate: float = 30.0  # frames a second

    def observe(self, positions: np.ndarray, heading: np.ndarray, clothes: np.ndarray,
                random: RandomState) -> np.ndarray:
        """Tracked positions (frames, 25, 3) of true positions (frames, 25, 3), in its own axes.

        heading: (frames,) direction in which the body faces, radians, 0 towards the sensor.
        clothes: (25, 3) offsets in the body's axes.
        """
        error = clothes + self.fit * UNCERTAINTY * random.normal(size=(JOINTS, 3))
        error = error + self._drift(len(positions), random)  # (frames, 25, 3)
        scale = 1 + self.scale * random.normal()
        seen = occlude(positions, heading, self.occlusion)
        body = positions[:, :1] + scale * (seen - positions[:, :1])
        tracked = body + to_sensor(error, heading)
        distance = np.clip(positions[:, :1, 2:], 1.0, 5.0) / STANDARD_DISTANCE  # (frames, 1, 1)
        noise = self.white * UNCERTAINTY * random.normal(size=positions.shape)
        return tracked + distance**2 * noise + self._jumps(len(positions), random)

    def _drift(self, frames: int, random: RandomState) -> np.ndarray:
        """Slow errors (frames, 25, 3) in the body's axes: half of the variance is a limb's."""
        joints, limbs = (slow_noise(frames, 3 * count, self.rate, self.drift_seconds, random)
                         for count in (JOINTS, len(LIMBS)))
        joints = joints.reshape(frames, JOINTS, 3)
        for number, limb in enumerate(LIMBS):
            joints[:, limb] += limbs[:, None, 3 * number:3 * number + 3]
        return self.drift * np.sqrt(0.5) * UNCERTAINTY * joints

    def _jumps(self, frames: int, random: RandomState) -> np.ndarray:
        """Leaps (frames, 25, 3) of a limb, for one to three frames."""
        offsets = np.zeros((frames, JOINTS, 3))
        for start in np.flatnonzero(random.random_sample(frames) < self.jump / 2.0):  # mean length
            limb = LIMBS[random.randint(len(LIMBS) - 1)]
            stop = start + random.randint(1, 4)
            offsets[start:stop, limb] += self.jump_size * random.normal(size=3)
        return offsets


def draw_clothes(amount: float, random: RandomState) -> np.ndarray:
    """Offsets (25, 3) forward, right, up that clothes add to the joints, `amount` metres each."""
    shared = np.zeros((JOINTS, 3))
    for limb in LIMBS:
        shared[list(limb)] = random.normal(size=3)
    return amount * np.sqrt(0.5) * (shared + random.normal(size=(JOINTS, 3)))


def occlude(positions: np.ndarray, heading: np.ndarray, share: float) -> np.ndarray:
    """Draw joints of the far side to the trunk's plane: hidden ones are guessed, and too near."""
    forward = to_sensor(np.array([[1.0, 0.0, 0.0]]), heading)[:, None]  # (frames, 1, 3)
    right = to_sensor(np.array([[0.0, 1.0, 0.0]]), heading)[:, None]
    away = right[..., 2:]  # 1 where the right side is behind the trunk, -1 where the left side is
    result = positions.copy()
    for joints, hidden in ((RIGHT_JOINTS, away), (LEFT_JOINTS, -away)):
        offset = positions[:, joints] - positions[:, :1]  # (frames, joints of the side, 3)
        across = (offset * right).sum(-1, keepdims=True)
        along = (offset * forward).sum(-1, keepdims=True)
        amount = share * np.clip(hidden, 0, 1)
        result[:, joints] -= amount * (across * right + 0.5 * along * forward)
    return result


def lost_joints(frames: int, rate: float, random: RandomState) -> np.ndarray:
    """Tracking states (frames, 25), 2 to 0; a share `rate` of the frames has a limb lost (0)."""
    state = np.full((frames, JOINTS), 2)
    state[random.random_sample(state.shape) < 0.04] = 1
    for start in np.flatnonzero(random.random_sample(frames) < rate / 2.5):  # the mean length
        limb = LIMBS[random.randint(4)]  # an arm or a leg
        state[start:start + random.randint(1, 5), limb] = 0
    return state


@dataclass(frozen=True)
class Scene:
    """Where and how recordings are made; degrees, metres, seconds."""

    sensor: Sensor
    heading: float = 0.0  # mean direction of walking; 0 is towards the sensor
    heading_spread: float = 7.0  # its standard deviation
    turn: float = 15.0  # standard deviation of the turning from first to last frame
    sway: float = 5.0  # mean amplitude of slow swinging
    speed: float = 1.0  # mean factor on the person's own speed; 0 stands
    floor: float = -0.85  # its height from the sensor
    tilt: float = 0.0  # of the sensor


@dataclass(frozen=True)
class Actor:
    """A person, numbered from 0, and the generator of all that is recorded of the person."""

    number: int
    person: Person
    frames: int  # of a recording
    random: RandomState

    def record(self, scene: Scene, clothes: np.ndarray) -> np.ndarray:
        """Tracked positions (frames, 25, 3), sensor's axes; clothes (25, 3), body's; metres."""
        random, frames = self.random, self.frames
        if random.random_sample() < SHORT_SHARE:
            frames = max(1, round(frames * random.uniform(0.5, 0.9)))
        way = {  # drawn in this order
            "heading": np.deg2rad(random.normal(scene.heading, scene.heading_spread)),
            "turn": np.deg2rad(random.normal(0, scene.turn)),
            "sway": np.deg2rad(scene.sway * random.normal(1, 0.2)),
            "centre": np.array([random.normal(0, 0.15), scene.floor,
                                random.uniform(2.5, 3.0)]),
            "speed": scene.speed * random.normal(1, 0.08)
        }
        posture = walkers.change_posture(self.person, random)
        positions, heading = walkers.walk(posture, frames, random, rate=scene.sensor.rate, **way)
        tracked = scene.sensor.observe(positions, heading, clothes, random)
        sine, cosine = np.sin(np.deg2rad(scene.tilt)), np.cos(np.deg2rad(scene.tilt))
        return tracked @ np.array([[1, 0, 0], [0, cosine, sine], [0, -sine, cosine]])

    def burdened(self, condition: str) -> "Actor":
        """With what CASIA_B's condition adds: bg a bag on one arm, cl a coat, nm nothing."""
        gait = dict(self.person.gait)
        if condition == "bg":
            arm = np.array([1.0, 0.0] if self.random.random_sample() < 0.3 else [0.0, 1.0])
            gait["arm_swing"] = gait["arm_swing"] * (1 - 0.7 * arm)
            gait["elbow_flexion"] = gait["elbow_flexion"] + 0.5 * arm
            gait["list"] = gait["list"] + 0.04 * (arm[0] - arm[1])
        if condition == "cl":
            gait["arm_spread"] = gait["arm_spread"] + 0.10
            gait["arm_swing"] = gait["arm_swing"] * 0.8
            gait["hip_swing"] = gait["hip_swing"] * 0.95
        return replace(self, person=replace(self.person, gait=gait))


@dataclass(frozen=True)
class Request:
    """What the command asks for; `root` is the folder that is written."""

    dataset: str
    root: Path
    persons: int
    frames: int
    recordings: int
    seed: int

    def actors(self) -> Iterator[Actor]:
        """The persons; one does not depend on how many others there are."""
        seeds = RandomState(self.seed).randint(2**31 - 1, size=self.persons)
        for number, seed in enumerate(progress(seeds, desc=f"{self.dataset}: persons", unit="")):
            random = RandomState(seed)
            yield Actor(number, walkers.draw_person(random), self.frames, random)
