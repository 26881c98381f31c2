"""Window statistics: the parts of the method against plain versions, and train_statistics.py as a
user runs it.
"""

import numpy as np
import pytest
import torch
from commands import score_files
from scipy.linalg import eigh
from training import RETRIEVAL, history, pick, same, without_time

import train_statistics
from skeleton_reid import data
from skeleton_reid.data.tracklets import link_windows
from skeleton_reid.engine import checkpoint
from skeleton_reid.engine.clusters import cluster_tracklets
from skeleton_reid.models import statistics as paper
from skeleton_reid.models.statistics import Statistics, WindowStatistics
from skeleton_reid.reid.jaccard import cluster
from tests.reference import jaccard as reference
from train_statistics import learning_rate

JOINTS = (14, 17, 20, 25)


def walks(joints: int, windows: int = 60, f: int = 6) -> torch.Tensor:
    """Windows (N, f, J, 3): a pose each, which varies less from frame to frame."""
    rng = np.random.RandomState(joints)
    poses = rng.normal(size=(windows, 1, joints, 3))
    return torch.from_numpy(poses + 0.3 * rng.normal(size=(windows, f, joints, 3))).float()


def plain_descriptor(skeleton: np.ndarray) -> list[float]:
    """The descriptor of one frame (J, 3), number by number."""
    J = len(skeleton)
    values = [np.linalg.norm(skeleton[i] - skeleton[j]) for i in range(J) for j in range(i + 1, J)]
    centroid = sum(skeleton) / J
    return values + [float(x) for joint in skeleton for x in joint - centroid]


def plain_frames(skeletons: torch.Tensor) -> np.ndarray:
    """(N, f, J, 3) -> (N, f, d) in float64."""
    return np.array([[plain_descriptor(frame) for frame in x] for x in skeletons.double().numpy()])


@pytest.mark.parametrize("joints", JOINTS)
def test_descriptor_and_statistics(joints):
    skeletons = walks(joints, 9)
    frames = plain_frames(skeletons)
    assert frames.shape[2] == paper.frame_size(joints)
    np.testing.assert_allclose(paper.frame_descriptor(skeletons), frames, atol=1e-5)
    standardised = (frames - frames.mean(axis=(0, 1))) / frames.std(axis=(0, 1))
    windows = np.concatenate([standardised.mean(axis=1), standardised.std(axis=1)], axis=1)
    expected = (windows - windows.mean(axis=0)) / windows.std(axis=0)
    fitted = WindowStatistics(joints).fit(skeletons)
    np.testing.assert_allclose(fitted(skeletons), expected, atol=1e-3)
    assert fitted(1000 * skeletons).abs().max() == 10
    np.testing.assert_allclose(fitted(skeletons + 5), fitted(skeletons), atol=1e-2)  # the place


@pytest.mark.parametrize("joints", JOINTS)
def test_window_lda_against_the_dense_eigenproblem(joints):
    skeletons = walks(joints)
    frames = plain_frames(skeletons)
    frames = (frames - frames.mean(axis=(0, 1))) / frames.std(axis=(0, 1))
    means = frames.mean(axis=1)
    spread = (frames - means[:, None]).reshape(-1, frames.shape[2])
    noise = spread.T @ spread / len(spread) + 0.01 * np.eye(frames.shape[2])
    _, vectors = eigh(means.T @ means / len(means), noise)
    expected = means @ vectors[:, ::-1][:, :20]  # as far as 60 windows tell directions apart
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = paper.window_lda(skeletons, count=20)(skeletons)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-3)
    assert paper.window_lda(skeletons)(skeletons).shape == (60, min(59, paper.frame_size(joints)))


@pytest.mark.parametrize("of", ["window_lda", "recording_lda"])
def test_few_classes_have_as_many_discriminants_as_their_means_span(of):
    """Further ones would change with the last bit of the samples."""
    classes = [torch.arange(9)][:of == "recording_lda"]
    x, other = walks(14, 20).split((9, 11))
    features, nearly = (getattr(paper, of)(samples, *classes)(other)
                        for samples in (x, x * (1 + 1e-6)))
    assert features.shape == (11, 8)
    np.testing.assert_allclose(features @ features.T, nearly @ nearly.T, atol=1e-3)


def test_window_lda_finds_what_lasts():
    """A joint that trembles tells less than one that stands still, whatever their scale."""
    rng = np.random.RandomState(0)
    scale = np.array([1, 1, 1, 9])[:, None]
    skeletons = rng.normal(size=(200, 1, 4, 3)) * scale
    tremble = rng.normal(size=(200, 6, 4, 3)) * np.array([0.01, 0.01, 0.01, 9])[:, None]
    skeletons = torch.from_numpy(skeletons + tremble).float()
    lda = paper.window_lda(skeletons, count=3)
    change = []
    for joint in range(4):
        moved = skeletons.clone()
        moved[:, :, joint] += 0.01 * scale[joint, 0]
        change.append(float((lda(moved) - lda(skeletons)).norm(dim=1).median()))
    assert min(change[:3]) > 10 * change[3]


@pytest.mark.parametrize("joints", JOINTS)
def test_features_have_unit_length(joints):
    skeletons = walks(joints, 9)
    model = Statistics(joints, 16, 8).eval()
    model.statistics.fit(skeletons)
    features = model.encode(skeletons)
    d = paper.frame_size(joints)
    assert features.shape == (9, 1, 8 + d)
    norms = torch.stack([features[..., :8].norm(dim=-1), features[..., 8:].norm(dim=-1)])
    torch.testing.assert_close(norms, torch.tensor([1.0, 0.4])[:, None, None].expand(2, 9, 1))
    rest = torch.cat([model.encode(part) for part in skeletons.split(2)])
    torch.testing.assert_close(features, rest)  # no other window of the batch matters
    windows = model.statistics(skeletons)
    whole, means = model.hidden(windows) + model.linear(windows), windows[:, :d]
    whole, means = (x / x.norm(dim=1, keepdim=True) for x in (whole, means))
    torch.testing.assert_close(features[:, 0], torch.cat([whole, 0.4 * means], dim=1))


def rotations(count: int) -> torch.Tensor:
    q, _ = np.linalg.qr(np.random.RandomState(4).normal(size=(count, 3, 3)))
    q[np.linalg.det(q) < 0] *= -1
    return torch.from_numpy(q).float()


def test_aligned_features_are_view_invariant():
    skeletons = walks(17, 9) * torch.tensor([1.0, 2, 0.5])
    moved = skeletons @ rotations(9)[:, None] + torch.randn(9, 1, 1, 3)
    mirrored = skeletons * torch.tensor([-1.0, 1, 1])
    for align in (True, False):
        model = Statistics(17, 16, 8, align=align).eval()
        model.statistics.fit(skeletons)
        features = model.encode(skeletons)
        same = torch.allclose(model.encode(moved), features, atol=1e-3)
        assert same == align
        assert not torch.allclose(model.encode(mirrored), features, atol=1e-2)


def test_turn_is_the_nearest_rotation():
    skeletons, reference = walks(14, 5)[:, 0], walks(14, 1)[0, 0]
    turned = paper.turn(skeletons, reference)
    distance = (turned - reference).square().sum(dim=(1, 2))
    for rotation in rotations(200):
        other = (turned @ rotation - reference).square().sum(dim=(1, 2))
        assert (other >= distance - 1e-3).all()


def test_learning_rate_of_a_round():
    rates = [learning_rate(step, 100, 1e-3) for step in range(100)]
    assert rates[0] == pytest.approx(1e-4)
    assert 0 < rates[-1] < 1e-6
    assert np.argmax(rates) == 9


@pytest.fixture
def train(training):
    return training("statistics")


def test_results_files_and_evaluation(train, tmp_path, capsys):
    result = train("--save_features", tmp_path / "top.npz")
    about = ("kind", "method", "supervision", "epochs", "stopped")
    assert [result[key]
            for key in about] == [*("retrieval", "statistics", "none", 4, "all epochs done")]
    table = capsys.readouterr().out
    names = (", unsupervised", "D-13", "\nstatistics ", "window-LDA", "statistics best",
             "untrained")
    assert all(name in table for name in names)
    assert {path.name for path in train.path().iterdir()
            } == {*("best.pt", "last.pt", "history.csv", "log.txt", "results.json", "run.json")}
    best = result["best"]
    assert (best["epoch"] in (2, 4), result["last"]["epoch"]) == (True, 4)
    assert pick(train("--mode", "Eval"), best) == best
    for found in (train.evaluate(train.path("best.pt")), score_files(tmp_path / "top")):
        assert pick(found, RETRIEVAL) == pick(best, RETRIEVAL)
    evaluated = [row["epoch"] for row in train.history() if row["top1"]]
    assert evaluated == ["0", "2", "4"]
    assert best["mAP"] > result["untrained"]["mAP"]


def test_same_seed_same_numbers_and_resume(train):
    whole = train()
    weights = train.weights()
    for epochs in (1, 2, 3):  # within a round and at its end
        train("--epochs", epochs)
        assert without_time(train("--resume")) == without_time(whole)
        assert same(weights, train.weights())
    assert train("--resume", "--rounds", 3)["epochs"] == 6
    assert train("--seed", 1)["last"] != whole["last"]


def test_clusters_that_collapse_end_training(train):
    result = train("--no-link", "--eps", 0.6, "--min_samples", 16, "--D_out", 16)
    assert (result["stopped"], result["last"]["epoch"]) == ("1 cluster at epoch 2", 2)


def test_no_label_enters_training(train):
    train("--epochs", 4)
    before = checkpoint.load(train.path("last.pt"))["state"]["model"]
    file = (data.load("KS20", "probe", 6, train.data, balance=False).paths["train"]
            / "frame_id_KS20_6.npy")
    np.save(file, np.random.RandomState(0).permutation(np.load(file)))
    (file.parent / "ids_KS20_6.npy").unlink()
    train("--epochs", 4)
    assert same(before, checkpoint.load(train.path("last.pt"))["state"]["model"])


def test_rounds_in_which_clusters_are_joined(train, monkeypatch):
    """Linked: the second alone; else every one after the first."""
    joined = []
    monkeypatch.setattr(train_statistics, "join_nearest",
                        lambda _, labels: joined.append(labels) or labels)
    for option, times in (("--link", 1), ("--no-link", 2)):
        joined.clear()
        train("--rounds", 3, "--round_epochs", 1, option)
        assert len(joined) == times


def test_clusters_of_the_first_round(training):
    """Linked: of tracklets, by ten neighbours; else of windows, by twenty."""
    for option, k1 in (("--link", 10), ("--no-link", 20)):
        train = training("statistics")
        train("--epochs", 1, "--eps", 0.5, "--min_samples", 2, option)
        folder = train.out / f"statistics{option[1:] * (k1 == 20)}" / "KS20" / "probe"
        state = checkpoint.load(folder / "last.pt")["state"]["round"]
        sets = data.load("KS20", "probe", 6, train.data, balance=False, shuffle=False)
        x = torch.from_numpy(sets.train.skeletons)
        links = link_windows(x) if k1 == 10 else None
        lda = paper.window_lda(x) if links is None else paper.recording_lda(x, links)
        features = lda(x)
        if links is not None:
            assert 40 < len(links.unique()) < 128
            features = torch.stack(
                [features[links == n].mean(dim=0) for n in range(links.max() + 1)])
            features = torch.nn.functional.normalize(features)
        rank = reference.nearest_neighbours(features.numpy(), k1)
        labels = reference.cluster(features.numpy(), rank, 0.5, 2)
        labels = labels if links is None else labels[links]
        assert labels.max() > 3
        np.testing.assert_array_equal(state["labels"], labels)


def test_links_are_an_option_with_settings_of_its_own(once, train):
    before, result = once("statistics")
    plain = train("--no-linked", "--turned", "--beside", 0.3)  # names of version 0.1
    assert [plain["settings"][name]
            for name in ("link", "align", "raw_weight")] == [False, True, 0.3]
    names = ("dropout", "lr", "min_samples", "t")
    assert pick(result["settings"], names) == dict(zip(names, (0.2, 0.003, 2, 0.15), strict=True))
    assert pick(plain["settings"], names) == dict(zip(names, (0.4, 0.001, 4, 0.1), strict=True))
    own = train.out / "statistics-no-link" / "KS20" / "probe" / "history.csv"
    assert before.history()[0]["clusters_1"] != history(own)[0]["clusters_1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--probe", "A"), "unknown probe 'A' for KS20"), (("--resume",), "no checkpoint at"),
     (("--mode", "Eval"), "no checkpoint at"),
     (("--eps", 0.01, "--min_samples", 100), "nothing was trained: 0 clusters at epoch 0"),
     (("--dropout", 1), "below 1")])
def test_wrong_use(train, capsys, arguments, message):
    assert message in train.error(capsys, *arguments)


def test_what_cannot_be_learned_from(train, write_dataset, capsys):
    write_dataset(train.data, "KS20", 6, 1, 9, np.random.RandomState(0))
    assert "expected two persons or more to tell apart in" in train.error(capsys, "--labels")
    assert not train.out.exists()


def test_one_window_is_refused(train, write_dataset, capsys):
    write_dataset(train.data, "KS20", 6, 1, 1, np.random.RandomState(0))
    assert "nothing was trained: 0 clusters" in train.error(capsys)


def test_no_batch_is_of_one_window(train):
    for size in (127, 1):  # of 128 windows
        assert train("--labels", "--batch_size", size, "--epochs", 1)["epochs"] == 1


def test_noise_alone_in_a_later_round_ends_the_run_with_a_report(train, monkeypatch):
    labels = [np.arange(128) % 3, np.full(128, -1)]
    monkeypatch.setattr(train_statistics, "pseudo_labels", lambda *_, **__: labels.pop(0))
    assert train("--no-link")["stopped"] == "0 clusters at epoch 2"


def test_nearest_classes_are_joined():
    """0 and 1 are each other's nearest, 2's nearest is 1 but not the reverse, 3 and 4 again."""
    angles = torch.tensor([0, 0.1, 0.25, 2, 2.2])
    means = torch.stack([angles.cos(), angles.sin()], dim=1)
    labels = torch.tensor([4, 0, 1, 1, 2, 3, 0, -1])
    spread = torch.tensor([0, 0.01, 0.02, -0.02, 0, 0, -0.01, 1])[:, None]
    joined = paper.join_nearest(means[labels] + spread, labels)
    assert joined.tolist() == [2, 0, 0, 0, 1, 2, 0, -1]


def plain_links(windows: np.ndarray) -> set[frozenset[int]]:
    """The tracklets of windows (N, f, J, 3), one window after another."""
    count = len(windows)
    gaps = np.array([[
        np.inf if a == b else np.linalg.norm(windows[a][-1] - windows[b][0]) for b in range(count)
    ] for a in range(count)])
    links = [(a, gaps[a].argmin()) for a in range(count) if gaps[:, gaps[a].argmin()].argmin() == a]
    median = sorted(gaps[link] for link in links)[(len(links) - 1) // 2]
    tracklets = [{a} for a in range(count)]
    copies = [(a, b) for a in range(count) for b in range(a) if (windows[a] == windows[b]).all()]
    for a, b in [*links, *copies]:
        if gaps[a, b] <= 3 * median or (a, b) in copies:
            tracklets[a] |= tracklets[b]
            for window in tracklets[a]:
                tracklets[window] = tracklets[a]
    return {frozenset(tracklet) for tracklet in tracklets}


def partition(tracklets: torch.Tensor) -> set[frozenset[int]]:
    return {frozenset((tracklets == x).nonzero().flatten().tolist()) for x in tracklets.unique()}


@pytest.mark.parametrize("seed", range(5))
def test_links_against_a_plain_version(seed):
    windows = np.random.RandomState(seed).normal(size=(60, 4, 3, 3))
    windows[1:20, 0] = windows[:19, -1] + 0.3 * windows[1:20, 0]
    windows[40:50], windows[50:55] = windows[:10], windows[1]
    assert partition(link_windows(torch.from_numpy(windows))) == plain_links(windows)


def test_the_windows_of_a_tracklet_share_its_cluster():
    torch.manual_seed(0)
    tracklets = torch.arange(240) % 80
    v = torch.randn(8, 4)[tracklets % 8] + 0.1 * torch.randn(240, 4)  # of eight persons
    labels = cluster_tracklets(v, tracklets, 0.5, min_samples=2)
    means = torch.stack([v[tracklets == k].mean(dim=0) for k in range(80)])
    means = means / means.norm(dim=1, keepdim=True)
    expected = cluster(means, 0.5, min_samples=2, k1=10)
    np.testing.assert_array_equal(labels, expected[tracklets])
    assert len(set(expected)) > 3


def test_linked_windows_are_recordings():
    """Five smooth recordings of four windows, then windows of which nothing goes on."""
    rng = np.random.RandomState(0)
    starts, speeds = rng.normal(size=(2, 5, 1, 6, 3))
    frames = starts + 0.02 * np.arange(24)[:, None, None] * speeds  # (5, 24, 6, 3)
    windows = torch.from_numpy(frames.reshape(20, 6, 6, 3))
    order = torch.from_numpy(rng.permutation(20))
    assert partition(link_windows(windows[order])) == partition(order // 4)
    lonely = 50 * torch.from_numpy(rng.normal(size=(7, 6, 6, 3)))
    tracklets = link_windows(torch.cat([windows, lonely, windows, lonely[:2]]))
    expected = torch.cat([torch.arange(20) // 4, torch.arange(5, 12)])
    expected = torch.cat([expected, expected[:20], expected[20:22]])  # copies
    assert partition(tracklets) == partition(expected)


def give_recordings(train) -> None:
    """Every four windows of the training set become a recording, which are then of one person."""
    folder = data.load("KS20", "probe", 6, train.data, balance=False).paths["train"]
    labels = np.load(folder / "frame_id_KS20_6.npy")
    np.save(folder / "recording_id_KS20_6.npy", np.arange(len(labels)) // 4)


def test_tracklets(train, capsys):
    give_recordings(train)
    result = train("--tracklets", "--save_features", train.out / "top.npz")
    assert (result["supervision"], result["settings"]["t"]) == ("tracklets", 0.15)
    assert ", supervised by tracklets" in capsys.readouterr().out
    best = train.out / "statistics-tracklets" / "KS20" / "probe" / "best.pt"
    assert pick(train.evaluate(best), RETRIEVAL) == pick(result["best"], RETRIEVAL)
    rows = history(best.with_name("history.csv"))
    assert int(rows[0]["clusters_1"]) == 32  # 8 persons' 16 windows each, of which pairs are joined
    assert 16 <= int(rows[2]["clusters_1"]) < 32
    train("--tracklets", "--epochs", 3)
    assert without_time(train("--tracklets", "--resume"))["last"] == result["last"]
    assert pick(train("--tracklets", "--mode", "Eval"), result["best"]) == result["best"]


def test_tracklets_need_recordings(train, capsys):
    assert "expected recording_id files in" in train.error(capsys, "--tracklets")
    give_recordings(train)
    folder = data.load("KS20", "probe", 6, train.data, balance=False).paths["train"]
    np.save(folder / "recording_id_KS20_6.npy", np.arange(9))
    assert "recordings of 128 windows, found 9" in train.error(capsys, "--tracklets")
