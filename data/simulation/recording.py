"""One simulated recording: a person in a scene, seen by a tracker."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.random import RandomState
from tqdm import tqdm

from data.simulation.sensor import Sensor, observe
from data.simulation.walkers import Person, Track, change_posture, draw_person, walk

SHORT_SHARE = 0.05  # of the recordings


@dataclass(frozen=True)
class Request:
    """What the command asks for; `root` is the folder that is written."""

    dataset: str
    root: Path
    persons: int
    frames: int
    recordings: int
    seed: int

    def draw_persons(self) -> Iterator[tuple[int, Person, RandomState]]:
        """Number from 0, person, and the generator of everything that is recorded of the person."""
        # A fixed number of seeds: a person does not depend on how many others there are.
        seeds = RandomState(self.seed).randint(2**31 - 1, size=1000)[: self.persons]
        bar = tqdm(seeds, desc=f"{self.dataset}: persons", unit="", disable=None, leave=False)
        for number, seed in enumerate(bar):
            random = RandomState(seed)
            yield number, draw_person(random), random


@dataclass(frozen=True)
class Scene:
    """Where and how recordings are made; degrees, metres, seconds.

    heading, heading_spread: mean and standard deviation of the direction of walking; 0 is towards
    the sensor. turn: standard deviation of the turning from first to last frame. sway: mean
    amplitude of slow swinging. speed: mean factor on the person's own speed; 0 stands. floor: its
    height from the sensor. tilt: of the sensor. rate: frames a second.
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


def record(
    person: Person, scene: Scene, clothes: np.ndarray, frames: int, random: RandomState
) -> np.ndarray:
    """Tracked positions (at most `frames`, 25, 3) in the sensor's axes, metres; clothes: offsets
    (25, 3) in the body's axes.
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


def burden(person: Person, condition: str, random: RandomState) -> Person:
    """The person with what CASIA_B's condition adds: bg a bag on one arm, cl a coat, nm nothing."""
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
