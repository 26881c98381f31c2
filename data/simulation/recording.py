"""One simulated recording: a person in a scene, seen by a tracker."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.random import RandomState

from data.raw.recordings import progress
from data.simulation.sensor import Sensor
from data.simulation.walkers import Person, Track, change_posture, draw_person, walk

SHORT_SHARE = 0.05  # of the recordings


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
        heading = np.deg2rad(random.normal(scene.heading, scene.heading_spread))
        turn = np.deg2rad(random.normal(0, scene.turn))
        sway = np.deg2rad(scene.sway * random.normal(1, 0.2))
        centre = np.array([random.normal(0, 0.15), scene.floor, random.uniform(2.5, 3.0)])
        speed = scene.speed * random.normal(1, 0.08)
        track = Track(heading, turn, sway, centre, speed, scene.sensor.rate)
        positions, heading = walk(change_posture(self.person, random), track, frames, random)
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
            yield Actor(number, draw_person(random), self.frames, random)
