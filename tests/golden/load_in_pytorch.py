"""Loads the weights of a LeNet run into PyTorch, and prints PyTorch's accuracy on the MNIST test set.

    wgconv train --data DATA --model lenet --out RUN
    python tests/golden/load_in_pytorch.py RUN DATA

DATA holds t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz. Needs torch and safetensors. How weights are loaded
and images are fed is the README's own example.
"""

import gzip
import sys
from pathlib import Path

import torch


def example(run):
    """The names that the README's Python example defines, for the weights of this run."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    code = readme.split("```python\n")[1].split("```")[0]
    names = {}
    exec(code.replace("RUN/", f"{run}/"), names)
    return names


def read_idx(path):
    """The bytes of an IDX file, in the shape that its header tells."""
    content = gzip.decompress(path.read_bytes())
    kind, axes = content[2], content[3]
    if kind != 8:
        sys.exit(f"{path}: expected unsigned bytes (8), found kind {kind}")
    sizes = [int.from_bytes(content[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(axes)]
    return torch.frombuffer(bytearray(content[4 + 4 * axes :]), dtype=torch.uint8).reshape(sizes)


def main(run, data):
    predict = example(run)["predict"]
    images = read_idx(data / "t10k-images-idx3-ubyte.gz").unsqueeze(1)
    labels = read_idx(data / "t10k-labels-idx1-ubyte.gz").long()
    correct = 0
    for batch, targets in zip(images.split(1000), labels.split(1000)):
        correct += (predict(batch.float() / 255).argmax(1) == targets).sum().item()
    print(f"{correct} of {len(labels)} correct: {100 * correct / len(labels):.2f} %")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
