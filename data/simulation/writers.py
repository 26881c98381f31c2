"""The writers of the five raw formats (docs/06-formats.md)."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.random import RandomState

from skeleton_reid.data.raw import casia_b, ks20
from skeleton_reid.data.raw.kgbd import joint_number
from skeleton_reid.data.simulation.recording import (Actor, Request, Scene, Sensor, draw_clothes,
                                                     lost_joints)

# Degrees between walking and the way to the sensor; the lateral and diagonal views of the real set.
KS20_HEADINGS = dict(zip(ks20.VIEWS, (0, -60, -90, 40, 90), strict=True))
KS20_SETTINGS = ("gc1", "gc2", "gc3")
KGBD_JOINTS = (  # in the order of the file
    *("Head", "Shoulder-Center", "Shoulder-Right", "Shoulder-Left", "Elbow-Right", "Elbow-Left"),
    *("Wrist-Right", "Wrist-Left", "Hand-Right", "Hand-Left", "Spine", "Hip-centro", "Hip-Right"),
    *("Hip-Left", "Knee-Right", "Knee-Left", "Ankle-Right", "Ankle-Left", "Foot-Right",
      "Foot-Left"))
CASIA_JOINTS = (3, 2, 8, 9, 10, 4, 5, 6, 16, 17, 18, 12, 13, 14)
BIWI_TEST_SHARE = 28 / 50
BIWI_EXTRA_SHARE = 0.02  # of the frames, in which lines for a second body follow the 20 joints
FOCAL_LENGTH = 525.0  # pixels, of Kinect v1's image of 640 x 480
FRAME_MILLISECONDS = 33
BIWI_PARTLY_SEEN_SHARE = 0.03  # of the frames, in which QualityFlag is above 0
# IAS's tracker has 15 joints: hip centre, wrists and ankles are copies of spine, hands and feet.
IAS_JOINTS = (1, 1, 2, 3, 4, 5, 7, 7, 8, 9, 11, 11, 12, 13, 15, 15, 16, 17, 19, 19)
LINK_STARTS = (0, 0, 1, 2, 2, 4, 5, 6, 2, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18)  # of Kinect v1
# Offsets of the joints, metres: the same clothes as they sit on one occasion, and other clothes.
SAME_CLOTHES, OTHER_CLOTHES = 0.003, 0.010

KINECT_V1 = Sensor(white=0.012, drift=0.024)
PADUA = replace(KINECT_V1, rate=10.0)  # BIWI and IAS
KINECT_V2 = Sensor()
POSE_ESTIMATOR = Sensor(white=0.015, drift=0.030, fit=0.020, occlusion=0.20, scale=0.05, rate=25.0)


def write_ks20(request: Request) -> None:
    """<view>/<setting>_body<N>_<timestamp>_skel.txt, a file a frame, 25 lines `id,x,y,z`."""
    template = "".join(f"{j},%.4f,%.4f,%.4f\n" for j in range(25))
    for view in KS20_HEADINGS:
        (request.root / view).mkdir(parents=True)
    for actor in request.actors():
        for setting in KS20_SETTINGS:
            clothes = draw_clothes(SAME_CLOTHES, actor.random)
            for view, heading in KS20_HEADINGS.items():
                scene = Scene(KINECT_V2, heading=heading, heading_spread=15.0, turn=42.0)
                stem = f"{setting}_body{ks20.BODIES[actor.number]}"
                for t, frame in enumerate(actor.record(scene, clothes)):
                    name = f"{stem}_{100000 + FRAME_MILLISECONDS * t}_skel.txt"
                    (request.root / view / name).write_text(template % tuple(frame.ravel()))


def write_kgbd(request: Request) -> None:
    """kinect gait raw dataset/PersonNNN/<recording>.txt, 20 lines `Name;x;y;z` a frame."""
    template = "".join(f"{name};%.4f;%.4f;%.4f\r\n" for name in KGBD_JOINTS)
    joints = [joint_number(name) for name in KGBD_JOINTS]
    # Persons walk along a half circle, to and fro, and the sensor turns with them.
    scene = Scene(KINECT_V1, heading_spread=10.0, sway=25.0)
    for actor in request.actors():
        folder = request.root / "kinect gait raw dataset" / f"Person{actor.number + 1:03d}"
        folder.mkdir(parents=True)
        clothes = draw_clothes(SAME_CLOTHES, actor.random)
        for recording in range(1, request.recordings + 1):
            frames = actor.record(scene, clothes)[:, joints]
            text = "".join(template % tuple(frame.ravel()) for frame in frames)
            (folder / f"{recording}.txt").write_bytes(text.encode())


def write_biwi(request: Request) -> None:
    """Training/<person>/…; of 28 persons in 50 Testing/{Walking,Still}/<person>/… too."""
    count = max(1, round(BIWI_TEST_SHARE * request.persons))
    tested = RandomState(request.seed).permutation(request.persons)[:count]
    walking = Scene(PADUA, heading_spread=10.0, turn=20.0)
    training = replace(walking, heading_spread=5.0, turn=10.0, sway=35.0)
    still = replace(walking, speed=0.0, turn=10.0)
    extra = "0,0,0,0,0,0,0,0,0,0,0,0,0,0\n" * 20
    for actor in request.actors():
        usual, changed = (draw_clothes(x, actor.random) for x in (SAME_CLOTHES, OTHER_CLOTHES))
        sets = [("Training", training, usual)]
        if actor.number in tested:
            sets += [("Testing/Walking", walking, changed), ("Testing/Still", still, changed)]
        for name, scene, clothes in sets:
            folder = request.root / name / f"{actor.number + 1:03d}"
            _write_walks(folder, "{:06d}-a_{}_skel.txt", actor, scene, clothes, request.recordings,
                         partly_seen=BIWI_PARTLY_SEEN_SHARE)
            for path in sorted(folder.iterdir()):
                if actor.random.random_sample() < BIWI_EXTRA_SHARE:
                    path.write_text(path.read_text() + extra)


def write_ias(request: Request) -> None:
    """{Training,TestingA,TestingB}/<person>/…, a file a frame. A: other clothes, B: other room."""
    room = Scene(PADUA, heading_spread=5.0, turn=10.0, sway=35.0)
    other = replace(room, floor=-1.05, tilt=6.0)
    for actor in request.actors():
        usual, changed = (draw_clothes(x, actor.random) for x in (SAME_CLOTHES, OTHER_CLOTHES))
        sets = [("Training", room, usual), ("TestingA", room, changed), ("TestingB", other, usual)]
        for name, scene, clothes in sets:
            folder = request.root / name / f"p{actor.number:02d}"
            _write_walks(folder, "{:05d}_skel.txt", actor, scene, clothes, request.recordings,
                         joints=IAS_JOINTS)


def _write_walks(folder: Path, name: str, actor: Actor, scene: Scene, clothes: np.ndarray,
                 walks: int, joints: Sequence[int] = range(20), partly_seen: float = 0.0) -> None:
    """Walks as Kinect v1 gives them, a file a frame; between two walks the numbers leap.

    A line a joint, 14 fields: person, position, pixel, TrackingState, QualityFlag, the link that
    ends in the joint and its orientation, which is not simulated. name: from frame number and
    timestamp. joints: of which the lines are. partly_seen: share of frames with a QualityFlag.
    """
    folder.mkdir(parents=True)
    template = "".join(f"1,%.4f,%.4f,%.4f,%.1f,%.1f,%d,%d,{start},{end},0,0,0,1\n"
                       for end, start in enumerate(LINK_STARTS))
    number = 0
    for _ in range(walks):
        frames = actor.record(scene, clothes)[:, joints]  # (frames, 20, 3)
        state = lost_joints(len(frames), scene.sensor.lost, actor.random)[:, joints, None]
        quality = np.broadcast_to(
            actor.random.random_sample((len(frames), 1, 1)) < partly_seen, state.shape)
        image = FOCAL_LENGTH * frames[..., :2] / np.maximum(frames[..., 2:], 0.5)
        pixels = np.array([320, 240]) + image * [1, -1]
        seen = np.where(state > 0, np.concatenate([frames, pixels], -1), 0)
        for frame in np.concatenate([seen, state, quality], -1):
            milliseconds = round(1000 * number / scene.sensor.rate)
            path = folder / name.format(number, 1000000 + milliseconds)
            path.write_text(template % tuple(frame.ravel()))
            number += 1
        number += 30


def write_casia(request: Request) -> None:
    """<person>-<condition>-<number>-<view>.npy, (frames, 14, 3) float32, of a pose estimator."""
    fewer = min(2, max(1, request.recordings // 3))
    for actor in request.actors():
        usual = draw_clothes(SAME_CLOTHES, actor.random)
        for condition, videos in (("nm", request.recordings), ("bg", fewer), ("cl", fewer)):
            clothes = draw_clothes(OTHER_CLOTHES, actor.random) if condition == "cl" else usual
            for video in range(1, videos + 1):
                walker = actor.burdened(condition)
                for view in casia_b.VIEWS:  # degrees; 0 walks towards the camera
                    scene = Scene(POSE_ESTIMATOR, view, heading_spread=6.0, turn=10.0)
                    frames = walker.record(scene, clothes)[:, CASIA_JOINTS].astype(np.float32)
                    name = f"{actor.number + 1:03d}-{condition}-{video:02d}-{view:03d}.npy"
                    np.save(request.root / name, frames)
