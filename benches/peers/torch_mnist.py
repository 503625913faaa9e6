"""MNIST in one epoch with PyTorch: the recipe mnist-fast, to compare with.

    python torch_mnist.py FOLDER [--seed 0] [--threads 2]

FOLDER holds MNIST's IDX files, gzipped or not. Prints a JSON line: the test accuracy, and the seconds of the import of
torch, of loading, of training and of the whole program. Needs torch and numpy."""
import time

start = time.time()
import argparse
import gzip
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

imported = time.time()
arguments = argparse.ArgumentParser()
arguments.add_argument("folder", type=Path)
arguments.add_argument("--seed", type=int, default=0)
arguments.add_argument("--threads", type=int, default=2)
options = arguments.parse_args()
torch.manual_seed(options.seed)
torch.set_num_threads(options.threads)

BATCH, RATE, SMOOTHING = 256, 0.01, 0.1


def idx(name, skipped):
    path = options.folder / name
    data = path.read_bytes() if path.exists() else gzip.decompress(path.with_name(name + ".gz").read_bytes())
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=skipped).copy())


images, test_images = (idx(f"{part}-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28) for part in ("train", "t10k"))
labels, test_labels = (idx(f"{part}-labels-idx1-ubyte", 8).long() for part in ("train", "t10k"))
images, test_images = images.float(), test_images.float()
mean, deviation = images.mean(), images.std(unbiased=False)
images, test_images = ((values - mean) / deviation for values in (images, test_images))
loaded = time.time()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 24, 5), nn.Conv2d(24, 32, 3)
        self.dense1, self.dense2 = nn.Linear(800, 256), nn.Linear(256, 10)

    def forward(self, x):
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        return self.dense2(F.relu(self.dense1(x.flatten(1))))


net = Net().to(memory_format=torch.channels_last)
optimizer = torch.optim.Adam(net.parameters(), lr=RATE, betas=(0.7, 0.9))
steps = len(images) // BATCH
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, cycle_momentum=False)
for rows in torch.randperm(len(images))[: steps * BATCH].split(BATCH):
    logits = net(images[rows].contiguous(memory_format=torch.channels_last))
    loss = F.cross_entropy(logits, labels[rows], label_smoothing=SMOOTHING)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
trained = time.time()
net.eval()
with torch.no_grad():
    right = sum(
        (net(part.contiguous(memory_format=torch.channels_last)).argmax(1) == labels).sum().item()
        for part, labels in zip(test_images.split(1000), test_labels.split(1000))
    )
seconds = {"import": imported - start, "load": loaded - imported, "train": trained - loaded, "whole": time.time() - start}
print(json.dumps({"test/accuracy": right / len(test_images), "seconds": {k: round(v, 2) for k, v in seconds.items()}}))
