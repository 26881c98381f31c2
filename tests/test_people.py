"""Several people in a recording, frames that are missing or written twice, joints never seen."""

import json

import numpy as np
import pytest
from raw_data import refused, run
from recorders import (T, azure_kinect, flat, landmarks, ntu, openpose, put, read, refused_reading,
                       walk)

from skeleton_reid.data import datasets
from skeleton_reid.data.raw.people import LONGEST_LINK, Frame, Person, follow
from skeleton_reid.data.skeleton import read as read_skeleton

ASIDE = np.array([1.5, 0, 0])


def two(joints: int) -> tuple[np.ndarray, np.ndarray]:
    """Two bodies beside each other."""
    return walk(joints), walk(joints, seed=1) + 8 * ASIDE


@pytest.mark.parametrize("order", [0, 1])
def test_one_person_is_followed_whoever_is_listed_first(described, tmp_path, caplog, order):
    """Also where the other one is now and then seen better."""
    first, second = two(25)
    for t in range(T):
        people = [
            openpose(first[t], seen=0.7)["people"][0],
            openpose(second[t], seen=0.9 if t % 2 else 0.1)["people"][0]
        ]
        put(tmp_path / f"anna/1/v_{t:012d}_keypoints.json",
            {"people": people[::-1] if (t + order) % 3 else people})
    (recording,) = read(described("openpose_body25", "openpose", up="y"))
    np.testing.assert_array_equal(recording.frames[..., :2], first[..., :2])
    assert recording.lost == {"frames with several people": T}
    assert f"frames with several people: {T} in 1 of 1 recordings" in caplog.text


def test_where_the_choice_is_unclear_the_sequence_ends(described, tmp_path):
    """Two bodies meet in frames 6 and 7: neither of these nor a window across is taken."""
    first, second = two(25)
    second[6:8] = first[6:8] - 0.05
    for t in range(T):
        put(tmp_path / f"anna/1/v_{t}_keypoints.json", openpose(first[t], second[t]))
    (recording,) = read(described("openpose_body25", "openpose", longest_gap=3))
    pieces = recording.sequences()
    assert [len(piece) for piece in pieces] == [6, 6]
    np.testing.assert_array_equal(
        np.concatenate(pieces)[..., :2],
        np.delete(first, [6, 7], 0)[..., :2])
    assert recording.lost["sequences ended as unclear"] == 2


@pytest.mark.parametrize(("away", "found"), [(LONGEST_LINK, True), (LONGEST_LINK + 1, False)])
def test_how_long_somebody_is_looked_for(away, found):
    """In the place where he or she was seen last; somebody else is there all the time."""
    first, second = (np.insert(
        pose, 3, seen,
        axis=1) for pose, seen in zip((walk(20)[0], walk(20)[0] + 50), (0.9, 0.01), strict=True))
    frames = [Frame([Person(second)]) for _ in range(3 + away)]
    for t in (0, 1, 2, -1):
        frames[t].people.append(Person(first))
    poses = follow(frames, 20, longest_gap=0).poses
    np.testing.assert_array_equal(poses[2], first)
    assert np.isfinite(poses[-1]).all() == found


def test_somebody_who_comes_later_is_nobody_to_follow(described, tmp_path):
    first, second = two(25)
    for t in range(T):
        people = [first[t]] * (t < 9) + [second[t]] * (t > 4)
        put(tmp_path / f"anna/1/v_{t}_keypoints.json", openpose(*people[::-1]))
    (recording,) = read(described("openpose_body25", "openpose"))
    np.testing.assert_array_equal(recording.frames[:9, :, :2], first[:9, :, :2])
    assert np.isnan(recording.frames[9:]).all() and recording.lost["frames with others only"] == 5


def test_people_of_centred_poses_are_followed_in_the_image(described, tmp_path):
    """MediaPipe's order changes from frame to frame, and all its poses begin at the hips."""
    first, second = two(33)
    frames = []
    for t in range(T):
        people = [(first[t], first[t]), (second[t] - 8 * ASIDE, second[t])][::1 if t % 2 else -1]
        frames.append({
            "worldLandmarks": [landmarks(pose) for pose, _ in people],
            "landmarks": [landmarks(place) for _, place in people]
        })
    put(tmp_path / "anna" / "1.json", frames)
    (recording,) = read(described("mediapipe", "mediapipe", ".json"))
    expected = (first, second - 8 * ASIDE)
    assert any(np.allclose(recording.frames, own) for own in expected)


def test_a_track_is_the_person(described, tmp_path):
    """By the format's own numbers, a column of a usual name, or one that is named; the longest, or
    the one that the table of recordings names.
    """
    first, second = two(25)
    put(tmp_path / "anna" / "1.skeleton",
        ntu(*([("17", second[t])] * (t % 2) + [("4", first[t])] * (t != 3) for t in range(T))))
    (recording,) = read(described("kinect_v2", "ntu", ".skeleton", longest_gap=1))
    np.testing.assert_allclose(np.delete(recording.frames, 3, 0), np.delete(first, 3, 0))
    assert recording.lost["frames with several people"] == 6 and recording.lost["repaired"] == 1
    put(tmp_path / "table.csv",
        "file,person,track\nanna/1.skeleton,bert,17\nanna/1.skeleton,anna,4\n")
    description = described("kinect_v2", "ntu", recordings="", table="table.csv")
    for recording, own in zip(read(description), (second, first), strict=True):
        np.testing.assert_allclose(recording.frames[5::2], own[5::2])
    put(tmp_path / "table.csv", "file,person,track\nanna/1.skeleton,anna,5\n")
    said = refused_reading(description)
    assert "expected the track 5, found 4, 17" in said


def test_person_ids_of_openpose_are_tracks(described, tmp_path):
    first, second = two(25)
    for t in range(T):
        content = openpose(*(first[t], second[t])[::1 if t % 2 else -1])
        for person in content["people"]:
            is_first = person["pose_keypoints_2d"][0] == first[t, 0, 0]
            person["person_id"] = [3 if is_first else "Bert"]
        put(tmp_path / f"anna/1/v_{t}_keypoints.json", content)
    put(tmp_path / "table.csv", "file,person,track\nanna/1,anna,Bert\n")
    (recording,) = read(described("openpose_body25", "openpose", recordings="", table="table.csv"))
    np.testing.assert_array_equal(recording.frames[..., :2], second[..., :2])


def test_tracks_that_follow_one_another_end_a_sequence(described, tmp_path):
    """A tracker lost the one person and gave another number."""
    frames = walk(32)
    put(
        tmp_path / "anna" / "1.json", {
            "frames": [
                azure_kinect(pose, number=t)
                | {"bodies": [{"body_id": 1 + (t > 5), "joint_positions": pose.tolist()}]}
                for t, pose in enumerate(frames)
            ]
        })
    (recording,) = read(described("azure_kinect", "azure_kinect", ".json", longest_gap=2))
    assert [len(piece) for piece in recording.sequences()] == [6, T - 6]


def named_frames(root, numbers) -> None:
    for person, number in ((person, number) for person in ("anna", "bert") for number in "1234"):
        frames = walk(25, seed=int(number), frames=30)
        for t in numbers:
            put(root / person / number / f"v_{t:012d}_keypoints.json", openpose(frames[t]))


def test_missing_frames_are_lost_frames(described, tmp_path, capsys, caplog):
    named_frames(tmp_path, [*range(10), *range(20, 28), 29])
    description = described("openpose_body25", "openpose", longest_gap=3)
    for recording in read(description):
        assert [len(piece) for piece in recording.sequences()] == [10, 10]
        np.testing.assert_allclose(2 * recording.frames[-2, :, :2],
                                   (recording.frames[-3] + recording.frames[-1])[:, :2])
        assert recording.lost["frames missing"] == 11
    run(6, "--dataset", description, "--out", tmp_path / "out")
    assert "frames missing: 88 in 8 of 8 recordings (first: anna/1)" in caplog.text
    assert "frames missing 11" in capsys.readouterr().out


@pytest.mark.parametrize("key", ["timestamp_ms", "frameNum", "moment"])
def test_time_by_usual_names_and_by_a_named_key(described, tmp_path, key):
    """A step of any length; one that is now and then a little longer misses nothing."""
    frames = walk(33)
    times = [33 * t + (t % 3 == 1) * (key == "timestamp_ms") for t in range(T)]
    content = [{key: times[t], "worldLandmarks": [landmarks(frames[t])]} for t in range(T)]
    put(tmp_path / "anna" / "1.json", [*content[:4], content[3], *content[5:]])
    named = {"time": key} if key == "moment" else {}
    (recording,) = read(described("mediapipe", "mediapipe", ".json", **named))
    assert [len(piece) for piece in recording.sequences()] == [4, T - 5]
    assert recording.lost["frames twice"] == 1 and recording.lost["frames missing"] == 1


def test_another_rate_than_the_others_is_said(described, tmp_path, caplog):
    for number, step in (("1", 33), ("2", 33.4), ("3", 66.6)):
        put(tmp_path / "anna" / f"{number}.json",
            [{"timestamp": step * t, "worldLandmarks": [landmarks(pose)]}
             for t, pose in enumerate(walk(33))])
    read(described("mediapipe", "mediapipe", ".json"))
    assert ("another frame rate (66.6 from frame to frame, usually 33.4) in 1 of 3 recordings "
            "(first: anna/3.json)") in caplog.text


def hidden(root, joint: int, share: float = 1.0) -> None:
    """OpenPose's files of a walk in which a joint is not seen."""
    for person, number in ((person, number) for person in ("anna", "bert") for number in "1234"):
        for t, pose in enumerate(walk(25, seed=int(number))):
            content = openpose(pose)
            if t < share * T:
                content["people"][0]["pose_keypoints_2d"][3 * joint:3 * joint + 3] = 0, 0, 0
            put(root / person / number / f"v_{t:012d}_keypoints.json", content)


def test_a_joint_that_is_never_seen_is_named_and_can_be_ignored(described, tmp_path, capsys):
    """(0, 0, 0) of confidence 0 is lost without being asked."""
    hidden(tmp_path, 17)
    description = described("openpose_body25", "openpose", longest_gap=3)
    said = refused(capsys, 6, "--dataset", description, "--out", tmp_path / "out")
    assert "REar in 112 of 112 frames (8 of 8 recordings)" in said and "ignore: [REar]" in said
    description = described("openpose_body25", "openpose", ignore=["REar", "LEar"])
    run(6, "--dataset", description, "--out", tmp_path / "out")
    axis = np.load(tmp_path / "out/own/6/train_npy_data/source_x_own_6.npy")
    assert axis.shape[1] == 23
    recording = read(description)[0]
    np.testing.assert_array_equal(recording.frames[..., 0],
                                  np.delete(walk(25, seed=1), [17, 18], 1)[..., 0])


def test_joints_that_are_often_lost_are_named_before_any_advice(described, tmp_path, caplog):
    hidden(tmp_path, 4, share=0.5)
    recordings = read(described("openpose_body25", "openpose"))
    assert {len(own.sequences()[0]) for own in recordings} == {T // 2}
    assert "lost joints end the sequences: RWrist in 56 of 112 frames (8 of 8" in caplog.text


@pytest.mark.parametrize(("ignored", "message"),
                         [(["REarr"], "ignore: unknown 'REarr'; did you mean 'REar'?"),
                          (["MidHip"], "ignore: expected a joint of the root")])
def test_what_cannot_be_ignored(described, tmp_path, ignored, message):
    assert message in refused_reading(described("openpose_body25", "openpose", ignore=ignored))


def test_a_joint_that_is_left_out_leaves_the_graph_whole(described):
    skeleton = datasets.get(
        str(described("openpose_body25", "openpose", ignore=["LElbow", "LWrist", "Nose"]))).skeleton
    assert ("LShoulder", "LElbow") not in skeleton.bones
    assert {("Neck", "REye"), ("Neck", "LEye")} <= set(skeleton.bones)
    assert "left_forearm" not in skeleton.parts and "left_upper_arm" in skeleton.parts
    assert "left_elbow" not in skeleton.landmarks and "head" not in skeleton.landmarks
    assert len(skeleton) == 22 and ("LWrist", "RWrist") not in skeleton.pairs


def test_a_broken_file_of_many_is_named(described, tmp_path, capsys):
    named_frames(tmp_path, range(12))
    broken = tmp_path / "bert/2/v_000000000007_keypoints.json"
    broken.write_text(broken.read_text()[:60])
    description = described("openpose_body25", "openpose")
    said = refused(capsys, 6, "--dataset", description, "--out", tmp_path / "out")
    assert f"error: {broken}: expected a whole JSON file, found one that is damaged" in said
    broken.write_text(json.dumps({"version": 1}))
    said = refused(capsys, 6, "--dataset", description, "--out", tmp_path / "out")
    assert f"error: {broken}: expected a frame of the format openpose, found no 'people'" in said
    broken.write_text("")
    said = refused(capsys, 6, "--dataset", description, "--out", tmp_path / "out")
    assert f"error: {broken}: expected a whole JSON file, found an empty one" in said
    for path in broken.parent.iterdir():
        path.unlink()
    said = refused(capsys, 6, "--dataset", description, "--out", tmp_path / "out")
    assert f"error: {broken.parent}: expected one .json a frame, found none" in said


@pytest.mark.parametrize(
    ("frame", "message"),
    [({"frameNum": 3, "keypoints3D": []}, "found frameNum, keypoints3D, and none of pose_world_"),
     ([{"score": 1, "keypoints3D": []}
       ], "found score, keypoints3D, and no x, y in the place of a joint (keypoints3D is"),
     ({"landmarks": [landmarks(walk(33)[0])]
       }, "found 'landmarks', which are positions in the image"),
     ({"worldLandmarks": [landmarks(walk(17)[0])]
       }, "33 joints (mediapipe), found 17 joints, as coco")])
def test_frames_that_do_not_fit(described, tmp_path, frame, message):
    put(tmp_path / "anna" / "1.json", [frame])
    assert message in refused_reading(described("mediapipe", "mediapipe", ".json"))


def test_recordings_of_nobody(described, tmp_path, caplog):
    hands = openpose(walk(25)[0])
    hands["people"][0]["pose_keypoints_2d"] = []
    for name, content in (("1", openpose()), ("2", hands), ("3", openpose(walk(25)[0]))):
        put(tmp_path / "anna" / name / "v_0_keypoints.json", content)
    read(described("openpose_body25", "openpose"))
    assert "nobody is seen in 2 of 3 recordings (first: anna/1)" in caplog.text
    for name in ("1", "2", "3"):
        put(tmp_path / "anna" / name / "v_0_keypoints.json", openpose(0 * walk(25)[0]))
    said = refused_reading(described("openpose_body25", "openpose"))
    assert "found nobody in 3 recordings (anna/1: dropped 1, joints at zero 25" in said
    put(tmp_path / "anna" / "4.json", [])
    assert "4.json: expected mediapipe, frames of 33 joints (mediapipe), found no frame" in (
        refused_reading(described("mediapipe", "mediapipe", ".json")))


@pytest.mark.parametrize(("names", "found"),
                         [(("a_{}", "b_{}"), "a_# and b_#"),
                          (("cam1_{}", "cam2_{}"), "a number that begins again")])
def test_two_recordings_in_one_folder(described, tmp_path, names, found):
    for t, frame in enumerate(walk(25)):
        for name in names:
            put(tmp_path / "anna" / "1" / f"{name.format(t)}.JSON", openpose(frame))
    said = refused_reading(described("openpose_body25", "openpose"))
    assert f"named alike but for its number, found {found}" in said


@pytest.mark.parametrize(("content", "frames"),
                         [({"people": [{"keypoints": p.tolist()} for p in walk(17)]}, 1),
                          ({"keypoints": walk(17).tolist()}, 14)])
def test_a_single_object_is_a_frame_of_people_or_all_frames(described, tmp_path, content, frames):
    put(tmp_path / "anna" / "1.json", content)
    (recording,) = read(described("coco", "json", ".json"))
    assert len(recording.frames) == frames


def test_a_named_time_must_be_there(described, tmp_path):
    put(tmp_path / "anna" / "1.json", [{"stamp": 1, "worldLandmarks": []}])
    said = refused_reading(described("mediapipe", "mediapipe", ".json", time="moment"))
    assert "expected the time of a frame, 'moment', found stamp, worldLandmarks" in said


def test_keys_for_tables_are_for_tables(described):
    said = refused_reading(described("coco", "npy", ".npy", track="id"))
    assert "track: expected the format csv or trc, found 'npy'" in said


def test_ignored_joints_make_no_other_skeleton_fit(described, tmp_path):
    """Of the 25 joints 7 are ignored; the files have 18 others."""
    put(tmp_path / "anna/1/v_0_keypoints.json", openpose(walk(18)[0]))
    ignored = list(read_skeleton("openpose_body25").joints[18:])
    said = refused_reading(described("openpose_body25", "openpose", ignore=ignored))
    assert "frames of 25 joints (openpose_body25), found 18 joints, as openpose_coco has" in said


def test_results_must_say_of_which_image_they_are(described, tmp_path):
    put(tmp_path / "anna" / "1.json", [{"image": "a.jpg", "keypoints": flat(walk(17)[0])}])
    said = refused_reading(described("coco", "alphapose", ".json"))
    assert "1.json, frame 1: expected a frame of the format alphapose, found no 'image_id'" in said


def test_frames_of_mediapipe_in_other_shapes(described, tmp_path):
    """Landmarks by the joints' names, in any order; frames below `result`; a frame without any of
    the keys is one of nobody, unless all are.
    """
    frames, joints = walk(33), read_skeleton("mediapipe").joints
    description = described("mediapipe", "mediapipe", ".json", longest_gap=1)
    named = [dict(zip(map(str.upper, joints), landmarks(pose), strict=True)) for pose in frames]
    listed = [[{"name": name.lower()} | point for name, point in reversed(own.items())]
              for own in named]
    for contents in ([{"worldLandmarks": own}
                      for own in named], [{"worldLandmarks": [own]} for own in named
                                          ], [{"frame": t} | own for t, own in enumerate(named)],
                     [{"result": {"worldLandmarks": [own]}, "fps": 30} for own in listed
                      ], {"results": [{"results": {"worldLandmarks": own}} for own in listed]}):
        put(tmp_path / "anna" / "1.json", contents)
        (recording,) = read(description)
        np.testing.assert_allclose(recording.frames, frames)
    contents = [{"frame": t, "size": [640, 480]} | ({} if t == 4 else {"worldLandmarks": own})
                for t, own in enumerate(named)]
    put(tmp_path / "anna" / "1.json", contents)
    (recording,) = read(description)
    assert recording.lost["repaired"] == 1
    put(tmp_path / "anna" / "1.json", [{"frame": 1, "size": [640, 480]}] * 3)
    assert "frame 1: expected a frame of the format mediapipe, found frame, size, and none of" in (
        refused_reading(description))


@pytest.mark.parametrize("depth", [300, 5000])
def test_lists_within_lists(described, tmp_path, depth):
    put(tmp_path / "anna" / "1.json", "[" * depth + "]" * depth)
    said = refused_reading(described("mediapipe", "mediapipe", ".json"))
    assert "anna/1.json" in said


@pytest.mark.parametrize("key", ["frame", "timestamp"])
def test_a_counter_that_begins_again(described, tmp_path, caplog, key):
    """Somebody goes on where he was: all frames stay, in two sequences."""
    frames = walk(33, frames=20)
    contents = [{key: 33 * (t % 10), "worldLandmarks": landmarks(pose)}
                for t, pose in enumerate(frames)]
    put(tmp_path / "anna" / "1.json", contents)
    (recording,) = read(described("mediapipe", "mediapipe", ".json"))
    np.testing.assert_allclose(np.concatenate(recording.sequences()), frames)
    assert [len(piece) for piece in recording.sequences()] == [10, 10]
    assert "numbers or times that begin again: 1 in 1 of 1 recordings" in caplog.text
    put(tmp_path / "anna" / "1.json", contents[:10] * 2)  # written twice
    (recording,) = read(described("mediapipe", "mediapipe", ".json"))
    np.testing.assert_allclose(recording.frames, frames[:10])
