"""How the errors of a gallery grow with the number of people who are enrolled.

    python -m benchmarks.error_rates --checkpoint kgbd-statistics --dataset KGBD

In each of 50 random draws N persons are enrolled, by one recording of the gallery each; the others
are unknown. One probe recording of everybody is identified. The threshold gives 5 % false
acceptance with 40 persons enrolled.
"""

from pathlib import Path

import numpy as np

from skeleton_reid.common.command_line import script_parser
from skeleton_reid.common.errors import run_command

COUNTS, DRAWS, USUAL = (10, 20, 40, 80, 120, 150), 50, 40


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--data", type=Path, default=Path("Datasets"))
    args = parser.parse_args()
    from skeleton_reid import load  # here, because PyTorch is slow to load
    from skeleton_reid.data import loader

    encoder = load(args.checkpoint)
    sets = loader.load(args.dataset, "probe", encoder.length, args.data, train=False, centred=False)
    features = {}  # of each person's first recording
    for part in ("gallery", "probe"):
        windows, known = getattr(sets, part), {}
        for recording in np.unique(windows.recordings):
            own = windows.take(windows.recordings == recording)
            known.setdefault(own.labels[0], encoder.encode(own.skeletons).mean(axis=0))
        features[part] = known
    persons = sorted(features["gallery"].keys() & features["probe"].keys())
    gallery, probes = (np.stack([features[part][person] for person in persons])
                       for part in ("gallery", "probe"))
    distances = np.linalg.norm(probes[:, None] - gallery, axis=-1)
    draws = [np.random.RandomState(seed).permutation(len(persons)) for seed in range(DRAWS)]

    def strangers(count: int) -> np.ndarray:
        """Distances of the persons that are not enrolled to the nearest of `count` who are."""
        return np.concatenate([distances[np.ix_(d[count:], d[:count])].min(axis=1) for d in draws])

    threshold = np.quantile(strangers(USUAL), 0.05)
    print("enrolled  nearest is right %  named right %  strangers named %")
    for count in (count for count in COUNTS if count < len(persons)):
        own = np.stack([distances[np.ix_(d[:count], d[:count])] for d in draws])  # (D, N, N)
        right = own.argmin(axis=2) == np.arange(count)
        named = right & (own.min(axis=2) <= threshold)
        far = np.mean(strangers(count) <= threshold)
        print(
            f"{count:8}  {100 * right.mean():18.1f}  {100 * named.mean():13.1f}  {100 * far:17.1f}")


if __name__ == "__main__":
    run_command(main)
