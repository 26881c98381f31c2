"""Every script on a GPU: with a pretended one (tests/pretended_gpu.py) the CPU's metrics to the
bit, on a real one (pytest -m gpu) nearly. No training step makes the host wait.
"""

import copy
import json
import os
import subprocess
import sys
from collections import defaultdict
from contextlib import nullcontext
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from checkpoints import write
from commands import results_of, run
from pretended_gpu import pretended
from several import start
from torch import distributed
from training import RETRIEVAL, SCRIPTS, Training, history, pick, without_time

import skeleton_reid
from skeleton_reid import Gallery
from skeleton_reid.common import processes
from skeleton_reid.common.command_line import devices, pick_device
from skeleton_reid.common.errors import InputError
from skeleton_reid.reid.neighbours import nearest_neighbours
from skeleton_reid.reproduction import experiments, jobs

try:
    import faiss
except ImportError:
    faiss = None

LOST = processes.ProcessEndedError

SAME = "on the same device"
# Code with c (3, 3), i (3,) int64, m (3,) bool, one () of the CPU and C, I, M, ONE of cuda:0; what
# refuses it; what the host waits for.
PLANTED = [("c + C", SAME, ""), ("C + one", "", ""), ("c + ONE", SAME, ""),
           ("torch.cat([C, c])", SAME, ""), ("C.gather(1, i[:, None])", SAME, ""),
           ("torch.nn.Linear(3, 2)(C)", SAME, ""), ("torch.zeros(3) + C", SAME, ""),
           ("torch.zeros(3, device=C.device) + C", "", ""),
           ("c.to('cuda:1') + C", SAME, "to the device"),
           ("c.to('cuda:2')", "invalid device ordinal", ""),
           ("torch.cuda.set_device(torch.device('cuda'))", "specified index", ""),
           ("c[I]", "indices should be", ""), ("C[i]", "", "index to the device"),
           ("C[M]", "", "index by a mask"), ("C[I] = c", SAME, ""),
           ("np.asarray(C)", "can't convert cuda:0", ""), ("C.cpu().numpy()", "", "to the host"),
           ("C.sum().item()", "", "_local_scalar_dense"), ("C.tolist()", "", "tolist"),
           ("bool(ONE)", "", "_local_scalar_dense"), ("C.nonzero()", "", "nonzero"),
           ("torch.tensor([1.0], device='cuda')", "", "numbers to the device"),
           ("C.normal_(generator=torch.Generator())", "'cuda' device type for generator", ""),
           ("c.normal_(generator=torch.Generator('cuda'))", "'cpu' device type for generator", ""),
           ("copy.deepcopy(torch.nn.Linear(3, 2)).cuda()(C)", "", "to the device"),
           ("(W := torch.nn.Parameter(C)).sum().backward(); W.grad + c", SAME, ""),
           ("W = torch.nn.Parameter(C); W.grad = c", "assigned grad", ""),]


@pytest.mark.parametrize(("code", "refusal", "wait"), PLANTED)
def test_the_pretended_gpu_sees(code, refusal, wait):
    with pretended(2) as gpus:
        here = {"c": torch.eye(3), "i": torch.tensor([0, 2, 1])}
        here |= {"m": here["i"] > 0, "one": torch.tensor(1.0)}
        there = {name.upper(): x.cuda() for name, x in here.items()}
        gpus.waits.clear()
        try:
            exec(code, here | there | {"torch": torch, "np": np, "copy": copy})
            said = ""
        except (RuntimeError, TypeError, ValueError) as error:
            said = str(error)
    assert bool(said) == bool(refusal), said
    assert refusal in said
    assert {name.partition(" ")[2] for name in gpus.waits} == ({wait} if wait else set())


@pytest.fixture(params=["pretended", pytest.param("real", marks=pytest.mark.gpu)])
def gpu(request):
    """What makes a GPU be there: the pretended one, or a real one."""
    return pretended if request.param == "pretended" else nullcontext


def sources(root):
    """Feature files for train_df.py, of random numbers that tell persons apart."""
    rng = np.random.RandomState(1)
    for part in ("train", "probe", "gallery"):
        labels = np.repeat(np.arange(6), 8)
        frames = labels[:, None, None] + rng.normal(size=(48, 6, 9))
        np.savez(root / f"X.{part}.npz", labels=labels, frames=frames, features=frames.mean(axis=1))
    return ("--source", root / "X.npz")


def everything(method, root, device, write_dataset):
    """Results of the scripts on a device, in the order in which a user has them, and histories."""
    root.mkdir()
    train = Training(method, root, write_dataset)
    train.extra = (*(sources(root) if method == "DF" else ()), "--device", device)
    results = [train("--epochs", 2), train("--epochs", 3, "--resume"), train("--mode", "Eval")]
    own = SCRIPTS[method].recogniser
    best = train.path("recogniser", "best_A.pt") if own else train.path("best.pt")
    results.append(train.evaluate(best, "--device", device))
    histories = [history(path) for path in sorted(train.out.rglob("history.csv"))]
    return train, [without_time(result) for result in results], histories


@pytest.mark.parametrize("method", SCRIPTS)
def test_a_script_on_a_gpu_has_the_figures_of_the_cpu(method, gpu, tmp_path, write_dataset):
    _, results, histories = everything(method, tmp_path / "cpu", "cpu", write_dataset)
    with gpu() as gpus:
        *_, found, lines = everything(method, tmp_path / "gpu", "cuda", write_dataset)
    if gpus:
        assert (found, lines) == (results, histories)
        waits = defaultdict(list)  # between two steps, by the line of .backward()
        for place, _, seen in gpus.steps[1:]:
            waits[place].append(seen)
        # But for the last step of an epoch, after which the losses are read.
        assert all(2 * sum(map(bool, each)) <= len(each) for each in waits.values())
    else:
        for before, after in zip(histories, lines, strict=True):
            numbers = [[[float(x or 0) for x in row.values()] for row in rows]
                       for rows in (before[:1], after[:1])]
            np.testing.assert_allclose(*numbers, rtol=0.02, atol=0.02)


def test_pictures_gallery_and_baselines_on_a_gpu(gpu, once, tmp_path):
    train, _ = once("SimMC", "--epochs", 2)
    people, recording = tmp_path / "people.gallery", tmp_path / "1.npy"
    np.save(recording, np.random.RandomState(0).normal(size=(12, 25, 3)))
    baseline = ("--features", "untrained", *train.on(), "--quiet", "--device")
    with gpu() as gpus:
        add = ("add", people, recording, "--checkpoint", train.path("best.pt"))
        assert run("gallery", *add, "--device", "cuda") == 0
        assert run("gallery", "identify", people, recording, "--device", "cuda") == 0
        metrics = results_of("evaluate", *baseline, "cuda")
        report = ("--data", train.data, "--out", tmp_path)
        assert run("visualize", train.path(), *report, "--device", "cuda") == 0
    assert pick(metrics, RETRIEVAL) == pytest.approx(
        pick(results_of("evaluate", *baseline, "cpu"), RETRIEVAL), abs=0.02)
    if gpus:
        assert gpus.kernels > 0
        with pretended() as gpus:
            assert run("gallery", "list", people) == 0
        assert gpus.kernels == 0


def test_one_gpu_of_several_is_used_alone(training):
    train = training("SimMC")
    with pretended(3):
        train("--epochs", 1, "--gpu", 2)
        assert torch.cuda.current_device() == 2
        devices = [torch.device("cuda", 2), torch.device("cuda", 0), torch.device("cpu")]
        assert [pick_device(name) for name in ("2", "auto", "cpu")] == devices


def test_two_processes_have_a_gpu_each(training):
    train = training("SimMC")
    alone = train("--epochs", 1)
    words = ("tests/pretended_gpu.py", 2, "train_simmc.py", *train.words("--epochs", 1))
    assert [each.wait(280) for each in start(2, *words, "--device", "cuda")] == [0, 0]
    together = json.loads(train.path("results.json").read_text())
    assert pick(together["last"], RETRIEVAL) == pytest.approx(pick(alone["last"], RETRIEVAL))


def test_processes_do_not_share_a_gpu(monkeypatch):
    environment = {"TORCHELASTIC_RUN_ID": "test", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "4"}
    for name, value in (environment | {"RANK": "3", "LOCAL_RANK": "1"}).items():
        monkeypatch.setenv(name, value)
    with pretended(2):
        assert pick_device("auto") == torch.device("cuda", 1)
        assert pick_device("cpu") == torch.device("cpu")
        with pytest.raises(InputError, match=r"each of the 2 processes .* found 1 with --device 0"):
            pick_device("0")


def test_out_of_memory_is_not_a_lost_process(monkeypatch):
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    for message, kind in {
            "CUDA out of memory. Tried to allocate 2 GiB": RuntimeError,
            "No backend type associated with device type cpu": RuntimeError,
            "[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1": LOST,
            "NCCL error: ncclRemoteError: A call failed possibly due to a network error": LOST,
            "Timed out waiting 1800000ms for recv operation to complete": LOST
    }.items():
        monkeypatch.setattr(distributed, "broadcast", Mock(side_effect=RuntimeError(message)))
        with pytest.raises(kind):
            processes._exchange("broadcast", torch.zeros(1), 0)


def test_products_are_exact_whatever_the_environment_says():
    code = """import torch
from skeleton_reid.common.command_line import pick_device
before = torch.backends.cuda.matmul.allow_tf32
pick_device("cpu")
print(before, torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)"""
    environment = os.environ | {"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"}
    said = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert said == "True False False\n"


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "0", "gpu", "cuda:x"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(InputError, match=r"0 CUDA devices found|unknown device"):
        devices(name)


def test_devices_of_a_name():
    with pretended(12):
        assert devices("cuda") == [f"cuda:{number}" for number in range(12)]
        assert devices("1") == devices("cuda:1") == ["cuda:1"]
        assert devices("cuda:11") == ["cuda:11"]
        assert devices("cpu") == ["cpu"]
        with pytest.raises(InputError, match="cuda:12 asked for, 12 CUDA"):
            devices("12")


def test_runs_of_reproduce_have_gpus_in_turn(tmp_path, monkeypatch, write_dataset):
    write_dataset(tmp_path, "KS20", 6, persons=2, windows=2, rng=np.random.RandomState(0))
    monkeypatch.setattr(jobs, "Popen", popen := Mock())
    first, *others = experiments.jobs(experiments.plan(["retrieval"], ["KS20"], ["SimMC"], 4))

    def communicate():
        if popen.call_count == 1:  # while the first run is under way
            for job in others[:2]:
                runs.make(job)
        return "", ""

    popen.return_value.communicate = communicate
    with pretended(2):
        runs = jobs.Runs(tmp_path, tmp_path / "runs", devices=devices("auto"), at_once=2)
        for job in (first, others[2]):
            runs.make(job)
    words = [call.args[0] for call in popen.call_args_list]
    named = [each[each.index("--device") + 1] for each in words]
    assert named == ["cuda:0", "cuda:1", "cuda:1", "cuda:1"]


class FaissOnGpu:
    """What faiss-gpu adds to faiss, by an index of the CPU: gpus are the numbers it was asked for.

    As there, a search is for at most 2,048 neighbours, of contiguous float32 rows.
    """
    def __init__(self, monkeypatch, count):
        self.gpus, self.count = [], count
        monkeypatch.setattr(faiss, "get_num_gpus", lambda: count)
        monkeypatch.setattr(faiss, "index_cpu_to_gpus_list", self.clone, raising=False)

    def clone(self, index, co=None, gpus=None, ngpu=-1):
        assert gpus is not None and all(0 <= gpu < self.count for gpu in gpus)
        self.gpus += gpus

        def search(rows, k):
            assert rows.dtype == np.float32 and rows.flags.c_contiguous and k <= 2048
            return index.search(rows, k)

        return Mock(search=search)


@pytest.mark.skipif(faiss is None, reason="needs faiss-cpu or faiss-gpu")
def test_faiss_searches_on_the_gpu_of_the_features(monkeypatch):
    shim = FaissOnGpu(monkeypatch, 2)
    x = torch.randn(900, 16, generator=torch.Generator().manual_seed(0))
    expected = nearest_neighbours(x, 20)
    assert torch.equal(nearest_neighbours(x, 20, "faiss"), expected)
    assert shim.gpus == []
    with pretended(2):
        found = nearest_neighbours(x.to("cuda:1"), 20, "faiss")
        assert found.device == torch.device("cuda", 1)
        assert torch.equal(found.cpu(), expected)
    assert shim.gpus == [1]


@pytest.mark.skipif(faiss is None, reason="needs faiss-cpu or faiss-gpu")
def test_a_gallery_has_its_faiss_index_on_the_gpu_of_its_encoder(monkeypatch, tmp_path):
    shim, path = FaissOnGpu(monkeypatch, 2), write(tmp_path / "SimMC.pt", "SimMC")
    people = np.random.RandomState(0).normal(size=(40, 12, 20, 3))
    found = {}
    with pretended(2):
        for device, search in (("cpu", "torch"), ("cuda:1", "faiss"), ("cpu", "faiss")):
            gallery = Gallery(skeleton_reid.load(path, device))
            gallery.search = search
            for number, frames in enumerate(people):
                gallery.add(f"p{number}", frames)
            found[device, search] = [gallery.identify(frames) for frames in people[::8]]
    assert found["cuda:1", "faiss"] == found["cpu", "faiss"] == found["cpu", "torch"]
    assert [matches[0].name
            for matches in found["cpu", "torch"]] == ["p0", "p8", "p16", "p24", "p32"]
    assert shim.gpus == [1]


def test_deterministic(training):
    train = training("SimMC")
    plain = train("--epochs", 1)
    try:
        with pretended():
            again = train("--epochs", 1, "--deterministic", "--device", "cuda")
            assert torch.are_deterministic_algorithms_enabled()
            assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)
    assert without_time(again) == without_time(plain)


@pytest.mark.gpu
@pytest.mark.parametrize("method", SCRIPTS)
def test_the_same_numbers_twice(method, tmp_path, write_dataset):
    runs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        train = Training(method, tmp_path / name, write_dataset)
        train.extra = (*(sources(tmp_path / name) if method == "DF" else ()), "--device", "cuda")
        train("--epochs", 2, "--deterministic")
        runs.append([history(path) for path in sorted(train.out.rglob("history.csv"))])
    torch.use_deterministic_algorithms(False)
    assert runs[0] == runs[1]
