"""SM-SGE against numbers of the released code, and the fast computations against the plain ones.

golden/smsge_KS20.npz, smsge_IAS.npz: made-up inputs x_*, weights w/*, and what the released code
computed from them. Of results with more than 1,000 numbers every k-th is kept (`thin`). names:
JSON, checkpoint name -> name in the file.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from archives import unpack

from skeleton_reid.common.errors import InputError
from skeleton_reid.data.skeleton import scales
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.models.prefix_lstm import prefix_tree
from skeleton_reid.models.recognition import RecognitionNetwork
from skeleton_reid.models.smsge import SMSGE, relation
from skeleton_reid.reid.recognition import evaluate
from skeleton_reid.tensorflow_v1 import published
from tests.reference import smsge as plain
from train_smsge import JointStep

SCALES = "IJPB"
FORWARD = 1e-5  # absolute
LOSS = 1e-5  # relative
GRADIENT = 1e-4  # of the variable's norm
RECOGNITION_LR = 0.0025
# The order of the stacked heads' arrays in the golden files.
HEAD_PARTS = {
    "W": "W", "a1.w": "a1_w", "a1.b": "a1_b", "a2.w": "a2_w", "a2.b": "a2_b", "bias": "bias"
}


class Golden:
    """One golden file, its model, and the model's tensors by the file's names."""
    def __init__(self, path: Path):
        self.file = np.load(path)
        self.names = json.loads(str(self["names"]))
        self.variables = {tf: self._variable(name) for tf, name in self.names.items()}
        self.graphs = {scale: torch.tensor(self[f"x_{scale}"]) for scale in SCALES}
        self.subsets = json.loads(str(self["T_m"]))
        self.lr = json.loads(str(self["cfg"]))["lr"]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.file[name]

    def __contains__(self, name: str) -> bool:
        return name in self.file

    def model(self, **options) -> SMSGE:
        return SMSGE.from_published(self.variables, **options)

    def _variable(self, name: str) -> np.ndarray:
        stacked, head = self.stacked(name)
        return self[f"w/{name}"] if head is None else self[f"w/{stacked}"][head]

    @staticmethod
    def stacked(name: str) -> tuple[str, int | None]:
        """srl.J.head3.a1.w -> (srl.J.a1_w, 3); other names as they are, without a head."""
        kind, scale, *rest = name.split(".")
        if not rest or not rest[0].startswith("head"):
            return name, None
        return f"{kind}.{scale}.{HEAD_PARTS['.'.join(rest[1:])]}", int(rest[0].removeprefix("head"))

    def arrays(self, model: SMSGE) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """A model's variables as the checkpoint has them, and with the heads stacked; flat, by the
        file's names.
        """
        apart = {
            self.names[tf]: np.concatenate([part.detach().numpy().ravel() for part in parts])
            for tf, parts in published.smsge_names(model)
        }
        stacked: dict[str, list[np.ndarray]] = {}
        for name, array in apart.items():
            stacked.setdefault(self.stacked(name)[0], []).append(array)
        return apart, {name: np.concatenate(arrays) for name, arrays in stacked.items()}


@pytest.fixture(scope="module", params=["KS20", "IAS"])
def reference(request, golden) -> Golden:
    return Golden(golden(f"smsge_{request.param}.npz"))


@pytest.fixture(scope="module")
def small(golden) -> Golden:
    return Golden(golden("smsge_IAS.npz"))


def thin(values) -> np.ndarray:
    """What the golden files keep of a result: every k-th number, so that at most 1,000 are left."""
    flat = np.asarray(values).ravel()
    return flat[::-(-flat.size // 1000)]


def close(ours: torch.Tensor, theirs: np.ndarray, atol: float = FORWARD) -> None:
    np.testing.assert_allclose(thin(ours.detach()), theirs.ravel(), rtol=0, atol=atol)


def test_features_and_relations(reference):
    model = reference.model()
    H, nodes = model.structural(reference.graphs), model.nodes(reference.graphs)
    frames = reference["crl_frames"]
    for i, fine in enumerate(SCALES):
        close(H[fine], reference[f"srl_{fine}"])
        close(nodes[fine], reference[f"fused_{fine}"])
        for j, coarse in list(enumerate(SCALES))[i:]:
            name = f"crl_self_{i}" if i == j else f"crl_{i}{j}"
            A = relation(H[fine], H[coarse]).flatten(0, 1)
            close(A[frames], reference[f"{name}_att"])
            close((A @ H[coarse].flatten(0, 1))[frames], reference[f"{name}_c"])
            close(A.flatten(1).norm(dim=1), reference[f"{name}_attnorm"])


def test_fusion_coefficient(reference):
    model = reference.model()
    model.fusion_lambda = 0.5
    close(model.states(reference.graphs, 7).transpose(0, 1), reference["l2/en_to_pred"])
    for scale, x in model.nodes(reference.graphs).items():
        close(x, reference[f"l2/fused_{scale}"])
    check_losses(model, reference, "l2/")


def test_lstm_outputs(reference):
    """Each subset, by itself and together with the others; the whole sequence with the released
    extra frame.
    """
    model = reference.model()
    nodes = model.nodes(reference.graphs)
    tree = prefix_tree(reference.subsets)
    together = model.encode(nodes, tree)
    states = model.states(reference.graphs, 7)
    close(states.transpose(0, 1), reference["en_to_pred"])
    torch.testing.assert_close(model.states(reference.graphs), states[:, :6])
    for s, scale in enumerate(model.scales):
        close(states.chunk(4, dim=2)[s], reference[f"lstm_test_{scale}"])
        for k, (frames, path) in enumerate(zip(reference.subsets, tree.passes, strict=True)):
            expected = reference[f"lstm_train_{scale}_{k}"]
            close(together[s, path].transpose(0, 1), expected)
            close(model.encode(nodes, prefix_tree([frames]))[s].transpose(0, 1), expected)


def test_rebuilt_skeletons(reference):
    model = reference.model()
    states = dict(zip(SCALES, model.states(reference.graphs).chunk(4, dim=2), strict=True))
    for (source, target), head in model.head.items():
        close(head(states[source]), reference[f"skel_{source}_{target}"])


def check_losses(model: SMSGE, reference: Golden, case: str = "") -> None:
    terms = model.loss_terms(reference.graphs, reference.subsets)
    for source, each in terms.items():
        targets = {"I": "PJIB", "J": "JPB", "P": "PB", "B": "B"}[source]
        ours = torch.stack([each[target] for target in targets],
                           dim=1).detach()  # (subsets, targets)
        np.testing.assert_allclose(ours.ravel(), reference[f"{case}loss_{source}"].ravel(),
                                   rtol=LOSS)
    for source, loss in model.losses(reference.graphs, reference.subsets).items():
        assert loss.item() == pytest.approx(float(reference[f"{case}total_{source}"][0]), rel=LOSS)


def test_losses(reference):
    check_losses(reference.model(), reference)


@pytest.mark.parametrize("case, coefficient", [("", 1.0), ("l2/", 0.5)])
def test_gradients(reference, case, coefficient):
    model = reference.model(fusion_lambda=coefficient)
    order = list(reference.names.values())  # of the norms
    for scale, gradient in plain.gradients(model, model.losses(reference.graphs,
                                                               reference.subsets)).items():
        apart, stacked = reference.arrays(gradient)
        for name, array in stacked.items():
            if not case and f"g{scale}/{name}" in reference:
                expected = reference[f"g{scale}/{name}"].ravel()
                assert np.linalg.norm(thin(array)
                                      - expected) <= GRADIENT * np.linalg.norm(expected), name
        norms = np.array([np.linalg.norm(apart[name]) if name in apart else 0 for name in order])
        # NaN marks a variable that the loss does not reach. Norms of about 1e-12 are rounding
        # errors there and here.
        expected = np.nan_to_num(reference[f"{case}gradnorm_{scale}"])
        np.testing.assert_allclose(norms, expected, rtol=GRADIENT, atol=1e-10)


def test_joint_steps(reference):
    """Weights after one and three steps, where no loss has a gradient so small that TensorFlow's
    epsilon decides.
    """
    model = reference.model()
    before = plain.gradients(model, model.losses(reference.graphs, reference.subsets))
    step = JointStep(model, reference.lr)
    for count in (1, 2, 3):
        losses = step(reference.graphs, reference.subsets)
        if count == 1:
            for scale, loss in losses.items():
                assert loss.item() == pytest.approx(float(reference[f"total_{scale}"][0]), rel=LOSS)
        if count == 2:
            continue
        compared = 0
        apart, stacked = reference.arrays(model)
        slopes = [reference.arrays(gradient)[1] for gradient in before.values()]
        for name, array in stacked.items():
            if f"after{count}/{name}" not in reference:
                continue
            clear = np.all([(abs(g[name]) > 1e-6) | (g[name] == 0) for g in slopes], axis=0)
            off = abs(thin(array) - reference[f"after{count}/{name}"].ravel())[thin(clear)]
            assert not off.size or off.max() < 2e-6, name
            compared += off.size
        assert compared > 4000
        norms = [np.linalg.norm(apart[name]) for name in reference.names.values() if name in apart]
        expected = reference[f"after{count}_norm"]
        expected = [
            n for n, name in zip(expected, reference.names.values(), strict=True) if name in apart
        ]
        np.testing.assert_allclose(norms, expected, rtol=5e-5)
    after = model.losses(reference.graphs, reference.subsets)
    np.testing.assert_allclose([after[s].item() for s in "JPBI"], reference["total_after3_JPBI"],
                               rtol=LOSS)


def test_recognition(reference):
    """Logits of the seven prefixes, their sum, and one step of the recogniser."""
    with torch.no_grad():
        states = reference.model().states(reference.graphs, 7)
    network = RecognitionNetwork.from_published(reference.variables)
    labels = torch.tensor(reference["y"].argmax(1))
    logits = network(states)  # (B, 7, persons)
    close(logits.transpose(0, 1), reference["logits"], 1e-4)  # of values around 10
    close(logits.sum(1), reference["sum_logits"], 1e-4)
    close(logits[:, :6].sum(1), reference["sum_logits_no_extra"], 1e-4)
    loss = torch.nn.functional.cross_entropy(logits.sum(1), labels)
    metrics = evaluate(logits.sum(1), labels)
    assert loss.item() == pytest.approx(float(reference["ce"][0]), rel=LOSS)
    assert (metrics["loss"], metrics["rank1"]) == pytest.approx(
        (reference["ce"][0], reference["acc"][0]), rel=LOSS)
    assert evaluate(logits[:, :6].sum(1),
                    labels)["loss"] == pytest.approx(reference["ce_no_extra"][0], rel=LOSS)
    loss.backward()
    ours = {"b1": network.hidden.bias, "W2": network.output.weight, "b2": network.output.bias}
    for name, parameter in ours.items():
        expected = reference[f"gcls/{name}"].ravel()
        found = thin(parameter.grad.T if name == "W2" else parameter.grad)
        assert np.linalg.norm(found - expected) <= GRADIENT * np.linalg.norm(expected)
    TFAdam(network.parameters(), RECOGNITION_LR).step()
    for name, parameter in ours.items():
        after = parameter.detach().T if name == "W2" else parameter.detach()
        slope = thin(parameter.grad.T if name == "W2" else parameter.grad)
        clear = (abs(slope) > 1e-6) | (slope == 0)
        assert abs(thin(after) - reference[f"after_cls/{name}"].ravel())[clear].max() < 2e-6
    loss = torch.nn.functional.cross_entropy(network(states).sum(1), labels)
    assert loss.item() == pytest.approx(float(reference["ce_after_cls"][0]), rel=LOSS)


@pytest.mark.skipif("REID_GOLDEN" not in os.environ,
                    reason="REID_GOLDEN: folder that holds smsge_trained_KS20/")
def test_trained_by_the_released_code(tmp_path):
    """A model of published size: 21 MB of weights, which the repository does not carry."""
    folder = Path(os.environ["REID_GOLDEN"]) / "smsge_trained_KS20"
    weights, expected = np.load(folder / "trainable.npz"), np.load(folder / "expected_test.npz")
    variables = {
        str(tf).removesuffix(":0"): weights[str(name)]
        for name, tf in zip(weights["names"], weights["tf_names"], strict=True)
    }
    unpack(folder / "data.tar.gz", tmp_path)
    files = tmp_path / "data" / "Datasets" / "KS20" / "6" / "KS20_test_npy_data"
    rows = np.stack([np.load(files / f"t_source_{axis}_KS20_6.npy") for axis in "xyz"], axis=-1)
    skeletons = torch.tensor((rows - rows[:, :1]).reshape(-1, 6, 25, 3)[:64], dtype=torch.float32)
    with torch.no_grad():
        states = SMSGE.from_published(variables).states(scales(skeletons), 7)
        logits = RecognitionNetwork.from_published(variables)(states)  # (64, 7, 20)
    np.testing.assert_allclose(states[:8].transpose(0, 1), expected["en_to_pred_first8"],
                               atol=FORWARD)
    np.testing.assert_allclose(logits.transpose(0, 1), expected["logits"], atol=1e-4)
    metrics = json.loads((folder / "metrics.json").read_text())
    for key, prefixes in (("sum_of_7_prefixes", 7), ("sum_of_6_prefixes_same_weights", 6)):
        metrics = evaluate(logits[:, :prefixes].sum(1), expected["labels"])
        ours = (metrics["rank1"], metrics["rank"]["5"], metrics["rank"]["10"], metrics["loss"],
                metrics["nAUC_roc"])
        theirs = [metrics[key][name] for name in ("rank1", "rank5", "rank10", "ce", "nAUC")]
        assert ours == pytest.approx(theirs, rel=LOSS)


def test_published_weights_come_back(small):
    apart, _ = small.arrays(small.model())
    assert set(small.names.values()) - set(apart) == {
        "mgrn.W_cs_I", "cls.W1", "cls.b1", "cls.W2", "cls.b2"
    }
    for tf, name in small.names.items():
        if name in apart:
            np.testing.assert_array_equal(apart[name], small.variables[tf].ravel())


def test_published_weights_missing_or_of_another_size(small):
    kernel = "MSR/I_pred/rnn/multi_rnn_cell/cell_0/lstm_cell/kernel"
    with pytest.raises(InputError, match="cell_0/lstm_cell/kernel"):
        SMSGE.from_published(
            {name: array for name, array in small.variables.items() if name != kernel})
    with pytest.raises(InputError, match="expected 44032 numbers, found 128"):
        SMSGE.from_published({**small.variables, kernel: small.variables[kernel][:1]})
