"""The training loop itself: steps, weights, callbacks."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_rnn import configs
from keras_rnn.examples import prepare_data
from keras_rnn.interruption import Interrupted
from keras_rnn.optimizer import global_norm
from keras_rnn.programs import Programs
from keras_rnn.tasks import make_task
from keras_rnn.trainer import Trainer
from keras_rnn.workdir import Workdir
from pipelines import InputError
from tests import small_data


def trainer_of(tmp_path, records, **settings):
    """A trainer over a few records, nothing trained yet."""
    keys = configs.task_keys("classification")
    config = keys.config()
    with config.unlocked():
        config.update({**small_data.SETTINGS, "max_shapes": 2, **settings})
    keras.utils.set_random_seed(config.seed)
    task = make_task("classification", config)
    folder = Workdir(tmp_path / "trainer")
    folder.make()
    path = small_data.write_tsv(tmp_path / "records.tsv", records)
    data = prepare_data(task, folder, path, path, 0)
    model = task.build_model()
    return Trainer(task, model, folder, data, Programs(config.jit_compile))


def test_every_weight_moves_and_fillers_weigh_nothing(tmp_path):
    """Five rows in a batch of eight give the gradients of the five, also with a loss of the model's own."""
    settings = {
        "dropout": 0.0,
        "pooling": "self_attention",
        "attention_penalty": 0.5,
        "max_shapes": 1,
    }
    records = small_data.rows(5)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    filled = trainer_of(tmp_path / "a", records, batch_size=8, **settings)
    exact = trainer_of(tmp_path / "b", records, batch_size=5, **settings)
    loss_of = filled.task.loss

    def no_number_for_fillers(*arguments, **options):
        losses, weights, outputs = loss_of(*arguments, **options)
        return tf.where(tf.cast(weights, tf.float32) > 0, losses, np.nan), weights, outputs

    filled.task.loss = no_number_for_fillers
    results = []
    for trainer in (filled, exact):
        (batch,) = trainer.train_batches.epoch(0)
        before = [variable.numpy() for variable in trainer.variables]
        gradients, weight, loss = trainer.gradient_step(batch)
        norm, _ = trainer.apply_step(gradients, weight)
        after = [variable.numpy() for variable in trainer.variables]
        assert all((a != b).any() for a, b in zip(before, after, strict=True))
        scaled = [(gradient / weight).numpy() for gradient in gradients]
        results.append((scaled, float(loss), float(norm), after, trainer))
    for got, wanted in zip(results[0][0], results[1][0], strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-7)
    assert results[0][1] == pytest.approx(results[1][1], rel=1e-5)
    assert results[0][2] == pytest.approx(results[1][2], rel=1e-4)
    assert int(filled.examples) == int(exact.examples) == 5
    assert int(filled.tokens) == sum(len(record["text"].split()) for record in records)
    assert float(filled.metrics["accuracy"].result()) == pytest.approx(
        float(exact.metrics["accuracy"].result())
    )


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_clipping_is_that_of_keras_and_weight_decay_reaches_the_optimizer(precision, tmp_path):
    # Plain steps, whose length is the gradient's.
    settings = {"optimizer": "sgd", "weight_decay": 0.1, "learning_rate": 1.0}
    for norm in (1e-3, 1e3):  # every gradient is cut to it, none is
        folder = tmp_path / str(norm)
        folder.mkdir()
        trainer = trainer_of(
            folder, small_data.rows(8), clip_norm=norm, precision=precision, **settings
        )
        gradients, weight, _ = trainer.gradient_step(next(iter(trainer.train_batches.epoch(0))))
        scale = float(trainer.optimizer.scale_loss(1.0)) if precision == "mixed_float16" else 1.0
        optimizer = keras.optimizers.SGD(
            float(trainer.optimizer.learning_rate),
            momentum=0.9,
            nesterov=True,
            weight_decay=0.1,
            global_clipnorm=norm,
        )
        variables = [keras.Variable(variable.numpy()) for variable in trainer.variables]
        optimizer.apply([gradient / weight / scale for gradient in gradients], variables)
        trainer.apply_step(gradients, weight)
        for got, variable in zip(trainer.variables, variables, strict=True):
            np.testing.assert_allclose(got, variable.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_a_step_of_one_program_is_that_of_two(precision, tmp_path):
    settings = {"clip_norm": 0.1, "average": 0.9, "precision": precision}
    ends = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        trainer = trainer_of(tmp_path / name, small_data.rows(8), **settings)
        (batch,) = trainer.train_batches.tensors()
        before = [variable.numpy() for variable in trainer.variables]
        if name == "one":
            (loss,), norm = trainer.step([batch])
            shown = trainer.gradients
        else:
            gradients, weight, loss = trainer.gradient_step(batch)
            norm, _ = trainer.apply_step(gradients, weight)
            scale = float(trainer.optimizer.scale_loss(1.0)) if "16" in precision else 1.0
            shown = [tf.reshape(gradient, [-1]) / weight / scale for gradient in gradients]
        ends.append([loss, norm, *shown, *trainer.variables, *trainer.averages])
        assert trainer.programs.count == {"one": 1, "two": 2}[name]
    for one, two in zip(*ends, strict=True):
        np.testing.assert_allclose(one, two, rtol=2e-4, atol=1e-6)
    # After the first step an average is 2 / 11 of what was and 9 / 11 of what is.
    for average, old, new in zip(trainer.averages, before, trainer.variables, strict=True):
        np.testing.assert_allclose(average, (2 * old + 9 * new) / 11, rtol=1e-5, atol=1e-6)
    # The averages are what is judged and kept as the best; training goes on from the weights.
    weight, average = trainer.variables[-1].numpy(), trainer.averages[-1].numpy()
    assert (weight != average).any()
    judged = []

    def judge(forward, batches):
        judged.append(trainer.variables[-1].numpy())
        return {"loss": 1.0, trainer.task.metric: 0.5}

    trainer.task.judge = judge
    trainer.judge()
    np.testing.assert_array_equal(judged, [average])
    trainer.save(better=True, finished="")
    np.testing.assert_array_equal(trainer.variables[-1], weight)
    trainer.model.load_weights(f"{trainer.workdir.checkpoint('best')}/model.weights.h5")
    np.testing.assert_array_equal(trainer.variables[-1], average)


@pytest.mark.parametrize("value", [np.inf, 3e19])
def test_a_norm_that_is_no_number_is_not_clipped_away(value, tmp_path):
    """An element that is none, or whose square is none: the next loss is none either, and the run stops."""
    trainer = trainer_of(tmp_path, small_data.rows(8), clip_norm=1.0)
    gradients, weight, _ = trainer.gradient_step(next(iter(trainer.train_batches.epoch(0))))
    first = tf.one_hot(0, tf.size(gradients[-1]), on_value=np.float32(value))
    trainer.apply_step([*gradients[:-1], tf.reshape(first, gradients[-1].shape)], weight)
    assert all(np.isnan(variable.numpy()).all() for variable in trainer.variables)


def test_a_norm_or_a_dev_loss_that_is_no_number_is_told_before_a_checkpoint_has_it(tmp_path):
    trainer = trainer_of(tmp_path, small_data.rows(8))
    trainer.whole_step = lambda batch: (tf.constant(1.0), tf.constant(np.nan), [])
    with pytest.raises(
        InputError, match="the norm of the gradients became nan at step 1; there is no checkpoint"
    ):
        trainer.run([])
    trainer.judge = lambda: {"loss": np.nan, trainer.task.metric: 0.5}
    with pytest.raises(InputError, match="the dev loss became nan at step 1; there is no"):
        trainer.run([])
    assert not trainer.workdir.checkpoint("last")


@pytest.mark.parametrize("size", [(1 << 16) - 1, 1 << 16, (1 << 18) + 63])
def test_the_norm_of_large_gradients(size):
    gradients = [np.random.default_rng(size).normal(size=n).astype("float32") for n in (size, 5)]
    wanted = np.linalg.norm(np.concatenate(gradients).astype("float64"))
    for jit_compile in (False, True):
        norm = tf.function(global_norm, jit_compile=jit_compile, autograph=False)
        assert float(norm([tf.constant(g) for g in gradients])) == pytest.approx(wanted, rel=1e-6)


def test_keras_callbacks_run_in_the_loop(tmp_path):
    settings = {"epochs": 5, "dropout": 0.0, "learning_rate": 0.0}
    trainer = trainer_of(tmp_path, small_data.rows(40), **settings)
    seen = []

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(batch)

        def on_epoch_end(self, epoch, logs=None):
            # Nothing moves and nothing is dropped: what is learnt from and what is judged are the same.
            assert logs["dev_accuracy"] >= 0 and logs["loss"] > 0
            assert logs["loss"] == pytest.approx(logs["dev_loss"], rel=1e-4)
            assert float(trainer.loss_metric.count) == 0
            self.model.stop_training = epoch == 1

    assert trainer.run([Stop()]) == "a callback ended it"
    assert trainer.state.epoch == 2
    assert seen == [0, 1, 2] * 2
    assert trainer.totals[0] == 2 * 40


def test_accumulated_batches_make_the_step_of_one_large_batch(tmp_path):
    """Seven rows as one batch, or as two of four, one of them a filler: the same weights after it."""
    records = small_data.rows(7)
    results = []
    for batch_size, accumulate in ((7, 1), (4, 2)):
        folder = tmp_path / str(batch_size)
        folder.mkdir()
        # Plain steps: Adam would divide gradients of almost nothing by their own size.
        settings = {"batch_size": batch_size, "accumulate": accumulate, "max_shapes": 1}
        settings |= {"optimizer": "sgd"}
        trainer = trainer_of(folder, records, dropout=0.0, **settings)
        batches = list(trainer.train_batches.epoch(0))
        assert trainer.total_steps == trainer.config.epochs and len(batches) == accumulate
        losses, norm = trainer.step(batches)
        assert len(losses) == accumulate
        results.append((float(norm), [variable.numpy() for variable in trainer.variables]))
    (norm, one), (other_norm, other) = results
    assert norm == pytest.approx(other_norm, rel=1e-4)
    for got, wanted in zip(other, one, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)


def test_dev_is_scored_every_so_many_steps(tmp_path):
    """40 rows are five batches of eight: three steps an epoch, two batches each but the last."""
    settings = {"batch_size": 8, "accumulate": 2, "epochs": 2, "evaluate_every": 2}
    trainer = trainer_of(tmp_path, small_data.rows(40), **settings)
    seen = []

    class Note(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            state = trainer.state
            seen.append((epoch, state.step, state.batch))
            assert logs["dev_loss"] > 0

    trainer.run([Note()])
    # At steps 2, 4 and 6, and at the end of each epoch.
    assert seen == [(0, 2, 4), (0, 3, 0), (1, 4, 2), (1, 6, 0)]
    # What is as good as the best is no better.
    trainer.state.best = 0.5
    for higher, better in ((True, [True, False, False]), (False, [False, False, True])):
        trainer.task.higher_is_better = higher
        assert [trainer._is_better(score) for score in (0.6, 0.5, 0.4)] == better


def test_a_run_past_an_end_that_was_brought_forward_is_finished(tmp_path):
    trainer = trainer_of(tmp_path, small_data.rows(8), epochs=2)
    trainer.state.step, trainer.state.epoch, trainer.state.batch = 4, 3, 1
    trainer.save(better=True, finished="")
    assert trainer.run([]) == "epochs=2 is reached"
    assert trainer.workdir.index()["finished"] == "epochs=2 is reached"
    assert trainer.state.step == 4


def test_an_interrupted_run_ends_as_the_undisturbed_one(tmp_path):
    """Ctrl-C in every step and in every evaluation, one after another."""
    settings = {"batch_size": 8, "epochs": 2, "evaluate_every": 2, "dropout": 0.2, "average": 0.9}
    records = small_data.rows(24)
    ends, shown, seen = [], [], set()
    for disturbed in (False, True):
        folder = tmp_path / str(disturbed)
        folder.mkdir()
        rows = []

        class Note(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                state = trainer.state  # noqa: B023
                rows.append((state.step, logs["loss"], logs["dev_loss"]))  # noqa: B023

        class Disturb(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                trainer.interruption.asked = True  # noqa: B023

        for number in range(100):
            trainer = trainer_of(folder, records, **settings)
            trainer.restore()
            callbacks = [Note()]
            if disturbed and number % 2:
                callbacks.append(Disturb())
            elif disturbed:  # before the first batch of the evaluation
                forward = trainer.forward
                asked = []

                def disturbing(batch, forward=forward, trainer=trainer, asked=asked):
                    if not asked and trainer.state.step not in seen:
                        asked.append(seen.add(trainer.state.step))
                        trainer.interruption.asked = True
                    return forward(batch)

                trainer.forward = disturbing
            try:
                trainer.run(callbacks)
                break
            except Interrupted as interruption:
                assert f"step {trainer.state.step}" in str(interruption)
        assert number >= 6 or not disturbed
        ends.append([value.numpy() for value in (*trainer.variables, *trainer.averages)])
        shown.append(rows)
    for got, wanted in zip(*ends, strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert shown[0] == shown[1]


def test_a_run_cut_in_the_midst_of_an_epoch_ends_as_the_whole_one(tmp_path):
    settings = {"batch_size": 8, "epochs": 2, "evaluate_every": 3}
    records = small_data.rows(40)
    ends = []
    for cuts in ((), (3, 8)):
        folder = tmp_path / str(len(cuts))
        folder.mkdir()
        for cut in (*cuts, 0):
            trainer = trainer_of(folder, records, max_steps=cut, **settings)
            assert trainer.total_steps == (cut or 10)
            trainer.restore()
            trainer.run([])
        assert trainer.state.step == 10
        ends.append([variable.numpy() for variable in trainer.variables])
    for got, wanted in zip(*ends, strict=True):
        np.testing.assert_array_equal(got, wanted)
