"""Numbers and times of frames in many spellings, and what is said of those that cannot be read."""

import numpy as np
import pytest
from recorders import T, flat, landmarks, put, read, refused_reading, walk
from test_tables import FRAMES, NAMES, table

from skeleton_reid.data import datasets
from skeleton_reid.data.plausible import report
from skeleton_reid.data.raw.moments import frame_numbers, times

CLOCKS = [["11:59:59 PM", "12:00:00 AM", "12:00:01 AM"], ["12:59:59", "01:00:00", "01:00:01"],
          ["23:59:59.0", "00:00:00.0", "00:00:01.0"], ["1:00:00 pm", "1:00:01 pm", "1:00:02 pm"],
          ["2024-01-01 23:59:59", "2024-01-02 00:00:00", "2024-01-02 00:00:01"],
          ["10:00:01:000", "10:00:02:000", "10:00:03:000"],
          ["1/2/2024 9:00:01 AM", "1/2/2024 9:00:02 AM", "1/2/2024 9:00:03 AM"],
          ["1 s", "2 s", "3 s"], ["1,0", "2,0", "3,0"], [5, "6", 7.0], ["1e3", "1001", "1002"]]


@pytest.mark.parametrize("values", CLOCKS)
def test_times_a_second_apart(values):
    np.testing.assert_allclose(np.diff(times(values)), 1)


@pytest.mark.parametrize("value", ["", None, "noon", "NaN", "-", "a:b", [1], True])
def test_what_is_no_time(value):
    assert np.isnan(times([1, value])).tolist() == [False, True]


@pytest.mark.parametrize(("values", "expected"), [(["v_2.jpg", "v_10.jpg", "v_2.jpg"], [2, 10, 2]),
                                                  (["b.jpg", "a.jpg", "c.jpg"], [1, 0, 2]),
                                                  (["c1_1", "c1_2", "c2_1"], [0, 1, 2]),
                                                  ([7, 9], [7, 9])])
def test_numbers_of_frames(values, expected):
    assert frame_numbers(values).tolist() == expected


def written(folder, clock: list[str], name: str = "Time") -> None:
    put(folder / "anna" / "1.csv", table(FRAMES, NAMES, **{name: clock}))


def test_a_time_that_cannot_be_read_is_named(described, tmp_path, caplog):
    clock = [f"{t}" for t in range(T)]
    written(tmp_path, [*clock[:5], "", *clock[6:]])
    (recording,) = read(described("coco", "csv", ".csv"))
    np.testing.assert_array_equal(recording.frames, FRAMES)
    assert "times (time) that cannot be read: 14 (name another column, or `time: none`)" in (
        caplog.text)
    caplog.clear()
    (recording,) = read(described("coco", "csv", ".csv", time="none"))
    assert not caplog.text and recording.lost == {}
    said = refused_reading(described("coco", "csv", ".csv", time="Time"))
    assert "line 7, column Time: expected a number or a time, found ''" in said
    put(tmp_path / "anna" / "1.json",
        [{"timestamp": "?", "worldLandmarks": [landmarks(pose)]} for pose in walk(33)])
    read(described("mediapipe", "mediapipe", ".json"))
    assert "times (timestamp) that cannot be read: 14" in caplog.text
    said = refused_reading(described("mediapipe", "mediapipe", ".json", time="timestamp"))
    assert "frame 1, key timestamp: expected a number or a time, found '?'; name another" in said


@pytest.mark.parametrize(
    ("name", "step", "words"),
    [("CaptureTime", 1 / 30, "frames a second (medians)\n"),
     ("Uhr", 1 / 30, "(medians); frames a second: not known\n"),
     ("CaptureTime", 0.5,
      "frames a second: not known (0.5 from one time to the next, in no unit 5 to")])
def test_what_is_said_of_the_rate(name, step, words, described, tmp_path, capsys):
    written(tmp_path, [f"{t * step:.4f}" for t in range(T)], name)
    description = described("coco", "csv", ".csv")
    report(datasets.get(str(description)), read(description), ["train"])
    assert words in capsys.readouterr().out.replace("\n  ", " ")


def test_a_walk_past_midnight(described, tmp_path):
    """Frame 3 is missing."""
    seconds = (86395 + np.delete(np.arange(T + 1), 3)) % 86400
    written(tmp_path,
            [f"{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}" for s in seconds.tolist()])
    (recording,) = read(described("coco", "csv", ".csv"))
    assert [len(piece) for piece in recording.sequences()] == [3, T - 3]
    np.testing.assert_array_equal(np.concatenate(recording.sequences()), FRAMES)


def test_results_whose_names_do_not_count_are_ordered_by_name(described, tmp_path):
    frames = walk(17)
    entries = [{"image_id": f"{chr(97 + t)}.jpg", "keypoints": flat(pose)}
               for t, pose in enumerate(frames)]
    put(tmp_path / "anna" / "1.json", entries[::-1])
    (recording,) = read(described("coco", "coco", ".json"))
    np.testing.assert_array_equal(recording.frames[..., :2], frames[..., :2])
    ids = np.random.RandomState(0).permutation(T).tolist()
    images = [{"id": i, "file_name": f"walk_{t:04d}.jpg"} for t, i in enumerate(ids)]
    entries = [own | {"image_id": i} for own, i in zip(entries, ids, strict=True)]
    put(tmp_path / "anna" / "1.json", {"images": images, "annotations": entries[::-1]})
    (recording,) = read(described("coco", "coco", ".json"))
    np.testing.assert_array_equal(recording.frames[..., :2], frames[..., :2])
    assert recording.lost == {}


@pytest.mark.parametrize(("sign", "rate"), [(":", 30), (";", 25)])
def test_time_codes_count_frames(sign, rate):
    codes = [f"00:00:{t // rate:02d}{sign}{t % rate:02d}" for t in range(2 * rate)]
    np.testing.assert_allclose(np.diff(times(codes)), 1 / rate, atol=1e-6)
    np.testing.assert_allclose(np.diff(times(codes[:10])), 1)  # of which rate is not known
    np.testing.assert_allclose(np.diff(times(["10:00:00:999", "10:00:01:001"])), 0.002, atol=1e-6)
