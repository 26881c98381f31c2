"""The loader against the released code's arrays, in every layout, and on random data against
loops.
"""

import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from archives import unpack

from skeleton_reid import data
from skeleton_reid.common.errors import InputError
from skeleton_reid.data import files
from skeleton_reid.data.layouts import locate
from skeleton_reid.data.sampling import class_balanced, training_order

# Case of the golden file -> data set, probe and batch size of the released run.
CASES = {
    "KS20_probe": ("KS20", "probe", 16), "KS20_gallery": ("KS20", "probe", 16),
    "IAS_A": ("IAS", "A", 10), "BIWI_Walking": ("BIWI", "Walking", 12),
    "BIWI_Still": ("BIWI", "Still", 12), "KGBD_gallery": ("KGBD", "probe", 16),
    "CASIA_B_nm": ("CASIA_B", "nm.nm", 16), "CASIA_B_bg": ("CASIA_B", "bg.nm", 16)
}


@pytest.fixture(scope="module")
def released(golden, tmp_path_factory) -> Path:
    """The made-up data sets that the released loader was given (here in float32, without CASIA_B's
    cl).
    """
    root = tmp_path_factory.mktemp("released")
    unpack(golden("loader_datasets.tar.xz"), root)
    return root / "Datasets"


@pytest.mark.parametrize("case", CASES)
def test_order_and_skeletons_equal_the_released_ones(golden, released, case):
    arrays, (dataset, probe, batch_size) = np.load(golden("loader.npz")), CASES[case]
    rng = np.random.RandomState(0)
    loaded = data.load(dataset, probe, root=released, rng=rng, batch_size=batch_size)
    order = arrays[f"{case}__sampled_index"][arrays[f"{case}__permutation"]]
    np.testing.assert_array_equal(loaded.order, order)
    if f"{case}__next_random" in arrays:
        assert rng.random_sample() == arrays[f"{case}__next_random"]
    tests = loaded.gallery if case.endswith("gallery") else loaded.probe
    for skeletons, split in ((loaded.train.skeletons, "train"), (tests.skeletons, "test")):
        for first in ("first2", "first4"):
            if f"{case}__X_{split}_J_{first}" in arrays:
                expected = arrays[f"{case}__X_{split}_J_{first}"]
                np.testing.assert_allclose(skeletons[:len(expected)], expected, atol=1e-6)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["<f8", ">f8", "<f4", "<i2"])
def test_windows_read_by_blocks_equal_whole_arrays(write_dataset, tmp_path, monkeypatch, kind,
                                                   order):
    """Whatever the numbers' type and order in the file: in float64 until they are centred."""
    write_dataset(tmp_path, "KS20", 6, 3, 30, np.random.RandomState(0))
    row = data.DATASETS["KS20"]
    part = locate(row, ["train"], 6, tmp_path)["train"]
    (part.folder / "checksums.json").unlink(missing_ok=True)
    axes = [1000 * np.load(part.axis(axis)) for axis in "xyz"]
    for axis, values in zip("xyz", axes, strict=True):
        np.save(part.axis(axis), np.asarray(values, kind, order))
    skeletons = np.stack([np.asarray(values, kind).astype(float) for values in axes], axis=-1)
    skeletons = skeletons.reshape(-1, 6, 25, 3)
    centred = skeletons - row.skeleton.mean(row.skeleton.root, skeletons)
    monkeypatch.setattr(files, "BLOCK", 50)
    for centre, expected in ((True, centred), (False, skeletons)):
        found = files.read_split(part, row.skeleton, centre).skeletons
        assert found.dtype == np.float32
        assert np.array_equal(found, expected.astype(np.float32))


@pytest.mark.parametrize("case", ["csg0", "csg1"])
def test_resampling_equals_that_of_sm_sge(golden, case):
    arrays = np.load(golden("smsge_data.npz"))
    labels, rng = arrays[f"{case}/labels"], np.random.RandomState(int(arrays[f"{case}/seed"]))
    index = class_balanced(labels, int(arrays[f"{case}/batch_size"]), rng)
    np.testing.assert_array_equal(index, arrays[f"{case}/index"])


def test_data_of_sm_sge(golden, tmp_path):
    """Its folder names, its one test set, its order (without a permutation), the sum of every
    sequence.
    """
    arrays = np.load(golden("smsge_data.npz"))
    for split, prefix in (("train", "source"), ("test", "t_source")):
        folder = tmp_path / "KS20" / "6" / f"KS20_{split}_npy_data"
        folder.mkdir(parents=True)
        for axis in "xyz":
            np.save(folder / f"{prefix}_{axis}_KS20_6.npy", arrays[f"KS20/{split}_{axis}"])
        np.save(folder / "frame_id_KS20_6.npy", arrays[f"KS20/{split}_labels"])
    loaded = data.load_recognition("KS20", root=tmp_path, seed=int(arrays["KS20/seed"]),
                                   batch_size=int(arrays["KS20/batch_size"]), shuffle=False)
    assert tuple(loaded.tests) == ("probe",)
    for sequences, split in ((loaded.train, "train"), (loaded.tests["probe"], "test")):
        np.testing.assert_allclose(sequences.skeletons[:3], arrays[f"KS20/X_{split}_J_head"],
                                   rtol=0, atol=1e-6)
        sums = sequences.skeletons.sum(axis=(1, 2, 3), dtype=np.float64)
        np.testing.assert_allclose(sums, arrays[f"KS20/X_{split}_J_sum"], atol=1e-4)
        np.testing.assert_array_equal(sequences.labels, arrays[f"KS20/y_{split}"].argmax(axis=1))


def balanced_in_loops(labels, batch_size, rng):
    persons = sorted(set(labels.tolist()))
    share = batch_size // len(persons)
    chosen = []
    for i in range(2 * (len(labels) // batch_size)):
        for person in persons:
            windows = [n for n in range(len(labels)) if labels[n] == person]
            mine = windows[i * share:(i + 1) * share]
            if len(mine) < share:
                mine = list(rng.choice(windows, share))
            chosen += mine
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_resampling_equals_loops(seed):
    draw = np.random.RandomState(seed)
    labels = draw.permutation(np.repeat(draw.choice(90, 7, replace=False), draw.randint(1, 60, 7)))
    batch_size = int(draw.randint(7, 40))
    labels = np.concatenate([labels, np.repeat(labels[0],
                                               batch_size)])  # never fewer than one batch
    fast, slow = np.random.RandomState(seed), np.random.RandomState(seed)
    index = class_balanced(labels, batch_size, fast)
    np.testing.assert_array_equal(index, balanced_in_loops(labels, batch_size, slow))
    assert fast.random_sample() == slow.random_sample(), "the stream is used up equally far"
    counts = np.unique(labels[index], return_counts=True)[1]
    assert len(set(counts)) == 1, "every person has the same share"


def test_settings_of_the_order(tmp_path, write_dataset):
    write_dataset(tmp_path, "IAS", 6, 3, 5, np.random.RandomState(0))
    load = partial(data.load, "IAS", "A", root=tmp_path, batch_size=6)
    assert len(load().train) == 24
    np.testing.assert_array_equal(np.sort(load(balance=False).order), np.arange(15))
    np.testing.assert_array_equal(load(balance=False, shuffle=False).order, np.arange(15))
    np.testing.assert_array_equal(load(seed=3).order, load(rng=np.random.RandomState(3)).order)
    assert not np.array_equal(load(seed=3).order, load(seed=4).order)
    assert load(train=False).train is None
    np.testing.assert_array_equal(training_order(np.zeros(4), 99, None, False, False), np.arange(4))


def test_hip_is_the_origin_and_far_coordinates_keep_their_digits(tmp_path, write_dataset,
                                                                 centred=True):
    part = write_dataset(tmp_path, "KS20", 6, 2, 3, np.random.RandomState(0))["probe"]
    raw = np.stack([np.load(part.axis(axis)) for axis in "xyz"], axis=-1).reshape(6, 6, 25, 3)
    for axis in "xyz":
        np.save(part.axis(axis), np.load(part.axis(axis)) + 4096.0)
    probe = data.load("KS20", "probe", root=tmp_path, train=False).probe
    assert probe.skeletons.dtype == np.float32 and probe.labels.dtype == np.int64
    np.testing.assert_array_equal(probe.skeletons[:, :, 0], 0)
    np.testing.assert_allclose(probe.skeletons, raw - raw[:, :, :1], atol=1e-6)
    raw_probe = data.load("KS20", "probe", root=tmp_path, train=False, centred=False).probe
    np.testing.assert_allclose(raw_probe.skeletons, raw + 4096, rtol=1e-6)


# Data set, layout's number, length, view, and a file of each layout as published.
LAYOUTS = [
    ("KS20", 0, 6, None, "KS20/6/train_npy_data/source_x_KS20_6.npy"),
    ("KS20", 0, 6, None, "KS20/6/test_npy_data/gallery/t_source_z_KS20_6.npy"),
    ("BIWI", 0, 8, None, "BIWI/8/test_npy_data/Still/frame_id_BIWI_8.npy"),
    ("IAS", 2, 6, None, "IAS/6/IAS_test_npy_data/t_source_x_IAS-A_6.npy"),
    ("IAS", 2, 6, None, "IAS/6/IAS_test_npy_data/ids_IAS-B_6.npy"),
    ("IAS", 3, 6, None, "IAS_test_npy_data/t_source_x_IAS-B_6.npy"),
    ("IAS", 3, 6, None, "IAS_train_npy_data/source_y_IAS_6.npy"),
    ("BIWI", 2, 10, None, "BIWI/10/BIWI_test_npy_data/t_source_x_BIWI_10.npy"),
    ("KGBD", 3, 6, None, "KGBD_test_npy_data/frame_id_KGBD_6.npy"),
    ("CASIA_B", 1, 40, None, "CASIA_B_match/40/CASIA_B_train_npy_data/source_x_CASIA_B_40.npy"),
    ("CASIA_B", 1, 40, None, "CASIA_B_match/40/CASIA_B_test_npy_data/cl/t_source_x_CASIA_B_40.npy"),
    ("CASIA_B", 1, 20, 10, "CASIA_B/20/view_10/CASIA_B_test_npy_data/t_source_x_CASIA_B_20.npy"),
    ("CASIA_B", 0, 20, 3, "CASIA_B/20/view_3/train_npy_data/source_x_CASIA_B_20.npy")
]


@pytest.mark.parametrize(("dataset", "layout", "length", "view", "file"), LAYOUTS)
def test_every_layout_is_read(tmp_path, write_dataset, dataset, layout, length, view, file):
    parts = write_dataset(tmp_path, dataset, length, 3, 4, np.random.RandomState(0), layout, view)
    assert (tmp_path / file).is_file()
    row, settings = data.DATASETS[dataset], {"length": length, "root": tmp_path, "batch_size": 3}
    if view is not None or row.recognition:
        loaded = data.load_recognition(dataset, view=view, **settings)
        assert set(loaded.tests) == ({"test"} if view is not None else set(parts)
                                     & set(row.recognition))
        added = len(set(parts) & set(row.recognition_train))
        windows = 12 * (1 + added)
        assert len(loaded.train) == (2 * windows if row.balanced else windows)
    for probe in row.gallery_of if view is None else ():
        if set(row.pair(probe)) <= set(parts):
            loaded = data.load(dataset, probe, **settings)
            assert loaded.probe.skeletons.shape == (12, length, len(row.skeleton), 3)
            assert loaded.same_set == (row.pair(probe)[0] == row.pair(probe)[1])
            assert loaded.paths["train"] == parts["train"].folder
        else:
            with pytest.raises(InputError, match=r"but not (gallery|Still);"):
                data.load(dataset, probe, **settings)


def test_the_projects_own_layout_is_looked_for_first(tmp_path, write_dataset):
    for layout in (3, 2, 0):
        parts = write_dataset(tmp_path, "IAS", 6, 2, 3, np.random.RandomState(layout), layout)
        loaded = data.load("IAS", "B", root=tmp_path, batch_size=2)
        assert loaded.paths["A"] == parts["A"].folder


def test_recognition_protocols(tmp_path, write_dataset):
    rng = np.random.RandomState(0)
    settings = {"root": tmp_path, "balance": False, "shuffle": False}
    parts = write_dataset(tmp_path, "KS20", 6, 3, 4, rng)
    loaded = data.load_recognition("KS20", "probe", **settings)
    gallery = data.read_split(parts["gallery"], data.skeleton.get(25))
    np.testing.assert_array_equal(loaded.train.skeletons[12:], gallery.skeletons)
    assert set(loaded.tests) == {"probe"}

    # BIWI: persons 0 … 4 have training windows; the tests hold 1, 2 and 4, which become classes 0,
    # 1 and 2.
    parts = write_dataset(tmp_path, "BIWI", 6, 5, 4, rng)
    for split, kept in (("Walking", [1, 4]), ("Still", [4, 2])):
        labels = np.repeat(kept, 2)
        np.save(parts[split].frame_id, labels)
        for axis in "xyz":
            np.save(parts[split].axis(axis), np.load(parts[split].axis(axis))[:4 * 6])
    for split in (None, "Walking", "Still"):
        loaded = data.load_recognition("BIWI", split, **settings)
        np.testing.assert_array_equal(np.unique(loaded.persons[loaded.train.labels]), [1, 2, 4])
        np.testing.assert_array_equal(loaded.persons, [1, 2, 4])
        assert len(loaded.train) == 12
    np.testing.assert_array_equal(loaded.tests["Still"].labels, [2, 2, 1, 1])
    with pytest.raises(InputError, match="Walking, Still"):
        data.load_recognition("BIWI", "A", **settings)
    with pytest.raises(InputError, match="needs a view: give --view 0 to 10"):
        data.load_recognition("CASIA_B", **settings)
    with pytest.raises(InputError, match="views 0 to 10, found view 11"):
        data.load_recognition("CASIA_B", view=11, **settings)
    with pytest.raises(InputError, match="BIWI has no views"):
        data.load_recognition("BIWI", view=0, **settings)


def test_persons_that_the_gallery_or_the_training_set_lacks_are_warned_of(tmp_path, write_dataset):
    part = write_dataset(tmp_path, "IAS", 6, 3, 4, np.random.RandomState(0))["A"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.load("IAS", "A", root=tmp_path, batch_size=6)
    np.save(part.frame_id, np.repeat([0, 7, 8], 4))
    with pytest.warns(data.DataWarning, match=r"the gallery lacks .* here 2: 7, 8$"):
        data.load("IAS", "A", root=tmp_path, batch_size=6)
    with pytest.warns(data.DataWarning, match=r"not trained .* here 2: 7, 8$"):
        loaded = data.load_recognition("IAS", "A", root=tmp_path, batch_size=6)
    np.testing.assert_array_equal(loaded.persons, [0, 1, 2, 7, 8])


def change_rows(part, axis, change):
    np.save(part.axis(axis), change(np.load(part.axis(axis))))


def with_nan(rows):
    rows[[3, 5], 7] = np.nan
    return rows


BAD_FILES = {
    "missing axis": (lambda part: part.axis("y").unlink(), r"source_y_KS20_6.npy is missing"),
    "axes of two lengths": (
        lambda part: change_rows(part, "z", lambda rows: rows[:-6]),
        r"source_z_KS20_6.npy: expected a row a frame of 12 windows of 6.* found 66 rows"),
    "no multiple of f": (
        lambda part: [change_rows(part, axis, lambda rows: rows[:-1]) for axis in "xyz"],
        "12 windows of 6, as many as labels, found 71 rows"), "another length": (
            lambda part: [change_rows(part, axis, lambda rows: rows[:48]) for axis in "xyz"],
            "12 windows of 6, as many as labels, found 48 rows"), "20 joints": (
                lambda part: [change_rows(part, axis, lambda rows: rows[:, :20])
                              for axis in "xyz"], r"25 joints\), found float64 \(72, 20\)"),
    "NaN": (lambda part: change_rows(part, "y", with_nan),
            "source_y_KS20_6.npy: expected finite coordinates, found 2"),
    "labels of another length": (lambda part: np.save(part.frame_id, np.zeros(11, int)),
                                 "11 windows of 6, as many as labels, found 72 rows"),
    "labels with fractions": (lambda part: np.save(part.frame_id, np.full(12, 0.5)),
                              "frame_id_KS20_6.npy: expected a list of whole numbers"),
    "labels in words": (
        lambda part: np.save(part.frame_id, np.array(["ann"] * 12)),
        "frame_id_KS20_6.npy: expected a list of whole numbers, found other values"),
    "labels by frame and axis": (lambda part: np.save(part.frame_id, np.zeros(
        (12, 6))), r"found the shape \(12, 6\)"),
    "no labels": (lambda part: [part.frame_id.unlink(), part.ids.unlink()],
                  "no labels: expected .*frame_id"),
    "no windows": (lambda part: [change_rows(part, axis, lambda rows: rows[:0])
                                 for axis in "xyz"], "found 0 rows"),
    "text for coordinates": (lambda part: part.axis("x").write_text("1,2,3"),
                             "source_x_KS20_6.npy: expected a whole .npy file"),
    "half a file": (lambda part: part.axis("x").write_bytes(part.axis("x").read_bytes()[:3000]),
                    "source_x_KS20_6.npy: expected a whole .npy file"),
    "empty file": (lambda part: part.axis("x").write_bytes(b""), "expected a whole .npy file"),
    "objects for coordinates": (
        lambda part: np.save(part.axis("x"), np.array([{}], dtype=object), allow_pickle=True),
        "expected an array of numbers")
}


@pytest.mark.parametrize("split", ["train", "probe"])
@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_refused_by_name(tmp_path, write_dataset, split, case):
    spoil, message = BAD_FILES[case]
    parts = write_dataset(tmp_path, "KS20", 6, 3, 4, np.random.RandomState(0))
    spoil(parts[split])
    with pytest.raises(InputError, match=message) as error:
        data.load("KS20", "probe", root=tmp_path, batch_size=6)
    assert "\n" not in str(error.value)
    assert str(parts[split].folder) in str(error.value)


def test_missing_data_says_where_it_was_looked_for_and_how_to_make_it(tmp_path, write_dataset):
    with pytest.raises(InputError) as error:
        data.load("KS20", "probe", root=tmp_path / "none")
    for words in ("none/KS20/6/train_npy_data", "none/KS20/6/KS20_train_npy_data",
                  "none/KS20_train_npy_data", "python preprocess.py 6 --dataset KS20",
                  "python -m data.simulate --dataset KS20 --raw DIR"):
        assert words in str(error.value)
    write_dataset(tmp_path, "KS20", 6, 2, 3, np.random.RandomState(0))
    with pytest.raises(InputError, match="no KS20 data of length 8"):
        data.load("KS20", "probe", 8, root=tmp_path)
    for file in (tmp_path / "KS20/6/test_npy_data/gallery").iterdir():
        file.unlink()
    for load in (data.load, data.load_recognition):
        with pytest.raises(InputError, match=r"found train, probe .* but not gallery"):
            load("KS20", "probe", root=tmp_path)


def test_wrong_use(tmp_path, write_dataset):
    write_dataset(tmp_path, "KS20", 6, 3, 4, np.random.RandomState(0))
    for words, settings in (("choose one of BIWI", {"dataset": "KITTI", "probe": "probe"}),
                            ("choose one of probe", {"dataset": "KS20", "probe": "gallery"}),
                            ("at least 1 frame",
                             {"dataset": "KS20", "probe": "probe",
                              "length": 0}), ("found 12 windows, batch size 256, 3 persons",
                                              {"dataset": "KS20", "probe": "probe"}),
                            ("found 12 windows, batch size 2, 3 persons",
                             {"dataset": "KS20", "probe": "probe", "batch_size": 2})):
        with pytest.raises(InputError, match=words):
            data.load(root=tmp_path, **settings)
