"""Processes that torchrun starts: two give the metrics of one, and one that is killed ends them."""

import signal
import subprocess
import threading
from time import sleep

import numpy as np
import pytest
import torch
from several import EPOCHS, start, work
from training import Training, history

from skeleton_reid.common import processes
from skeleton_reid.reid.neighbours import nearest_neighbours

GO_ON = "go on with --resume, or run again"

RESUMED = {"SimMC": 2, "statistics": 1}  # epochs of one process before two go on


@pytest.fixture(scope="module")
def folders(tmp_path_factory, write_dataset):
    """The runs of `work` by one process and by two, by method: out/ of each below one/ and two/.

    SimMC's and window statistics' first epochs are one process's, resumed by two.
    """
    root, rng = tmp_path_factory.mktemp("processes"), np.random.RandomState(0)
    features = rng.normal(size=(30, 1, 16)) + rng.normal(scale=0.5, size=(30, 20, 16))
    features = features.reshape(-1, 16).astype(np.float32)
    features[::7] = features[0]  # ties
    runs = {}
    for name in ("one", "two"):
        (root / name).mkdir()
        np.save(root / name / "features.npy", features)
        persons = np.repeat(np.arange(30), 20)
        sets = {
            "probe": features[::2], "probe_ids": persons[::2], "gallery": features[1::2],
            "gallery_ids": persons[1::2]
        }
        np.savez(root / name / "features.npz", **sets)
        for method, epochs in EPOCHS.items():
            (root / name / method).mkdir()
            run = runs[name, method] = Training(method, root / name / method, write_dataset)
            words = run.words("--epochs", epochs)
            if method in RESUMED and name == "two":
                run("--epochs", RESUMED[method])
                words += ("--resume",)
            (root / name / f"{method}.txt").write_text(" ".join(map(str, words)))
    pair = start(2, "tests/several.py", root / "two")
    work(root / "one")
    assert [process.wait(300) for process in pair] == [0, 0]
    return root, runs


@pytest.mark.parametrize("method", EPOCHS)
def test_two_processes_give_the_figures_of_one(folders, method):
    one, two = (folders[1][name, method] for name in ("one", "two"))
    files = {path.relative_to(one.out) for path in one.out.rglob("*")}
    assert {path.relative_to(two.out) for path in two.out.rglob("*")} == files
    histories = [file for file in files if file.name == "history.csv"]
    assert histories
    for file in histories:
        for first, second in zip(history(one.out / file), history(two.out / file), strict=True):
            assert first.keys() == second.keys()
            for name, value in first.items():  # mAP: two ranks that are nearly equal may change
                error = 1e-3 if name == "mAP" else 1e-5
                pair = (float(x or 0) for x in (second[name], value))
                np.testing.assert_allclose(*pair, rtol=2e-4, atol=error, err_msg=name)
    log = (two.path("log.txt")).read_text().splitlines()
    epochs = [line for line in log if " epoch " in line]
    assert len(epochs) == len(set(epochs))


def test_what_ties_a_batch_together_has_the_gradients_of_the_whole(folders):
    one, two = (dict(np.load(folders[0] / name / "gradients.npz")) for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert np.abs(one["hidden.0.weight 7"]).max() > 1e-3
    for name, array in one.items():
        np.testing.assert_allclose(two[name], array, rtol=1e-9, atol=1e-12, err_msg=name)


def test_window_statistics_of_two_processes_have_the_weights_of_one(folders):
    one, two = (folders[1][name, "statistics"].weights() for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        # Batch norm takes out the bias before it, whose gradient is rounding that Adam makes large.
        tolerance = 1e-3 if name in ("hidden.0.bias", "hidden.4.bias") else 1e-6
        tolerance = 1e-3 if name.endswith("running_mean") else tolerance
        torch.testing.assert_close(two[name], one[name], rtol=1e-5, atol=tolerance)


def test_clusters_and_ranks_are_the_same_to_the_bit(folders):
    one, two = (dict(np.load(folders[0] / name / "found.npz")) for name in ("one", "two"))
    assert one["labels"].max() > 5
    assert one.keys() == two.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, two[name])
    features = torch.from_numpy(np.load(folders[0] / "two" / "features.npy"))
    np.testing.assert_array_equal(two["by_subspace"], nearest_neighbours(features, 20))


@pytest.mark.parametrize("method", RESUMED)
def test_another_number_of_processes_goes_on(folders, method):
    one, two = (folders[1][name, method] for name in ("one", "two"))
    results = [run("--epochs", 4, "--resume") for run in (one, two)]
    assert results[0]["last"]["top1"] == results[1]["last"]["top1"]
    assert len(two.history()) == 5


def test_a_process_that_dies_ends_the_others_with_a_line(training):
    run = training("SimMC")
    words = ("train_simmc.py", *run.words("--epochs", 10**6, "--patience", 10**6))
    first, second = start(2, *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not run.path("last.pt").exists() and first.poll() is None:
        sleep(0.1)
    second.kill()
    _, said = first.communicate(timeout=200)
    second.communicate()
    assert first.returncode == 2
    assert said.endswith(f"error: another process of the run ended: {GO_ON}\n")
    assert "Traceback" not in said  # PyTorch's own lines before it depend on its version
    assert run("--epochs", len(run.history()) + 1, "--resume")["last"]


def test_the_group_is_closed_before_python_ends(folders):
    # Otherwise a process aborts now and then: its threads hold tensors that Python takes away.
    said = [(folders[0] / "two" / f"group{number}.txt").read_text() for number in range(2)]
    assert said == ["True False"] * 2


def test_torchrun_says_that_another_process_has_ended(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(processes.ProcessEndedError), processes.first_speaks():
        signal.raise_signal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, before)


def test_bad_input_is_said_once():
    first, second = start(2, "train_simmc.py", "--dataset", "none", stderr=subprocess.PIPE)
    said = first.communicate(timeout=200)[1]
    sleep(4)  # until the second one, too, has met it
    second.terminate()  # as torchrun does
    assert second.communicate()[1] == ""
    assert first.returncode == 2
    assert said.startswith("error: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("size", [1, 3, 7])
def test_parts_make_the_whole(size, monkeypatch):
    taken, weights = [], []
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setenv("WORLD_SIZE", "3")
    for number in range(3):
        monkeypatch.setenv("RANK", str(number))
        own, weight = processes.part(size)
        assert len(range(size)[own]) >= 1
        weights.append(weight)
        taken += list(range(size)[own]) if weight else []
    assert taken == list(range(size))
    assert sum(weights) == pytest.approx(1)


def test_ctrl_c_while_a_thread_starts_waits_for_the_threads(monkeypatch):
    """Python ends before a thread that was left behind, and PyTorch aborts in it."""
    def interrupted(thread: threading.Thread) -> None:
        begin(thread)
        signal.raise_signal(signal.SIGINT)

    def block(x: torch.Tensor) -> tuple[torch.Tensor]:
        sleep(0.1)
        done.append(x)
        return (x,)

    begin, done = threading.Thread.start, []
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    number = threading.active_count()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        processes.divided(block, torch.zeros(64, 1).split(1), threads=True)
    assert threading.active_count() == number
    assert len(done) < 64  # what had not begun is left out
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


def test_faiss_and_torch_find_the_same():
    pytest.importorskip("faiss")
    rng = np.random.RandomState(3)
    tied = rng.randint(0, 3, size=(900, 5))
    copies = np.tile(rng.normal(size=(40, 16)), (20, 1))
    for features in (rng.normal(size=(1000, 64)), tied, copies, rng.normal(size=(15, 4))):
        x = torch.from_numpy(features.astype(np.float32))
        assert torch.equal(nearest_neighbours(x, 20, "faiss"), nearest_neighbours(x, 20))
