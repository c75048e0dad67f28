"""Every task passes the task kit."""

from typing import ClassVar

import numpy as np

from gate.core.task import CLASSIFICATION, Task
from gate.testing.task_kit import TaskKit

SAMPLES = 24
ALPHABET = "_ab "


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


class TestDetection(TaskKit):
    task = Task.DETECTION
    decoding: ClassVar = {"layout": "cxcywh-classes"}

    def truths(self):
        boxes = np.random.default_rng(1).uniform(0.3, 0.6, (SAMPLES, 2, 4))
        kinds = np.tile([0.0, 1.0], (SAMPLES, 1))[..., None]
        return list(np.concatenate([kinds, boxes], axis=2))

    def outputs(self, error):
        truths = np.stack(self.truths())
        rows = np.zeros((SAMPLES, 2, 6), np.float32)
        rows[..., :4] = truths[..., 1:] + 0.1 * error * noise((SAMPLES, 2, 4))
        rows[:, 0, 4] = rows[:, 1, 5] = np.random.default_rng(2).uniform(0.5, 1.0, SAMPLES)
        return rows


class TestSegmentation(TaskKit):
    task = Task.SEGMENTATION

    def truths(self):
        return list(np.random.default_rng(3).integers(0, 3, (SAMPLES, 4, 4)))

    def outputs(self, error):
        scores = np.moveaxis(np.eye(3)[np.stack(self.truths())], 3, 1)
        return (scores + error * noise(scores.shape)).astype(np.float32)


class TestTranscription(TaskKit):
    task = Task.TRANSCRIPTION
    decoding: ClassVar = {"alphabet": ALPHABET}

    def truths(self):
        return ["ab ba", "a b a", "bab ab"] * (SAMPLES // 3)

    def outputs(self, error):
        rows = np.zeros((SAMPLES, 12, len(ALPHABET)), np.float32)
        for row, text in zip(rows, self.truths(), strict=True):
            symbols = [symbol for c in text for symbol in (ALPHABET.index(c), 0)]
            row[np.arange(len(symbols)), symbols] = 1.0
            row[len(symbols) :, 0] = 1.0
        return rows + error * noise(rows.shape).astype(np.float32)


class TestLanguageModeling(TaskKit):
    task = Task.LANGUAGE_MODELING

    def truths(self):
        return list(np.random.default_rng(4).integers(0, 7, (SAMPLES, 5)))

    def outputs(self, error):
        scores = 3.0 * np.eye(7)[np.stack(self.truths())]
        return (scores + 2.0 * error * noise(scores.shape)).astype(np.float32)


class TestVerification(TaskKit):
    task = Task.VERIFICATION

    def truths(self):
        return [sample // 3 for sample in range(SAMPLES)]

    def outputs(self, error):
        identities = np.eye(8)[self.truths()] + 0.3 * noise((SAMPLES, 8))
        return (identities + error * noise((SAMPLES, 8), 5)).astype(np.float32)


class TestAnomalyDetection(TaskKit):
    task = Task.ANOMALY_DETECTION

    def truths(self):
        return [sample % 2 for sample in range(SAMPLES)]

    def outputs(self, error):
        scores = np.array(self.truths()) + 0.2 * noise(SAMPLES)
        return (scores + error * noise(SAMPLES, 6)).astype(np.float32)[:, None]


class TestRegression(TaskKit):
    task = Task.REGRESSION

    def truths(self):
        return list(noise((SAMPLES, 2), 7))

    def outputs(self, error):
        return np.stack(self.truths()) + 0.1 * noise((SAMPLES, 2), 8) * (1.0 + error)


def test_every_task_has_a_class_here():
    tested = {kit.task for kit in TaskKit.__subclasses__()}
    assert tested == set(Task) - CLASSIFICATION - {Task.OTHER}
