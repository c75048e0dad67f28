"""Five small networks, each for a task of its own: ``specs/systems/task_*.yaml``."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from specs.models.digits import conv_bn_relu


def transcriber() -> nn.Module:
    """Reads a line of digits column by column. Input (N, 64, 8), output (N, 32, 12): scores for CTC."""
    return Transcriber()


def language_model() -> nn.Module:
    """Says which character follows. Input (N, steps) of int64, output (N, steps, 37)."""
    return LanguageModel()


def embedder() -> nn.Module:
    """An embedding of a digit. Input (N, 1, 8, 8), output (N, 32)."""
    return nn.Sequential(
        OrderedDict(
            stem=conv_bn_relu(1, 16),
            first=conv_bn_relu(16, 32, stride=2),
            second=conv_bn_relu(32, 32),
            flatten=nn.Flatten(),
            embedding=nn.Linear(32 * 4 * 4, 32),
        )
    )


def autoencoder() -> nn.Module:
    """Writes a digit down in few numbers and draws it again. Input and output (N, 64)."""
    return nn.Sequential(
        OrderedDict(
            widen=nn.Linear(64, 96),
            relu=nn.ReLU(),
            squeeze=nn.Linear(96, 20),
            unfold=nn.Linear(20, 96),
            relu_unfolded=nn.ReLU(),
            draw=nn.Linear(96, 64),
        )
    )


def regressor() -> nn.Module:
    """A number from ten measurements. Input (N, 10), output (N, 1)."""
    return nn.Sequential(
        OrderedDict(
            first=nn.Linear(10, 64),
            relu_first=nn.ReLU(),
            second=nn.Linear(64, 64),
            relu_second=nn.ReLU(),
            answer=nn.Linear(64, 1),
        )
    )


class Transcriber(nn.Module):
    """Two convolutions over time, the second of stride 2, and an LSTM that reads both ways."""

    def __init__(self, hidden: int = 48, symbols: int = 12) -> None:
        super().__init__()
        self.near = nn.Conv1d(8, 32, 3, padding=1)
        self.wide = nn.Conv1d(32, 48, 5, stride=2, padding=2)
        self.relu = nn.ReLU()
        self.lstm = nn.LSTM(48, hidden, batch_first=True, bidirectional=True)
        self.symbols = nn.Linear(2 * hidden, symbols)

    def forward(self, columns: Tensor) -> Tensor:
        features = self.relu(self.wide(self.relu(self.near(columns.transpose(1, 2)))))
        states, _ = self.lstm(features.transpose(1, 2))
        return self.symbols(states)


class LanguageModel(nn.Module):
    """About 57 000 parameters, nearly all in the recurrent cell."""

    def __init__(self, letters: int = 37, size: int = 32, hidden: int = 96) -> None:
        super().__init__()
        self.embedding = nn.Embedding(letters, size)
        self.lstm = nn.LSTM(size, hidden, batch_first=True)
        self.dropout = nn.Dropout(0.3)
        self.following = nn.Linear(hidden, letters)

    def forward(self, text: Tensor) -> Tensor:
        states, _ = self.lstm(self.embedding(text))
        return self.following(self.dropout(states))
