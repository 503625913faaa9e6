"""Loads the weights of a LeNet run into PyTorch, and prints PyTorch's accuracy on the MNIST test set.

    wgconv train --data DATA --model lenet --out RUN
    python tests/golden/load_in_pytorch.py RUN DATA

DATA holds t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz. Needs Python 3.11, torch and safetensors.
"""

import gzip
import sys
import tomllib
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn


class LeNet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 5, padding="same")
        self.conv2 = nn.Conv2d(16, 32, 5, padding="same")
        self.dense1 = nn.Linear(32 * 7 * 7, 128)
        self.dense2 = nn.Linear(128, classes)

    def forward(self, input):
        x = F.max_pool2d(F.relu(self.conv1(input)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.dense2(F.relu(self.dense1(x.flatten(1))))


def read_idx(path):
    """The bytes of an IDX file, in the shape that its header tells."""
    content = gzip.decompress(path.read_bytes())
    kind, axes = content[2], content[3]
    if kind != 8:
        sys.exit(f"{path}: expected unsigned bytes (8), found kind {kind}")
    sizes = [int.from_bytes(content[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(axes)]
    return torch.frombuffer(bytearray(content[4 + 4 * axes :]), dtype=torch.uint8).reshape(sizes)


def main(run, data):
    config = tomllib.loads((run / "config.toml").read_text())
    model = LeNet(len(config["classes"]))
    model.load_state_dict(load_file(run / "best.safetensors"), strict=True)
    model.eval()
    images = read_idx(data / "t10k-images-idx3-ubyte.gz").unsqueeze(1)
    labels = read_idx(data / "t10k-labels-idx1-ubyte.gz").long()
    # Mean and deviation of the bytes, one per channel.
    mean, deviation = (
        torch.tensor(config["normalisation"][word]).reshape(1, -1, 1, 1) for word in ("mean", "deviation")
    )
    correct = 0
    with torch.no_grad():
        for batch, targets in zip(images.split(1000), labels.split(1000)):
            predictions = model((batch.float() - mean) / deviation).argmax(1)
            correct += (predictions == targets).sum().item()
    print(f"{correct} of {len(labels)} correct: {100 * correct / len(labels):.2f} %")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
