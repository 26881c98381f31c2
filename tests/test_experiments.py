"""The published tables' rows and columns as declared, and the runs that are planned from them."""

from skeleton_reid.data import datasets
from skeleton_reid.engine.methods import METHODS
from skeleton_reid.reproduction.experiments import METHOD_NAMES, PUBLISHED, TABLES, jobs, plan

NAMES = list(datasets.DATASETS)


def test_published_rows_and_columns_are_those_of_the_tables():
    for name, table in TABLES.items():
        papers = PUBLISHED[name]
        columns = {column.name for column in table.columns} or {"size"}
        for row, figures in papers["rows"].items():
            assert set(figures) <= columns, (name, row)
            assert all(len(values) == len(papers["metrics"]) for values in figures.values())
        rows = [row.name for row in table.rows] + list(table.models)
        assert len(set(rows)) == len(rows)
        assert set(papers["rows"]) <= set(rows)


def test_published_figures_by_sample():
    retrieval, matching = PUBLISHED["retrieval"]["rows"], PUBLISHED["matching"]["rows"]
    assert retrieval["SimMC"]["KS20"] == [66.4, 80.7, 87.0, 22.3]
    assert retrieval["MoCos"]["KS20"] == [76.0, 87.3, 90.2, 50.8]
    assert retrieval["Hi-MPC"]["BIWI-W"] == [27.3, 40.3, 48.8, 22.6]
    assert retrieval["MG-SCR + SimMC"]["KS20"][0] == 71.1
    assert matching["SimMC"]["cl.nm"] == [5.4, 25.6]
    assert matching["TranSG"]["cl.nm"] == [6.7, 23.0]
    assert PUBLISHED["recognition"]["rows"]["SM-SGE"]["IAS-B"] == [69.8, 90.4]
    assert PUBLISHED["cross_view"]["rows"]["SM-SGE"]["180"] == [13.6]


def test_rows_that_are_published_only_have_no_runs():
    cells = plan(["recognition"], NAMES, ["published"], seeds=3)
    assert {row.name for _, row, _ in cells} == {"PoseGait"}
    assert jobs(cells) == []


def test_rows_of_components_leave_out_what_their_names_lack():
    options = {row.name: row.options for row in TABLES["ablation_components"].rows}
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
    """As the published settings of the method that is given skeletons say."""
    methods = {method.script: method for method in METHODS.values()}
    for job in jobs(plan(TABLES, NAMES, METHOD_NAMES, seeds=1)):
        first = (*job.needs, job)[0]
        centred = job.row.method != "session"
        if method := methods.get(first.row.script):
            column = first.column
            centred = method.choose("full", column.dataset, column.probe, {}).centred
        assert job.row.positions == ("centred" if centred else "absolute"), (job.table, job.row)


# Planning


def test_filters_and_seeds():
    cells = plan(["retrieval"], ["KS20"], ["D-13", "SimMC"], seeds=3)
    assert [(row.name, column.name, len(own)) for (_, row, column), own in cells.items()] == [
        ("D-13", "KS20", 1),  # the seed makes no difference
        ("SimMC", "KS20", 3)
    ]
    assert plan(["matching"], ["KS20"], METHOD_NAMES, 1) == {}


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
    assert work[2].needs == [work[1]]


def test_a_run_comes_after_the_one_whose_encoder_it_uses():
    work = jobs(plan(["retrieval"], NAMES, METHOD_NAMES, seeds=2))
    place = {job.folder: i for i, job in enumerate(work)}
    assert len(place) == len(work)
    for job in work:
        for needed in job.needs:
            assert place[needed.folder] < place[job.folder] and not needed.needs


def test_views_are_apart():
    work = jobs(plan(["cross_view"], NAMES, ["SM-SGE"], seeds=1))
    assert len(work) == 11
    assert len({job.folder for job in work}) == 11
    assert work[3].words[:4] == ["--dataset", "CASIA_B", "--view", "3"]
    assert not any("--pre_train" in job.words for job in work)


def test_lengths_are_those_of_the_data_sets():
    """But for SGELA's matching, which is published for 50 frames."""
    for name, table in TABLES.items():
        for column in table.columns:
            row = datasets.get(column.dataset)
            usual = row.default_length if column.view is None else row.view_length
            assert column.length == (50 if name == "matching_rank1" else usual)


def test_a_cap_of_epochs_is_of_what_is_trained():
    cells = plan(["retrieval", "recognition"], ["IAS"], METHOD_NAMES, seeds=1, epochs=7)
    capped = {job.row.method for job in jobs(cells) if "--epochs 7" in " ".join(job.words)}
    assert capped == {*METHOD_NAMES} - {
        *("D-13", "D-16", "D-PG", "mean-pose", "session", "untrained", "D-13+KNN"),
        *("D-16+AdaBoost", "published", "AGE-transfer", "statistics+SimMC", "statistics+DF")
    }


def test_thin_plan_has_every_method_of_a_table_once_and_all_data_sets():
    cells = plan(TABLES, NAMES, METHOD_NAMES, 1, thin=True)
    kinds = [(table, row.method) for table, row, _ in cells]
    assert len(kinds) == len(set(kinds))
    assert set(kinds) == {(name, row.method) for name, table in TABLES.items() for row in table.rows
                          if row.script}
    assert {column.dataset for _, _, column in cells} == set(NAMES)
    assert all(not job.needs or job.row.source
               for job in jobs(cells))  # each has an encoder of its own
