"""Preprocessing against the released code's arrays and a slow obvious version."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from raw_data import random_kgbd, read_part, read_split, run, write_casia_b, write_kgbd

from skeleton_reid import data
from skeleton_reid.data.datasets import DATASETS
from skeleton_reid.data.files import provenance
from skeleton_reid.data.prepare import cut_windows, split_windows, starts
from skeleton_reid.data.raw.formats import RAW, arrange, find
from skeleton_reid.data.raw.splits import TRAIN, Arrangement

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def ours(released_trees, tmp_path_factory) -> Path:
    """The same raw trees by preprocess.py with seed 0."""
    out = tmp_path_factory.mktemp("ours")
    run(6, "--raw", released_trees, "--out", out)
    return out


def parts(dataset: str, root: Path, joints: int = 20) -> dict:
    """All splits of a data set at f = 6."""
    row, folder = data.DATASETS[dataset], root / dataset / "6"
    folders = {TRAIN: folder / "train_npy_data"}
    folders |= {split: folder / "test_npy_data" / split for split in row.splits}
    return {split: read_part(place, f"{dataset}_6", joints) for split, place in folders.items()}


@pytest.mark.parametrize("dataset", ["BIWI", "KGBD"])
def test_files_equal_the_released_ones(dataset, released_trees, ours):
    """KGBD too: seed 0 draws what the released code drew for these files under
    numpy.random.seed(0).
    """
    expected, found = parts(dataset, released_trees / "Datasets"), parts(dataset, ours)
    for split, (windows, labels, ids) in expected.items():
        assert np.array_equal(found[split][0], windows)
        assert np.array_equal(found[split][1], labels) and found[split][1].dtype == labels.dtype
        assert found[split][2] == ids


def test_ias_files_equal_the_released_ones_but_for_labels(released_trees, ours):
    expected, found = parts("IAS", released_trees / "Datasets"), parts("IAS", ours)
    for split, (windows, labels, _) in expected.items():
        assert np.array_equal(found[split][0], windows)
        # Folders p0, p1, p10, p2; set B has no p1, and the released code gave its p10 the label of
        # p1.
        same = np.array([0, 2, 3]) if split == "B" else np.arange(4)
        assert np.array_equal(found[split][1], same[labels])


def test_ks20_recordings_go_where_their_setting_belongs(released_trees, ours):
    expected = json.loads((released_trees / "ks20_assignment.json").read_text())
    rows = read_split(ours / "KS20" / "6")["recordings"]
    assert rows.keys() == expected.keys()
    for name, row in rows.items():
        assert row["split"] == expected[name]["by_own_setting"].replace("Train", TRAIN)
        assert (row["person"] == expected[name]["person"]
                and row["frames"] == expected[name]["frames"])


def test_ks20_windows_equal_the_released_ones(released_trees):
    """Wherever the released code put a recording where its setting belongs: same windows, same
    order.
    """
    expected = json.loads((released_trees / "ks20_assignment.json").read_text())
    recordings = RAW["KS20"].read(find(DATASETS["KS20"], released_trees), "kinect")
    right = [recording for recording in recordings if len(expected[recording.name]["got"]) == 1]
    right = [
        own for own in right if expected[own.name]["by_own_setting"] in expected[own.name]["got"]
    ]
    assert len(right) > 35
    splits = [expected[own.name]["by_own_setting"].replace("Train", TRAIN) for own in right]
    pairs = list(zip(right, splits, strict=True))
    arrangement = Arrangement(pairs, (TRAIN, "gallery", "probe"))
    found = dict(split_windows(DATASETS["KS20"], arrangement, 6))
    for split, (windows, _, _) in parts("KS20", released_trees / "Datasets", joints=25).items():
        own = [window.tobytes() for window in found[split].skeletons]
        counts = [
            sum(expected[r.name]["got"].values()) for r, s in zip(right, splits, strict=True)
            if s == split
        ]
        assert len(own) == sum(counts)
        assert [window.tobytes() for window in windows if window.tobytes() in set(own)] == own


def test_every_published_length(released_trees, tmp_path):
    run("all", "--raw", released_trees, "--out", tmp_path, "--dataset", "KS20")
    run(4, 8, 12, "--raw", released_trees, "--out", tmp_path, "--dataset", "BIWI")
    assert sorted(int(path.name) for path in (tmp_path / "KS20").iterdir()) == [4, 6, 8, 10, 12]
    assert sorted(int(path.name) for path in (tmp_path / "BIWI").iterdir()) == [4, 8, 12]
    for length in (4, 12):
        loaded = data.load("KS20", "probe", length, tmp_path, balance=False)
        assert loaded.probe.skeletons.shape[1:] == (length, 25, 3)
    splits = [
        read_split(tmp_path / "KS20" / str(length))["recordings"] for length in (4, 6, 8, 10, 12)
    ]
    assert all(split == splits[0] for split in splits)


def slow_windows(recordings, labels, length, shifts, stride, joints=20):
    """The windows and labels by loops: for shift, for recording, for window."""
    windows, window_labels = [], []
    for shift in shifts:
        for frames, label in zip(recordings, labels, strict=True):
            start = shift
            while start + length <= len(frames):
                windows.append([frames[start + i] for i in range(length)])
                window_labels.append(label)
                start += stride
    return np.array(windows).reshape(-1, length, joints, 3), np.array(window_labels)


@pytest.mark.parametrize("length", [2, 3, 4, 6, 7, 12])
def test_windows_equal_a_slow_version(length):
    random = np.random.RandomState(length)
    recordings = [random.normal(size=(random.randint(30), 20, 3)) for _ in range(12)]
    labels = random.randint(5, size=12).tolist()
    for overlap, shifts, stride in (("none", [0], length), ("half", [0], length // 2),
                                    ("shifts", range(length), length // 2)):
        windows = cut_windows(recordings, labels, length, *starts(overlap, length))
        expected, expected_labels = slow_windows(recordings, labels, length, shifts, stride)
        assert np.array_equal(windows.skeletons, expected)
        assert np.array_equal(windows.labels, expected_labels)
        numbers = slow_windows(recordings, range(12), length, shifts, stride)[1]
        assert np.array_equal(windows.recordings, numbers)


@pytest.mark.filterwarnings("ignore:IAS A")
@pytest.mark.parametrize("dataset", ["BIWI", "IAS", "KGBD", "KS20"])
def test_windows_know_their_recording(dataset, ours):
    """Its number in split.json, whose person and split are the window's; resampling keeps it."""
    rows = list(read_split(ours / dataset / "6")["recordings"].values())
    probe = next(iter(data.DATASETS[dataset].gallery_of))
    sets = data.load(dataset, probe, 6, ours, balance=False, shuffle=False)
    for part in (sets.train, sets.probe, sets.gallery):
        assert part.recordings.dtype == np.int64
        assert [rows[number]["person"] for number in part.recordings] == part.labels.tolist()
        assert len({rows[number]["split"] for number in part.recordings}) == 1
    drawn = data.load(dataset, probe, 6, ours, balance=True, batch_size=16)
    assert np.array_equal(drawn.train.recordings, sets.train.recordings[drawn.order])
    assert data.load_recognition(dataset, None, 6, ours, balance=False).train.recordings is not None


def test_windows_drawn_at_random(released_trees, ours, tmp_path):
    """Each window is in one split, each split as large as before, in order of person."""
    words = ("--dataset", "KGBD", "--split", "windows", "--seed", 0)
    run(6, "--raw", released_trees, "--out", tmp_path, *words)
    assert read_split(tmp_path / "KGBD" / "6")["split"] == "windows"
    before, drawn = (data.load("KGBD", "probe", 6, root, shuffle=False)
                     for root in (ours, tmp_path))
    rows = list(read_split(ours / "KGBD" / "6")["recordings"].values())
    windows = [set(), set()]
    for part in ("train", "probe", "gallery"):
        for own, seen in zip((before, drawn), windows, strict=True):
            seen |= {x.tobytes() for x in getattr(own, part).skeletons}
        own = getattr(drawn, part)
        assert len(own) == len(getattr(before, part))
        assert (np.diff(own.labels) >= 0).all()
        assert [rows[number]["person"] for number in own.recordings] == own.labels.tolist()
        assert len({rows[number]["split"] for number in own.recordings}) == 3
    assert windows[0] == windows[1]


@pytest.mark.parametrize(("dataset", "stride"), [("KS20", 2), ("KGBD", 9)])
def test_a_stride_is_that_of_all_windows(released_trees, tmp_path, dataset, stride):
    words = (6, "--raw", released_trees, "--dataset", dataset, "--stride", stride, "--out")
    run(*words, tmp_path)
    folder = tmp_path / dataset / "6"
    note = read_split(folder)
    assert note["stride"] == stride == provenance(dataset, 6, tmp_path)["stride"]
    found = data.load(dataset, "probe", 6, tmp_path, balance=False, shuffle=False, centred=False)
    recordings = RAW[dataset].read(find(DATASETS[dataset], released_trees), "kinect")
    for split, part in (("train", found.train), ("gallery", found.gallery), ("probe", found.probe)):
        own = [each for each in recordings if note["recordings"][each.name]["split"] == split]
        ends = RAW[dataset].cut(split)
        pieces = [piece for each in own for piece in each.sequences(*ends)]
        expected, _ = slow_windows(pieces, [0] * len(pieces), 6, [0], stride,
                                   part.skeletons.shape[2])
        assert np.array_equal(part.skeletons, expected.astype(np.float32))
    run(*words, tmp_path / "drawn", "--split", "windows")
    assert read_split(tmp_path / "drawn" / dataset / "6")["windows"] == note["windows"]


def test_a_floor_that_tells_persons_is_said(tmp_path, capsys, caplog):
    frames = random_kgbd(persons=4, recordings=4, length=40)
    write_kgbd(tmp_path / "same" / "Data", frames)
    raised = {name: np.add(own, [0, 5.0 * int(name[6:9]), 0]) for name, own in frames.items()}
    write_kgbd(tmp_path / "other" / "Data", raised)
    run(6, "--raw", tmp_path / "same", "--out", tmp_path / "out")
    assert " m between persons, " in capsys.readouterr().out and "tells persons" not in caplog.text
    run(6, "--raw", tmp_path / "other", "--out", tmp_path / "out")
    heights = [[own[..., 1].min(axis=1).mean() for name, own in raised.items() if person in name]
               for person in ("001", "002", "003", "004")]
    between = np.std(np.mean(heights, axis=1), ddof=1)
    assert f"{between:.3f} m between persons" in capsys.readouterr().out
    assert "tells persons" in caplog.text


@pytest.mark.parametrize(("dataset", "persons"), [("BIWI", {"1": "001"}), ("IAS", {"0": "p0"}),
                                                  ("KGBD", {"1": "Person001"}),
                                                  ("KS20", {"0": "body1"})])
def test_names_of_persons_are_those_of_the_raw_data(ours, dataset, persons):
    assert persons.items() <= read_split(ours / dataset / "6")["persons"].items()


def test_same_seed_same_files_other_seed_other_split(released_trees, tmp_path):
    for out, seed in (("a", 3), ("b", 3), ("c", 4)):
        for dataset in ("KGBD", "KS20"):
            run(6, "--raw", released_trees, "--out", tmp_path / out, "--dataset", dataset, "--seed",
                seed)
    files = [
        path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()
    ]
    assert len(files) == 44 + 5 * 15  # the five views of KS20
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    for dataset in ("KGBD", "KS20"):
        a, c = (read_split(tmp_path / out / dataset / "6")["recordings"] for out in "ac")
        assert a != c


def test_views_of_ks20(ours):
    """View 0 ... 4: left lateral to right lateral; each is tested, the other four train."""
    names = ("left_lateral", "left_diagonal", "frontal", "right_diagonal", "right_lateral")
    for view, name in enumerate(names):
        sets = data.load_recognition("KS20", None, root=ours, view=view)
        rows = read_split(sets.paths["test"].parent)["recordings"]
        assert all(
            (row["split"] == "test") == path.startswith(f"{name}/") for path, row in rows.items())
        assert sets.length == 6 and sets.paths["test"].name == "KS20_test_npy_data"
        assert len(sets.train) > len(sets.tests["test"]) > 0


def test_kgbd_draw_gives_every_split_its_number(tmp_path):
    frames = random_kgbd(persons=6, recordings=5, length=40)
    del frames["Person002/5.txt"], frames["Person002/4.txt"]
    write_kgbd(tmp_path / "KGBD" / "Data", frames)
    recordings = RAW["KGBD"].read(find(DATASETS["KGBD"], tmp_path), "kinect")
    (arrangement,) = arrange(DATASETS["KGBD"], recordings, 0)
    for person in range(1, 7):
        splits = sorted(split for own, split in arrangement.pairs if own.person == person)
        rest = 1 if person == 2 else 2
        assert splits == ["gallery"] * (1 if person == 2 else 2) + ["probe"] + [TRAIN] * rest


def test_identical_recordings_are_kept_with_a_warning(tmp_path, caplog):
    frames = random_kgbd(persons=2, recordings=4, length=30)
    frames |= {f"Person001/{i}.txt": frames["Person001/1.txt"] for i in range(1, 5)}
    write_kgbd(tmp_path / "Data", frames)
    run(6, "--raw", tmp_path, "--out", tmp_path / "out")
    assert "are identical" in caplog.text
    assert len(read_split(tmp_path / "out" / "KGBD" / "6")["recordings"]) == 8


@pytest.mark.parametrize("terminal", [True, False])
def test_short_recordings_are_counted(terminal, tmp_path, capsys, monkeypatch):
    """A warning fits the terminal; in a file it is a line."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    frames = random_kgbd(persons=3, recordings=5, length=40)
    frames |= {"Person002/3.txt": np.ones((25, 20, 3)), "Person003/1.txt": np.zeros((3, 20, 3))}
    write_kgbd(tmp_path / "Data", frames)
    run(6, "--raw", tmp_path, "--out", tmp_path / "out")
    *_, last = capsys.readouterr().err.split("\nwarning: ")
    assert last.replace("\n  ", " ").startswith("KGBD, f = 6: 2 of 15 recordings are too short")
    assert ("\n  " in last) == terminal


def test_casia_b_protocols(tmp_path):
    videos = write_casia_b(tmp_path / "CASIA_B", persons=5, frames=50)
    run(40, "--raw", tmp_path, "--out", tmp_path / "out", "--dataset", "CASIA_B")

    def joined(name: str, starts: list[int]) -> list[np.ndarray]:
        return [videos[name][start:start + 40] for start in starts]

    match = tmp_path / "out" / "CASIA_B_match" / "40"
    windows, labels, ids = read_part(match / "CASIA_B_train_npy_data", "CASIA_B_40", 14)
    trained = [name for name in sorted(videos)
               if int(name[:3]) <= 2]  # the first half of five persons
    assert np.array_equal(windows, np.array([w for name in trained for w in joined(name, [0])]))
    assert labels.tolist() == [int(name[:3]) for name in trained]
    assert ids == {1: [0, 1, 2, 3, 4], 2: [5, 6, 7, 8]}
    for condition in ("nm", "cl"):
        _, labels, _ = read_part(match / "CASIA_B_test_npy_data" / condition, "CASIA_B_40", 14)
        assert labels.tolist() == [3, 3, 4, 4, 5, 5]
    assert not (match / "CASIA_B_test_npy_data" / "bg").exists()

    views = tmp_path / "out" / "CASIA_B" / "40"
    assert sorted(path.name for path in views.iterdir()) == ["view_0", "view_1", "view_10"]
    windows, labels, _ = read_part(views / "view_1" / "CASIA_B_test_npy_data", "CASIA_B_40", 14)
    tested = [name for name in sorted(videos) if name.endswith("018")]
    assert np.array_equal(windows, np.array([w for name in tested for w in joined(name, [0])]))
    _, labels, _ = read_part(views / "view_1" / "CASIA_B_train_npy_data", "CASIA_B_40", 14)
    assert len(labels) == len(videos) - len(tested)
    loaded = data.load("CASIA_B", "cl.nm", 40, tmp_path / "out", balance=False)
    assert loaded.probe.skeletons.shape == (6, 40, 14, 3)


def test_casia_b_training_windows_overlap_by_half(tmp_path):
    write_casia_b(tmp_path / "CASIA_B", persons=2, frames=80)
    run(40, "--raw", tmp_path, "--out", tmp_path / "out")
    counts = read_split(tmp_path / "out" / "CASIA_B_match" / "40")["windows"]
    assert counts == {"train": 5 * 3, "nm": 2 * 2, "cl": 2 * 2}


def test_casia_b_published_lengths_by_protocol(tmp_path):
    write_casia_b(tmp_path / "CASIA_B", persons=2, frames=71)
    run("all", "--raw", tmp_path, "--out", tmp_path / "out", "--dataset", "CASIA_B")
    lengths = {
        name: sorted(p.name for p in (tmp_path / "out" / name).iterdir())
        for name in ("CASIA_B", "CASIA_B_match")
    }  # fmt: skip
    assert lengths == {"CASIA_B": ["20", "30", "40"], "CASIA_B_match": ["40", "50", "60", "70"]}


@pytest.mark.slow
def test_real_kgbd_in_full(tmp_path):
    """Every frame of the real recordings, the sizes of a draw, and the time and memory that it may
    take.
    """
    source = ROOT.parent / "shared" / "kgbd"
    if not (source / "unpack.py").exists():
        pytest.skip(f"the real KGBD is not there ({source})")
    subprocess.run([sys.executable, source / "unpack.py", tmp_path], check=True,
                   capture_output=True)
    code = ("import preprocess, resource, sys, time; start = time.time(); preprocess.main();"
            "print(time.time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)")
    command = [
        sys.executable, "-c", code, "6", "--dataset", "KGBD", "--raw", tmp_path, "--out", tmp_path
    ]
    command += ["--joint_order", "file"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, kilobytes = map(float, done.stdout.splitlines()[-1].split())
    assert seconds < 60 and kilobytes < 4 * 1024**2
    assert "Person064/4.txt" in done.stderr and "identical" in done.stderr
    note = read_split(tmp_path / "KGBD" / "6")
    assert len(note["recordings"]) == 822
    for split, published in (("train", 31573), ("gallery", 31680), ("probe", 15626)):
        assert abs(note["windows"][split] / published - 1) < 0.05
    raw = np.load(source / "kgbd_mm.npz")
    windows, labels, _ = read_part(tmp_path / "KGBD" / "6" / "test_npy_data" / "probe", "KGBD_6",
                                   20)
    expected = []
    for person, walk, start, stop in zip(raw["person"], raw["walk"], raw["offset"][:-1],
                                         raw["offset"][1:], strict=True):
        if note["recordings"][f"Person{person:03d}/{walk}.txt"]["split"] == "probe":
            kept = raw["xyz_mm"][start + 10:stop - 10]
            expected.append(kept[:len(kept) // 6 * 6] / 1000)
    assert np.array_equal(windows.reshape(-1, 20, 3), np.concatenate(expected))
    assert len(set(labels.tolist())) == 164
