"""Drawing, disjointness, digests and streaming."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gate.core.spec import DataSpec, InputSpec, SampleSpec
from gate.data import samples
from gate.data.base import DataError
from gate.data.samples import open_samples
from gate.drill.data import ChangedDataset

INPUTS = {"x": InputSpec(shape=("N", 2), dtype="float32")}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "a.npz"
    np.savez(path, x=np.arange(40.0).reshape(20, 2), y=np.arange(20))
    return {"path": str(path), "inputs": "x", "labels": "y"}


def part(options, count=None, *, skip=0, seed=None, source="npz"):
    return SampleSpec(source=source, options=options, samples=count, skip=skip, seed=seed)


def opened(evaluation, calibration=None, *, overlap=False, preprocess=None, inputs=None):
    data = DataSpec(
        evaluation=evaluation,
        calibration=calibration,
        preprocess=preprocess or {},
        overlap=overlap,
    )
    return open_samples(data, inputs or INPUTS)


def indices(chosen, size=7):
    return [index for batch in chosen.batches(size) for index in batch.indices]


def test_without_a_seed_the_order_is_the_sources(archive):
    evaluation, calibration = opened(part(archive, 5, skip=3))
    assert calibration is None
    assert indices(evaluation) == [3, 4, 5, 6, 7]


def test_a_seed_draws_the_pcg64_permutation(archive):
    evaluation, _ = opened(part(archive, 6, skip=2, seed=11))
    expected = np.random.Generator(np.random.PCG64(11)).permutation(20)[2:8]
    assert indices(evaluation) == expected.tolist()
    assert indices(opened(part(archive, 6, skip=2, seed=11))[0]) == expected.tolist()
    assert indices(opened(part(archive, 6, skip=2, seed=12))[0]) != expected.tolist()


@given(
    wanted=st.integers(1, 10),
    calibration=st.integers(1, 10),
    seeds=st.tuples(*[st.none() | st.integers(0, 2**32)] * 2),
    skips=st.tuples(*[st.integers(0, 4)] * 2),
)
@settings(max_examples=60, deadline=None)
def test_calibration_and_evaluation_never_meet(archive, wanted, calibration, seeds, skips):
    try:
        evaluation, other = opened(
            part(archive, wanted, seed=seeds[0], skip=skips[0]),
            part(archive, calibration, seed=seeds[1], skip=skips[1]),
        )
    except DataError:
        assert wanted + calibration + skips[0] > 20
        return
    assert len(evaluation) == wanted
    assert len(other) == calibration
    assert not set(indices(evaluation)) & set(indices(other))


def test_all_that_is_left_is_taken(archive):
    evaluation, _ = opened(part(archive, skip=2), part(archive, 5))
    assert indices(evaluation) == list(range(5, 20))


def test_overlap_must_be_asked_for(archive):
    evaluation, calibration = opened(part(archive), part(archive), overlap=True)
    assert indices(evaluation) == indices(calibration) == list(range(20))
    with pytest.raises(DataError, match="evaluation asks for at least one of 'npz'"):
        opened(part(archive), part(archive))


def test_copies_in_another_file_are_left_out(archive, tmp_path):
    np.savez(
        tmp_path / "b.npz", z=np.concatenate([[[4.0, 5.0]], np.arange(6.0).reshape(3, 2) + 100])
    )
    other = {"path": str(tmp_path / "b.npz"), "inputs": "z"}
    evaluation, _ = opened(part(archive), part(other, 2))
    assert 2 not in indices(evaluation)
    assert len(evaluation) == 19


def test_copied_image_files_are_left_out(tmp_path):
    for name in ("cal/k/one.png", "eval/k/copy.png", "eval/k/other.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2), 9 if "other" in name else 3).save(path)
    evaluation, _ = opened(
        part({"path": str(tmp_path / "eval")}, source="image-folder"),
        part({"path": str(tmp_path / "cal")}, source="image-folder"),
        inputs={"x": InputSpec(shape=("N", 3, 2, 2), dtype="float32")},
    )
    assert indices(evaluation) == [1]


@pytest.mark.parametrize(
    ("evaluation", "calibration", "message"),
    [
        ({"count": 21}, None, "evaluation asks for 21 of 'npz', which has 20 after skip: 0"),
        ({"count": 20, "skip": 1}, None, "asks for 20 .* has 19 after skip: 1"),
        ({"count": 16}, {"count": 5}, "asks for 16 .* has 15 .* the calibration samples are left"),
        ({}, {"count": 21}, "calibration asks for 21 .* has 20"),
        ({"skip": 20}, None, "skip: 20 leaves none of the 20 samples"),
    ],
)
def test_too_few_samples_are_an_error(archive, evaluation, calibration, message):
    with pytest.raises(DataError, match=message):
        opened(part(archive, **evaluation), calibration and part(archive, **calibration))


def test_batches_have_inputs_labels_and_indices(archive):
    batches = list(opened(part(archive, 5), preprocess={"scale": 2})[0].batches(2))
    assert [batch.indices for batch in batches] == [(0, 1), (2, 3), (4,)]
    np.testing.assert_array_equal(batches[1].inputs["x"], [[8, 10], [12, 14]])
    assert batches[1].inputs["x"].dtype == np.float32
    assert batches[1].labels.dtype == np.int64
    assert batches[1].labels.tolist() == [2, 3]
    unlabelled = {key: value for key, value in archive.items() if key != "labels"}
    assert next(opened(part(unlabelled))[0].batches(2)).labels is None


def test_limit_stops_early(archive):
    evaluation, _ = opened(part(archive))
    assert [batch.indices for batch in evaluation.batches(4, limit=6)] == [(0, 1, 2, 3), (4, 5)]
    with pytest.raises(ValueError, match="at least one sample"):
        next(evaluation.batches(0))


def test_digest_depends_on_all_that_the_model_sees_and_on_nothing_else(archive, tmp_path):
    def digest(options=archive, count=4, *, preprocess=None, inputs=None, seed=None):
        chosen, _ = opened(part(options, count, seed=seed), preprocess=preprocess, inputs=inputs)
        return chosen.digest()

    x, y = np.arange(40.0).reshape(20, 2), np.arange(20)

    def saved(name, x, y):
        np.savez_compressed(tmp_path / name, x=x, y=y)
        return {"path": str(tmp_path / name), "inputs": "x", "labels": "y"}

    one = digest()
    assert one == digest() == digest(saved("elsewhere.npz", x, y))
    changed_x, changed_y = x.copy(), y.copy()
    changed_x[3, 1] += 1e-9
    changed_y[2] += 1
    others = [
        digest(count=5),
        digest(seed=0),
        digest(preprocess={"scale": 1.0}),
        digest(inputs={"x": InputSpec(shape=("N", 2), dtype="float64")}),
        digest(saved("x.npz", changed_x, y)),
        digest(saved("y.npz", x, changed_y)),
    ]
    assert len({one, *others}) == 7
    changed_x[:4] = x[:4]
    changed_x[4:] += 1
    assert digest(saved("beyond.npz", changed_x, y)) == one


def test_speakers_come_with_the_samples_and_count_in_the_digest(tmp_path):
    def saved(name, who):
        np.savez(tmp_path / name, x=np.arange(8.0).reshape(4, 2), y=np.arange(4), who=np.array(who))
        return {"path": str(tmp_path / name), "inputs": "x", "labels": "y"}

    plain = saved("a.npz", ["ann", "bob", "ann", "eve"])
    silent, _ = opened(part(plain))
    named, _ = opened(part({**plain, "speakers": "who"}))
    assert [batch.speakers for batch in silent.batches(3)] == [None, None]
    assert [batch.speakers for batch in named.batches(3)] == [("ann", "bob", "ann"), ("eve",)]
    numbered, _ = opened(part({**saved("b.npz", [1, 2, 1, 3]), "speakers": "who"}))
    assert next(numbered.batches(2)).speakers == ("1", "2")
    assert len({silent.digest(), named.digest(), numbered.digest()}) == 3
    with pytest.raises(DataError, match="speakers must be whole numbers or texts, one a sample"):
        opened(part({**plain, "speakers": "x"}))

    class Half(ChangedDataset):
        def speaker(self, index):
            return None if index == 1 else "ann"

    with pytest.raises(DataError, match="sample 1 has no speaker, others have one"):
        next(named.replaced(dataset=Half(named.dataset)).batches(4))
    same = named.replaced(dataset=ChangedDataset(named.dataset))
    assert next(same.batches(4)).speakers == ("ann", "bob", "ann", "eve")


class Slow:
    """A data set that records what was read by when."""

    def __init__(self, count, fail_at=None):
        self.count, self.fail_at, self.read = count, fail_at, []
        self.identified = []

    def __len__(self):
        return self.count

    def raw(self, index):
        if index == self.fail_at:
            raise RuntimeError("disk")
        self.read.append(index)
        return np.full(2, index)

    def label(self, index):
        return None if index == 5 and self.fail_at == -1 else 0

    def identity(self, index):
        self.identified.append(index)
        return bytes([index])


@pytest.fixture
def slow(monkeypatch):
    def use(calibration=None, **options):
        data = Slow(12, **options)
        monkeypatch.setattr(samples, "_open", lambda spec: data)
        return data, opened(part({}), calibration)[0]

    return use


def test_what_keeps_samples_apart_is_read_once(slow):
    data, chosen = slow(calibration=part({}, 4))
    with_calibration = chosen.digest()
    assert sorted(data.identified) == list(range(12))
    data, alone = slow()
    assert alone.replaced(indices=range(4, 12)).digest() == with_calibration


def test_no_more_than_one_batch_is_read_ahead(slow):
    data, chosen = slow()
    stream = chosen.batches(2)
    for consumed in range(1, 4):
        next(stream)
        time.sleep(0.05)
        assert len(data.read) <= 2 * (consumed + 1)


def test_an_abandoned_stream_leaves_no_thread(slow):
    _, chosen = slow()
    stream = chosen.batches(2)
    next(stream)
    stream.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("gate-data")]


def test_a_failing_data_set_is_told_with_its_sample(slow):
    _, chosen = slow(fail_at=7)
    with pytest.raises(DataError, match="sample 7: RuntimeError: disk"):
        list(chosen.batches(2))
    _, chosen = slow(fail_at=-1)
    with pytest.raises(DataError, match="sample 5 has no label, others have one"):
        list(chosen.batches(2))


def test_samples_of_unequal_shape_make_no_batch(tmp_path):
    for size in (2, 3):
        path = tmp_path / "k" / f"{size}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("L", (size, 2)).save(path)
    chosen, _ = opened(
        part({"path": str(tmp_path)}, source="image-folder"),
        inputs={"x": InputSpec(shape=("N", 3, "H", "W"), dtype="float32")},
    )
    with pytest.raises(DataError, match="samples 0 to 1 differ in shape"):
        list(chosen.batches(2))


def test_a_bad_sample_is_named(archive):
    chosen, _ = opened(part(archive, 2), inputs={"x": InputSpec(shape=("N", 3), dtype="float32")})
    with pytest.raises(
        DataError, match=r"sample 0: input 'x': .* shape \[2\], the model takes \[3\]"
    ):
        list(chosen.batches(2))


def test_an_unavailable_source_says_how_to_get_it(archive, monkeypatch):
    source = samples.plugins.load("data", "npz")
    monkeypatch.setattr(type(source), "unavailable", lambda self: "get it there")
    with pytest.raises(DataError, match="data source 'npz': get it there"):
        opened(part(archive))
