"""Simulated raw files: formats, counts, determinism, what tells persons apart, and wrong use."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import raw_data

from skeleton_reid.common.errors import run_command
from skeleton_reid.data import simulate
from skeleton_reid.data.simulation import writers
from skeleton_reid.data.simulation.recording import Request, lost_joints
from skeleton_reid.data.simulation.walkers import GAIT, draw_person, pose, walk

KINECT_V1_FILES = ("BIWI", "IAS")


def run(*words: object) -> None:
    """Run data.simulate in this process, as its command line does."""
    before, sys.argv = sys.argv, ["data.simulate", *map(str, words)]
    try:
        run_command(simulate.main)
    finally:
        sys.argv = before


def digest(folder: Path) -> str:
    """One number for all names and contents below a folder."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return total.hexdigest()


def table(path: Path, separator: str = ",") -> np.ndarray:
    """The numbers of a raw file, a line a row."""
    return np.array([[float(x) for x in line.split(separator)]
                     for line in path.read_text().splitlines()])


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """All five data sets, four persons each."""
    folder = tmp_path_factory.mktemp("simulated")
    for name, recordings, frames in (("BIWI", 2, 40), ("IAS", 1, 60), ("KGBD", 3, 50),
                                     ("KS20", 5, 20), ("CASIA_B", 1, 60)):
        words = ("--persons", 4, "--frames", frames, "--recordings", recordings, "--seed", 3)
        run("--dataset", name, "--raw", folder, *words)
    return folder


def test_ks20_holds_a_file_a_frame_of_25_joints_for_every_setting_and_view(raw):
    root = raw / "KS20"
    views = sorted(path.name for path in root.iterdir() if path.is_dir())
    assert views == sorted(writers.KS20_HEADINGS)
    lengths = []
    for view in writers.KS20_HEADINGS:
        names = [path.name for path in (root / view).iterdir()]
        recordings = {name.rsplit("_", 2)[0] for name in names}
        assert recordings == {f"{s}_body{n}" for s in ("gc1", "gc2", "gc3") for n in (1, 2, 3, 4)}
        lengths += [
            sum(name.startswith(recording + "_") for name in names) for recording in recordings
        ]
    assert max(lengths) == 20
    assert np.mean(np.array(lengths) == 20) > 0.8
    assert min(lengths) >= 10
    joints = table(root / "frontal" / "gc2_body3_100033_skel.txt")
    assert joints.shape == (25, 4)
    np.testing.assert_array_equal(joints[:, 0], np.arange(25))
    assert joints[3, 2] > joints[0, 2] > joints[15, 2]  # y is up: head, hips, foot
    assert (joints[8, 1]
            > joints[4, 1])  # walking towards the sensor, the right shoulder is at larger x
    assert (joints[:, 3] > 1).all() and (joints[:, 3] < 4.5).all()


def test_kgbd_lists_the_joints_from_the_head_on_with_crlf(raw):
    root = raw / "KGBD" / "kinect gait raw dataset"
    assert [path.name for path in sorted(root.iterdir())] == [f"Person00{n}" for n in (1, 2, 3, 4)]
    for person in root.iterdir():
        assert sorted(path.name for path in person.iterdir()) == ["1.txt", "2.txt", "3.txt"]
    lines = (root / "Person001" / "1.txt").read_bytes().split(b"\r\n")
    assert lines.pop() == b""
    assert len(lines) == 20 * 50
    assert [line.split(b";")[0].decode() for line in lines[20:40]] == list(writers.KGBD_JOINTS)
    assert all(len(line.split(b";")) == 4 for line in lines)


@pytest.mark.parametrize("name", KINECT_V1_FILES)
def test_kinect_v1_lines_hold_position_pixel_and_tracking_state(raw, name):
    paths = sorted((raw / name / "Training").glob("*/*skel.txt"))
    lines = table(paths[0])
    assert lines.shape[1] == 14
    assert (lines[:20, 0] == 1).all()  # of the person
    np.testing.assert_array_equal(lines[:20, 9], np.arange(20))
    np.testing.assert_allclose((lines[:20, 10:]**2).sum(axis=1), 1, atol=1e-3)
    seen = lines[:20][lines[:20, 6] > 0]
    assert ((seen[:, 4] > 320) == (seen[:, 1] > 0)).mean() > 0.9  # u grows with x
    assert ((seen[:, 5] < 240) == (seen[:, 2] > 0)).mean() > 0.9  # v falls with y
    assert set(lines[:20, 6]) <= {0, 1, 2}


def test_ias_copies_the_joints_that_its_tracker_lacks_and_biwi_flags_who_is_partly_seen(raw):
    frames = {
        name: [table(path)[:20] for path in sorted((raw / name).rglob("*skel.txt"))]
        for name in KINECT_V1_FILES
    }
    ias, biwi = np.array(frames["IAS"]), np.array(frames["BIWI"])
    for copy, of in ((0, 1), (6, 7), (10, 11), (14, 15), (18, 19)):
        np.testing.assert_array_equal(ias[:, copy, 1:7], ias[:, of, 1:7])
        assert (biwi[:, copy, 1:4] != biwi[:, of, 1:4]).any()
    assert not ias[:, :, 7].any() and 0 < (biwi[:, 0, 7] > 0).mean() < 0.1
    stamps = [
        int(path.name.split("_")[1]) for path in sorted((raw / "BIWI/Training/001").iterdir())
    ]
    assert stamps[1] - stamps[0] == 100  # milliseconds: 10 frames a second


def test_biwi_tests_a_share_of_the_persons_in_both_sets_and_may_add_lines(raw):
    folders = {
        name: sorted((raw / "BIWI" / name).iterdir())
        for name in ("Training", "Testing/Walking", "Testing/Still")
    }
    names = {name: [path.name for path in paths] for name, paths in folders.items()}
    assert names["Training"] == ["001", "002", "003", "004"]
    assert names["Testing/Walking"] == names["Testing/Still"]
    assert len(names["Testing/Still"]) == 2
    walks = [len(list(path.iterdir())) for paths in folders.values() for path in paths]
    assert max(walks) == 80
    heights = {len(path.read_text().splitlines()) for path in (raw / "BIWI").rglob("*_skel.txt")}
    assert heights == {20, 40}


def test_still_people_stand_and_walking_people_move_their_legs(raw):
    def ankle_gap(name: str) -> float:
        folder = min((raw / "BIWI" / "Testing" / name).iterdir())
        frames = np.array([table(path)[:20] for path in sorted(folder.iterdir())])
        frames = frames[(frames[:, :, 6] > 0).all(1)]
        return (frames[:, 14, 3] - frames[:, 18, 3]).std()

    assert 2 * ankle_gap("Still") < ankle_gap(
        "Walking")  # what is left in Still is the tracker's noise


def test_casia_names_are_those_of_the_videos_with_14_joints(raw):
    paths = sorted((raw / "CASIA_B").glob("*.npy"))
    assert len(paths) == 4 * 3 * 11
    assert paths[0].name == "001-bg-01-000.npy"
    frames = [np.load(path) for path in paths]
    assert max(len(video) for video in frames) == 60
    assert {video.shape[1:] for video in frames} == {(14, 3)}
    front, back = (np.load(raw / "CASIA_B" / f"001-nm-01-{view}.npy").mean(0)
                   for view in ("000", "180"))
    assert front[2, 0] > front[5, 0]  # right and left shoulder
    assert back[2, 0] < back[5, 0]
    assert front[0, 1] > front[1, 1] > front[8, 1] > front[10, 1]  # head, neck, hip, ankle


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    for name, (*_, least, _) in simulate.SIMULATIONS.items():
        words = ("--dataset", name, "--persons", 2, "--frames", 12)
        words += ("--recordings", least)
        for folder, seed in (("a", 5), ("b", 5), ("c", 6)):
            run(*words, "--raw", tmp_path / folder, "--seed", seed)
        assert digest(tmp_path / "a" / name) == digest(tmp_path / "b" / name)
        assert digest(tmp_path / "a" / name) != digest(tmp_path / "c" / name)


def test_a_person_does_not_depend_on_the_number_of_persons(tmp_path):
    for persons in (1, 2):
        folder = tmp_path / str(persons)
        run("--dataset", "KGBD", "--raw", folder, "--persons", persons, "--frames", 10,
            "--recordings", 3)
    first, second = (next((tmp_path / n / "KGBD").rglob("Person001/1.txt")).read_bytes()
                     for n in "12")
    assert first == second


def test_a_person_beyond_the_real_set_is_the_same_for_every_number_of_persons():
    few, many = (Request("KGBD", Path(), n, 3, 3, seed=5).actors() for n in (1201, 1300))
    for ours, theirs in zip(few, many, strict=False):
        assert ours.number == theirs.number
    assert ours.number == 1200
    assert ours.random.random_sample() == theirs.random.random_sample()


@pytest.mark.slow
def test_more_persons_than_the_real_set_has(tmp_path):
    """Their numbers take more digits, and every person is in every split."""
    words = ("--frames", 40, "--recordings", 3, "--raw")
    run("--dataset", "KGBD", "--persons", 1003, *words, tmp_path)
    persons = tmp_path / "KGBD" / "kinect gait raw dataset"
    assert sorted(int(path.name[6:]) for path in persons.iterdir()) == [*range(1, 1004)]
    raw_data.run(2, "--dataset", "KGBD", "--raw", tmp_path, "--out", tmp_path, "--stride", 1)
    for split in ("train_npy_data", "test_npy_data/gallery", "test_npy_data/probe"):
        labels = np.load(tmp_path / "KGBD" / "2" / split / "frame_id_KGBD_2.npy")
        assert labels.max() > 1000


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_persons(tmp_path):
    def peak(persons: int) -> int:
        script = (f"from skeleton_reid.data.simulate import simulate\n"
                  f"from pathlib import Path; import resource\n"
                  f"simulate('KGBD', Path({str(tmp_path)!r}), {persons}, 40, 3)\n"
                  f"print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)")
        ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
        return int(ended.stdout)

    assert peak(400) < 1.1 * peak(20)


def test_bone_lengths_differ_more_between_persons_than_within(tmp_path):
    run("--dataset", "KGBD", "--raw", tmp_path, "--persons", 12, "--frames", 60, "--recordings", 4)
    names = list(writers.KGBD_JOINTS)
    bones = [("Knee-Left", "Ankle-Left"), ("Hip-Right", "Knee-Right"),
             ("Hip-centro", "Shoulder-Center")]
    lengths = []  # (persons, recordings, bones)
    for person in sorted((tmp_path / "KGBD" / "kinect gait raw dataset").iterdir()):
        rows = []
        for path in sorted(person.iterdir()):
            text = [line.split(";")[1:] for line in path.read_text().split("\n") if line.strip()]
            frames = np.array(text, float).reshape(-1, 20, 3)
            ends = [(frames[:, names.index(a)], frames[:, names.index(b)]) for a, b in bones]
            rows.append([np.linalg.norm(a - b, axis=-1).mean() for a, b in ends])
        lengths.append(rows)
    lengths = np.array(lengths)
    between = lengths.mean(1).std(0)
    within = lengths.std(1).mean(0)
    assert (between > 1.5 * within).all()
    assert ((lengths > 0.2) & (lengths < 0.8)).all()


def test_joints_are_lost_at_the_stated_rate():
    state = lost_joints(50000, 0.04, np.random.RandomState(0))
    assert state.shape == (50000, 25)
    assert (state == 0).any(1).mean() == pytest.approx(0.04, rel=0.1)


@pytest.mark.parametrize("name", KINECT_V1_FILES)
def test_some_frames_of_the_files_have_lost_joints(tmp_path, name):
    run("--dataset", name, "--raw", tmp_path, "--persons", 6, "--frames", 120, "--recordings", 1)
    states = np.array([table(path)[:20, 6] for path in (tmp_path / name).rglob("*skel.txt")])
    assert 0.02 < (states == 0).any(1).mean() < 0.06


def test_walkers_keep_their_bones_and_stay_on_the_floor():
    random = np.random.RandomState(0)
    person = draw_person(random)
    positions, heading = walk(person, 90, random, heading=0.3, turn=0.1, sway=0.1,
                              centre=np.array([0.0, -0.8, 2.7]))
    assert positions.shape == (90, 25, 3)
    assert heading.shape == (90,)
    shank = np.linalg.norm(positions[:, 13] - positions[:, 14], axis=-1)
    np.testing.assert_allclose(shank, person.lengths["shank"][0, 0])
    assert positions[..., 1].min() > -0.85
    assert positions[:, (14, 18), 1].min(1).max() < -0.7
    assert positions[..., 2].min() > 0.8


def test_legs_alternate_with_the_cadence_and_arms_swing_against_them():
    person = draw_person(np.random.RandomState(1))
    joints = pose(person, np.linspace(0, 2 * np.pi, 60, endpoint=False), 1.0)
    left, right = joints[:, 14, 0], joints[:, 18, 0]  # ankles, forward
    assert np.corrcoef(left, right)[0, 1] < -0.5
    assert np.corrcoef(left, joints[:, 6, 0])[0, 1] < 0
    still = pose(person, np.linspace(0, 2 * np.pi, 60), 0.0)
    np.testing.assert_allclose(still, np.broadcast_to(still[:1], still.shape), atol=1e-12)
    assert set(person.gait) == set(GAIT)


def test_an_earlier_simulation_is_replaced_and_real_recordings_are_not(tmp_path, capsys):
    words = ("--dataset", "KS20", "--raw", tmp_path, "--frames", 3)
    run(*words, "--persons", 2)
    run(*words, "--persons", 1)
    assert not capsys.readouterr().err, "no progress bar but on a terminal"
    assert not list((tmp_path / "KS20").rglob("*body2_*"))
    (tmp_path / "KS20" / simulate.MARKER).unlink()
    with pytest.raises(SystemExit) as end:
        run(*words)
    assert end.value.code == 2
    assert simulate.MARKER in capsys.readouterr().err
    assert list((tmp_path / "KS20").rglob("*body1_*"))


def test_two_simulations_into_one_place_at_once(tmp_path, monkeypatch):
    """One begins while the other writes: each writes its own files, and the last to end stays."""
    words = ("--dataset", "KGBD", "--persons", 2, "--frames", 10, "--raw")
    run(*words, tmp_path / "alone", "--seed", 1)
    outer = simulate.SIMULATIONS["KGBD"]

    def write_beside(request):
        outer[0](request)
        monkeypatch.setitem(simulate.SIMULATIONS, "KGBD", outer)
        run(*words, tmp_path / "both", "--seed", 2)
        assert digest(tmp_path / "both" / "KGBD") != digest(tmp_path / "alone" / "KGBD")

    monkeypatch.setitem(simulate.SIMULATIONS, "KGBD", (write_beside, *outer[1:]))
    run(*words, tmp_path / "both", "--seed", 1)
    assert digest(tmp_path / "both" / "KGBD") == digest(tmp_path / "alone" / "KGBD")
    assert [path.name for path in (tmp_path / "both").iterdir()] == ["KGBD"]


@pytest.mark.parametrize(("problem", "code", "words"),
                         [(OSError("No space left on device"), 2, "No space left on device"),
                          (KeyboardInterrupt(), 130, "run again")])
def test_what_fails_or_is_interrupted_leaves_nothing_new(tmp_path, monkeypatch, capsys, problem,
                                                         code, words):
    def fail(request):
        (request.root / "frontal").mkdir()
        raise problem

    command = ("--dataset", "KS20", "--persons", 1, "--frames", 3, "--raw")
    run(*command, tmp_path / "old")
    before = digest(tmp_path / "old")
    failing = (fail, *simulate.SIMULATIONS["KS20"][1:])
    monkeypatch.setitem(simulate.SIMULATIONS, "KS20", failing)
    for name in ("new", "old"):
        with pytest.raises(SystemExit) as end:
            run(*command, tmp_path / name)
        assert end.value.code == code
    assert capsys.readouterr().err.splitlines()[-1].endswith(words)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert digest(tmp_path / "old") == before
    assert [path.name for path in (tmp_path / "old").iterdir()] == ["KS20"]


@pytest.mark.parametrize("words", [("--dataset", "KS20", "--persons", 21),
                                   ("--dataset", "KS20", "--persons", 0),
                                   ("--dataset", "KS20", "--recordings", 6),
                                   ("--dataset", "KS20", "--recordings", 4),
                                   ("--dataset", "KGBD", "--recordings", 2),
                                   ("--dataset", "KGBD", "--frames", -1),
                                   ("--dataset", "KGBD", "--seed", -1),
                                   ("--dataset", "KGBD", "--frames", "many"), ("--dataset", "MARS"),
                                   ()])
def test_wrong_use_ends_in_one_line_and_exit_code_2(tmp_path, capsys, words):
    with pytest.raises(SystemExit) as end:
        run(*words, "--raw", tmp_path)
    assert end.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", simulate.SIMULATIONS)
def test_the_fewest_recordings_are_enough_for_every_split(tmp_path, name):
    sizes = ("--persons", 3, "--frames", 45, "--recordings", simulate.SIMULATIONS[name][3])
    run("--dataset", name, "--raw", tmp_path, *sizes)
    raw_data.run(6, "--dataset", name, "--raw", tmp_path, "--out", tmp_path / "out")
    folders = list((tmp_path / "out").rglob("split.json"))
    assert folders and all(
        min(raw_data.read_split(file.parent)["windows"].values()) > 0 for file in folders)


@pytest.mark.parametrize("name", ["BIWI", "IAS", "KGBD", "KS20"])
def test_preprocess_reads_what_is_simulated(raw, tmp_path, name):
    raw_data.run(6, "--dataset", name, "--raw", raw, "--out", tmp_path)
    joints = 25 if name == "KS20" else 20
    training, labels, _ = raw_data.read_part(tmp_path / name / "6" / "train_npy_data", f"{name}_6",
                                             joints)
    assert len(np.unique(labels)) == 4
    assert training.shape[1:] == (6, joints, 3)
    assert np.isfinite(training).all()
    assert len(list((tmp_path / name / "6" / "test_npy_data").iterdir())) == 2


def test_preprocess_makes_both_protocols_of_simulated_casia(raw, tmp_path):
    raw_data.run(20, "--dataset", "CASIA_B", "--raw", raw, "--out", tmp_path)
    raw_data.run(40, "--dataset", "CASIA_B", "--raw", raw, "--out", tmp_path)
    assert (tmp_path / "CASIA_B" / "20" / "view_10").is_dir()
    assert (tmp_path / "CASIA_B_match" / "40").is_dir()
