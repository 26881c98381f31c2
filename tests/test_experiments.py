"""The published tables' rows and columns as declared, and the runs that are planned from them."""

from skeleton_reid.data import datasets
from skeleton_reid.reproduction import experiments
from skeleton_reid.reproduction.experiments import (COLUMNS, METHODS, PUBLISHED_ONLY, ROWS, jobs,
                                                    plan, rows_of)

TABLES, NAMES = list(COLUMNS), list(datasets.DATASETS)


def test_published_rows_and_columns_are_those_of_the_tables():
    for table, columns in COLUMNS.items():
        papers = experiments.published()[table]
        known = {c.name for c in columns}
        for name, figures in papers["rows"].items():
            assert set(figures) <= known, (table, name)
            assert all(len(values) == len(papers["metrics"]) for values in figures.values())
        names = [row.name for row in rows_of(table)]
        assert len(set(names)) == len(names)
        assert set(papers["rows"]) <= set(names)


def test_published_figures_by_sample():
    assert experiments.published()["retrieval"]["rows"]["SimMC"]["KS20"] == [66.4, 80.7, 87.0, 22.3]
    assert experiments.published()["recognition"]["rows"]["SM-SGE"]["IAS-B"] == [69.8, 90.4]
    assert experiments.published()["matching"]["rows"]["SimMC"]["cl.nm"] == [5.4, 25.6]
    assert experiments.published()["cross_view"]["rows"]["SM-SGE"]["180"] == [13.6]
    later = experiments.published()["retrieval"]["rows"]
    assert later["MoCos"]["KS20"] == [76.0, 87.3, 90.2, 50.8]
    assert later["Hi-MPC"]["BIWI-W"] == [27.3, 40.3, 48.8, 22.6]
    assert later["MG-SCR + SimMC"]["KS20"][0] == 71.1
    assert experiments.published()["matching"]["rows"]["TranSG"]["cl.nm"] == [6.7, 23.0]


def test_rows_that_are_published_only_have_no_runs():
    cells = plan(["recognition"], NAMES, [PUBLISHED_ONLY], seeds=3)
    assert {c.row.name for c in cells} == {"PoseGait"}
    assert jobs(cells) == []


def test_rows_of_components_leave_out_what_their_names_lack():
    options = {row.name: " ".join(row.options) for row in ROWS["ablation_components"]}
    assert options["MG + SR + CR + CSI + SSR"] == ""
    assert options["MG + SR + CR"] == "--same_scale --s_range f"
    assert options["none"].split() == [
        *("--scales", "J", "--embedding_only", "--struct_only", "--same_scale", "--s_range", "f")
    ]


def test_transferred_encoders_come_from_kgbd():
    work = jobs(plan(["transfer_age"], ["IAS"], ["AGE-transfer"], seeds=1))
    assert [job.column.dataset for job in work] == ["KGBD", "IAS", "KGBD", "IAS"]
    assert work[1].needs == [work[0]] and "--encoder {source}" in " ".join(work[1].words)


def test_rows_say_which_see_positions():
    positions = {row.name: row.positions for row in rows_of("retrieval")}
    absolute = {name for name, seen in positions.items() if seen == "absolute"}
    assert absolute == {
        *("AGE", "AGE + SimMC", "AGE + DF", "session"), "SGELA", "SGELA + SimMC", "SGELA + DF"
    }
    assert positions["PoseGait"] == "-" and positions["D-13"] == positions["SimMC"] == "centred"


# Planning


def test_filters_and_seeds():
    cells = plan(["retrieval"], ["KS20"], ["D-13", "SimMC"], seeds=3)
    assert [(c.row.name, c.column.name, len(c.jobs)) for c in cells] == [
        ("D-13", "KS20", 1),  # the seed makes no difference
        ("SimMC", "KS20", 3)
    ]
    assert plan(["matching"], ["KS20"], METHODS, 1) == []


def test_one_run_of_age_serves_both_splits_and_smsge_shares_its_encoder():
    cells = plan(["recognition"], ["IAS"], ["AGE", "SM-SGE"], seeds=1)
    assert len(cells) == 4
    work = jobs(cells)
    words = [" ".join([job.row.script, *job.words]) for job in work]
    assert words == [
        "train_age.py --dataset IAS --length 6 --seed 0",
        "train_smsge.py --dataset IAS --probe A --length 6 --seed 0",
        "train_smsge.py --dataset IAS --probe B --length 6 --seed 0 --pre_train 0"
    ]
    assert work[1].folder == work[2].folder


def test_a_run_comes_after_the_one_whose_encoder_it_uses():
    work = jobs(plan(["retrieval"], NAMES, METHODS, seeds=2))
    place = {job.path: i for i, job in enumerate(work)}
    assert len(place) == len(work)
    for job in work:
        for needed in job.needs:
            assert place[needed.path] < place[job.path]


def test_views_are_apart():
    work = jobs(plan(["cross_view"], NAMES, ["SM-SGE"], seeds=1))
    assert len(work) == 11
    assert len({job.folder for job in work}) == 11
    assert work[3].words[:4] == ["--dataset", "CASIA_B", "--view", "3"]
    assert not any("--pre_train" in job.words for job in work)


def test_thin_plan_has_every_method_of_a_table_once_and_all_data_sets():
    cells = plan(TABLES, NAMES, METHODS, 1, thin=True)
    kinds = [(c.table, c.row.method) for c in cells]
    assert len(kinds) == len(set(kinds))
    assert set(kinds) == {(table, row.method) for table, rows in ROWS.items() for row in rows}
    assert {c.column.dataset for c in cells} == set(NAMES)
    assert all(not job.needs or job.row.source[0]
               for job in jobs(cells))  # each has an encoder of its own
